"""Golden vectors: cases as folders of files, with a manifest and the result that must come out.

``generate`` writes the cases of a campaign, ``verify`` makes a case again and compares every byte,
``compare`` explains a dump of a device. docs/vectors.md is a tour.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cube24.vectors.campaign import Campaign, generate
    from cube24.vectors.comparison import compare
    from cube24.vectors.manifest import load
    from cube24.vectors.verification import verify

__all__ = ["Campaign", "compare", "generate", "load", "verify"]

_WHERE = {
    "Campaign": "campaign",
    "compare": "comparison",
    "generate": "campaign",
    "load": "manifest",
    "verify": "verification",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is asked for: every pytest loads the plugin of this package."""
    if name in _WHERE:
        return getattr(import_module(f"cube24.vectors.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
