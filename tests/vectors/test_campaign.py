"""Campaigns: the same bytes however they are run, nothing lost when they are stopped."""

import asyncio
import gc
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from itertools import islice
from pathlib import Path

import pytest
from processes import in_foreground

from cube24.cli import run
from cube24.encoder import ArgumentError, Cube24Error
from cube24.vectors import campaign, suites
from cube24.vectors.build import build
from cube24.vectors.campaign import Campaign, Summary, generate
from cube24.vectors.files import CaseStyle
from cube24.vectors.manifest import folders, write
from cube24.vectors.place import part_of
from cube24.vectors.spec import Item
from cube24.vectors.verification import verify

#: The number of a process that does not live: more than the system gives out.
DEAD = 1 << 30

SMALL = Campaign(("requant",), 0, 7, CaseStyle(("hex", "bin")))
COUNT = len(list(suites.items("requant", 0, 7)))


def tree(root: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()
    }


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("plain") / "set"
    assert generate(root, SMALL) == Summary(COUNT, 0)
    return tree(root)


def test_every_case_is_there_and_verifies(tmp_path):
    generate(tmp_path / "set", SMALL)
    found = list(folders(tmp_path / "set"))
    names = {item.name for item in suites.items("requant", 0, 7)}
    assert {folder.name for folder in found} == names
    for folder in found:
        verify(folder)


@pytest.mark.timeout(90)  # it hung for ever once
def test_a_cluster_that_is_not_there_or_fails_is_told(tmp_path):
    import dask
    from distributed import LocalCluster

    with pytest.raises(campaign.CampaignError, match="cluster nowhere: "):
        generate(tmp_path / "one", SMALL, cluster="nowhere")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "0.2s"}),
        pytest.raises(campaign.CampaignError, match=r"cluster tcp://127\.0\.0\.1:9: "),
    ):
        generate(tmp_path / "two", SMALL, cluster="tcp://127.0.0.1:9")
    name = next(iter(suites.items("requant", 0, 7))).name
    (tmp_path / "three" / "requant").mkdir(parents=True)
    (tmp_path / "three" / campaign.CAMPAIGN).write_bytes(SMALL.text())
    (tmp_path / "three" / "requant" / name).write_text("a file where a folder would be")
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        pytest.raises(campaign.CampaignError, match=r"FileAccessError: .*already and is no f"),
    ):
        generate(tmp_path / "three", SMALL, cluster=cluster.scheduler_address)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("address", ["nowhere", "tcp://127.0.0.1:9", "tcp://[", "", "a" * 300])
def test_no_client_is_left_to_the_garbage_collector(tmp_path, monkeypatch, address):
    import dask
    import distributed

    made = []

    class Client(distributed.Client):
        def __init__(self, *args, **options):
            made.append(self)
            super().__init__(*args, **options)

    monkeypatch.setattr(distributed, "Client", Client)
    threads = set(threading.enumerate())
    with dask.config.set({"distributed.comm.timeouts.connect": "0.2s"}):
        for _ in range(3):
            with pytest.raises(campaign.CampaignError, match="cluster "):
                generate(tmp_path, SMALL, cluster=address)
    assert {client.status for client in made} == {"closed"}
    assert {
        thread for thread in set(threading.enumerate()) - threads if "loop" in thread.name
    } == set()
    made.clear()
    gc.collect()


@pytest.mark.timeout(60)
def test_a_campaign_of_a_notebook_whose_thread_has_a_loop_runs_on_a_cluster(tmp_path, plain):
    from distributed import LocalCluster

    async def cell(address):
        return generate(tmp_path, SMALL, cluster=address)

    with LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None, processes=False
    ) as cluster:
        assert asyncio.run(cell(cluster.scheduler_address)) == Summary(COUNT, 0)
    assert tree(tmp_path) == plain


@pytest.mark.parametrize("workers", [2, 5])
def test_any_number_of_workers_gives_the_same_bytes(tmp_path, plain, workers):
    seen = []
    assert generate(tmp_path, SMALL, workers=workers, progress=seen.append) == Summary(COUNT, 0)
    assert tree(tmp_path) == plain
    assert seen == [1] * COUNT


def test_shards_in_any_order_give_the_same_bytes(tmp_path, plain):
    done = [generate(tmp_path, SMALL, shard=(i, 3)).written for i in (2, 0, 1)]
    assert sum(done) == COUNT
    assert max(done) - min(done) <= 1
    assert tree(tmp_path) == plain


def test_a_dask_cluster_gives_the_same_bytes(tmp_path, plain):
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, processes=True
    ) as cluster:
        done = generate(tmp_path, SMALL, cluster=cluster.scheduler_address)
    assert done == Summary(COUNT, 0)
    assert tree(tmp_path) == plain


def test_what_is_whole_is_kept_and_the_rest_is_made_again(tmp_path, plain):
    generate(tmp_path, SMALL)
    cases = sorted(folders(tmp_path))
    (cases[0] / "dense.hex").unlink()
    data = (cases[1] / "index.bin").read_bytes()
    (cases[1] / "index.bin").write_bytes(bytes([data[0] ^ 1]) + data[1:])
    (cases[2] / "manifest.json").write_bytes((cases[2] / "manifest.json").read_bytes()[:-9])
    (cases[3] / "more.txt").write_text("not of this case")
    shutil.rmtree(cases[4])
    shutil.move(cases[5], part_of(cases[5], DEAD))  # as if killed before the last step
    before = {folder: folder.stat().st_ino for folder in (cases[3], *cases[6:])}
    assert generate(tmp_path, SMALL) == Summary(5, COUNT - 5)
    assert (cases[3] / "more.txt").read_text() == "not of this case"
    (cases[3] / "more.txt").unlink()
    assert tree(tmp_path) == plain
    assert {folder: folder.stat().st_ino for folder in before} == before


@pytest.mark.parametrize("other", ["spec", "seed", "style", "case", "suite"])
def test_a_whole_case_that_is_another_one_is_made_again(tmp_path, plain, other):
    generate(tmp_path, SMALL)
    one, two = list(suites.items("requant", 0, 7))[:2]
    suite = "shapes" if other == "suite" else "requant"
    seed = 8 if other == "seed" else 7
    style = CaseStyle(("hex",)) if other == "style" else SMALL.style
    if other == "spec":
        two = Item(one.name, {**one.spec, "layout": "nd"}, one.tags)
    item = two if other in ("spec", "case") else one
    shutil.rmtree(tmp_path / "requant" / one.name)
    write(build(suite, 1, item, seed, style), tmp_path / "requant" / one.name)
    assert generate(tmp_path, SMALL) == Summary(1, COUNT - 1)
    assert tree(tmp_path) == plain


def test_what_a_killed_run_left_of_the_description_is_cleared(tmp_path, plain):
    for there in (False, True):  # killed before the description had its name, or by then
        part_of(tmp_path / campaign.CAMPAIGN, DEAD).write_text("{")
        assert (tmp_path / campaign.CAMPAIGN).exists() == there
        generate(tmp_path, SMALL)
        assert tree(tmp_path) == plain


SCRIPT = """
import sys
from cube24.vectors.campaign import Campaign, generate
from cube24.vectors.files import CaseStyle
style = CaseStyle(("hex", "bin"))
generate(sys.argv[1], Campaign(("requant",), 0, 7, style), workers=int(sys.argv[2]))
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_nothing_is_lost_or_half_written_however_often_it_is_killed(tmp_path, plain, workers):
    kills, wait = 0, 0.15
    while True:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path / "set"), workers], start_new_session=True
        )
        try:
            process.wait(timeout=wait)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
        # Whatever has its name is whole.
        for name, data in tree(tmp_path).items():
            relative = Path(name).relative_to("set")
            if not any(part.startswith(".") for part in relative.parts):
                assert plain[str(relative)] == data
        if process.returncode == 0:
            break
        wait += 0.07
        assert kills < 60
    assert kills >= 3
    assert tree(tmp_path / "set") == plain


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_the_workers_and_a_second_run_ends_the_work(tmp_path, plain, number, code):
    script = "import sys; from cube24.cli import main; main()"
    order = [
        sys.executable, "-c", script, "vectors", "generate", str(tmp_path / "set"), "--suite",
        "requant", "--level", "0", "--seed", "7", "--format", "hex", "--format", "bin",
        "--workers", "2",
    ]  # fmt: skip
    process = subprocess.Popen(order, stderr=subprocess.PIPE, text=True, preexec_fn=in_foreground)
    deadline = time.monotonic() + 30
    # Not rglob, which raises where a part is renamed while it looks into it.
    suite = tmp_path / "set" / "requant"
    while not any(suite.glob("[!.]*/manifest.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (code, 0)  # it may have been done already
    assert "Traceback" not in errors
    assert process.returncode == 0 or "the same command goes on" in errors
    subprocess.run(order, check=True, stdout=subprocess.DEVNULL)
    assert tree(tmp_path / "set") == plain


def test_a_full_disk_is_told_and_leaves_no_half_case(tmp_path):
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    code = SCRIPT.replace(
        "generate(sys", "from cube24.encoder import FileAccessError\ntry:\n    generate(sys"
    )
    code += "except FileAccessError as error:\n    print(error); sys.exit(3)\n"
    got = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "set"), "1"],
        preexec_fn=small_files, capture_output=True, text=True,
    )  # fmt: skip
    assert got.returncode == 3, got.stderr
    assert "too large" in got.stdout
    hidden = [path for path in tmp_path.rglob("*") if path.name.startswith(".")]
    assert hidden == []


def test_a_folder_that_refuses_is_told(tmp_path, monkeypatch):
    def refuse(self: Path, *args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(Cube24Error, match="Permission denied"):
        generate(tmp_path / "set", SMALL)


def test_another_campaign_in_the_same_folder_is_refused(tmp_path):
    generate(tmp_path, SMALL, shard=(0, COUNT))
    other = Campaign(("requant",), 0, 8, CaseStyle(("hex", "bin")))
    with pytest.raises(ArgumentError, match="another campaign"):
        generate(tmp_path, other)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "letter.txt").write_text("dear")
    with pytest.raises(ArgumentError, match="holds other things"):
        generate(tmp_path / "own", SMALL)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"workers": 0}, "workers"),
        ({"shard": (3, 3)}, "shard 3/3"),
        ({"shard": (-1, 3)}, "shard -1/3"),
    ],
)
def test_numbers_that_cannot_be_are_refused(tmp_path, options, said):
    with pytest.raises(ArgumentError, match=said):
        generate(tmp_path, SMALL, **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"suites": ("none",)}, "suite 'none'"),
        ({"suites": ()}, "one or more"),
        ({"suites": ("requant", "requant")}, "each once"),
        ({"suites": ("requant",), "level": 3}, "level 3"),
        ({"suites": ("requant",), "seed": -1}, "seed -1"),
    ],
)
def test_campaigns_that_cannot_be_are_refused(options, said):
    with pytest.raises(ArgumentError, match=said):
        Campaign(**options)


def test_a_worker_that_fails_is_told_and_stops_the_others(tmp_path):
    (tmp_path / "requant").mkdir()
    (tmp_path / campaign.CAMPAIGN).write_bytes(SMALL.text())
    name = next(iter(suites.items("requant", 0, 7))).name
    (tmp_path / "requant" / name).write_text("a file where the folder would be")
    with pytest.raises(campaign.CampaignError, match="FileAccessError"):
        generate(tmp_path, SMALL, workers=2)


def test_a_case_on_which_unit_and_dense_computation_differ_is_never_written(tmp_path, monkeypatch):
    from cube24.simulator import dense

    right = dense.accumulate_matmul

    def wrong(*args, **options):
        result = right(*args, **options)
        result[0, 0] ^= 1
        return result

    monkeypatch.setattr(dense, "accumulate_matmul", wrong)
    with pytest.raises(campaign.CampaignMismatchError, match=r"^requant/ties-half: \d+ of \d+"):
        generate(tmp_path, SMALL)
    assert run(["vectors", "generate", str(tmp_path), "--suite", "requant", "--level", "0",
                "--seed", "7", "--format", "hex", "--format", "bin"]) == 1  # fmt: skip
    assert list(tmp_path.rglob("manifest.json")) == []


def test_memory_does_not_grow_with_the_number_of_cases(tmp_path):
    script = (
        "import resource, sys\n"
        "from cube24.vectors.campaign import Campaign, generate\n"
        "done = generate(sys.argv[1], Campaign(('random',), 1, 3), shard=(0, int(sys.argv[2])))\n"
        "print(done.written, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    used = {}
    for shards in (200, 10):
        order = [sys.executable, "-c", script, str(tmp_path / str(shards)), str(shards)]
        got = subprocess.run(order, capture_output=True, text=True, check=True).stdout.split()
        assert int(got[0]) == 10_000 / shards
        used[shards] = int(got[1])
    assert used[10] < used[200] + 40_000  # KiB; their files have about 80 MiB


def test_cases_are_listed_one_by_one():
    items = suites.items("random", 2, 1)
    first = [next(items) for _ in range(3)]  # lazily: 100,000 cases are not made to give three
    assert [item.name for item in first] == ["r000000", "r000001", "r000002"]


@pytest.mark.parametrize("suite", suites.SUITES)
def test_names_are_those_of_the_cases(suite):
    for level in (0, 1):
        of = Campaign((suite,), level, 3)
        assert list(of.names()) == [(suite, item.name) for _, item in of.items()]
        assert of.count() == sum(1 for _ in of.items())
    drawn = [item.name for item in islice(suites.items(suite, 2, 3), 600)]
    assert list(islice(suites.names(suite, 2), 600)) == drawn
    some = Campaign((suite,), 0, 3, cases=(f"{suite}/*[0-4ac]*",))
    assert list(some.names()) == [(name, item.name) for name, item in some.items()]


def test_names_need_no_case(monkeypatch):
    monkeypatch.setattr("cube24.vectors.suites.random.matmul", None)
    monkeypatch.setattr("cube24.vectors.suites.random.conv2d", None)
    assert next(suites.names("random", 2)) == "r000000"
    assert sum(1 for _ in suites.names("random", 2)) == 1_000_000
    with pytest.raises(ArgumentError, match="level 3: choose"):
        suites.names("random", 3)
    with pytest.raises(ArgumentError, match="suite 'rand'"):
        suites.names("rand", 1)


def test_the_seed_of_a_case_does_not_depend_on_the_other_cases():
    one = {i.name: build("random", 1, i, 5).seed for i in suites.items("random", 0, 5)}
    item = next(i for i in suites.items("random", 1, 5) if i.name == "r000007")
    assert build("random", 1, item, 5).seed == one["r000007"]
