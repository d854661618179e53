"""The report: the numbers of the run, on a page that needs nothing from elsewhere."""

import os
import re
import shutil
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from cube24 import encoder
from cube24.encoder import Cube24Error
from cube24.errors import MissingExtraError
from cube24.simulator import Conv2d, Matmul, ScheduleError, Unit, chip, show

UNIT = Unit()
SMALL = UNIT.time(Matmul(64, 48, 256), sparse=True)
CONV = UNIT.time(Conv2d(1, 64, 14, 14, 32, (3, 3), pads=(1, 1, 1, 1)), sparse=True)
KINDS = ("work", "head", "slowed", "waiting", "idle")


class Tables(HTMLParser):
    """All tables of a page by caption, as rows of cell texts; and what tags were left open."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.open, self.cell, self.caption = {}, [], None, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "i") and not self.get_starttag_text().endswith("/>"):
            self.open.append(tag)
        if tag == "caption":
            self.caption = ""
        if tag == "tr":
            self.tables.setdefault(self.caption, []).append([])
        if tag in ("td", "th"):
            self.tables[self.caption][-1].append("")
            self.cell = True

    def handle_endtag(self, tag):
        if tag in self.open:
            while self.open.pop() != tag:
                pass
        if tag in ("td", "th"):
            self.cell = None

    def handle_data(self, data):
        if self.open and self.open[-1] == "caption":
            self.caption += data
        elif self.cell:
            self.tables[self.caption][-1][-1] += data


def drawings(text):
    return [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]


def widths(svg, kind):
    return sum(float(r.get("width")) for r in svg.iter("rect") if r.get("class") == kind)


@pytest.mark.parametrize("run", [SMALL, CONV], ids=["matmul", "conv"])
def test_the_table_of_stalls_sums_to_the_cycles_of_the_run(run):
    tables = Tables(show.html(run)).tables
    (caption,) = [name for name in tables if name.startswith("Cycles;")]
    head, *rows = tables[caption]
    assert head == ["pipe", *KINDS, "sum"]
    assert [row[0] for row in rows] == ["MTE2", "MTE1", "M", "FIX", "S"]
    for pipe, *cells in rows:
        numbers = [int(cell.replace(",", "")) for cell in cells]
        assert sum(numbers[:-1]) == numbers[-1] == run.cycles
        account = run.pipes[pipe]
        assert sum(numbers[:3]) == account.busy
        assert numbers[3:5] == [account.waiting, account.idle]


def test_the_timeline_is_to_scale():
    timeline = next(
        svg for svg in drawings(show.html(SMALL)) if svg.get("aria-label") == "All instructions"
    )
    scale = (960 - 56 - 12) / SMALL.cycles
    rows = SMALL.instructions
    for kind in ("head", "work", "slowed"):
        expected = sum(getattr(row, kind) for row in rows) * scale
        assert widths(timeline, kind) == pytest.approx(expected, abs=0.01 * len(rows))
    waits = sum(row.end - row.start for row in rows if row.name == "wait_flag") * scale
    assert widths(timeline, "waiting") == pytest.approx(waits, abs=0.01 * len(rows))


def test_the_overview_shows_how_busy_each_pipe_was():
    overview = drawings(show.html(SMALL))[0]
    area = sum(float(r.get("width")) * float(r.get("height")) for r in overview.iter("rect"))
    busy = sum(SMALL.pipes[pipe].busy for pipe in ("MTE2", "MTE1", "M", "FIX"))
    assert area == pytest.approx(24 * (960 - 56 - 12) * busy / SMALL.cycles, rel=0.02)


def test_the_bars_of_stalls_fill_their_width():
    (bars,) = [
        svg for svg in drawings(show.html(SMALL)) if svg.get("aria-label") == "Cycles of each pipe"
    ]
    total = sum(widths(bars, kind) for kind in KINDS)
    assert total == pytest.approx(5 * (960 - 56 - 12), abs=1)


def test_dense_against_sparse_and_reasons_are_those_of_the_run():
    tables = Tables(show.html(SMALL)).tables
    versus = {row[0]: row[1:] for row in tables[f"Speed-up {SMALL.speed_up:.2f}"][1:]}
    assert versus["cycles"] == [f"{SMALL.cycles:,}", f"{SMALL.dense.cycles:,}"]
    # 64 x 256 activations; half of 48 x 256 weights and an eighth of it as index, or all of them.
    assert versus["bytes in"] == [f"{64 * 256 + 48 * 256 * 5 // 8:,}", f"{(64 + 48) * 256:,}"]
    assert versus["bytes out"] == [f"{64 * 48 * 4:,}"] * 2
    reasons = tables["The run without one cost at a time"][1:]
    assert [(row[0], row[1]) for row in reasons] == [
        (r.name, f"{r.cycles:,}") for r in SMALL.reasons
    ]


def test_the_tiles_are_those_of_the_program():
    run = UNIT.time(Matmul(300, 200, 64), sparse=True)
    rows = Tables(show.html(run)).tables["All tiles, in cycles"][1:]
    sizes = [(m, n) for m in (128, 128, 44) for n in (128, 72)]
    assert [row[1] for row in rows] == [f"{m} x {n}" for m, n in sizes]
    ends = [row.end for row in run.instructions if row.name == "fixpipe"]
    assert [row[4] for row in rows] == [f"{end:,}" for end in ends]


@pytest.mark.parametrize("run", [SMALL, CONV, UNIT.time(Matmul(0, 3, 4), sparse=False)])
def test_the_page_needs_nothing_from_elsewhere_and_is_well_formed(run):
    text = show.html(run)
    assert not re.search(r"https?:|src=|@import|url\(|<script|<link", text)
    assert Tables(text).open == []
    drawings(text)


def test_a_title_is_escaped():
    assert "<title>a &lt;b&gt; &amp; c</title>" in show.html(SMALL, "a <b> & c")


def test_a_run_with_values_has_the_report_of_the_same_run_without():
    w = np.zeros((48, 256), np.int8)
    run = UNIT.matmul(np.zeros((64, 256), np.int8), encoder.encode(w))
    assert show.html(run) == show.html(SMALL)


def test_the_bytes_are_the_same_in_another_process():
    code = (
        "import sys; from cube24.simulator import Matmul, Unit, show; "
        "sys.stdout.write(show.html(Unit().time(Matmul(64, 48, 256))))"
    )
    for seed in ("1", "77"):
        got = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": "Asia/Tokyo"},
        )  # fmt: skip
        assert got.stdout == show.html(SMALL)


def test_large_runs_have_small_reports(monkeypatch):
    large = UNIT.time(Matmul(1024, 1024, 2048), sparse=True)
    assert len(large.instructions) > 4000
    assert len(show.html(large)) < 2 << 20
    monkeypatch.setattr(chip.core_program, "__defaults__", (1, 0, 1000))
    huge = UNIT.time(Matmul(1024, 1024, 2048), sparse=True)
    text = show.html(huge)
    assert "too long to list" in text
    assert f"{huge.cycles:,}" in text
    with pytest.raises(ScheduleError, match="more than 1000 instructions"):
        show.write_roofline_png(huge, "never.png")


def test_files_are_written_once_and_whole(tmp_path):
    show.write_html(SMALL, tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text() == show.html(SMALL)
    with pytest.raises(Cube24Error, match="is there already"):
        show.write_html(SMALL, tmp_path / "r.html")
    show.write_html(CONV, tmp_path / "r.html", overwrite=True)
    with pytest.raises(Cube24Error, match="does not exist"):
        show.write_html(SMALL, tmp_path / "none" / "r.html")
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]


def test_the_roofline_can_be_had_as_png(tmp_path, monkeypatch):
    for name in ("one.png", "two.png"):
        show.write_roofline_png(SMALL, tmp_path / name)
    one = (tmp_path / "one.png").read_bytes()
    assert one == (tmp_path / "two.png").read_bytes()
    assert one.startswith(b"\x89PNG")
    with pytest.raises(ScheduleError, match="empty"):
        show.write_roofline_png(UNIT.time(Matmul(0, 3, 4), sparse=False), tmp_path / "x.png")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError):
        show.write_roofline_png(SMALL, tmp_path / "three.png")


def test_traffic_is_what_the_instructions_move():
    # Two columns of tiles: the activations stay in L1 for the second one.
    run = UNIT.time(Matmul(16, 200, 64), sparse=False)
    moved = show.traffic(run.program)
    assert (moved.bytes_in, moved.bytes_out) == (16 * 64 + 208 * 64, 4 * 16 * 200)
    assert moved.macs == 16 * 64 * 200


def pixels(path):
    """A PNG as rows of (r, g, b): 8 bits, no interlacing, as browsers write it."""
    data = path.read_bytes()
    at, packed = 8, b""
    while at < len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + size]
        if kind == b"IHDR":
            width, height = int.from_bytes(body[:4], "big"), int.from_bytes(body[4:8], "big")
            channels = {2: 3, 6: 4}[body[9]]
            assert (body[8], body[12]) == (8, 0)
        packed += body if kind == b"IDAT" else b""
        at += 12 + size
    raw = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, 1 + width * channels)
    image = np.zeros((height, width * channels), np.uint8)
    above = np.zeros(width * channels, np.int64)
    for y in range(height):
        kind, line = raw[y, 0], raw[y, 1:].astype(np.int64)
        if kind == 2:
            line = line + above
        elif kind in (1, 3, 4):
            for x in range(len(line)):
                left = line[x - channels] if x >= channels else 0
                corner = above[x - channels] if x >= channels else 0
                guess = left
                if kind == 3:
                    guess = (left + above[x]) // 2
                elif kind == 4:
                    p = left + above[x] - corner
                    guess = min((left, above[x], corner), key=lambda value, p=p: abs(p - value))
                line[x] = (line[x] + guess) & 255
        above = line & 255
        image[y] = above
    return image.reshape(height, width, channels)[..., :3]


def test_a_browser_shows_it(tmp_path):
    assert shutil.which("chromium"), "this test needs Debian's chromium: apt install chromium"
    show.write_html(CONV, tmp_path / "show.html")
    chromium = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu",
        "--disable-background-networking", "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--force-color-profile=srgb", "--window-size=1000,1400",
    ]  # fmt: skip
    page = f"file://{tmp_path / 'show.html'}"
    shot = tmp_path / "shot.png"
    subprocess.run(
        [*chromium, f"--screenshot={shot}", page], check=True, capture_output=True, timeout=120
    )
    image = pixels(shot)
    assert image.shape == (1400, 1000, 3)
    colours = [tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in show.svg.COLOURS.values()]
    for colour in colours:
        assert (np.abs(image.astype(int) - colour) < 3).all(axis=2).sum() > 50, colour
    # Text and drawings down to the end of the window, not a blank page with a headline.
    inked = (image.max(axis=2) < 120).any(axis=1)
    assert all(inked[y : y + 140].any() for y in range(0, 1400, 140))
    dom = subprocess.run(
        [*chromium, "--dump-dom", page], check=True, capture_output=True, text=True, timeout=120
    ).stdout
    for section in ("timeline", "stalls", "roofline", "tiles", "versus"):
        assert f'<section id="{section}">' in dom
    assert f"{CONV.cycles:,}" in dom
