"""The study of conv1x1.md: the runs it speaks of, as a table, and its pictures.

python examples/conv1x1.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from cube24.simulator import Conv2d, Requant, Run, Tile, Unit
from cube24.simulator.show import svg

STYLE = (
    '<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="12" '
    'stroke-width="1"><style>.grid{stroke:#ccc}.roof{stroke:#222}</style>'
    '<rect width="100%" height="100%" fill="#fff"/>'
)


def layer(tile: Tile | None = None, sparse: bool = True) -> Run:
    """The last 1x1 convolution of ResNet-50 that makes channels fewer: 2048 -> 512 on 7 x 7."""
    conv = Conv2d(batch=1, cin=2048, h=7, w=7, cout=512, kernel=(1, 1))
    return Unit("dav-2201").time(conv, sparse=sparse, tile=tile, requant=Requant(0.01))


def picture(run: Run, title: str) -> str:
    """How busy each pipe was, and where its cycles went, as one SVG."""
    above = svg.overview(run.instructions, run.cycles, title)
    below = svg.stalls(run.pipes, run.cycles, title)
    below = below.replace("<svg ", '<svg y="160" ', 1)
    head = STYLE.replace("<svg ", '<svg viewBox="0 0 960 320" ', 1)
    sized = [part.replace("<svg ", '<svg width="960" ', 1) for part in (above, below)]
    return head + sized[0] + sized[1] + "</svg>\n"


def main(folder: str) -> None:
    """Print the table and write the pictures."""
    wide, narrow = Tile(64, 256, 256, 1024), Tile(64, 256, 128, 512)
    runs = {
        "chosen tile": (layer(), layer(sparse=False)),
        "n 256": (layer(wide), layer(narrow, sparse=False)),
    }
    for name, (sparse, dense) in runs.items():
        speed_up = dense.cycles / sparse.cycles
        print(f"{name:<12} 2:4 {sparse.cycles:>6}  dense {dense.cycles:>6}  {speed_up:.2f}x")
        for reason in sparse.reasons:
            print(f"  without {reason.name:<11} {reason.cycles:>6} cycles less")
    for name, run in (("chosen", runs["chosen tile"][0]), ("n256", runs["n 256"][0])):
        text = picture(run, f"1x1 convolution, {name}")
        (Path(folder) / f"conv1x1-{name}.svg").write_text(text)


if __name__ == "__main__":
    main(sys.argv[1])
