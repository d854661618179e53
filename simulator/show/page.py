"""A run as one HTML file: summary, timeline, stalls, roofline, tiles, dense against sparse.

It needs nothing from elsewhere: no network, no script. The same run gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from cube24.errors import StrPath
from cube24.files import write_bytes
from cube24.simulator import isa
from cube24.simulator.account import Row
from cube24.simulator.pipes import ScheduleError
from cube24.simulator.run import Run
from cube24.simulator.show import roofline, svg
from cube24.simulator.show.parts import document, table

#: Rectangles of the timeline at each end of the run.
_SHOWN = 600
#: Rows of the table of tiles.
_TILES = 50


def html(run: Run, title: str = "cube24: where the time goes") -> str:
    """The report as text.

    Args:
        run: of a unit, with or without values.
        title: of the page.
    """
    sections = [_summary(run)]
    if run.plan is not None:
        try:
            rows: Sequence[Row] = run.instructions
            listed = True
        except ScheduleError:
            rows, listed = (), False
        sections += [_timeline(run, rows, listed), _stalls(run)]
        if listed:
            sections += [_roofline(run), _tiles(run, rows)]
        sections.append(_versus(run, listed))
    return document(title, sections)


def write_html(run: Run, path: StrPath, *, overwrite: bool = False) -> None:
    """Write the report as one file.

    Raises:
        FileAccessError: it is there already, or the system refuses.
    """
    write_bytes(path, html(run).encode(), overwrite=overwrite)


# --- sections -------------------------------------------------------------------------------------


def _busiest(run: Run) -> str:
    return max(isa.PIPES, key=lambda pipe: run.pipes[pipe].busy)


def _summary(run: Run) -> str:
    config = run.config
    rows = [
        ("unit", f"{config.name}, {config.clock_mhz} MHz"),
        ("cores", str(run.cores)),
        ("cycles", f"{run.cycles:,}"),
        ("time", f"{run.seconds * 1e6:,.2f} us"),
        ("cube used", f"{100 * run.utilisation:.1f} %"),
    ]
    if run.plan is None:
        return "<p>The problem is empty: nothing ran.</p>\n" + _pairs(rows)
    problem, tile = run.plan.problem, run.plan.tile
    kind = "2:4 sparse" if problem.sparse else "dense"
    shape = f"{problem.m} x {problem.n} results of {problem.k} products"
    if problem.batch > 1:
        shape = f"{problem.batch} x {shape}"
    rows = [
        ("problem", f"{shape}, {kind}, {problem.dtype}"),
        ("tile", f"{tile.m} x {tile.n}, k {tile.k} a Mmad, {tile.k_l1} a load to L1"),
        *rows,
    ]
    pipe = _busiest(run)
    share = 100 * run.pipes[pipe].busy / run.cycles
    text = f"The run takes {run.cycles:,} cycles. {pipe} is busiest, at work {share:.0f} % of them."
    if problem.sparse:
        text += (
            f" Without sparsity it does not fit: {run.dense_problem}."
            if run.dense is None
            else f" It is {run.speed_up:.2f} times as fast as the same run without sparsity."
        )
    return f"<p>{escape(text)}</p>\n" + _pairs(rows)


def _pairs(rows: Iterable[tuple[str, str]]) -> str:
    body = "".join(
        f'<tr><th class="text">{escape(name)}</th><td class="text">{escape(value)}</td></tr>\n'
        for name, value in rows
    )
    return f"<table>\n<caption>The run</caption>\n<tbody>{body}</tbody>\n</table>"


def _key() -> str:
    spans = "".join(
        f'<span><i style="background:{colour}"></i>{kind}</span>'
        for kind, colour in svg.COLOURS.items()
    )
    return f'<p class="key">{spans}</p>'


def _timeline(run: Run, rows: Sequence[Row], listed: bool) -> str:
    head = '<section id="timeline"><h2>Pipes over time</h2>\n'
    if not listed:
        return head + "<p>The program is too long to list its instructions.</p></section>"
    core = " of the core that is done last" if run.cores > 1 else ""
    shown = [row for row in sorted(rows, key=lambda row: row.start) if row.end > row.start]
    drawings = [svg.overview(rows, run.cycles, "The whole run: how busy each pipe was")]
    if len(shown) <= 2 * _SHOWN:
        drawings.append(svg.timeline(shown, "All instructions"))
        text = "Above, how busy each pipe was; below, every instruction"
    else:
        drawings.append(svg.timeline(shown[:_SHOWN], "The first instructions"))
        drawings.append(svg.timeline(shown[-_SHOWN:], "The last instructions"))
        text = f"How busy each pipe was; the first and the last {_SHOWN} instructions and waits"
    return (
        f"{head}<p>{text}{core}. The axis counts cycles.</p>\n{_key()}\n"
        + "\n".join(drawings)
        + "</section>"
    )


def _stalls(run: Run) -> str:
    kinds = list(svg.COLOURS)
    rows = []
    for pipe, account in run.pipes.items():
        share = svg.shares(account)
        rows.append([pipe, *(f"{share[kind]:,}" for kind in kinds), f"{sum(share.values()):,}"])
    waits = [
        [pipe, cause, f"{time:,}", f"{100 * time / run.cycles:.1f} %"]
        for pipe, account in run.pipes.items()
        for cause, time in sorted(account.waits.items(), key=lambda item: (-item[1], item[0]))
    ]
    return (
        '<section id="stalls"><h2>Where each pipe spends its cycles</h2>\n'
        + _key()
        + svg.stalls(run.pipes, run.cycles, "Cycles of each pipe")
        + table("Cycles; S is the scalar unit, which issues", ["pipe", *kinds, "sum"], rows)
        + table("What pipes wait for", ["pipe", "for", "cycles", "share"], waits)
        + "</section>"
    )


def _roofline(run: Run) -> str:
    drawing = svg.roofline(roofline.roofs(run), roofline.peaks(run), roofline.points(run))
    return (
        '<section id="roofline"><h2>Roofline</h2>\n'
        "<p>Operations of the dense problem (a multiplication and an addition are two), for each "
        "byte that moves between global memory and the core, and for each cycle. A point near a "
        "slope is bound by memory, near a level by the cube, below both by something else.</p>\n"
        f"{drawing}</section>"
    )


def _tiles(run: Run, rows: Sequence[Row]) -> str:
    program = run.program.instructions
    found: list[list[str]] = []
    begin: int | None = None
    for row in rows:
        i = program[row.index]
        if isinstance(i, isa.Mmad) and begin is None:
            begin = row.start
        elif isinstance(i, isa.Fixpipe):
            first = row.start if begin is None else begin
            found.append(
                [
                    str(len(found)),
                    f"{i.m} x {i.n}",
                    f"{first:,}",
                    f"{row.start:,}",
                    f"{row.end:,}",
                    f"{row.end - first:,}",
                ]
            )
            begin = None
    note = f"The first {_TILES} of {len(found)} tiles" if len(found) > _TILES else "All tiles"
    head = ["tile", "size", "first Mmad", "Fixpipe", "done", "cycles"]
    found_tiles = table(f"{note}, in cycles", head, found[:_TILES])
    return f'<section id="tiles"><h2>Tiles</h2>\n{found_tiles}</section>'


def _versus(run: Run, listed: bool) -> str:
    assert run.plan is not None
    parts = ['<section id="versus"><h2>Dense against sparse, and what would help</h2>\n']
    twin = run.dense
    if twin is None:
        parts.append(f"<p>The dense run does not fit: {escape(run.dense_problem)}.</p>")
    elif run.plan.problem.sparse:
        rows = [["cycles", f"{run.cycles:,}", f"{twin.cycles:,}"]]
        rows += [
            [f"{pipe} busy", f"{run.pipes[pipe].busy:,}", f"{twin.pipes[pipe].busy:,}"]
            for pipe in isa.PIPES
        ]
        if listed and twin.listed:
            one, two = roofline.traffic(run.program), roofline.traffic(twin.program)
            rows.append(["bytes in", f"{one.bytes_in:,}", f"{two.bytes_in:,}"])
            rows.append(["bytes out", f"{one.bytes_out:,}", f"{two.bytes_out:,}"])
        parts.append(table(f"Speed-up {run.speed_up:.2f}", ["", "2:4", "dense"], rows))
    reasons = []
    for reason in run.reasons:
        then = f"{twin.cycles / max(run.cycles - reason.cycles, 1):.2f}" if twin else "-"
        reasons.append([reason.name, f"{reason.cycles:,}", then, reason.about])
    head = ["without", "cycles less", "speed-up then", "what it is"]
    parts.append(table("The run without one cost at a time", head, reasons))
    parts.append(
        "<p>Each line is the same run with this cost alone set to nothing. The savings do not add "
        "up: without one cost, another one holds the run back.</p></section>"
    )
    return "".join(parts)
