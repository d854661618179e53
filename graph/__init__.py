"""Whole models: ONNX in, the compressed network and its cycles out.

``load`` reads a model, ``check`` says which of its layers can have 2:4 weights and why the others
cannot, ``compile`` replaces them by operators on compressed weights, and ``decompile`` undoes that.
``run`` runs these on a simulated unit, and ``compare`` holds the run to the model it was made from.
Reading needs the package onnx (extra ``onnx``). ``Constants``, ``FORMS`` and the small ones beside
them are for other readers of nodes, such as :mod:`cube24.vectors`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cube24.lazy import front

if TYPE_CHECKING:
    from cube24.graph.amct_config import PruneConfig, read_prune_config
    from cube24.graph.comparing import SourceComparison, compare
    from cube24.graph.differences import Difference
    from cube24.graph.folding import Constants, less_zero
    from cube24.graph.functions import DOMAIN
    from cube24.graph.model import Model, load, with_shapes
    from cube24.graph.nodes import FORMS, Form, same_pads
    from cube24.graph.operators import Elsewhere
    from cube24.graph.protos import STANDARD, attribute, op_of
    from cube24.graph.pruning import LayerCost, Left, Method, PrunedModel, prune
    from cube24.graph.report import ModelReport, check
    from cube24.graph.run_report import RunReport
    from cube24.graph.running import LayerRun, NetworkRun, run
    from cube24.graph.sparsity import Compiled, CompileError, Requantise, compile, decompile
    from cube24.graph.verdicts import Select, Verdict
    from cube24.graph.writing import data_file, save
else:
    __getattr__, __dir__ = front(
        __name__,
        {
            ".amct_config": ("PruneConfig", "read_prune_config"),
            ".comparing": ("SourceComparison", "compare"),
            ".differences": ("Difference",),
            ".folding": ("Constants", "less_zero"),
            ".functions": ("DOMAIN",),
            ".model": ("Model", "load", "with_shapes"),
            ".nodes": ("FORMS", "Form", "same_pads"),
            ".operators": ("Elsewhere",),
            ".protos": ("STANDARD", "attribute", "op_of"),
            ".pruning": ("LayerCost", "Left", "Method", "PrunedModel", "prune"),
            ".report": ("ModelReport", "check"),
            ".run_report": ("RunReport",),
            ".running": ("LayerRun", "NetworkRun", "run"),
            ".sparsity": ("Compiled", "CompileError", "Requantise", "compile", "decompile"),
            ".verdicts": ("Select", "Verdict"),
            ".writing": ("data_file", "save"),
        },
    )  # fmt: skip

__all__ = [
    "DOMAIN",
    "FORMS",
    "STANDARD",
    "CompileError",
    "Compiled",
    "Constants",
    "Difference",
    "Elsewhere",
    "Form",
    "LayerCost",
    "LayerRun",
    "Left",
    "Method",
    "Model",
    "ModelReport",
    "NetworkRun",
    "PruneConfig",
    "PrunedModel",
    "Requantise",
    "RunReport",
    "Select",
    "SourceComparison",
    "Verdict",
    "attribute",
    "check",
    "compare",
    "compile",
    "data_file",
    "decompile",
    "less_zero",
    "load",
    "op_of",
    "prune",
    "read_prune_config",
    "run",
    "same_pads",
    "save",
    "with_shapes",
]
