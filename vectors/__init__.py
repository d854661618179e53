"""Golden vectors: cases as folders of files, with a manifest and the result that must come out.

``generate`` writes the cases of a campaign, ``verify`` makes a case again and compares every byte,
``compare`` explains a dump of a device. ``suites`` lists the cases that there are, ``coverage``
counts what they hit, ``shrink`` makes a failing one smaller. docs/vectors.md is a tour.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cube24.vectors import coverage, shrink, suites
    from cube24.vectors.campaign import check_shard, generate
    from cube24.vectors.comparison import compare
    from cube24.vectors.description import Campaign, campaigns, missing
    from cube24.vectors.files import READABLE, SUFFIXES, CaseStyle
    from cube24.vectors.manifest import MANIFEST, Stored, folders, load, write
    from cube24.vectors.network_run import from_run
    from cube24.vectors.onnx_layers import from_onnx
    from cube24.vectors.place import demand_new
    from cube24.vectors.plain import is_no_verdict
    from cube24.vectors.rng import shown
    from cube24.vectors.verification import mutate, verify
    from cube24.vectors.written import demand_same, write_case

__all__ = [
    "MANIFEST",
    "READABLE",
    "SUFFIXES",
    "Campaign",
    "CaseStyle",
    "Stored",
    "campaigns",
    "check_shard",
    "compare",
    "coverage",
    "demand_new",
    "demand_same",
    "folders",
    "from_onnx",
    "from_run",
    "generate",
    "is_no_verdict",
    "load",
    "missing",
    "mutate",
    "shown",
    "shrink",
    "suites",
    "verify",
    "write",
    "write_case",
]

#: The rooms that the names come from; a room that is named itself has no name beside it.
_WHERE = {
    "Campaign": "description",
    "CaseStyle": "files",
    "MANIFEST": "manifest",
    "READABLE": "files",
    "SUFFIXES": "files",
    "Stored": "manifest",
    "campaigns": "description",
    "check_shard": "campaign",
    "compare": "comparison",
    "demand_new": "place",
    "demand_same": "written",
    "folders": "manifest",
    "from_onnx": "onnx_layers",
    "from_run": "network_run",
    "generate": "campaign",
    "is_no_verdict": "plain",
    "load": "manifest",
    "missing": "description",
    "mutate": "verification",
    "shown": "rng",
    "verify": "verification",
    "write": "manifest",
    "write_case": "written",
}
_ROOMS = ("coverage", "shrink", "suites")


def __getattr__(name: str) -> Any:
    """Import a name when it is asked for: every pytest loads the plugin of this package."""
    if name in _WHERE:
        return getattr(import_module(f"cube24.vectors.{_WHERE[name]}"), name)
    if name in _ROOMS:
        return import_module(f"cube24.vectors.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
