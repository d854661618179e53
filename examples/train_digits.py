"""Train a small int8 network with 2:4 structured sparsity on handwritten digits.

The script trains a float network, prunes it so that every group of four contiguous
elements along the input channel axis keeps at most two non-zeros, fine tunes it with that
mask fixed, quantises it to integers and writes the integers, together with the held-out
test images and labels, to one ``.npz`` file.

How to run, from the root of the repository::

    pip install '.[train]'
    python examples/train_digits.py

The network, with images of shape (B, 1, 8, 8) holding the integers 0..16 as int8:

========  ===============  ==================  ===================================
layer     weight (int8)    stride and padding  what follows the int32 accumulators
========  ===============  ==================  ===================================
conv1     (32, 1, 3, 3)    1, 1                requantise, ReLU -> (B, 32, 8, 8)
conv2     (32, 32, 3, 3)   2, 1                requantise, ReLU -> (B, 32, 4, 4)
fc        (10, 512)        -                   argmax is the class
========  ===============  ==================  ===================================

The input of fc is the C-order flattening of (32, 4, 4). Requantisation and ReLU are one step,
with every operation in float32 and halves rounded to even::

    y = clip(rint(float32(acc) * scale), 0, 127)

``acc`` includes the int32 bias. ``scale`` is a float32 whose low 13 mantissa bits are zero,
because the hardware stores a 10-bit mantissa.

Members of the file: ``images`` (360, 8, 8) int8, ``labels`` (360,) uint8, and for each layer
``<layer>.weight`` int8 and ``<layer>.bias`` int32; conv1 and conv2 also have ``<layer>.scale``,
a 0-d float32.

The seeds are fixed and torch runs on one thread, so a rerun with the same versions on the same
kind of processor gives the same bytes. The bytes can differ between versions of torch, which
is why the weights are shipped and not trained at installation.

The data are the test part of the "Optical Recognition of Handwritten Digits" set of the UCI
Machine Learning Repository (CC BY 4.0), as shipped with scikit-learn (BSD-3-Clause).
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional

DEFAULT_OUTPUT = Path(__file__).resolve().parents[1] / "simulator" / "data" / "digits.npz"

SPLIT_SEED = 24
TRAIN_SEED = 24
BATCH_SIZE = 32
DENSE_EPOCHS = 60
DENSE_LEARNING_RATE = 2e-3
SPARSE_EPOCHS = 40
SPARSE_LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-2
# Standard deviation of the noise added to training inputs, which are in 0..1. Chosen on
# validation parts of the training images; the test images selected nothing.
NOISE = 0.1

LAYERS = ("conv1", "conv2", "fc")
REQUANTISED = ("conv1", "conv2")
GROUP = 4
KEPT = 2
INT8_MAX = 127
INPUT_MAX = 16
# Mantissa bits of a float32 (23) that a stored scale (10) does not have.
DROPPED_MANTISSA_BITS = 13


class Split(NamedTuple):
    """The images (B, 8, 8) int8 and labels (B,) uint8 of the two parts of the data."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


class DigitNet(nn.Module):
    """The float network; its input is the image divided by ``INPUT_MAX``."""

    def __init__(self) -> None:
        """Create the layers with random weights."""
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, stride=1, padding=1)
        self.conv2 = nn.Conv2d(32, 32, 3, stride=2, padding=1)
        self.fc = nn.Linear(512, 10)

    def hidden(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the outputs of conv1 and of conv2, after ReLU."""
        first = functional.relu(self.conv1(x))
        return first, functional.relu(self.conv2(first))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return self.fc(self.hidden(x)[1].flatten(1))


def load_split() -> Split:
    """Load the digits and split them into 1437 training and 360 test images."""
    digits = load_digits()
    images = digits.images.astype(np.int8)
    labels = digits.target.astype(np.uint8)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=0.2, random_state=SPLIT_SEED, stratify=labels
    )
    return Split(train_images, train_labels, test_images, test_labels)


def to_input(images: np.ndarray) -> torch.Tensor:
    """Turn int8 images (B, 8, 8) into the input of the float network."""
    return torch.from_numpy(images[:, None].astype(np.float32) / INPUT_MAX)


def groups_of_four(weight: np.ndarray) -> np.ndarray:
    """View a weight as (..., groups, 4), the last two axes being the input channels.

    A weight with fewer input channels than a group has its only, shorter group.
    """
    channels_last = np.moveaxis(weight, 1, -1)
    size = min(GROUP, channels_last.shape[-1])
    return channels_last.reshape(*channels_last.shape[:-1], -1, size)


def nonzero_histogram(weight: np.ndarray) -> list[int]:
    """Count the groups that have 0, 1, 2, 3 and 4 non-zeros."""
    nonzeros = np.count_nonzero(groups_of_four(weight), axis=-1)
    return np.bincount(nonzeros.ravel(), minlength=GROUP + 1).tolist()


def magnitude_mask(weight: np.ndarray) -> np.ndarray:
    """Mark the two largest magnitudes of each group; ties go to the lowest position."""
    groups = groups_of_four(weight)
    # A stable sort leaves equal magnitudes in the order of their positions.
    order = np.argsort(-np.abs(groups), axis=-1, kind="stable")
    mask = np.zeros(groups.shape, dtype=bool)
    np.put_along_axis(mask, order[..., :KEPT], True, axis=-1)
    channels_last = np.moveaxis(weight, 1, -1).shape
    return np.moveaxis(mask.reshape(channels_last), -1, 1)


def layer_weight(model: DigitNet, name: str) -> nn.Parameter:
    """Return the weight parameter of the named layer."""
    return model.get_parameter(f"{name}.weight")


@torch.no_grad()
def apply_masks(model: DigitNet, masks: Mapping[str, torch.Tensor]) -> None:
    """Set the pruned weights to zero."""
    for name, mask in masks.items():
        layer_weight(model, name).mul_(mask)


def prune(model: DigitNet) -> dict[str, torch.Tensor]:
    """Prune the model in place and return the masks by layer name."""
    masks = {}
    for name in LAYERS:
        weight = layer_weight(model, name)
        mask = magnitude_mask(weight.detach().numpy())
        masks[name] = torch.from_numpy(np.ascontiguousarray(mask)).to(weight.dtype)
    apply_masks(model, masks)
    return masks


def fit(
    model: DigitNet,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    epochs: int,
    learning_rate: float,
    masks: Mapping[str, torch.Tensor],
) -> None:
    """Train the model in place for a fixed number of epochs, keeping pruned weights at zero."""
    inputs = to_input(images)
    targets = torch.from_numpy(labels.astype(np.int64))
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for _ in range(epochs):
        for batch in torch.randperm(len(inputs)).split(BATCH_SIZE):
            optimiser.zero_grad()
            noisy = inputs[batch] + NOISE * torch.randn_like(inputs[batch])
            functional.cross_entropy(model(noisy), targets[batch]).backward()
            optimiser.step()
            # The optimiser also moves pruned weights: their gradients are not zero.
            apply_masks(model, masks)
        schedule.step()


@torch.no_grad()
def float_accuracy(model: DigitNet, images: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of images that the float model classifies correctly."""
    predicted = model(to_input(images)).argmax(dim=1).numpy()
    return float(np.mean(predicted == labels))


def round_scale(scale: float) -> np.float32:
    """Round a positive scale to the nearest float32 with a 10-bit mantissa."""
    unit = 1 << DROPPED_MANTISSA_BITS
    bits = int(np.float32(scale).view(np.uint32))
    # A carry out of the mantissa goes into the exponent, which is the right result.
    rounded = (bits + unit // 2) // unit * unit
    return np.uint32(rounded).view(np.float32)


def quantise_weight(weight: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the int8 weight and the value of one of its steps."""
    step = float(np.abs(weight).max()) / INT8_MAX
    quantised = np.clip(np.rint(weight / step), -INT8_MAX, INT8_MAX)
    return quantised.astype(np.int8), step


@torch.no_grad()
def quantise(model: DigitNet, calibration: np.ndarray) -> dict[str, np.ndarray]:
    """Quantise the model; the calibration images set the ranges of the activations."""
    peaks = {
        name: float(activation.max())
        for name, activation in zip(REQUANTISED, model.hidden(to_input(calibration)), strict=True)
    }
    parameters: dict[str, np.ndarray] = {}
    input_step = 1 / INPUT_MAX
    for name in LAYERS:
        weight, weight_step = quantise_weight(layer_weight(model, name).numpy().astype(np.float64))
        accumulator_step = input_step * weight_step
        bias = model.get_parameter(f"{name}.bias").numpy().astype(np.float64)
        parameters[f"{name}.weight"] = weight
        parameters[f"{name}.bias"] = np.rint(bias / accumulator_step).astype(np.int32)
        if name in REQUANTISED:
            scale = round_scale(accumulator_step * INT8_MAX / peaks[name])
            parameters[f"{name}.scale"] = np.asarray(scale)
            # The next layer has to see the step that the rounded scale really gives.
            input_step = accumulator_step / float(scale)
    return parameters


def conv2d_int(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    """Convolve with a padding of 1; return the int32 accumulators, bias included."""
    padded = np.pad(x.astype(np.int32), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = sliding_window_view(padded, weight.shape[2:], axis=(2, 3))
    windows = windows[:, :, ::stride, ::stride]
    acc = np.einsum("bchwij,ocij->bohw", windows, weight.astype(np.int32))
    return acc + bias[:, None, None]


def requantise(acc: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Scale int32 accumulators to int8, with ReLU."""
    scaled = np.rint(acc.astype(np.float32) * np.float32(scale))
    return np.clip(scaled, 0, INT8_MAX).astype(np.int8)


def predict_int(parameters: Mapping[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    """Classify int8 images (B, 8, 8) with integer arithmetic only, apart from the scales."""
    x = images[:, None]
    for name, stride in (("conv1", 1), ("conv2", 2)):
        weight, bias = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
        x = requantise(conv2d_int(x, weight, bias, stride), parameters[f"{name}.scale"])
    flat = x.reshape(len(x), -1).astype(np.int32)
    logits = flat @ parameters["fc.weight"].astype(np.int32).T + parameters["fc.bias"]
    return logits.argmax(axis=1)


def int_accuracy(
    parameters: Mapping[str, np.ndarray], images: np.ndarray, labels: np.ndarray
) -> float:
    """Return the share of images that the integer network classifies correctly."""
    return float(np.mean(predict_int(parameters, images) == labels))


def check(parameters: Mapping[str, np.ndarray], images: np.ndarray) -> None:
    """Assert what a reader of the file may rely on."""
    assert images.min() >= 0
    assert images.max() <= INPUT_MAX
    for name in LAYERS:
        weight = parameters[f"{name}.weight"]
        assert weight.dtype == np.int8
        assert weight.min() >= -INT8_MAX
        assert parameters[f"{name}.bias"].dtype == np.int32
        # Written out, not through groups_of_four, so that one mistake cannot hide in both.
        for start in range(0, weight.shape[1], GROUP):
            nonzeros = np.count_nonzero(weight[:, start : start + GROUP], axis=1)
            assert nonzeros.max() <= KEPT, f"{name} breaks 2:4 in the group at {start}"
    for name in REQUANTISED:
        bits = int(parameters[f"{name}.scale"].view(np.uint32))
        assert bits % (1 << DROPPED_MANTISSA_BITS) == 0, f"{name}.scale has too many bits"


def train(images: np.ndarray, labels: np.ndarray) -> DigitNet:
    """Train a dense float model from a fixed seed."""
    torch.manual_seed(TRAIN_SEED)
    model = DigitNet()
    fit(model, images, labels, epochs=DENSE_EPOCHS, learning_rate=DENSE_LEARNING_RATE, masks={})
    return model


def sparsify(model: DigitNet, images: np.ndarray, labels: np.ndarray) -> None:
    """Prune the model in place to 2:4 and fine tune what is left."""
    masks = prune(model)
    fit(
        model,
        images,
        labels,
        epochs=SPARSE_EPOCHS,
        learning_rate=SPARSE_LEARNING_RATE,
        masks=masks,
    )


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Train a 2:4 sparse int8 network on handwritten digits."
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=DEFAULT_OUTPUT,
        help="file to write (default: simulator/data/digits.npz in the repository)",
    )
    return parser.parse_args()


def main() -> None:
    """Train, prune, quantise, check and write."""
    arguments = parse_arguments()
    # The order of floating-point sums depends on the number of threads.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    split = load_split()
    test = (split.test_images, split.test_labels)
    model = train(split.train_images, split.train_labels)
    print(f"float accuracy:  {float_accuracy(model, *test):.4f}")
    sparsify(model, split.train_images, split.train_labels)
    print(f"pruned accuracy: {float_accuracy(model, *test):.4f}")
    parameters = quantise(model, split.train_images)
    print(f"int8 accuracy:   {int_accuracy(parameters, *test):.4f}")
    for name in LAYERS:
        histogram = nonzero_histogram(parameters[f"{name}.weight"])
        print(f"{name} groups with 0, 1, 2, 3, 4 non-zeros: {histogram}")

    check(parameters, split.test_images)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    # An open file, because savez would append a suffix to a path that has none.
    with arguments.output.open("wb") as file:
        np.savez(file, images=split.test_images, labels=split.test_labels, **parameters)


if __name__ == "__main__":
    main()
