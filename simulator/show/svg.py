"""The drawings of a report, as SVG text: timeline, overview, stall breakdown, roofline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import log10

from cube24.simulator import isa
from cube24.simulator.account import PipeAccount, Row
from cube24.sizes import round_up

WIDTH = 960
_LEFT, _RIGHT = 56, 12

#: Told apart also by people who do not see all colours (Okabe and Ito).
COLOURS: Mapping[str, str] = {
    "work": "#0072b2",
    "head": "#d55e00",
    "slowed": "#cc79a7",
    "waiting": "#f0e442",
    "idle": "#d9d9d9",
}


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _rect(x: float, y: float, w: float, h: float, kind: str, title: str = "") -> str:
    inner = f"<title>{escape(title)}</title>" if title else ""
    return (
        f'<rect class="{kind}" x="{x:.2f}" y="{y:.1f}" width="{w:.2f}" height="{h:.1f}" '
        f'fill="{COLOURS[kind]}">{inner}</rect>'
    )


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _ticks(first: int, last: int, y: float, scale: float) -> list[str]:
    """An axis of cycles with about eight round numbers."""
    span = max(last - first, 1)
    step = 10 ** int(log10(max(span / 8, 1)))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 9)
    parts = []
    for cycle in range(round_up(first, step), last + 1, step):
        x = _LEFT + (cycle - first) * scale
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{y:.0f}"/>')
        parts.append(_text(x, y + 14, f"{cycle:,}", "middle"))
    return parts


def timeline(rows: Sequence[Row], title: str) -> str:
    """One lane a pipe: heads, work and waits of some instructions, to scale."""
    first = min(row.start for row in rows)
    last = max(row.end for row in rows)
    scale = (WIDTH - _LEFT - _RIGHT) / max(last - first, 1)
    lane = 34.0
    bottom = lane * len(isa.PIPES) + 4
    parts = _ticks(first, last, bottom, scale)
    for number, pipe in enumerate(isa.PIPES):
        y = number * lane + 6
        parts.append(_text(0, y + 16, pipe))
        for row in rows:
            if row.pipe != pipe or row.end == row.start:
                continue
            x = _LEFT + (row.start - first) * scale
            about = f"{row.index} {row.name}, cycles {row.start} to {row.end}"
            if not row.head + row.work:
                wait = f"{about}: waits for {row.cause}"
                parts.append(_rect(x, y + 6, (row.end - row.start) * scale, 12, "waiting", wait))
                continue
            at = x
            for kind, cycles in (("head", row.head), ("work", row.work), ("slowed", row.slowed)):
                if cycles:
                    shown = f"{about}: {kind} {cycles}"
                    parts.append(_rect(at, y, cycles * scale, 24, kind, shown))
                    at += cycles * scale
    return _svg(bottom + 20, title, parts)


def overview(rows: Sequence[Row], cycles: int, title: str, bins: int = 240) -> str:
    """How busy each pipe was, in equal pieces of the whole run."""
    scale = (WIDTH - _LEFT - _RIGHT) / cycles
    lane = 30.0
    bottom = lane * len(isa.PIPES) + 4
    parts = _ticks(0, cycles, bottom, scale)
    for number, pipe in enumerate(isa.PIPES):
        busy = [0.0] * bins
        for row in rows:
            if row.pipe == pipe and row.head + row.work:
                _spread(busy, row.start * bins / cycles, row.end * bins / cycles)
        y = number * lane + 4
        parts.append(_text(0, y + 16, pipe))
        width = (WIDTH - _LEFT - _RIGHT) / bins
        for at, share in enumerate(busy):
            if share > 0:
                height = 24 * min(share, 1.0)
                shown = f"{pipe}: {100 * share:.0f} % busy"
                x = _LEFT + at * width
                parts.append(_rect(x, y + 24 - height, width, height, "work", shown))
    return _svg(bottom + 20, title, parts)


def _spread(busy: list[float], start: float, end: float) -> None:
    at = int(start)
    while at < end and at < len(busy):
        busy[at] += min(end, at + 1) - max(start, at)
        at += 1


def shares(account: PipeAccount) -> dict[str, int]:
    """An account in the kinds that are drawn; they sum to the total."""
    return {
        "work": account.busy - account.heads - account.slowed,
        "head": account.heads,
        "slowed": account.slowed,
        "waiting": account.waiting,
        "idle": account.idle,
    }


def stalls(pipes: Mapping[str, PipeAccount], cycles: int, title: str) -> str:
    """A bar a pipe: work, heads, slowed, waiting, idle."""
    scale = (WIDTH - _LEFT - _RIGHT) / max(cycles, 1)
    parts = []
    for number, (pipe, account) in enumerate(pipes.items()):
        y = number * 30.0
        parts.append(_text(0, y + 16, pipe))
        x = float(_LEFT)
        for kind, time in shares(account).items():
            if time:
                shown = f"{pipe}: {kind} {time:,} cycles, {100 * time / cycles:.1f} %"
                parts.append(_rect(x, y, time * scale, 22, kind, shown))
                x += time * scale
    return _svg(30.0 * len(pipes), title, parts)


def roofline(
    roofs: Mapping[str, float],
    peaks: Mapping[str, float],
    points: Mapping[str, tuple[float, float]],
) -> str:
    """Operations a cycle over operations a byte, both logarithmic.

    Args:
        roofs: bytes a cycle. peaks: operations a cycle. points: (operations a byte, a cycle).
    """
    height, bottom = 380.0, 330.0
    xs = [x for x, _ in points.values()]
    low_x, high_x = min(*xs, 8.0) / 2, max(*xs, 512.0) * 2
    low_y = min(*(y for _, y in points.values()), 256.0) / 2
    high_y = max(peaks.values()) * 2

    def px(x: float) -> float:
        return _LEFT + (WIDTH - _LEFT - 150) * log10(x / low_x) / log10(high_x / low_x)

    def py(y: float) -> float:
        return bottom - (bottom - 10) * log10(y / low_y) / log10(high_y / low_y)

    parts = []
    for exponent in range(-2, 8):
        value = 10.0**exponent
        if low_x <= value <= high_x:
            x = px(value)
            parts.append(f'<line class="grid" x1="{x:.1f}" y1="10" x2="{x:.1f}" y2="{bottom}"/>')
            parts.append(_text(x, bottom + 16, f"{value:g}", "middle"))
        if low_y <= value <= high_y:
            y = py(value)
            end = px(high_x)
            parts.append(
                f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{end:.1f}" y2="{y:.1f}"/>'
            )
            parts.append(_text(_LEFT - 6, y + 4, f"{value:g}", "end"))
    top = max(peaks.values())
    for number, (name, rate) in enumerate(roofs.items()):
        start, end = max(low_x, low_y / rate), min(high_x, top / rate)
        if start < end:
            parts.append(
                f'<line class="roof" x1="{px(start):.1f}" y1="{py(start * rate):.1f}" '
                f'x2="{px(end):.1f}" y2="{py(end * rate):.1f}"/>'
            )
            # Roofs may lie close together; their names do not.
            parts.append(_text(px(end) + 8, py(end * rate) + 18 + 15 * number, name))
    for name, peak in peaks.items():
        y = py(peak)
        parts.append(
            f'<line class="roof" x1="{_LEFT}" y1="{y:.1f}" x2="{px(high_x):.1f}" y2="{y:.1f}"/>'
        )
        parts.append(_text(px(high_x) + 6, y + 4, name))
    for number, (name, (x, y)) in enumerate(points.items()):
        colour = COLOURS["head" if number else "work"]
        parts.append(f'<circle cx="{px(x):.1f}" cy="{py(y):.1f}" r="6" fill="{colour}"/>')
        parts.append(_text(px(x) + 10, py(y) - 4 + 18 * number, name))
    parts.append(_text(px(high_x), bottom + 34, "operations a byte", "end"))
    parts.append(_text(0, 8, "operations a cycle"))
    return _svg(height, "Roofline: operations a cycle over operations a byte", parts)
