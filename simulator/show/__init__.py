"""Where the time of a run went: traces, a report for a browser, a roofline.

Nothing here counts time; it shows what a Run or a schedule holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cube24.lazy import front

if TYPE_CHECKING:
    from cube24.simulator.show.chrome import perfetto, write_perfetto
    from cube24.simulator.show.cores import Scheduled
    from cube24.simulator.show.csv import COLUMNS, write_csv
    from cube24.simulator.show.occupancy import occupied_bytes
    from cube24.simulator.show.page import html, write_html
    from cube24.simulator.show.parts import document, table
    from cube24.simulator.show.plots import demand_drawing
    from cube24.simulator.show.roofline import traffic, write_roofline_png
    from cube24.simulator.show.vcd import demand_vcd, write_vcd
else:
    __getattr__, __dir__ = front(
        __name__,
        {
            ".chrome": ("perfetto", "write_perfetto"),
            ".cores": ("Scheduled",),
            ".csv": ("COLUMNS", "write_csv"),
            ".occupancy": ("occupied_bytes",),
            ".page": ("html", "write_html"),
            ".parts": ("document", "table"),
            ".plots": ("demand_drawing",),
            ".roofline": ("traffic", "write_roofline_png"),
            ".vcd": ("demand_vcd", "write_vcd"),
        },
    )  # fmt: skip

__all__ = [
    "COLUMNS",
    "Scheduled",
    "demand_drawing",
    "demand_vcd",
    "document",
    "html",
    "occupied_bytes",
    "perfetto",
    "table",
    "traffic",
    "write_csv",
    "write_html",
    "write_perfetto",
    "write_roofline_png",
    "write_vcd",
]
