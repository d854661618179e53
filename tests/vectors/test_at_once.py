"""Several processes, one folder: one campaign, whole cases, and nothing of the user's is lost."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cube24.cli import run
from cube24.errors import ArgumentError, FileAccessError, FileFormatError
from cube24.vectors import campaign, campaigns, description, missing, place, suites, written
from cube24.vectors.campaign import Campaign, Summary, generate
from cube24.vectors.files import CaseStyle
from cube24.vectors.manifest import load
from cube24.vectors.place import part_of
from cube24.vectors.plain import NotPlainError

BIN = CaseStyle(("bin",))
SMALL = Campaign(("patterns",), 0, 7, BIN)
NAMES = [f"patterns/{item.name}" for item in suites.items("patterns", 0, 7)]

#: The number of a process that does not live: more than the system gives out.
DEAD = 1 << 30


def tree(root: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()
    }


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("plain") / "set"
    generate(root, SMALL)
    return tree(root)


# --- at the same time -----------------------------------------------------------------------------

MANY = """
import sys, time
from cube24.errors import Cube24Error
from cube24.vectors import Campaign, CaseStyle, generate
import cube24.vectors.coverage, cube24.vectors.suites
campaign = Campaign(("patterns", "requant"), 0, int(sys.argv[2]), CaseStyle(("bin",)))
print("ready", flush=True)
sys.stdin.readline()
try:
    print(generate(sys.argv[1], campaign))
except Cube24Error as error:
    print(error)
    sys.exit(2)
"""


def at_once(root: Path, seeds: list[int]) -> list[tuple[int, str]]:
    """Campaigns with these seeds, started at the same moment: exit code and what each said."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MANY, str(root), str(seed)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for seed in seeds
    ]  # fmt: skip
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        return [(process.wait(120), process.communicate()[0]) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.mark.timeout(1800)
def test_ten_campaigns_of_two_kinds_in_one_folder_give_one_result(tmp_path: Path) -> None:
    wanted = {}
    for seed in (1, 2):
        generate(tmp_path / f"{seed}", Campaign(("patterns", "requant"), 0, seed, BIN))
        wanted[seed] = tree(tmp_path / f"{seed}")
    for number in range(int(os.environ.get("CUBE24_AT_ONCE_ROUNDS", "3"))):
        root = tmp_path / "set"
        ends = at_once(root, [1, 2] * 5)
        found = tree(root)
        (winner,) = (seed for seed in wanted if found == wanted[seed])
        for place_, (code, said) in enumerate(ends):
            won = [1, 2][place_ % 2] == winner
            assert code == (0 if won else 2), (number, said)
            assert ("Summary" if won else "another campaign") in said
        shutil.rmtree(root)


@pytest.mark.parametrize("seed", [7, 8])
def test_a_campaign_that_starts_between_look_and_write_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    other, write, done = Campaign(("patterns",), 0, seed, BIN), Path.write_bytes, []

    def slow(self: Path, data: bytes) -> int:
        if self.name.startswith(".campaign") and not done:
            done.append(1)
            generate(tmp_path, other)
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", slow)
    if other == SMALL:  # both are content
        assert generate(tmp_path, SMALL) == Summary(0, 3)
    else:
        said = r"started in this folder at the same time \(seed 8, not 7\)"
        with pytest.raises(ArgumentError, match=said):
            generate(tmp_path, SMALL)
    assert generate(tmp_path, other) == Summary(0, 3)
    assert not list(tmp_path.glob(".*"))


def test_a_file_system_without_links_has_campaigns_too(
    tmp_path: Path, plain: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    generate(tmp_path, SMALL)
    assert tree(tmp_path) == plain


def test_what_another_process_has_put_there_is_kept(
    tmp_path: Path, plain: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    put = place.put

    def late(files: Any, path: Path) -> bool:
        put(files, path)  # by the other process, at the last moment
        return put(files, path)

    monkeypatch.setattr(place, "put", late)
    assert generate(tmp_path, SMALL) == Summary(0, 3)
    assert tree(tmp_path) == plain


def test_a_case_that_became_whole_while_it_was_to_be_replaced_stays(
    tmp_path: Path, plain: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    generate(tmp_path, SMALL)
    (tmp_path / NAMES[0] / "dense.bin").unlink()
    demand = written.demand_ours

    def mend(target: Path, files: Any) -> None:
        demand(target, files)
        (target / "dense.bin").write_bytes(files["dense.bin"])

    monkeypatch.setattr(written, "demand_ours", mend)
    before = (tmp_path / NAMES[0]).stat().st_ino
    assert generate(tmp_path, SMALL) == Summary(0, 3)
    assert (tmp_path / NAMES[0]).stat().st_ino == before
    assert tree(tmp_path) == plain


# --- what others left, and what they are still writing --------------------------------------------


def test_parts_of_dead_processes_are_cleared_and_of_living_ones_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "case"
    dead, mine, parents = (part_of(path, process) for process in (DEAD, None, os.getppid()))
    for part in (dead, mine, parents):
        part.mkdir()
        (part / "dense.hex").write_text("00\n")
    monkeypatch.setattr(place, "_machine", lambda: "0123abcd")
    elsewhere, old = part_of(path, DEAD), part_of(path, DEAD)
    monkeypatch.undo()
    elsewhere.mkdir()
    old.mkdir()
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    users = [tmp_path / name for name in (".notes.part", ".x.0-1-2.part", "a.part")]
    for user in users:
        user.mkdir()
    place.clear(tmp_path)
    assert not dead.exists()
    assert not old.exists()
    for part in (mine, parents, elsewhere, *users):
        assert part.exists()


def test_a_process_that_is_dead_and_not_asked_for_is_dead(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    part = part_of(tmp_path / "case", child)
    part.mkdir()
    deadline = time.monotonic() + 10
    while part.exists() and time.monotonic() < deadline:
        place.clear(tmp_path)  # its parent has not asked for it yet
    os.waitpid(child, 0)
    assert not part.exists()


def test_names_of_parts_are_private_and_short(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    assert len({part_of(path) for _ in range(100)}) == 100
    assert len(part_of(path).name) < 200


# --- what is the user's ---------------------------------------------------------------------------


def test_a_file_beside_a_whole_case_stays_and_the_case_is_kept(tmp_path: Path) -> None:
    generate(tmp_path, SMALL)
    (tmp_path / NAMES[0] / "wave.vcd").write_text("wave")
    (tmp_path / NAMES[1] / "sub").mkdir()
    (tmp_path / NAMES[1] / "sub" / "notes.txt").write_text("notes")
    before = tree(tmp_path)
    assert generate(tmp_path, SMALL) == Summary(0, 3)
    assert tree(tmp_path) == before


STRAYS = {
    "wave.vcd": lambda path: path.write_text("wave"),
    ".hidden": lambda path: path.write_text("hidden"),
    "sub": lambda path: path.mkdir(),
    "link": lambda path: path.symlink_to("/etc/hostname"),
    "steps": lambda path: (path.mkdir(), (path / "mine").write_text("mine")),
    "pipe": os.mkfifo,
}


@pytest.mark.parametrize("name", list(STRAYS))
@pytest.mark.parametrize("broken", ["dense", "manifest", "spec"])
def test_a_broken_case_is_not_replaced_over_a_file_of_the_users(
    tmp_path: Path, name: str, broken: str
) -> None:
    generate(tmp_path, SMALL)
    folder = tmp_path / NAMES[0]
    STRAYS[name](folder / name)
    if broken == "dense":
        (folder / "dense.bin").write_bytes(b"")
    elif broken == "manifest":
        (folder / "manifest.json").write_text("{")
    else:  # the whole case of another campaign
        other = Campaign(("patterns",), 0, 8, BIN)
        generate(tmp_path / "other", other)
        for path in (tmp_path / "other" / NAMES[0]).iterdir():
            shutil.copy(path, folder / path.name)
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    with pytest.raises(FileAccessError, match="is no file of the case in this folder"):
        generate(tmp_path, SMALL)
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_what_is_no_folder_is_not_replaced_by_one(tmp_path: Path) -> None:
    generate(tmp_path, SMALL)
    shutil.rmtree(tmp_path / NAMES[0])
    for make in (
        lambda path: path.write_text("mine"), lambda path: path.symlink_to("/nowhere"), os.mkfifo,
    ):  # fmt: skip
        make(tmp_path / NAMES[0])
        with pytest.raises(FileAccessError, match="is there already and is no folder"):
            generate(tmp_path, SMALL)
        (tmp_path / NAMES[0]).unlink()


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_campaign_json_that_is_no_plain_file_is_refused(tmp_path: Path, make: Any) -> None:
    make(tmp_path / campaign.CAMPAIGN)
    with pytest.raises(NotPlainError, match=r"campaign\.json"):
        generate(tmp_path, SMALL)


# --- what is missing ------------------------------------------------------------------------------


def test_verify_says_what_a_campaign_lacks_and_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    style = CaseStyle(("bin", "hex"), 4, "big", False, True)
    of = Campaign(("patterns", "requant"), 0, 9, style)
    for index in range(3):
        generate(tmp_path / "set", of, shard=(index, 4))
    count = len(list(of.items()))
    lacking = [f"{suite}/{item.name}" for suite, item in of.items()][3::4]
    assert list(missing(tmp_path / "set")) == lacking
    assert list(campaigns(tmp_path)) == [tmp_path / "set"]
    assert run(["vectors", "verify", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert f"{len(lacking)} of {count} cases are missing: {lacking[0]} and " in said
    assert said.endswith(f"verified: {count - len(lacking)} of {count} cases\n")
    order = said.split("go on with: cube24 ")[1].splitlines()[0].split()
    assert run(order) == 0
    assert run(["vectors", "verify", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith(f"verified: {count} of {count} cases\n")
    # A suite alone is no campaign.
    shutil.rmtree(tmp_path / "set" / lacking[0])
    assert run(["vectors", "verify", str(tmp_path / "set" / "patterns")]) == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"suites": {"patterns": 9}}, "suite 'patterns' of version 9; this version"),
        ({"suites": {"none": 1}}, "suite 'none' of version 1"),
        ({"suites": {}}, "one or more"),
        ({"level": 3}, "level is 3, out of range"),
        ({"seed": -1}, "seed is -1, out of range"),
        ({"schema": "cube24-campaign-9"}, "this version reads"),
        ({"more": 1}, "more is unknown"),
        ({"style": {"formats": ["hex"]}}, "style.word_bytes is missing"),
    ],
)
def test_a_campaign_json_of_others_is_refused_with_the_field(
    tmp_path: Path, change: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    generate(tmp_path, SMALL)
    path = tmp_path / campaign.CAMPAIGN
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(FileFormatError, match=said):
        Campaign.load(tmp_path)
    assert run(["vectors", "verify", str(tmp_path)]) == 1
    assert said in capsys.readouterr().out


def test_a_campaign_is_read_back_as_it_was(tmp_path: Path) -> None:
    generate(tmp_path, SMALL)
    assert Campaign.load(tmp_path) == SMALL
    assert description.CAMPAIGN == campaign.CAMPAIGN


@pytest.mark.parametrize("number", [1, 4, 100])
def test_a_job_array_that_counts_from_1_is_told(tmp_path: Path, number: int) -> None:
    with pytest.raises(ArgumentError, match=rf"shards count from 0, so .* are 0/{number} to "):
        generate(tmp_path / "set", SMALL, shard=(number, number))
    assert not (tmp_path / "set").exists()


# --- processes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("workers", "shard", "started"), [(300, (0, 1), 3), (2, (0, 2), 2)])
def test_there_are_never_more_processes_than_cases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, shard: Any, started: int
) -> None:
    seen: list[int] = []
    pieces = campaign._pieces
    monkeypatch.setattr(
        campaign, "_pieces", lambda of, parts: (seen.append(parts), pieces(of, parts))[1]
    )
    generate(tmp_path, SMALL, workers=workers, shard=shard)
    assert seen == [started]
    assert multiprocessing.active_children() == []


def test_the_manifest_of_a_case_is_read_whatever_its_folder_is_called(tmp_path: Path) -> None:
    generate(tmp_path / "set", SMALL)
    (tmp_path / "link").symlink_to(tmp_path / "set" / NAMES[0])
    assert load(tmp_path / "link").name == NAMES[0]
