"""Whole models: ONNX in, the compressed network and its cycles out.

``load`` reads a model, ``check`` says which of its layers can have 2:4 weights and why the others
cannot, ``compile`` replaces them by operators on compressed weights, and ``decompile`` undoes that.
Reading needs the package onnx (extra ``onnx``).
"""

from cube24.graph.model import Model, load, with_shapes
from cube24.graph.report import ModelReport, check
from cube24.graph.sparsity import Compiled, CompileError, Requantise, compile, decompile
from cube24.graph.verdicts import Select, Verdict
from cube24.graph.writing import data_file, save

__all__ = [
    "CompileError",
    "Compiled",
    "Model",
    "ModelReport",
    "Requantise",
    "Select",
    "Verdict",
    "check",
    "compile",
    "data_file",
    "decompile",
    "load",
    "save",
    "with_shapes",
]
