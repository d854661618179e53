"""Traces say what the schedule says: they are read back here, and compared with run.instructions.

The JSON is read by json, the VCD by a reader written here from IEEE 1364, the CSV by hand. What
buffers hold is counted byte by byte, from addresses that are listed here out of docs/unit.md.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samples

from cube24 import encoder
from cube24.encoder import ArgumentError, Cube24Error, FileAccessError
from cube24.errors import MissingExtraError
from cube24.simulator import (
    Conv2d,
    Matmul,
    Program,
    Requant,
    Run,
    Tile,
    Unit,
    UnitConfig,
    chip,
    isa,
    show,
    timing,
)

PIPES = ("MTE2", "MTE1", "M", "FIX")
SMALL = Tile(32, 32, 64, 128)
UNITFLAG = Tile(32, 32, 64, 128, unit_flag=True)


def encoded_matmul() -> Run:
    weight = samples.legal_weight((40, 200), 1)
    x = np.random.default_rng(2).integers(-128, 128, (50, 200), np.int8)
    bias = np.arange(40, dtype=np.int32)
    scale = np.linspace(1e-4, 2e-4, 40, dtype=np.float32)
    return Unit().matmul(
        x, encoder.encode(weight), bias, Requant(scale), tile=SMALL, check=weight
    )  # fmt: skip


def time_only(x: tuple[int, int], w: tuple[int, int], **how: Any) -> Run:
    config = how.pop("config", UnitConfig())
    how.setdefault("sparse", False)
    return Unit(config).time(Matmul(x[0], w[0], x[1]), **how)


CASES = {
    "encoded": encoded_matmul,
    "sparse": lambda: time_only((70, 256), (48, 256), sparse=True, tile=SMALL),
    "dense": lambda: time_only((70, 256), (48, 256), weight_rows=True, bias=True, tile=SMALL),
    "fp16": lambda: time_only((70, 256), (48, 256), dtype="float16", tile=SMALL),
    "unit flags": lambda: time_only((70, 256), (80, 256), sparse=True, tile=UNITFLAG),
    "one buffer": lambda: time_only((70, 256), (48, 256), tile=Tile(32, 32, 64, 128, l1_buffers=1)),
    "short queues": lambda: time_only(
        (70, 256), (48, 256), sparse=True, tile=SMALL, config=UnitConfig(queue_depth=2)
    ),
    "no latency": lambda: time_only(
        (70, 256), (48, 256), sparse=True, tile=SMALL,
        config=UnitConfig(flag_cycles=0, handover_cycles=0, issue_cycles=3),
    ),
    "conv2d": lambda: Unit().time(
        Conv2d(1, 96, 12, 12, 32, (3, 3), pads=(1, 1, 1, 1)), tile=Tile(32, 32, 64, 896)
    ),
    "groups": lambda: time_only((200, 256), (72, 256), sparse=True, cores=4, tile=SMALL),
    "cores": lambda: time_only((4096, 1024), (4096, 1024), sparse=True, cores=4),
}  # fmt: skip
# Those whose buffers can be counted byte by byte.
COUNTED = [name for name in CASES if name != "cores"]

every_case = pytest.mark.parametrize("name", CASES)


@functools.cache
def case(name: str) -> Run:
    return CASES[name]()


@functools.cache
def cores(name: str) -> dict[int, tuple[isa.Program, timing.Timing]]:
    """Program and schedule of each core that a trace shows, by number."""
    run = case(name)
    assert run.plan is not None
    found = {}
    for group in run.chip.groups:
        program = chip.core_program(run.plan, run.cores, group.first)
        costs = chip.costs_of(run.plan, run.cores)
        found[group.first] = (program, timing.schedule(program, run.config, costs))
        assert found[group.first][1].pipes == group.timing.pipes
    return found


def case_rows(name: str) -> dict[tuple[int, int], timing.Row]:
    """All rows, by core and number."""
    return {
        (core, row.index): row for core, (_, of) in cores(name).items() for row in of.instructions
    }


def text(instruction: isa.Instruction) -> str:
    """The line that parses to it, checked by parsing."""
    line = str(instruction)
    assert Program.parse(line).instructions == (instruction,)
    return line


def program_pairs(program: isa.Program) -> list[tuple[int, int]]:
    """Numbers of each set_flag and of the wait_flag that takes it: the n-th takes the n-th."""
    found = []
    for number, i in enumerate(program.instructions):
        if isinstance(i, isa.SetFlag):
            before = program.instructions[:number].count(i)
            same = isa.WaitFlag(i.of, i.to, i.id)
            waits = [n for n, other in enumerate(program.instructions) if other == same]
            if before < len(waits):
                found.append((number, waits[before]))
    return found


# --- Chrome trace events --------------------------------------------------------------------------


@functools.cache
def events(name: str) -> dict[str, list[dict[str, Any]]]:
    """The events of a trace, by phase, those of threads with the name of the pipe."""
    found = defaultdict(list)
    for event in json.loads(show.perfetto(case(name), scalar=True))["traceEvents"]:
        found[event["ph"]].append(event)
    threads = {
        (e["pid"], e["tid"]): e["args"]["name"] for e in found["M"] if e["name"] == "thread_name"
    }
    for phase in "Xsf":
        for event in found[phase]:
            event["pipe"] = threads[event["pid"], event["tid"]]
    return found


def instruction_events(name: str) -> list[dict[str, Any]]:
    return [e for e in events(name)["X"] if e["pipe"] != "S" and "args" in e]


@every_case
def test_each_instruction_is_one_event_of_its_pipe_with_all_that_its_row_has(name):
    seen = Counter()
    rows = case_rows(name)
    for event in instruction_events(name):
        args = event["args"]
        key = (event["pid"], args["number"])
        seen[key] += 1
        row, i = rows[key], cores(name)[key[0]][0].instructions[key[1]]
        assert event["pipe"] == row.pipe
        assert event["name"] == row.name
        assert (event["ts"], event["ts"] + event["dur"]) == (row.start, row.end)
        waits = row.name == "wait_flag" and row.end > row.start
        assert event["cat"] == ("wait" if waits else "work" if i.pipe else "flag")
        assert args == {
            "number": row.index, "text": text(i), "issued": row.issued, "head": row.head,
            "work": row.work, "slowed": row.slowed, "waited": row.waited, "cause": row.cause,
        }  # fmt: skip
    assert seen == Counter(rows.keys())


@every_case
def test_events_of_a_track_follow_each_other_in_the_order_of_the_file(name):
    free: Counter[tuple[int, str]] = Counter()
    for event in events(name)["X"]:
        track = (event["pid"], event["pipe"])
        assert event["ts"] >= free[track], event
        assert event["dur"] >= 0
        free[track] = event["ts"] + event["dur"]
    assert {pipe for _, pipe in free} == {*PIPES, "S"}


@every_case
def test_work_and_waits_of_a_track_sum_to_the_account_of_its_pipe(name):
    busy, waits = Counter(), Counter()
    for event in events(name)["X"]:
        key = (event["pid"], event["pipe"])
        if event["cat"] != "wait":
            busy[key] += event["dur"]
        else:
            cause = event["args"]["cause"] if "args" in event else event["name"]
            waits[*key, cause] += event["dur"]
    for core, (_, of) in cores(name).items():
        for pipe, account in of.pipes.items():
            assert busy[core, pipe] == account.busy, pipe
            # A wait_flag that waits behind another one has its own cause.
            mine = {cause: n for (*key, cause), n in waits.items() if key == [core, pipe]}
            assert mine == account.waits, pipe


@every_case
def test_a_flow_leads_from_each_set_flag_to_the_wait_flag_that_takes_it(name):
    rows, number_of = case_rows(name), {}
    # Viewers bind a flow to the last event of its track before it in the file.
    flows: dict[str, dict[int, tuple[int, int]]] = {"s": {}, "f": {}}
    for event in json.loads(show.perfetto(case(name)))["traceEvents"]:
        track = (event["pid"], event.get("tid"))
        if event["ph"] == "X" and "args" in event:
            number_of[track] = event["args"]["number"]
        if event["ph"] in flows:
            key = (event["pid"], number_of[track])
            i = cores(name)[key[0]][0].instructions[key[1]]
            assert event["ts"] == rows[key].end
            assert event["name"] == f"{i.of}>{i.to}#{i.id}"
            assert event["id"] not in flows[event["ph"]]
            assert event.get("bp") == (None if event["ph"] == "s" else "e")
            flows[event["ph"]][event["id"]] = key
    assert flows["s"].keys() == flows["f"].keys()
    got = sorted((*one, *flows["f"][flow]) for flow, one in flows["s"].items())
    if name != "cores":  # 17,232 instructions: too many for the slow list
        assert got == sorted(
            (core, one, core, other)
            for core, (program, _) in cores(name).items()
            for one, other in program_pairs(program)
        )
    config = case(name).config
    for core, one, _, other in got:
        assert rows[core, other].end - rows[core, one].end >= config.flag_cycles // 2


@every_case
def test_the_scalar_unit_shows_each_issue_and_what_it_waited_for(name):
    step = case(name).config.issue_cycles
    issues = [e for e in events(name)["X"] if e["pipe"] == "S" and e["cat"] == "issue"]
    rows = case_rows(name)
    assert {(e["pid"], e["args"]["number"]): (e["ts"], e["dur"], e["name"]) for e in issues} == {
        key: (row.issued, step, row.name) for key, row in rows.items()
    }
    assert len(issues) == len(rows)
    if name == "short queues":
        assert any(e["cat"] == "wait" for e in events(name)["X"] if e["pipe"] == "S")


@every_case
def test_processes_and_threads_are_named_and_sorted(name):
    run = case(name)
    groups = {group.first: group.cores for group in run.chip.groups}
    if name == "groups":
        assert sorted(groups.values()) == [1, 3]
    named, order, threads = {}, {}, defaultdict(dict)
    for event in events(name)["M"]:
        if event["name"] == "process_name":
            named[event["pid"]] = event["args"]["name"]
        elif event["name"] == "process_sort_index":
            order[event["pid"]] = event["args"]["sort_index"]
        else:
            threads[event["pid"], event["tid"]] |= event["args"]
    more = {1: "", 3: " (and 2 cores more like it)", 4: " (and 3 cores more like it)"}
    assert named == {first: f"core {first}{more[n]}" for first, n in groups.items()}
    assert order == {first: first for first in groups}
    for core in groups:
        mine = [t for (pid, _), t in threads.items() if pid == core]
        in_order = sorted(mine, key=lambda t: t["sort_index"])
        assert [t["name"] for t in in_order] == [*PIPES, "S"]
    assert not any(pid == tid for pid, tid in threads)


def test_without_the_scalar_unit_there_is_no_track_of_it():
    data = json.loads(show.perfetto(case("sparse")))["traceEvents"]
    assert {e["args"]["name"] for e in data if e["name"] == "thread_name"} == set(PIPES)


def test_the_header_tells_unit_clock_and_scale():
    data = json.loads(show.perfetto(case("groups")))
    assert data["displayTimeUnit"] == "ms"
    assert data["otherData"] == {
        "generator": "cube24", "unit": "custom", "time": "1 us of this trace is 1 cycle",
        "clock_mhz": 1850, "cycles": case("groups").cycles,
    }  # fmt: skip


# --- occupancy ------------------------------------------------------------------------------------


def results(at: int, i: Any) -> Iterator[int]:
    """Addresses of m x n int32 in L0C: Nz fractals of 16 x 16."""
    rows = -(-i.m // 16) * 16
    for m in range(i.m):
        for n in range(i.n):
            first = at + ((n // 16 * rows + m) * 16 + n % 16) * 4
            yield from range(first, first + 4)


def touches(i: isa.Instruction) -> tuple[dict[str, set[int]], dict[str, set[int]]]:
    """The bytes that an instruction reads, and those that it writes, by memory."""
    reads: dict[str, set[int]] = defaultdict(set)
    writes: dict[str, set[int]] = defaultdict(set)
    if isinstance(i, isa.CopyIn):
        for burst in range(i.bursts):
            for byte in range(i.bytes):
                writes["L1"].add(i.dst + burst * i.dst_stride + byte)
    elif isinstance(i, isa.Nd2Nz):
        for row in range(i.rows):
            for byte in range(-(-i.bytes // 32) * 32):
                writes["L1"].add(i.dst + (byte // 32 * i.dst_rows + row) * 32 + byte % 32)
    elif isinstance(i, isa.Load2D):
        for fractal in range(i.repeat):
            for byte in range(512):
                reads["L1"].add(i.src + 512 * (i.start + fractal * i.stride) + byte)
                writes[i.to].add(i.dst + 512 * fractal * (i.gap + 1) + byte)
    elif isinstance(i, isa.Load3D):
        for k in range(i.k_start, i.k_start + i.k):
            block = k // (i.kernel_h * i.kernel_w * 32)
            plane = i.h * i.w * 32
            reads["L1"].update(range(i.src + block * plane, i.src + (block + 1) * plane))
        writes["L0A"].update(range(i.dst, i.dst + -(-i.m // 16) * 16 * i.k))
    elif isinstance(i, isa.LoadSparse):
        for fractal in range(i.repeat):
            for byte in range(512):
                reads["L1"].add(i.dense + 512 * (i.start + fractal) + byte)
                writes["L0B"].add(i.dst + 512 * fractal + byte)
            for byte in range(128):
                reads["L1"].add(i.index + 128 * (i.start + fractal) + byte)
    elif isinstance(i, (isa.LoadBias, isa.LoadParams)):
        reads["L1"].update(range(i.src, i.src + i.bytes))
    elif isinstance(i, isa.Mmad):
        rows, columns = -(-i.m // 16) * 16, -(-i.n // 16) * 16
        element = 2 if i.dtype == "float16" else 1
        sparse = isinstance(i, isa.MmadSparse)
        whole = 64 if sparse else 32 // element
        k = -(-i.k // whole) * whole
        reads["L0A"].update(range(i.a, i.a + rows * k * element))
        reads["L0B"].update(range(i.b, i.b + columns * k * element // (2 if sparse else 1)))
        if i.start == "keep":
            reads["L0C"].update(results(i.c, i))
        writes["L0C"].update(results(i.c, i))
    elif isinstance(i, isa.Fixpipe):
        reads["L0C"].update(results(i.src, i))
        assert i.to == "GM"
    else:
        assert not i.pipe, i
    return reads, writes


def slow_occupancy(program: isa.Program, of: timing.Timing) -> dict[str, list[int]]:
    """How many bytes each memory holds in each cycle: the life of each byte, one by one."""
    lives: dict[tuple[str, int], list[tuple[int, bool]]] = defaultdict(list)
    for row in sorted(of.instructions, key=lambda row: (row.end, row.index)):
        for write, which in enumerate(touches(program.instructions[row.index])):
            for memory, places in which.items():
                for place in places:
                    lives[memory, place].append((row.end, bool(write)))
    steps = {memory: [0] * (of.cycles + 2) for memory in ("L1", "L0A", "L0B", "L0C")}
    for (memory, _), life in lives.items():
        written = last = None
        for time, write in [*life, (of.cycles, True)]:
            if not write:
                last = time
                continue
            if written is not None and last is not None:
                steps[memory][written] += 1
                steps[memory][last] -= 1
            written, last = time, None
    return {memory: np.cumsum(those).tolist() for memory, those in steps.items()}


def counters(data: str) -> dict[tuple[int, str], list[tuple[int, int]]]:
    found = defaultdict(list)
    for event in json.loads(data)["traceEvents"]:
        if event["ph"] == "C":
            memory, unit = event["name"].split()
            assert unit == "bytes"
            found[event["pid"], memory].append((event["ts"], event["args"]["bytes"]))
    return found


@pytest.mark.parametrize("name", COUNTED)
def test_counters_hold_the_bytes_that_were_written_and_are_still_to_be_read(name):
    got = counters(show.perfetto(case(name)))
    assert len(got) == 4 * len(cores(name))
    for core, (program, of) in cores(name).items():
        for memory, expected in slow_occupancy(program, of).items():
            points = got[core, memory]
            times = [time for time, _ in points]
            assert times[0] == 0
            assert times == sorted(set(times))
            assert all(a != b for (_, a), (_, b) in itertools.pairwise(points))
            in_each = [0] * (of.cycles + 2)
            for (start, size), end in zip(points, [*times[1:], of.cycles + 2], strict=True):
                in_each[start:end] = [size] * (end - start)
            assert in_each == expected, (core, memory)
            assert max(expected) > 0
            assert expected[-1] == 0


def test_counters_of_a_program_that_was_counted_by_hand():
    program = Program.parse(
        "copy_in dst=0 src=0 bytes=1024\n"
        "copy_in dst=4096 src=0 bytes=100\n"  # nobody reads it
        "set_flag of=MTE2 to=MTE1 id=0\n"
        "wait_flag of=MTE2 to=MTE1 id=0\n"
        "load2d to=L0A dst=0 src=0 repeat=1\n"
        "load2d to=L0B dst=512 src=0 repeat=2\n"
        "set_flag of=MTE1 to=M id=0\n"
        "wait_flag of=MTE1 to=M id=0\n"
        "mmad c=0 a=0 b=512 m=16 n=20 k=32\n"
        "mmad c=0 a=0 b=512 m=16 n=16 k=32 start=keep\n"
        "set_flag of=M to=FIX id=0\n"
        "wait_flag of=M to=FIX id=0\n"
        "fixpipe to=L1 dst=0 src=0 m=16 n=20 stride=32\n"
    )
    of = Unit().schedule(program)
    got = counters(show.perfetto(show.Scheduled(program, of, UnitConfig())))
    copied, _, _, _, a, b, _, _, first, more, _, _, drained = (row.end for row in of.instructions)
    # The second fractal in L1 is read by the load to L0B alone, and so is the first one again.
    assert got[0, "L1"] == [(0, 0), (copied, 1024), (b, 0)]
    assert got[0, "L0A"] == [(0, 0), (a, 512), (more, 0)]
    # Of the 1024 bytes in L0B, the second Mmad reads 512.
    assert got[0, "L0B"] == [(0, 0), (b, 1024), (first, 512), (more, 0)]
    # 16 x 20 int32; the second Mmad writes 16 x 16 of them anew.
    assert got[0, "L0C"] == [(0, 0), (first, 1280), (drained, 0)]


def timed_apart(program: Program) -> timing.Timing:
    """The schedule of a program whose pieces lie apart where those of this one overlap.

    No unit writes pieces over each other and so none has a schedule, but what is counted must not
    depend on that.
    """
    apart = []
    for i in program.instructions:
        if isinstance(i, isa.CopyIn):
            i = dataclasses.replace(i, dst_stride=max(i.dst_stride, i.bytes))
        elif isinstance(i, isa.Nd2Nz):
            i = dataclasses.replace(i, dst_rows=max(i.dst_rows, i.rows))
        apart.append(i)
    return Unit().schedule(Program((), tuple(apart)))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("copy_in dst=400 src=0 bytes=612", 112),
        ("copy_in dst=512 src=0 bytes=64", 0),
        ("copy_in dst=0x1000000000000000000000 src=0 bytes=64", 0),
        ("copy_in dst=0 src=0 bytes=32 bursts=1000000000000 src_stride=0 dst_stride=64", 256),
        ("copy_in dst=16 src=0 bytes=32 bursts=9 src_stride=0 dst_stride=80", 208),
        ("copy_in dst=0 src=0 bytes=48 bursts=40 src_stride=0 dst_stride=16", 512),
        ("copy_in dst=0 src=0 bytes=48 bursts=10 src_stride=0 dst_stride=16", 192),
        ("copy_in dst=0 src=0 bytes=48 bursts=40 src_stride=0 dst_stride=0", 48),
        ("nd2nz dst=0 src=0 rows=4 bytes=33 src_stride=33 dst_rows=8", 256),
        ("nd2nz dst=0 src=0 rows=4 bytes=33 src_stride=33 dst_rows=2", 192),
    ],
)
def test_only_bytes_of_a_memory_that_are_read_count(line, expected):
    program = Program.parse(
        f"{line}\nset_flag of=MTE2 to=MTE1 id=0\nwait_flag of=MTE2 to=MTE1 id=0\n"
        "load2d to=L0A dst=0x1000000 src=0 repeat=3"  # reads beyond the end of L1
    )
    found = show.occupied_bytes(program, timed_apart(program), UnitConfig(l1_bytes=512))
    assert found["L1"][1].tolist() == ([0, expected, 0] if expected else [0])
    assert found["L0A"][1].tolist() == [0]  # beyond its end


def test_a_byte_that_two_pieces_of_an_instruction_write_counts_once():
    line = "copy_in dst=0 src=0 bytes=48 bursts=10 src_stride=0 dst_stride=16\n"
    program = Program.parse(
        f"{line}set_flag of=MTE2 to=MTE1 id=0\nwait_flag of=MTE2 to=MTE1 id=0\n"
        "load2d to=L0A dst=0 src=0 repeat=1\n"
        f"set_flag of=MTE1 to=MTE2 id=0\nwait_flag of=MTE1 to=MTE2 id=0\n{line}"
    )
    of = timed_apart(program)
    times, sizes = show.occupied_bytes(program, of, UnitConfig())["L1"]
    assert times.tolist() == [0, of.instructions[0].end, of.instructions[3].end]
    assert sizes.tolist() == [0, 192, 0]


def test_what_counts_is_when_instructions_end_and_not_where_they_stand():
    # Without a flag the load ends after the copies behind it, so nobody reads the first of them.
    copy = "copy_in dst=0 src=0 bytes=64\n"
    program = Program.parse(f"load2d to=L0A dst=0 src=0 repeat=128\n{copy}{copy}")
    of = Unit().schedule(program)
    loaded, first, second = (row.end for row in of.instructions)
    assert first < second < loaded
    times, sizes = show.occupied_bytes(program, of, UnitConfig())["L1"]
    assert (times.tolist(), sizes.tolist()) == ([0, second, loaded], [0, 64, 0])


def test_occupancy_does_not_depend_on_how_often_it_is_summed_up(monkeypatch):
    run = case("sparse")
    whole = show.occupied_bytes(run.program, run.timing, run.config)
    monkeypatch.setattr("cube24.simulator.show.occupancy._MANY", 3)
    parts = show.occupied_bytes(run.program, run.timing, run.config)
    assert {name: (a.tolist(), b.tolist()) for name, (a, b) in whole.items()} == {
        name: (a.tolist(), b.tolist()) for name, (a, b) in parts.items()
    }
    assert len(whole["L1"][0]) > 10


# --- VCD ------------------------------------------------------------------------------------------


def read_vcd(data: str) -> tuple[dict[str, str], dict[str, list[tuple[int, str]]], int]:
    """Keywords of the header, the changes of each variable by its path, and the last time."""
    words = iter(data.split())
    header, changes, scopes, named = {}, defaultdict(list), [], {}
    now = -1
    for word in words:
        if word.startswith("$") and word not in ("$dumpvars", "$end"):
            inside = []
            while (inner := next(words)) != "$end":
                inside.append(inner)
            if word == "$scope":
                scopes.append(inside[1])
            elif word == "$upscope":
                scopes.pop()
            elif word == "$var":
                kind, size, ident, reference = inside
                assert ident not in named
                named[ident] = ".".join([*scopes, reference])
                header[named[ident]] = f"{kind} {size}"
            else:
                header[word] = " ".join(inside)
        elif word.startswith("#"):
            assert int(word[1:]) > now
            now = int(word[1:])
        elif word[0] in "bs":
            changes[named[next(words)]].append((now, word[1:]))
        elif word[0] in "01":
            changes[named[word[1:]]].append((now, word[0]))
        else:
            assert word in ("$dumpvars", "$end"), word
    assert not scopes
    return header, changes, now


@functools.cache
def vcd(name: str, folder: Path) -> Any:
    path = folder / f"{name}.vcd"
    show.write_vcd(case(name), path)
    return read_vcd(path.read_text("ascii"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traces")


def spans(changes: list[tuple[int, str]], end: int) -> list[tuple[int, int, str]]:
    """From when until when a variable has a value."""
    times = [time for time, _ in changes]
    assert times[0] == 0
    assert times == sorted(set(times)), "two values at one time"
    return [
        (start, stop, value)
        for (start, value), stop in zip(changes, [*times[1:], end], strict=True)
        if stop > start
    ]


def cycles_of(changes: list[tuple[int, str]], end: int) -> dict[int, str]:
    """The value in each cycle."""
    return {
        cycle: value for start, stop, value in spans(changes, end) for cycle in range(start, stop)
    }


@every_case
def test_busy_and_waiting_are_as_long_as_the_account_says(name, folder):
    _, changes, end = vcd(name, folder)
    assert end == case(name).cycles
    for core, (_, of) in cores(name).items():
        for pipe in PIPES:
            for signal, expected in (
                ("busy", of.pipes[pipe].busy), ("waiting", of.pipes[pipe].waiting),
            ):  # fmt: skip
                found = spans(changes[f"core{core}.{pipe}.{signal}"], end)
                assert sum(b - a for a, b, value in found if value == "1") == expected


@pytest.mark.parametrize("name", COUNTED)
def test_number_and_opcode_are_those_of_the_instruction_in_each_cycle(name, folder):
    _, changes, end = vcd(name, folder)
    for core, (_, of) in cores(name).items():
        for pipe in PIPES:
            signals = {
                signal: cycles_of(changes[f"core{core}.{pipe}.{signal}"], end)
                for signal in ("busy", "waiting", "number", "opcode")
            }
            expected = dict.fromkeys(range(end), ("0", "0", "z", ""))
            rows = [row for row in of.instructions if row.pipe == pipe]
            for row in rows:
                is_wait = row.name == "wait_flag"
                now = ("0", "1") if is_wait else ("1", "0")
                shown = (f"{row.index:b}", row.name)
                for cycle in range(row.start, row.end):
                    expected[cycle] = (*now, *shown)
            # What waited without a wait_flag: the cycles before it that nothing else took.
            for row in rows:
                for cycle in range(row.start - row.waited, row.start):
                    if row.name != "wait_flag" and expected[cycle][2] == "z":
                        expected[cycle] = ("0", "1", f"{row.index:b}", row.name)
            got = {cycle: tuple(signals[s][cycle] for s in signals) for cycle in range(end)}
            assert got == expected, (core, pipe)


#: Numbers that the instructions of a pipe have; more may be there.
NUMBERS = {
    "MTE2": ("dst", "src", "bytes", "bursts", "rows"),
    "MTE1": ("dst", "src", "dense", "index", "repeat", "m", "k", "pad"),
    "M": ("c", "a", "b", "m", "n", "k", "bias"),
    "FIX": ("dst", "src", "m", "n", "stride"),
}


@pytest.mark.parametrize("name", COUNTED)
def test_numbers_are_those_of_the_program_text_in_each_cycle(name, folder):
    # The fields as the text of the program has them, which a human writes too; what it leaves out
    # is a default and is not looked at here.
    header, changes, end = vcd(name, folder)
    seen = 0
    for core, (program, _) in cores(name).items():
        lines = str(program).splitlines()
        lines = [line for line in lines if not line.startswith(("buffer", "#")) and line]
        for pipe in PIPES:
            path = f"core{core}.{pipe}"
            number = cycles_of(changes[f"{path}.number"], end)
            for signal in NUMBERS[pipe]:
                if f"{path}.{signal}" not in header:  # then no instruction of it has one
                    used = [lines[int(each, 2)] for each in {*number.values()} - {"z"}]
                    assert not any(f" {signal}=" in line for line in used), (path, signal)
                    continue
                shown = cycles_of(changes[f"{path}.{signal}"], end)
                for cycle, value in shown.items():
                    if number[cycle] == "z":
                        assert value == "z"
                        continue
                    words = lines[int(number[cycle], 2)].split()[1:]
                    given = dict(word.split("=") for word in words)
                    if signal in given:
                        assert int(value, 2) == int(given[signal], 0), (cycle, signal)
                        seen += 1
    assert seen > 100


def test_codes_are_places_among_the_instructions(folder):
    _, changes, end = vcd("groups", folder)
    names = list(isa.INSTRUCTIONS)
    for pipe in PIPES:
        opcode, code = (
            cycles_of(changes[f"core0.{pipe}.{signal}"], end) for signal in ("opcode", "code")
        )
        for cycle, value in code.items():
            assert (names[int(value, 2)] if value != "z" else "") == opcode[cycle]


def test_a_number_below_zero_is_in_twos_complement(tmp_path):
    line = "load3d dst=0 src=0 c1=1 h=4 w=4 kernel_h=1 kernel_w=1 m_start=0 m=16 k_start=0 k=32"
    program = Program.parse(f"{line} pad=-5")
    of = show.Scheduled(program, Unit().schedule(program), UnitConfig())
    show.write_vcd(of, tmp_path / "a.vcd")
    _, changes, _ = read_vcd((tmp_path / "a.vcd").read_text())
    values = [value for _, value in changes["core0.MTE1.pad"]]
    assert int(values[1] if values[0] == "z" else values[0], 2) == 2**64 - 5


@pytest.mark.parametrize("name", COUNTED)
def test_a_flag_is_1_from_its_set_to_the_end_of_its_wait(name, folder):
    _, changes, end = vcd(name, folder)
    shown = {path for path in changes if ".flags." in path}
    for core, (program, of) in cores(name).items():
        expected: dict[str, set[int]] = {}
        for one, other in program_pairs(program):
            i = program.instructions[one]
            path = f"core{core}.flags.{i.of}_{i.to}_{i.id}"
            life = range(of.instructions[one].end, of.instructions[other].end)
            expected.setdefault(path, set()).update(life)
        for path, life in expected.items():
            found = cycles_of(changes[path], end)
            assert {cycle for cycle, value in found.items() if value == "1"} == life, path
            shown.remove(path)
    assert not shown


def test_a_flag_that_nobody_takes_stays_1(tmp_path):
    program = Program.parse(
        "set_flag of=MTE2 to=M id=3\ncopy_in dst=0 src=0 bytes=64\nset_flag of=MTE2 to=M id=4"
    )
    of = show.Scheduled(program, Unit().schedule(program), UnitConfig())
    show.write_vcd(of, tmp_path / "a.vcd")
    _, changes, end = read_vcd((tmp_path / "a.vcd").read_text())
    assert changes["core0.flags.MTE2_M_3"] == [(0, "1")]
    assert changes["core0.flags.MTE2_M_4"] == [(0, "0"), (end, "1")]
    assert [e["ph"] for e in json.loads(show.perfetto(of))["traceEvents"] if e["ph"] in "sf"] == []


def test_a_flag_that_is_set_again_when_it_is_taken_has_one_value_at_that_time(tmp_path):
    program = Program.parse("set_flag of=M to=FIX id=0\nwait_flag of=M to=FIX id=0\n" * 3)
    rows = [
        timing.Row(number, i.name, "FIX" if i.name == "wait_flag" else "M",
                   0, start, end, 0, 0, 0, end - start, "")
        for number, (i, start, end) in enumerate(
            zip(program.instructions, (0, 0, 5, 5, 12, 9), (0, 5, 5, 9, 12, 13), strict=True)
        )
    ]  # fmt: skip
    of = timing.Timing(13, {}, tuple(rows))
    show.write_vcd(show.Scheduled(program, of, UnitConfig()), tmp_path / "a.vcd")
    _, changes, _ = read_vcd((tmp_path / "a.vcd").read_text())
    assert changes["core0.flags.M_FIX_0"] == [(0, "1"), (9, "0"), (12, "1"), (13, "0")]


def test_the_vcd_header_has_scale_types_and_no_date(folder):
    header, _, _ = vcd("groups", folder)
    assert header["$timescale"] == "1 ns"
    assert header["$version"] == "cube24"
    assert header["$comment"] == (
        "1 ns is 1 cycle of custom, whose clock is 1850 MHz core 0 (and 2 cores more like it)"
    )
    assert "$date" not in header
    types = {path.split(".")[-1]: kind for path, kind in header.items() if path[0] != "$"}
    assert types["busy"] == types["waiting"] == types["M_FIX_0"] == "wire 1"
    assert (types["number"], types["opcode"]) == ("reg 32", "string 1")
    assert (types["code"], types["dst"], types["m"]) == ("reg 8", "reg 64", "reg 64")


def test_no_name_of_a_unit_breaks_a_trace(tmp_path):
    program = Program.parse("copy_in dst=0 src=0 bytes=64")
    config = UnitConfig(name='a"\n$end \udc80\u20ac,\\')
    of = show.Scheduled(program, Unit().schedule(program), config)
    assert json.loads(show.perfetto(of))["otherData"]["unit"] == config.name
    show.write_vcd(of, tmp_path / "a.vcd")
    header, changes, _ = read_vcd((tmp_path / "a.vcd").read_text("ascii"))
    assert header["$comment"] == '1 ns is 1 cycle of a"__end __,\\, whose clock is 1850 MHz'
    # Four pipes of five variables, and six numbers of the one instruction.
    assert len(changes) == 4 * 5 + 6


# --- CSV ------------------------------------------------------------------------------------------


@every_case
def test_the_csv_has_a_line_for_each_instruction(name, tmp_path):
    show.write_csv(case(name), tmp_path / "a.csv")
    data = (tmp_path / "a.csv").read_bytes()
    assert data.endswith(b"\n")
    assert b"\r" not in data
    head, *lines = data.decode("ascii").split("\n")[:-1]
    names = head.split(",")
    assert names == [
        "core", "number", "name", "pipe", "issued", "start", "end", "head", "work", "slowed",
        "waited", "cause", "text",
    ]  # fmt: skip
    expected = []
    for core in sorted(cores(name)):
        program, of = cores(name)[core]
        for row in of.instructions:
            fields = tuple(row)
            expected.append([str(core), *map(str, fields), text(program.instructions[row.index])])
    assert [line.split(",") for line in lines] == expected


# --- files ----------------------------------------------------------------------------------------

WRITERS = {"json": show.write_perfetto, "vcd": show.write_vcd, "csv": show.write_csv}
every_writer = pytest.mark.parametrize("kind", WRITERS)


def test_the_json_file_is_what_the_function_gives(tmp_path):
    for scalar in (False, True):
        path = tmp_path / f"{scalar}.json"
        show.write_perfetto(case("groups"), path, scalar=scalar)
        assert path.read_bytes().decode("ascii") == show.perfetto(case("groups"), scalar=scalar)


@every_writer
def test_a_run_and_its_program_with_its_timing_give_the_same_trace(kind, tmp_path):
    run = case("encoded")
    WRITERS[kind](run, tmp_path / "run")
    of = show.Scheduled(run.program, run.timing, run.config)
    WRITERS[kind](of, tmp_path / "of")
    assert (tmp_path / "run").read_bytes() == (tmp_path / "of").read_bytes()


_HASHES = """
import hashlib, pathlib, sys
from cube24.simulator import Matmul, Tile, Unit, UnitConfig, show
run = Unit(UnitConfig()).time(Matmul(200, 72, 256), cores=4,
                    tile=Tile(32, 32, 64, 128))
for kind in ("perfetto", "vcd", "csv"):
    path = pathlib.Path(sys.argv[1]) / kind
    getattr(show, f"write_{kind}")(run, path, overwrite=True)
    print(hashlib.sha256(path.read_bytes()).hexdigest())
"""


def test_bytes_do_not_depend_on_process_hashes_time_zone_or_locale(tmp_path):
    found = []
    for seed, zone, locale in (("1", "UTC", "C"), ("77", "Asia/Kathmandu", "de_DE.UTF-8")):
        place = tmp_path / seed
        place.mkdir()
        settings = {"PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": locale, "PYTHONUTF8": "0"}
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-c", _HASHES, str(place)],
                env={**os.environ, **settings}, cwd=place, capture_output=True, text=True,
                check=True,
            )  # fmt: skip
            found.append(done.stdout.split())
    for kind, write in WRITERS.items():
        write(CASES["groups"](), tmp_path / kind)  # a fresh run, in this process
    here = [hashlib.sha256((tmp_path / kind).read_bytes()).hexdigest() for kind in WRITERS]
    assert len(set(here)) == 3
    assert found == [here] * 4


@every_writer
def test_a_file_that_is_there_stays_unless_it_may_be_replaced(kind, tmp_path):
    path = tmp_path / "there"
    path.write_text("mine")
    with pytest.raises(FileAccessError, match="is there already"):
        WRITERS[kind](case("sparse"), path)
    assert path.read_text() == "mine"
    WRITERS[kind](case("sparse"), path, overwrite=True)
    assert "mmad_sparse" in path.read_text()
    assert list(tmp_path.iterdir()) == [path]


@every_writer
@pytest.mark.parametrize("place", ["missing/a", "file/a", "folder", "nul\0"])
def test_a_place_that_takes_no_file_is_an_error_with_its_path(kind, place, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileAccessError) as caught:
        WRITERS[kind](case("sparse"), tmp_path / place)
    assert caught.value.path == str(tmp_path / place).replace("\0", "\\0")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@every_writer
def test_a_read_only_folder_is_an_error(kind, tmp_path, monkeypatch):
    # The rights of a folder do not bind root, so the system's refusal is made here.
    def refuse(self: Path, mode: str, *_: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(FileAccessError, match="Permission denied; check the permissions"):
        WRITERS[kind](case("sparse"), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


@every_writer
def test_a_trace_that_is_interrupted_leaves_nothing_and_keeps_what_was_there(
    kind, tmp_path, monkeypatch
):
    whole = show.cores.cores_of

    def interrupted(run: Run) -> Iterator[Any]:
        yield from whole(run)
        raise KeyboardInterrupt

    for module in (show.chrome, show.vcd, show.csv):
        monkeypatch.setattr(module, "cores_of", interrupted)
    (tmp_path / "old").write_text("old")
    for name in ("old", "new"):
        with pytest.raises(KeyboardInterrupt):
            WRITERS[kind](case("sparse"), tmp_path / name, overwrite=True)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("old", "old")]


def test_a_schedule_of_another_program_or_without_instructions_is_refused():
    run = case("sparse")
    for rows in ((), run.instructions[1:]):
        other = dataclasses.replace(run.timing, instructions=rows)
        with pytest.raises(
            ArgumentError, match=f"{len(rows)} instructions .* {len(run.instructions)}"
        ):
            show.Scheduled(run.program, other, run.config)


@every_writer
def test_a_program_too_long_to_list_is_refused_and_leaves_nothing(kind, tmp_path, monkeypatch):
    run = CASES["sparse"]()
    limited = functools.partial(chip.core_program, limit=100)
    monkeypatch.setattr("cube24.simulator.run.core_program", limited)
    with pytest.raises(timing.ScheduleError, match="more than 100 instructions"):
        WRITERS[kind](run, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_without_pyvcd_the_error_tells_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vcd", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cube24\[trace\]'") as caught:
        show.write_vcd(case("sparse"), tmp_path / "a.vcd")
    assert isinstance(caught.value, Cube24Error)
    assert list(tmp_path.iterdir()) == []
    show.write_csv(case("sparse"), tmp_path / "a.csv")  # the others do not need it
    assert json.loads(show.perfetto(case("sparse")))


@every_writer
def test_cores_come_in_the_order_of_their_numbers_whichever_is_the_slowest(kind, tmp_path):
    run = CASES["groups"]()
    WRITERS[kind](run, tmp_path / "one")
    turned = CASES["groups"]()
    turned.__dict__["chip"] = chip.ChipTiming(run.chip.groups[::-1])
    assert turned.program != run.program
    WRITERS[kind](turned, tmp_path / "other")
    one, other = ((tmp_path / name).read_text() for name in ("one", "other"))
    cycles = f'"cycles": {turned.cycles}'  # of the first group
    assert other == one.replace(f'"cycles": {run.cycles}', cycles)


# --- nothing to show ------------------------------------------------------------------------------


def test_an_empty_run_has_traces_of_nothing(tmp_path):
    run = Unit().time(Matmul(0, 16, 64), sparse=False)
    assert run.cycles == 0
    data = json.loads(show.perfetto(run))
    assert data["traceEvents"] == []
    assert data["otherData"]["cycles"] == 0
    show.write_csv(run, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == ",".join(show.COLUMNS) + "\n"
    show.write_vcd(run, tmp_path / "a.vcd")
    header, changes, _ = read_vcd((tmp_path / "a.vcd").read_text())
    assert header["$timescale"] == "1 ns"
    assert changes == {}


def test_an_empty_program_shows_a_core_that_does_nothing(tmp_path):
    of = show.Scheduled(Program((), ()), Unit().schedule(Program((), ())), UnitConfig())
    found = json.loads(show.perfetto(of))["traceEvents"]
    assert {e["ph"] for e in found} == {"M", "C"}
    assert [e["args"]["bytes"] for e in found if e["ph"] == "C"] == [0] * 4
    show.write_vcd(of, tmp_path / "a.vcd")
    _, changes, end = read_vcd((tmp_path / "a.vcd").read_text())
    assert end == 0
    assert {tuple(those) for those in changes.values()} == {
        ((0, "0"),), ((0, "z"),), ((0, ""),),
    }  # fmt: skip
