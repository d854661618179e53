"""Drawing with matplotlib, of the extra ``plot``: without a screen, the same bytes each time."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from cube24.errors import ArgumentError, StrPath
from cube24.extras import need
from cube24.files import write_bytes


def figure(width: float, height: float) -> Any:
    """An empty matplotlib figure, in inches.

    Raises:
        MissingExtraError: matplotlib is not there.
    """
    return need("matplotlib.figure", "plot", "drawing").Figure(
        figsize=(width, height), layout="constrained"
    )


def demand_drawing(path: StrPath) -> None:
    """Refuse, before the work, what could not be drawn behind it.

    Raises:
        ArgumentError: neither NAME.png nor NAME.svg.
        MissingExtraError: matplotlib is not there.
    """
    if Path(path).suffix.lower() not in (".png", ".svg"):
        raise ArgumentError(f"{path}: a drawing is written as NAME.png or NAME.svg")
    need("matplotlib.figure", "plot", "drawing")


def save(drawing: Any, path: StrPath, *, overwrite: bool = False) -> None:
    """Write a figure as PNG or SVG, by the name; nothing in it tells when or where.

    Raises:
        ArgumentError: another suffix.
        FileAccessError: it is there already, or the system refuses.
    """
    demand_drawing(path)
    kind = Path(path).suffix.lower()
    metadata = {"Software": None} if kind == ".png" else {"Date": None, "Creator": None}
    buffer = BytesIO()
    # Names inside an SVG are random but for this salt.
    mpl = need("matplotlib", "plot", "drawing")
    with mpl.rc_context({"svg.hashsalt": "cube24"}):
        drawing.savefig(buffer, format=kind[1:], dpi=120, metadata=metadata)
    write_bytes(path, buffer.getvalue(), overwrite=overwrite)
