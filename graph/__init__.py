"""Whole models: ONNX in, the compressed network and its cycles out.

``load`` reads a model. Reading needs the package onnx (extra ``onnx``).
"""

from cube24.graph.model import Model, load, with_shapes

__all__ = ["Model", "load", "with_shapes"]
