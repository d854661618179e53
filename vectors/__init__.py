"""Golden vectors: cases as folders of files, with a manifest and the result that must come out.

``generate`` writes the cases of a campaign, ``verify`` makes a case again and compares every byte,
``compare`` explains a dump of a device. ``suites`` lists the cases that there are, ``coverage``
counts what they hit, ``shrink`` makes a failing one smaller. docs/vectors.md is a tour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cube24.lazy import front

if TYPE_CHECKING:
    from cube24.vectors import coverage, shrink, suites
    from cube24.vectors.arrays import from_arrays, restyled
    from cube24.vectors.campaign import check_shard, generate
    from cube24.vectors.comparison import KINDS, Outcome, compare, compare_many, junit_of
    from cube24.vectors.description import Campaign, add_suites, campaigns, missing
    from cube24.vectors.files import READABLE, SUFFIXES, CaseStyle
    from cube24.vectors.manifest import MANIFEST, Stored, folders, load, write
    from cube24.vectors.network_run import from_run
    from cube24.vectors.onnx_layers import from_onnx
    from cube24.vectors.place import demand_new
    from cube24.vectors.plain import is_no_verdict
    from cube24.vectors.rng import shown
    from cube24.vectors.simulation import simulate
    from cube24.vectors.verification import Mutations, Verification, mutate, verify, verify_many
    from cube24.vectors.written import demand_same, write_case
else:
    __getattr__, __dir__ = front(
        __name__,
        {
            ".": ("coverage", "shrink", "suites"),
            ".arrays": ("from_arrays", "restyled"),
            ".campaign": ("check_shard", "generate"),
            ".comparison": ("KINDS", "Outcome", "compare", "compare_many", "junit_of"),
            ".description": ("Campaign", "add_suites", "campaigns", "missing"),
            ".files": ("READABLE", "SUFFIXES", "CaseStyle"),
            ".manifest": ("MANIFEST", "Stored", "folders", "load", "write"),
            ".network_run": ("from_run",),
            ".onnx_layers": ("from_onnx",),
            ".place": ("demand_new",),
            ".plain": ("is_no_verdict",),
            ".rng": ("shown",),
            ".simulation": ("simulate",),
            ".verification": ("Mutations", "Verification", "mutate", "verify", "verify_many"),
            ".written": ("demand_same", "write_case"),
        },
    )

__all__ = [
    "KINDS",
    "MANIFEST",
    "READABLE",
    "SUFFIXES",
    "Campaign",
    "CaseStyle",
    "Mutations",
    "Outcome",
    "Stored",
    "Verification",
    "add_suites",
    "campaigns",
    "check_shard",
    "compare",
    "compare_many",
    "coverage",
    "demand_new",
    "demand_same",
    "folders",
    "from_arrays",
    "from_onnx",
    "from_run",
    "generate",
    "is_no_verdict",
    "junit_of",
    "load",
    "missing",
    "mutate",
    "restyled",
    "shown",
    "shrink",
    "simulate",
    "suites",
    "verify",
    "verify_many",
    "write",
    "write_case",
]
