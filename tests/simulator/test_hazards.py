"""The hazard check against the machine, against slow and obvious graphs, and on made programs.

What an instruction touches is compared with what the machine does to random memories. What is
ordered is compared with paths in a graph that is built here, from the rules of docs/unit.md, for
random programs and for made programs from which a flag was taken.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cube24.simulator import (
    CapacityError,
    Conv2d,
    ExecutionError,
    Matmul,
    Program,
    RangeError,
    Tile,
    UnitConfig,
    chip,
    isa,
    machine,
    tiler,
    writer,
)
from cube24.simulator.hazards import Access, Hazards, accesses, check

SMALL = UnitConfig(
    l1_bytes=8192, l0a_bytes=4096, l0b_bytes=4096, l0c_bytes=8192, fb_bytes=1024, index3="nothing"
)
FLAGS = (isa.SetFlag, isa.WaitFlag)


def instruction(line: str) -> isa.Instruction:
    (found,) = Program.parse(line).instructions
    return found


def checked(text: str, config: UnitConfig | None = None, **how: Any) -> Hazards:
    return check(Program.parse(text), config or UnitConfig(), **how)


def places(access: Access) -> Iterator[int]:
    for piece in range(access.count):
        start = access.start + piece * access.stride
        yield from range(start, start + access.bytes)


# --- what an instruction touches ------------------------------------------------------------------

# A line, and how many neighbouring bytes of what it reads may have to be tried until one of them
# changes a result: padding of operands, bits of a word that no mode uses.
TOUCHES = [
    ("copy_in dst=64 src=5 bytes=33", 1),
    ("copy_in dst=64 src=5 bytes=33 bursts=3 src_stride=70 dst_stride=64", 1),
    ("copy_in dst=64 src=5 bytes=32 bursts=3 src_stride=32 dst_stride=32", 1),
    ("copy_in dst=64 src=5 bytes=32 bursts=3 src_stride=0 dst_stride=64", 1),
    ("copy_in dst=64 src=5 bytes=32 bursts=3 src_stride=20 dst_stride=64", 1),
    ("nd2nz dst=32 src=7 rows=3 bytes=70 src_stride=90 dst_rows=16", 1),
    ("nd2nz dst=32 src=7 rows=16 bytes=64 src_stride=64 dst_rows=16", 1),
    ("load2d to=L0A dst=512 src=32 repeat=2 start=1 stride=3 gap=1", 1),
    ("load2d to=L0B dst=512 src=32 repeat=3 stride=0", 1),
    ("load3d dst=0 src=32 c1=2 h=3 w=4 kernel_h=2 kernel_w=2 m_start=0 m=6 k_start=0 k=256", 32),
    ("load3d dst=512 src=32 c1=3 h=3 w=3 kernel_h=1 kernel_w=1 m_start=0 m=9 k_start=32 k=32", 1),
    ("load3d dst=0 src=0 c1=3 h=2 w=2 kernel_h=1 kernel_w=2 m_start=0 m=2 k_start=32 k=64", 64),
    ("load_sparse dst=1024 dense=512 index=32 repeat=2 start=1", 1),
    ("load_bias dst=64 src=32 bytes=40", 1),
    ("load_params dst=8 src=32 bytes=24", 1),
    ("mmad c=1024 a=512 b=1024 m=5 n=19 k=33", 512),
    ("mmad c=1024 a=512 b=1024 m=17 n=16 k=32", 512),
    ("mmad c=1024 a=512 b=1024 m=16 n=16 k=64", 1),
    ("mmad c=1024 a=512 b=1024 m=5 n=19 k=32 start=keep", 512),
    ("mmad c=1024 a=512 b=1024 m=5 n=19 k=32 start=bias bias=64", 512),
    ("mmad_sparse c=1024 a=0 b=512 m=17 n=19 k=64", 512),
    ("mmad_sparse c=1024 a=0 b=1024 m=16 n=16 k=100 start=keep", 512),
    ("fixpipe to=GM dst=3 src=1024 m=18 n=20 stride=25", 1),
    ("fixpipe to=L1 dst=32 src=1024 m=5 n=3 stride=16 layout=nz", 1),
    ("fixpipe to=L1 dst=32 src=0 m=5 n=18 stride=16 layout=nz mode=req8 words=0x3f800000", 4),
    ("fixpipe to=GM dst=9 src=0 m=5 n=18 stride=18 mode=vreq8 words=16", 8),
    ("fixpipe to=GM dst=9 src=0 m=3 n=5 stride=8 mode=vdeqf16 words=16", 8),
]  # fmt: skip


def noise(config: UnitConfig) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    found = {}
    for name, memory in machine.Machine(config, 4096).memories.items():
        found[name] = rng.integers(0, 256, memory.size, np.uint8)
    # Results small enough that requantisation tells them apart, and words with a scale near 1.
    found["L0C"].view(np.int32)[...] = rng.integers(-120, 120, found["L0C"].size // 4)
    words = 0x3F800000 + (rng.integers(0, 1 << 9, found["FB"].size // 8, np.uint64) << 13)
    found["FB"].view(np.uint64)[...] = words
    return found


def ran(line: str, start: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    of = machine.Machine(SMALL, 4096)
    for name, data in start.items():
        of.memories[name][...] = data
    of.run((instruction(line),))
    return of.memories


def touched(line: str, write: bool) -> dict[str, np.ndarray]:
    """For each memory, which bytes accesses() says are touched."""
    masks = {name: np.zeros(data.size, bool) for name, data in noise(SMALL).items()}
    for access in accesses(instruction(line)):
        if access.write == write:
            masks[access.memory][list(places(access))] = True
    return masks


@pytest.mark.parametrize(("line", "_grain"), TOUCHES)
def test_the_machine_writes_exactly_the_bytes_that_are_named(line, _grain):
    written, start = touched(line, True), noise(SMALL)
    changed = {name: np.zeros(mask.size, bool) for name, mask in written.items()}
    # Of a byte and its complement, one is changed by whatever is written over it.
    for flip in (0, 255):
        before = {
            name: data ^ (written[name] * flip).astype(np.uint8) for name, data in start.items()
        }
        for name, after in ran(line, before).items():
            changed[name] |= after != before[name]
    for name, mask in written.items():
        if "keep" in line:  # adds, so that high bytes may stay as they are
            assert not (changed[name] & ~mask).any(), name
            assert changed[name][mask].reshape(-1, 4).any(1).all(), name
        else:
            assert np.array_equal(changed[name], mask), name


@pytest.mark.parametrize(("line", "_grain"), TOUCHES)
def test_no_other_byte_than_those_that_are_read_matters(line, _grain):
    read, written, start = touched(line, False), touched(line, True), noise(SMALL)
    expected = ran(line, start)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        other = {
            name: np.where(read[name], data, rng.integers(0, 256, data.size, np.uint8))
            for name, data in start.items()
        }
        for name, after in ran(line, other).items():
            mask = written[name]
            assert np.array_equal(after[mask], expected[name][mask]), name


@pytest.mark.parametrize(("line", "grain"), TOUCHES)
def test_each_byte_that_is_read_matters(line, grain):
    read, written, start = touched(line, False), touched(line, True), noise(SMALL)
    expected = ran(line, start)

    def matters(name: str, at: int) -> bool:
        for flip in (0x11, 0xEE):
            start[name][at] ^= flip
            try:
                after = ran(line, start)
            except ExecutionError:
                return True  # a word without a finite scale
            finally:
                start[name][at] ^= flip
            if any((after[n][mask] != expected[n][mask]).any() for n, mask in written.items()):
                return True
        return False

    assert any(mask.any() for mask in read.values())
    for name, mask in read.items():
        found = np.flatnonzero(mask)
        for group in (found[i : i + grain] for i in range(0, found.size, grain)):
            assert any(matters(name, int(at)) for at in group), (name, group)


@pytest.mark.parametrize(
    "line",
    [
        "copy_in dst=0 src=0 bytes=0",
        "copy_in dst=0 src=0 bytes=32 bursts=0",
        "nd2nz dst=0 src=0 rows=0 bytes=32 src_stride=32 dst_rows=16",
        "nd2nz dst=0 src=0 rows=3 bytes=0 src_stride=32 dst_rows=16",
        "load2d to=L0A dst=0 src=0 repeat=0",
        "load3d dst=0 src=0 c1=1 h=4 w=4 kernel_h=1 kernel_w=1 m_start=0 m=0 k_start=0 k=32",
        "load3d dst=0 src=0 c1=1 h=4 w=4 kernel_h=1 kernel_w=1 m_start=0 m=16 k_start=0 k=0",
        "load_sparse dst=0 dense=0 index=0 repeat=0",
        "load_bias dst=0 src=0 bytes=0",
        "load_params dst=0 src=0 bytes=0",
        *(f"mmad c=0 a=0 b=0 m={m} n={n} k={k} unit_flag=3" for m, n, k in
          ((0, 16, 32), (16, 0, 32), (16, 16, 0))),
        "mmad_sparse c=0 a=0 b=0 m=0 n=16 k=64 start=bias",
        "fixpipe to=GM dst=0 src=0 m=0 n=16 stride=16",
        "fixpipe to=GM dst=0 src=0 m=16 n=0 stride=16 mode=vreq8",
        "set_flag of=M to=FIX id=0",
        "wait_flag of=M to=FIX id=0",
        "barrier on=M",
    ],
)  # fmt: skip
def test_what_does_nothing_touches_nothing(line):
    assert accesses(instruction(line)) == ()


def test_operands_of_float16_have_two_bytes_an_element():
    # k of one fractal is 16: 40 of k are 3 fractals, 2 x 3 of A and 1 x 3 of B.
    found = accesses(instruction("mmad c=0 a=512 b=1024 m=20 n=16 k=40 dtype=float16"))
    assert Access("L0A", False, 512, 6 * 512) in found
    assert Access("L0B", False, 1024, 3 * 512) in found
    stored = accesses(instruction("fixpipe to=GM dst=0 src=0 m=2 n=5 stride=9 mode=fp16"))
    assert Access("GM", True, 0, 10, 2, 18) in stored


# --- the oracle -----------------------------------------------------------------------------------


def pipe_of(i: isa.Instruction) -> str:
    if isinstance(i, isa.SetFlag):
        return i.of
    if isinstance(i, isa.WaitFlag):
        return i.to
    return i.on if isinstance(i, isa.Barrier) else i.pipe


def blocks_of(i: isa.Instruction) -> set[int]:
    """Blocks of 512 bytes of L0C whose unit flags an instruction uses: those of whole fractals."""
    if not isinstance(i, (isa.Mmad, isa.Fixpipe)) or not i.unit_flag or not accesses(i):
        return set()
    at = i.c if isinstance(i, isa.Mmad) else i.src
    fractals = -(-i.m // 16) * -(-i.n // 16)
    return set(range(at // 512, at // 512 + 2 * fractals))


class Oracle:
    """What orders what in a program, as a graph; all by the definitions, nothing fast."""

    def __init__(self, program: Program) -> None:
        self.all = program.instructions
        self.pipes = {p: [n for n, i in enumerate(self.all) if pipe_of(i) == p] for p in isa.PIPES}
        self.partners = {n: self._partners(n) for n in range(len(self.all))}
        self.done = self._done()
        self.edges: dict[Any, set[Any]] = {}
        self._link()
        self._reach: dict[Any, set[Any]] = {}

    def _partners(self, number: int) -> dict[Any, int | None]:
        """What must have run before: of a flag or block, which instruction; None: nobody ever."""
        i = self.all[number]
        if isinstance(i, isa.WaitFlag):
            same = [n for n, x in enumerate(self.all) if x == i and n < number]
            sets = [n for n, x in enumerate(self.all) if x == isa.SetFlag(i.of, i.to, i.id)]
            return {"flag": sets[len(same)] if len(same) < len(sets) else None}
        found: dict[Any, int | None] = {}
        for block in blocks_of(i):
            threes = {
                kind: [
                    n for n, x in enumerate(self.all)
                    if isinstance(x, kind) and block in blocks_of(x) and x.unit_flag == 3
                ]
                for kind in (isa.Mmad, isa.Fixpipe)
            }  # fmt: skip
            own = isa.Mmad if isinstance(i, isa.Mmad) else isa.Fixpipe
            rounds = len([n for n in threes[own] if n < number])
            if own is isa.Mmad:
                if rounds:
                    clears = threes[isa.Fixpipe]
                    found[block] = clears[rounds - 1] if rounds <= len(clears) else None
            else:
                sets = threes[isa.Mmad]
                found[block] = sets[rounds] if rounds < len(sets) else None
        return found

    def _done(self) -> set[int]:
        done: set[int] = set()
        while True:
            more = {
                n
                for queue in self.pipes.values()
                for at, n in enumerate(queue)
                if set(queue[:at]) <= done and all(p in done for p in self.partners[n].values())
            } - done
            if not more:
                return done
            done |= more

    @property
    def stuck(self) -> set[tuple[str, int]]:
        return {
            (p, min(set(queue) - self.done)) for p, queue in self.pipes.items()
            if set(queue) - self.done
        }  # fmt: skip

    def _edge(self, a: Any, b: Any) -> None:
        self.edges.setdefault(a, set()).add(b)

    def _link(self) -> None:
        """Nodes: start and end of an instruction, when it moves, and its blocks of L0C."""
        for queue in self.pipes.values():
            for a, b in itertools.pairwise(queue):
                self._edge(("end", a), ("start", b))
        for n in range(len(self.all)):
            self._edge(("start", n), ("moves", n))
            self._edge(("moves", n), ("end", n))
            partners = self.partners[n]
            if "flag" in partners:
                self._edge(("end", partners["flag"]), ("end", n))
                continue
            for block in blocks_of(self.all[n]):
                self._edge(("moves", n), ("block starts", n, block))
                self._edge(("block starts", n, block), ("block ends", n, block))
                self._edge(("block ends", n, block), ("end", n))
                if partners.get(block) is not None:
                    self._edge(("block ends", partners[block], block), ("block starts", n, block))
            # Nothing moves before the first block may: the first of the partners has started.
            known = [p for p in partners.values() if p is not None]
            if known and len(known) == len(blocks_of(self.all[n])):
                self._edge(("start", min(known)), ("moves", n))

    def before(self, a: Any, b: Any) -> bool:
        if a not in self._reach:
            seen, todo = set(), [a]
            while todo:
                for node in self.edges.get(todo.pop(), ()):
                    if node not in seen:
                        seen.add(node)
                        todo.append(node)
            self._reach[a] = seen
        return b in self._reach[a]

    def _touches(self, n: int) -> dict[tuple[str, int | None, bool], int]:
        """(memory, block of L0C, write) -> bytes, as bits of a number."""
        found: dict[tuple[str, int | None, bool], int] = {}
        blocks = blocks_of(self.all[n])
        for access in accesses(self.all[n]):
            for at in places(access):
                block = at // 512 if access.memory == "L0C" else None
                key = (access.memory, block, access.write)
                assert not blocks or block is None or block in blocks
                found[key] = found.get(key, 0) | 1 << at
        return found

    def races(self) -> dict[tuple[int, int, str, str], int]:
        """(first, second, memory, kind) -> bytes, as bits of a number."""
        found: dict[tuple[int, int, str, str], int] = {}
        touches = {n: self._touches(n) for n in sorted(self.done)}
        for a, b in itertools.combinations(sorted(self.done), 2):
            if pipe_of(self.all[a]) == pipe_of(self.all[b]):
                continue
            for (memory, block, write_a), bytes_a in touches[a].items():
                for write_b in (False, True):
                    shared = bytes_a & touches[b].get((memory, block, write_b), 0)
                    if not shared or not (write_a or write_b) or self._ordered(a, b, block):
                        continue
                    word = {True: "write", False: "read"}
                    key = (a, b, memory, f"{word[write_b]}-after-{word[write_a]}")
                    found[key] = found.get(key, 0) | shared
        return found

    def _ordered(self, a: int, b: int, block: int | None) -> bool:
        def node(n: int, what: str) -> Any:
            if block is not None and block in blocks_of(self.all[n]):
                return (f"block {what}s", n, block)
            return ("moves" if what == "start" else "end", n)

        ends, starts = (node(a, "end"), node(b, "end")), (node(a, "start"), node(b, "start"))
        return self.before(ends[0], starts[1]) or self.before(ends[1], starts[0])

    def _numbers(self, flag: isa.Instruction) -> list[int]:
        return [n for n, i in enumerate(self.all) if i == flag]

    def double_sets(self) -> set[tuple[int, int]]:
        found = set()
        for i in set(self.all):
            if isinstance(i, isa.SetFlag):
                waits = self._numbers(isa.WaitFlag(i.of, i.to, i.id))
                for number, (a, b) in enumerate(itertools.pairwise(self._numbers(i))):
                    safe = number < len(waits) and self.before(("end", waits[number]), ("start", b))
                    if b in self.done and not safe:
                        found.add((a, b))
        return found

    def leftovers(self) -> set[int]:
        found = set()
        for i in set(self.all):
            if isinstance(i, isa.SetFlag):
                waits = self._numbers(isa.WaitFlag(i.of, i.to, i.id))
                found |= set(self._numbers(i)[len(waits) :])
        threes = [n for n, i in enumerate(self.all) if blocks_of(i) and i.unit_flag == 3]  # type: ignore[attr-defined]
        for block in set().union(*(blocks_of(self.all[n]) for n in threes)):
            mine = [n for n in threes if block in blocks_of(self.all[n])]
            sets = [n for n in mine if isinstance(self.all[n], isa.Mmad)]
            if 2 * len(sets) > len(mine):
                found.add(sets[-1])
        return found


def assert_as_the_oracle(program: Program, config: UnitConfig) -> tuple[Hazards, Oracle]:
    found, oracle = check(program, config, limit=10**6), Oracle(program)
    assert found.more == 0
    assert {(d.pipe, d.number) for d in found.deadlocks} == oracle.stuck
    assert {(d.first, d.second) for d in found.double_sets} == oracle.double_sets()
    if not found.deadlocks:
        assert {x.number for x in found.leftovers} == oracle.leftovers()
    expected = oracle.races()
    pairs = [(race.first, race.second) for race in found.races]
    assert len(pairs) == len(set(pairs))
    for race in found.races:
        shared = expected.get((race.first, race.second, race.memory, race.kind), 0)
        wanted = (1 << race.end) - (1 << race.start)
        assert shared & wanted == wanted, race
        assert race.start < race.end
    # Of several accesses of a pipe to a byte only the last is listed, but no byte goes unnoticed.
    for a, b, *_ in expected:
        pipes = {pipe_of(oracle.all[a]), pipe_of(oracle.all[b])}
        assert any(
            {a, b} & {c, d} and {pipe_of(oracle.all[c]), pipe_of(oracle.all[d])} == pipes
            for c, d in pairs
        ), (a, b)
    return found, oracle


# --- random programs ------------------------------------------------------------------------------


def some(kind: type[Any], **fields: Any) -> st.SearchStrategy[Any]:
    return st.builds(kind, **{name: st.sampled_from(of) for name, of in fields.items()})


SIZES = {"m": (3, 9, 17), "n": (4, 16, 20)}
WORK = st.one_of(
    some(isa.CopyIn, dst=(0, 32, 512), src=(0, 40), bytes=(32, 48), bursts=(1, 2),
         src_stride=(8, 64), dst_stride=(48, 64)),
    some(isa.Load2D, to=("L0A", "L0B"), dst=(0, 512), src=(0, 32), repeat=(0, 1, 2), gap=(0, 1)),
    some(isa.LoadBias, dst=(0, 64), src=(0, 64), bytes=(32, 64)),
    some(isa.LoadParams, dst=(0, 8), src=(32, 512), bytes=(8, 32)),
    some(isa.LoadSparse, dst=(0, 512), dense=(0,), index=(32, 512), repeat=(1,)),
    some(isa.Mmad, c=(0, 1024), a=(0, 512), b=(0,), **SIZES, k=(0, 32),
         start=("zero", "keep", "bias"), bias=(0, 64)),
    some(isa.MmadSparse, c=(0, 1024), a=(0,), b=(0, 512), **SIZES, k=(64,)),
    some(isa.Fixpipe, to=("GM", "L1"), dst=(0, 32), src=(0, 1024), **SIZES, stride=(32,),
         mode=("int32", "req8", "vreq8"), words=(0, 8), layout=("nd", "nz")),
)  # fmt: skip
UNITS = st.one_of(
    some(isa.Mmad, c=(0, 1024), a=(0,), b=(0,), m=(3, 16, 20), n=(4, 16, 20), k=(32,),
         start=("zero", "keep", "bias"), unit_flag=(0, 2, 3, 3)),
    some(isa.Fixpipe, to=("GM", "L1"), dst=(0, 64), src=(0, 1024), m=(3, 16, 20), n=(4, 16, 20),
         stride=(32,), mode=("int32", "vreq8"), layout=("nz",), unit_flag=(0, 2, 3, 3)),
)  # fmt: skip


@st.composite
def programs(draw: st.DrawFn, units: bool) -> Program:
    """Work, flags before and after it, and now and then a flag too many or too few."""
    work = st.one_of(WORK, UNITS, UNITS) if units else WORK
    lines: list[isa.Instruction] = draw(st.lists(work, min_size=1, max_size=10))
    for _ in range(draw(st.integers(0, 8))):
        of, to = draw(st.permutations(isa.PIPES))[:2]
        flag = (of, to, draw(st.integers(0, 1)))
        at, gap = draw(st.integers(0, len(lines))), draw(st.integers(-1, 5))
        chosen = draw(st.sampled_from(["both"] * 12 + ["set", "wait"]))
        if chosen != "wait":
            lines.insert(at, isa.SetFlag(*flag))
        if chosen != "set":
            lines.insert(min(len(lines), max(0, at + 1 + gap)), isa.WaitFlag(*flag))
    return Program((), tuple(lines))


@given(programs(units=False))
def test_random_programs_have_the_hazards_of_the_graph(program):
    assert_as_the_oracle(program, UnitConfig())


@given(programs(units=True))
def test_random_programs_with_unit_flags_have_the_hazards_of_the_graph(program):
    assert_as_the_oracle(program, UnitConfig())


# --- made programs --------------------------------------------------------------------------------

MADE = [
    (m, n, k, sparse, bias, fixpipe, tile)
    for sparse in (False, True)
    for m, n, k, bias, fixpipe in (
        (40, 50, 200, True, "vreq8"), (17, 33, 64, False, "int32"),
        (100, 130, 1000, True, "deqf16"), (5, 100, 130, False, "vdeqf16"),
    )
    for tile in (
        None, Tile(16, 32, 64, 128), Tile(32, 16, 64, 64), Tile(16, 16, 64, 128, k_weights=64),
        Tile(16, 32, 64, 128, l1_buffers=1), Tile(16, 16, 64, 64, unit_flag=True),
    )
]  # fmt: skip


def program_of(problem: tiler.Problem, config: UnitConfig, tile: Tile | None) -> Program:
    """The whole program of a problem on one core."""
    return chip.core_program(writer.plan_for(problem, config, tile), limit=None)


@pytest.mark.parametrize("how", MADE, ids=str)
def test_matrix_multiplications_have_no_hazards(how):
    m, n, k, sparse, bias, fixpipe, tile = how
    problem = tiler.Problem(Matmul(m, n, k), sparse, bias=bias, fixpipe=fixpipe)
    found = check(program_of(problem, UnitConfig(), tile), UnitConfig())
    assert str(found) == "no hazards"
    assert found.clean


@pytest.mark.parametrize(
    "tile", [None, Tile(32, 32, 64, 128), Tile(32, 32, 64, 128, unit_flag=True)]
)
def test_timed_programs_of_float16_have_no_hazards(tile):
    problem = tiler.Problem(
        Matmul(70, 80, 300), False, fixpipe="fp16", dtype="float16", weight_rows=True
    )
    assert check(program_of(problem, UnitConfig(), tile), UnitConfig()) == Hazards()


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    "tile", [None, Tile(16, 32, 64, 128), Tile(32, 16, 64, 64, unit_flag=True)]
)
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (3, 1, 4, 2)])
def test_convolutions_have_no_hazards(sparse, tile, pads):
    layer = Conv2d(2, 96, 9, 7, 40, (3, 2), pads=pads)
    problem = tiler.Problem(layer, sparse, bias=True, fixpipe="vreq8")
    assert check(program_of(problem, UnitConfig(), tile), UnitConfig()) == Hazards()


def small_program(unit_flag: bool) -> Program:
    """Three tiles, two parts of k each, all double buffers in use."""
    problem = tiler.Problem(Matmul(16, 48, 128), True, bias=True, fixpipe="vreq8")
    return program_of(problem, UnitConfig(), Tile(16, 16, 64, 64, unit_flag=unit_flag))


def without(program: Program, gone: set[int]) -> Program:
    kept = (i for n, i in enumerate(program.instructions) if n not in gone)
    return dataclasses.replace(program, instructions=tuple(kept))


@pytest.mark.parametrize("unit_flag", [False, True])
def test_a_made_program_without_one_of_its_flags_has_the_hazards_of_the_graph(unit_flag):
    program = small_program(unit_flag)
    assert_as_the_oracle(program, UnitConfig())
    flags: dict[isa.Instruction, list[int]] = {}
    for n, i in enumerate(program.instructions):
        flags.setdefault(i, []).append(n)
    hazards = 0
    for i, sets in flags.items():
        if isinstance(i, isa.SetFlag):
            for pair in zip(sets, flags[isa.WaitFlag(i.of, i.to, i.id)], strict=True):
                found, oracle = assert_as_the_oracle(without(program, set(pair)), UnitConfig())
                assert found.clean == (not oracle.races() and not oracle.double_sets())
                hazards += not found.clean
    # Not all: activations and weights that are loaded together have a flag each.
    assert hazards >= 18


@pytest.mark.parametrize("unit_flag", [False, True])
def test_a_made_program_without_the_flags_between_two_pipes_has_races_of_them(unit_flag):
    program = small_program(unit_flag)
    ways = {(i.of, i.to) for i in program.instructions if isinstance(i, isa.SetFlag)}
    assert len(ways) == 6 if unit_flag else 8
    for way in ways:
        gone = {
            n for n, i in enumerate(program.instructions)
            if isinstance(i, FLAGS) and (i.of, i.to) == way
        }  # fmt: skip
        found, _ = assert_as_the_oracle(without(program, gone), UnitConfig())
        pipes = {tuple(i.pipe for i in race.instructions) for race in found.races}
        assert way in pipes


def test_a_made_program_without_its_unit_flags_has_races():
    plain = tuple(
        dataclasses.replace(i, unit_flag=0) if isinstance(i, (isa.Mmad, isa.Fixpipe)) else i
        for i in small_program(True).instructions
    )
    found, _ = assert_as_the_oracle(Program((), plain), UnitConfig())
    assert {race.memory for race in found.races} == {"L0C"}


# --- races as text --------------------------------------------------------------------------------

COPY = "copy_in dst=0x20 src=0x0 bytes=64\n"
BIAS = "load_bias dst=0x0 src=0x40 bytes=64\n"


def test_a_race_names_both_instructions_the_bytes_and_the_missing_flag():
    (race,) = checked(COPY + BIAS).races
    assert str(race) == (
        "read-after-write race on L1 bytes 0x40 to 0x60: instruction 0 (copy_in dst=0x20 src=0x0 "
        "bytes=64) writes them on MTE2, instruction 1 (load_bias dst=0x0 src=0x40 bytes=64) reads "
        "them on MTE1, no flag MTE2 -> MTE1 between them"
    )
    assert not checked(COPY + BIAS).clean


@pytest.mark.parametrize(
    ("text", "kind", "memory", "start", "end"),
    [
        (COPY + BIAS, "read-after-write", "L1", 0x40, 0x60),
        (BIAS + COPY, "write-after-read", "L1", 0x40, 0x60),
        ("fixpipe to=L1 dst=0 src=0 m=1 n=16 stride=16\ncopy_in dst=0x20 src=0 bytes=32",
         "write-after-write", "L1", 0x20, 0x40),
        ("fixpipe to=GM dst=5 src=0 m=2 n=1 stride=4\ncopy_in dst=0 src=10 bytes=32",
         "read-after-write", "GM", 21, 25),
        ("load2d to=L0A dst=512 src=0 repeat=1\nmmad c=0 a=0 b=0 m=16 n=16 k=64",
         "read-after-write", "L0A", 512, 1024),
        ("load_sparse dst=512 dense=0 index=0 repeat=1\nmmad_sparse c=0 a=0 b=0 m=16 n=17 k=64",
         "read-after-write", "L0B", 512, 1024),
        ("fixpipe to=GM dst=0 src=0 m=9 n=3 stride=3\nmmad c=0 a=0 b=0 m=16 n=16 k=32",
         "write-after-read", "L0C", 0, 12),
        ("mmad c=0 a=0 b=0 m=1 n=16 k=32 start=bias\nload_bias dst=0 src=0 bytes=4",
         "write-after-read", "BT", 0, 4),
    ],
)  # fmt: skip
def test_each_kind_of_race_is_found_in_each_memory(text, kind, memory, start, end):
    (race,) = checked(text).races
    assert (race.kind, race.memory, race.start, race.end) == (kind, memory, start, end)


def test_neighbours_that_share_no_byte_do_not_race():
    assert checked(COPY + "load_bias dst=0x0 src=0x60 bytes=64").clean
    # Pieces of a move between which another pipe reads.
    pieces = "copy_in dst=0x0 src=0x0 bytes=32 bursts=3 src_stride=32 dst_stride=64\n"
    assert checked(pieces + "load_bias dst=0x0 src=0x20 bytes=32").clean
    assert checked(pieces + "load_bias dst=0x0 src=0x40 bytes=32").races


def test_pieces_that_others_divide_are_found_whole():
    pieces = "copy_in dst=0x0 src=0x0 bytes=64 bursts=2 src_stride=64 dst_stride=128\n"
    parts = "load_bias dst=0x0 src=0x20 bytes=32\nload_bias dst=0x0 src=0xa0 bytes=32\n"
    assert [race.start for race in checked(pieces + parts).races] == [0x20, 0xA0]


def test_the_kind_is_that_of_the_program_even_where_the_second_runs_first():
    late = "wait_flag of=M to=MTE1 id=0\n" + BIAS + COPY + "set_flag of=M to=MTE1 id=0\n"
    found, _ = assert_as_the_oracle(Program.parse(late), UnitConfig())
    assert [(r.first, r.second, r.kind) for r in found.races] == [(1, 2, "write-after-read")]


def test_what_one_pipe_does_is_in_order():
    assert checked(COPY * 2 + "barrier on=MTE2\n" + COPY).clean


def test_a_barrier_orders_no_other_pipe():
    assert checked(COPY + "barrier on=MTE2\nbarrier on=MTE1\n" + BIAS).races


def test_a_flag_orders_and_so_do_two_over_a_third_pipe():
    flag = "set_flag of={0} to={1} id=3\nwait_flag of={0} to={1} id=3\n"
    assert checked(COPY + flag.format("MTE2", "MTE1") + BIAS) == Hazards()
    for back in (("MTE1", "MTE2"), ("MTE2", "M"), ("M", "MTE1")):
        assert checked(COPY + flag.format(*back) + BIAS).races
    way = flag.format("MTE2", "M") + flag.format("M", "MTE1")
    assert checked(COPY + way + BIAS) == Hazards()
    # The wrong way round: M tells MTE1 before it was told itself.
    way = flag.format("M", "MTE1") + flag.format("MTE2", "M")
    assert checked(COPY + way + BIAS).races


def test_a_wait_may_stand_before_its_set():
    wait, sets = "wait_flag of=MTE2 to=MTE1 id=0\n", "set_flag of=MTE2 to=MTE1 id=0\n"
    assert checked(wait + BIAS + COPY + sets) == Hazards()
    assert checked(wait + BIAS + sets + COPY).races


def test_the_races_are_listed_once_a_pair_up_to_the_limit():
    text = "copy_in dst=0 src=0 bytes=1024\n" + BIAS * 5
    found = checked(text, limit=3)
    assert [(race.first, race.second) for race in found.races] == [(0, 1), (0, 2), (0, 3)]
    assert found.more == 2
    assert str(found).endswith("\n2 more races")
    assert not checked(text, limit=0).clean


# --- deadlocks ------------------------------------------------------------------------------------


def test_a_wait_that_nobody_sets_is_a_deadlock():
    found = checked("barrier on=M\nset_flag of=M to=FIX id=1\nwait_flag of=M to=FIX id=0\n")
    (deadlock,) = found.deadlocks
    assert str(deadlock) == (
        "deadlock: FIX stops at instruction 2 (wait_flag of=M to=FIX id=0): "
        "no set_flag of=M to=FIX id=0 is left for it"
    )
    assert (deadlock.pipe, deadlock.number, deadlock.cycle) == ("FIX", 2, ())
    assert not found.clean


def test_waits_for_each_other_are_a_cycle():
    found = checked(
        "wait_flag of=M to=FIX id=0\nset_flag of=FIX to=M id=0\n"
        "wait_flag of=FIX to=M id=0\nset_flag of=M to=FIX id=0\n"
        "wait_flag of=FIX to=MTE1 id=0\nset_flag of=FIX to=MTE1 id=0\n"
    )
    assert [(d.pipe, d.number, d.cycle) for d in found.deadlocks] == [
        ("MTE1", 4, ()), ("M", 2, (2, 0)), ("FIX", 0, (0, 2)),
    ]  # fmt: skip
    assert str(found.deadlocks[2]) == (
        "deadlock: FIX stops at instruction 0 (wait_flag of=M to=FIX id=0): instruction 3 "
        "(set_flag of=M to=FIX id=0) sets it, but stands behind instruction 2 (wait_flag of=FIX "
        "to=M id=0), which waits; a cycle: 0 -> 2 -> 0"
    )
    assert "stands behind instruction 0" in str(found.deadlocks[0])


def test_a_pipe_that_waits_for_itself_is_a_cycle_of_one():
    found = checked("wait_flag of=M to=M id=0\nset_flag of=M to=M id=0")
    assert [d.cycle for d in found.deadlocks] == [(0,)]
    assert checked("set_flag of=M to=M id=0\nwait_flag of=M to=M id=0") == Hazards()


def test_the_races_before_a_deadlock_are_found():
    found = checked(
        COPY + BIAS + "wait_flag of=M to=MTE1 id=0\n" + "load_bias dst=0 src=0x20 bytes=32"
    )
    assert [(race.first, race.second) for race in found.races] == [(0, 1)]
    assert len(found.deadlocks) == 1


# --- flags twice, flags left ----------------------------------------------------------------------

SET, WAIT = "set_flag of=M to=FIX id=0\n", "wait_flag of=M to=FIX id=0\n"


def test_a_flag_set_twice_without_a_wait_is_found():
    found = checked(SET + SET + WAIT + WAIT)
    assert str(found) == (
        "flag set twice: instructions 0 and 1 (set_flag of=M to=FIX id=0), without a wait between "
        "them"
    )
    assert not found.clean


def test_a_flag_whose_wait_may_be_late_is_found_although_the_machine_runs_it():
    text = SET + WAIT + SET + WAIT
    machine.Machine(UnitConfig()).run(Program.parse(text).instructions)
    assert str(checked(text)) == (
        "flag set twice: instructions 0 and 2 (set_flag of=M to=FIX id=0), and nothing orders the "
        "wait, instruction 1, before the second"
    )
    back = "set_flag of=FIX to=M id=0\nwait_flag of=FIX to=M id=0\n"
    assert checked(SET + WAIT + back + SET + WAIT) == Hazards()


def test_a_flag_that_is_left_is_a_warning():
    found = checked("barrier on=M\n" + SET)
    assert str(found) == (
        "warning: flag left set: instruction 1 (set_flag of=M to=FIX id=0) sets it for nobody"
    )
    assert found.clean


# --- unit flags -----------------------------------------------------------------------------------

MMAD = "mmad c=0x0 a=0x0 b=0x0 m=16 n=32 k=32 unit_flag={}\n"
FIXPIPE = "fixpipe to=GM dst=0x0 src=0x0 m=16 n=32 stride=32 unit_flag={}\n"


@pytest.mark.parametrize(
    ("lines", "wrong"),
    [
        ((MMAD.format(3), FIXPIPE.format(3)), ""),
        ((MMAD.format(2), MMAD.format(2), MMAD.format(3), FIXPIPE.format(3)), ""),
        ((MMAD.format(3), FIXPIPE.format(3)) * 3, ""),
        ((MMAD.format(3), FIXPIPE.format(2), FIXPIPE.format(3), MMAD.format(2)), ""),
        ((FIXPIPE.format(3), MMAD.format(3)), ""),  # a wait may stand before its set
        ((MMAD.format(3), FIXPIPE.format(0)), "race"),
        ((MMAD.format(0), FIXPIPE.format(0)), "race"),
        ((MMAD.format(3), MMAD.format(0), FIXPIPE.format(3)), "race"),
        ((MMAD.format(3), FIXPIPE.format(3), MMAD.format(0)), "race"),
        ((MMAD.format(2), FIXPIPE.format(3)), "deadlock"),
        ((MMAD.format(0), FIXPIPE.format(2)), "deadlock"),
        ((MMAD.format(3), MMAD.format(2)), "deadlock"),
        ((MMAD.format(3), FIXPIPE.format(2), MMAD.format(3)), "deadlock"),
        ((MMAD.format(3), FIXPIPE.format(3), FIXPIPE.format(3)), "deadlock"),
        ((MMAD.format(3), FIXPIPE.format(2)), "left"),
        ((MMAD.format(3),), "left"),
    ],
)
def test_unit_flags_order_a_mmad_and_a_fixpipe(lines, wrong):
    found, _ = assert_as_the_oracle(Program.parse("".join(lines)), UnitConfig())
    assert bool(found.deadlocks) == (wrong == "deadlock")
    assert bool(found.races) == (wrong == "race")
    assert bool(found.leftovers) == (wrong == "left") or wrong in ("race", "deadlock")


def test_deadlocks_of_unit_flags_are_explained():
    (found,) = checked(FIXPIPE.format(3) + MMAD.format(2)).deadlocks
    assert str(found).endswith(": no mmad with unit_flag=3 sets the unit flag of L0C 0x0")
    assert (found.pipe, found.number) == ("FIX", 0)
    # The second block of the second fractal is set by nobody.
    (found,) = checked(FIXPIPE.format(3) + MMAD.format(3).replace("n=32", "n=16")).deadlocks
    assert found.reason == "no mmad with unit_flag=3 sets the unit flag of L0C 0x400"
    (found,) = checked(MMAD.format(3) + MMAD.format(2) + FIXPIPE.format(2)).deadlocks
    assert found.reason == "no fixpipe with unit_flag=3 clears the unit flag of L0C 0x0"
    found, other = checked(
        MMAD.format(3) + MMAD.format(3) + SET + WAIT + FIXPIPE.format(3)
    ).deadlocks
    assert (found.number, other.number) == (1, 3)
    assert found.reason == (
        "instruction 4 (fixpipe to=GM dst=0x0 src=0x0 m=16 n=32 stride=32 unit_flag=3) clears the "
        "unit flag of L0C 0x0, but stands behind instruction 3 (wait_flag of=M to=FIX id=0), "
        "which waits"
    )
    assert (found.cycle, other.cycle) == ((1, 3), (3, 1))
    # Two that wait for each other's blocks: neither stands behind anything.
    found, other = checked(
        MMAD.format(3) + MMAD.format(3).replace("n=32", "n=48")
        + FIXPIPE.format(3).replace("n=32 stride=32", "n=48 stride=48")
    ).deadlocks  # fmt: skip
    assert found.reason.endswith("clears the unit flag of L0C 0x0, and waits itself")
    assert (found.cycle, other.cycle) == ((1, 2), (2, 1))


def test_unit_flags_that_are_left_are_a_warning():
    text = MMAD.format(3) + FIXPIPE.format(3).replace("n=32", "n=16")
    assert str(checked(text)) == (
        "warning: unit flag of L0C 0x400 left set: instruction 0 (mmad c=0x0 a=0x0 b=0x0 m=16 "
        "n=32 k=32 unit_flag=3) sets it for nobody"
    )


def test_a_unit_flag_tells_what_came_before_the_mmad_and_nothing_of_it_but_its_block():
    flag = "set_flag of={0} to={1} id=3\nwait_flag of={0} to={1} id=3\n"
    load = "load_bias dst=0x0 src=0x40 bytes=64\n"
    write = "fixpipe to=L1 dst=0x40 src=0x0 m=16 n=32 stride=32 unit_flag=3\n"
    # MTE1 reads L1, tells M; the Fixpipe behind M's Mmad writes there.
    assert checked(load + flag.format("MTE1", "M") + MMAD.format(3) + write) == Hazards()
    # M is told only behind the Mmad: too late.
    assert checked(load + MMAD.format(3) + flag.format("MTE1", "M") + write).races
    # The Mmad reads BT while the Fixpipe runs: FIX cannot tell MTE1 that BT is free ...
    biased = MMAD.format(3).replace("k=32", "k=32 start=bias")
    told = flag.format("FIX", "MTE1") + load
    (race,) = checked(biased + FIXPIPE.format(3) + told).races
    assert race.memory == "BT"
    # ... but M can.
    assert checked(biased + FIXPIPE.format(3) + flag.format("M", "MTE1") + load) == Hazards()


def test_a_fixpipe_of_two_mmads_starts_when_the_first_has_started_and_ends_behind_both():
    one = MMAD.format(3).replace("n=32", "n=16")
    load = "load_bias dst=0x0 src=0x40 bytes=64\n"
    flag = "set_flag of=MTE1 to=M id=3\nwait_flag of=MTE1 to=M id=3\n"
    whole = "fixpipe to=L1 dst=0x40 src=0x0 m=16 n=32 stride=32 unit_flag=3\n"
    last = "fixpipe to=L1 dst=0x40 src=0x800 m=16 n=16 stride=16\n"
    text = one + load + flag + one.replace("c=0x0", "c=0x400") + whole + last
    found, _ = assert_as_the_oracle(Program.parse(text), UnitConfig())
    # The words of the first block may be written before MTE1 has read.
    assert [(race.first, race.second, race.memory) for race in found.races] == [(1, 5, "L1")]


def test_blocks_are_ordered_one_by_one():
    two = MMAD.format(3).replace("n=32", "n=16") + MMAD.format(0).replace("c=0x0", "c=0x400")
    whole = FIXPIPE.format(0)
    one = FIXPIPE.format(3).replace("n=32", "n=16")
    found = checked(two + one + whole)
    # Behind the first Fixpipe, the second may read the block that the unit flag was for.
    assert [(r.first, r.second, r.start) for r in found.races] == [(1, 3, 0x400)]
    assert "and no unit flag between them" in str(found)


# --- what does not exist --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "error", "part"),
    [
        ("copy_in dst=0x7ffe0 src=0 bytes=64", CapacityError, "beyond L1, which has 524288"),
        ("copy_in dst=-32 src=0 bytes=64", CapacityError, "beyond L1"),
        ("copy_in dst=0 src=-1 bytes=64", CapacityError, "beyond GM"),
        *(
            (text.format((1 << bits) - 8), CapacityError, "beyond GM")
            for bits in (62, 63, 64, 70)
            for text in (
                "copy_in dst=0 src={} bytes=32",
                "copy_in dst=0 src={} bytes=32 bursts=4 src_stride=64 dst_stride=64",
                "nd2nz dst=0 src={} rows=2 bytes=32 src_stride=32 dst_rows=16",
                "fixpipe to=GM dst={} src=0 m=1 n=16 stride=16",
            )
        ),
        ("copy_in dst=0 src=0 bytes=1 bursts=0xffffffffff dst_stride=1", CapacityError, "L1"),
        ("copy_in dst=64 src=0 bytes=1 bursts=2 dst_stride=-8", RangeError, "dst_stride is -8"),
        ("load2d to=L0A dst=0 src=0 repeat=129", CapacityError, "L0A"),
        ("load_sparse dst=0xfe00 dense=0 index=0 repeat=2", CapacityError, "L0B"),
        ("load_bias dst=960 src=0 bytes=128", CapacityError, "BT"),
        ("load_params dst=7168 src=0 bytes=8", CapacityError, "FB"),
        ("mmad c=0x1fc00 a=0 b=0 m=16 n=17 k=32", CapacityError, "L0C"),
        ("load2d to=L1 dst=0 src=0 repeat=1", RangeError, "to is 'L1'; it takes L0A, L0B"),
        ("fixpipe to=L0A dst=0 src=0 m=1 n=1 stride=1", RangeError, "it takes GM, L1"),
        ("fixpipe to=GM dst=0 src=0 m=1 n=1 stride=1 mode=x", RangeError, "mode is 'x'"),
        ("set_flag of=V to=M id=0", RangeError, "of is 'V'"),
        ("wait_flag of=M to=V id=0", RangeError, "to is 'V'"),
        ("set_flag of=M to=FIX id=8", RangeError, "id is 8"),
        ("barrier on=ALL", RangeError, "on is 'ALL'"),
    ],
)
def test_what_does_not_exist_is_refused_with_its_number(line, error, part):
    with pytest.raises(error, match=part) as caught:
        checked(f"barrier on=M\n{line}\n")
    assert caught.value.number == 1


def test_a_large_global_memory_costs_nothing():
    far = 1 << 40
    copies = "".join(f"copy_in dst=0 src={far + 7 * n:#x} bytes=5\n" for n in range(50))
    store = f"fixpipe to=GM dst={far + 7 * 20:#x} src=0 m=2 n=1 stride=7\n"
    found = checked(copies + store)
    # int32 results of 4 bytes at a distance of 28: under the copies 20 and 24.
    assert [(r.first, r.second, r.end - r.start) for r in found.races] == [(20, 50, 4), (24, 50, 4)]
