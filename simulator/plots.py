"""Drawing with matplotlib, of the extra ``plot``: without a screen, the same bytes each time."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from cube24.encoder.output import whole_file
from cube24.errors import ArgumentError, Cube24Error, StrPath


class MissingExtraError(Cube24Error, ImportError):
    """Something that needs a package which is not installed; the message names the extra."""


def figure(width: float, height: float) -> Any:
    """An empty matplotlib figure, in inches.

    Raises:
        MissingExtraError: matplotlib is not there.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("drawing needs matplotlib: pip install 'cube24[plot]'") from error
    return Figure(figsize=(width, height), layout="constrained")


def save(drawing: Any, path: StrPath, *, overwrite: bool = False) -> None:
    """Write a figure as PNG or SVG, by the name; nothing in it tells when or where.

    Raises:
        ArgumentError: another suffix.
        FileAccessError: it is there already, or the system refuses.
    """
    import matplotlib as mpl

    kind = Path(path).suffix.lower()
    if kind not in (".png", ".svg"):
        raise ArgumentError(f"{path}: a drawing is written as NAME.png or NAME.svg")
    metadata = {"Software": None} if kind == ".png" else {"Date": None, "Creator": None}
    buffer = BytesIO()
    # Names inside an SVG are random but for this salt.
    with mpl.rc_context({"svg.hashsalt": "cube24"}):
        drawing.savefig(buffer, format=kind[1:], dpi=120, metadata=metadata)
    with whole_file(path, overwrite=overwrite) as file:
        file.write(buffer.getvalue())
