"""Quantise a float model to int8 with onnxruntime: QLinearConv and its kin, a scale a channel.

    python3 examples/quantise.py MODEL.onnx SAMPLES.npz OUT.onnx

SAMPLES.npz has arrays by the names of the model's inputs. Weights become int8 and symmetric, so
zeros stay zeros, and a 2:4 weight stays 2:4.
"""

import sys

import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static


class Samples(CalibrationDataReader):
    """Gives all samples at once, and then nothing."""

    def __init__(self, model: str, path: str) -> None:
        """Take those members of the file that are inputs of the model."""
        names = [given.name for given in onnxruntime.InferenceSession(model).get_inputs()]
        with np.load(path) as found:
            self.batches = iter([{name: found[name] for name in names}])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch, or None."""
        return next(self.batches, None)


def main(model: str, samples: str, output: str) -> None:
    """Quantise a file."""
    quantize_static(
        model,
        output,
        Samples(model, samples),
        quant_format=QuantFormat.QOperator,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        extra_options={"WeightSymmetric": True},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
