"""Train a network on handwritten digits, retrain it 2:4, make it int8 and write it as ONNX.

    pip install '.[train]'
    python examples/train/train.py FOLDER

1. A dense float network is trained: digits-float.onnx.
2. It is retrained with a mask that keeps the two largest of each group of four weights and is drawn
   anew every few batches; then on with the last mask, frozen.
3. Quantisation-aware training: forward is the integer arithmetic of the unit.
4. digits-int8.onnx has those integers. Plain NumPy must find no group with more than two weights in
   it, and onnxruntime must give every logit of the PyTorch network to the bit.

The seeds are fixed and torch runs on one thread: the same versions on the same kind of processor
give the same bytes. The test images choose nothing.

The data are the test part of the "Optical Recognition of Handwritten Digits" set of the UCI Machine
Learning Repository (CC BY 4.0), as shipped with scikit-learn.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from export import Activation, activation, can_be_sparse, float_model, illegal_groups, int8_model
from network import Int8Net, Net
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.nn import functional

SEED = 24
BATCH = 32
NOISE = 0.1  # standard deviation of what is added to training images, which are in 0..1
WEIGHT_DECAY = 1e-2
DENSE_EPOCHS, DENSE_RATE = 40, 2e-3
MASKED_EPOCHS, MASKED_RATE = 20, 1e-3  # while the mask is refreshed, and again when it is frozen
REFRESH = 20  # batches from one mask to the next; an epoch has 45
INT8_EPOCHS, INT8_RATE = 10, 2e-4
SHOWN = 64  # test images that are written beside the models


def fit(
    net: Net,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    epochs: int,
    rate: float,
    before: Callable[[int], None] = lambda batch: None,
) -> None:
    """Train the network in place; before is called with the number of each batch."""
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    number = 0
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(BATCH):
            before(number)
            optimiser.zero_grad()
            noisy = images[batch] + NOISE * torch.randn_like(images[batch])
            functional.cross_entropy(net(noisy), labels[batch]).backward()
            optimiser.step()
            number += 1
        schedule.step()


def retrain(net: Net, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Train in place with masks that follow the weights, then with the last ones."""

    def refresh(batch: int) -> None:
        if batch % REFRESH == 0:
            net.draw_masks()

    fit(net, images, labels, epochs=MASKED_EPOCHS, rate=MASKED_RATE, before=refresh)
    net.draw_masks()
    fit(net, images, labels, epochs=MASKED_EPOCHS, rate=MASKED_RATE)


@torch.no_grad()
def input_activations(net: Net, images: torch.Tensor) -> dict[str, Activation]:
    """Return the int8 form of each layer's input from the range that it has on the images."""
    net(images)
    return {name: activation(x.min().item(), x.max().item()) for name, x in net.inputs.items()}


def load() -> list[np.ndarray]:
    """Return training images, test images (B, 1, 8, 8) in 0..1, and the labels of both."""
    digits = load_digits()
    images = (digits.images[:, None] / 16).astype(np.float32)
    return train_test_split(
        images, digits.target, test_size=0.2, random_state=SEED, stratify=digits.target
    )


def run(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    """Return the logits that onnxruntime gives."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"image": images})[0]


def main() -> None:
    """Train, retrain, quantise, compare and write."""
    parser = argparse.ArgumentParser(description="Train a 2:4 sparse int8 network, as ONNX.")
    parser.add_argument("folder", type=Path, help="where the models and some images go")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # the order of floating-point sums depends on it
    torch.use_deterministic_algorithms(True)
    images, test_images, labels, test_labels = load()
    data = torch.from_numpy(images), torch.from_numpy(labels)

    def tell(step: str, logits: np.ndarray) -> None:
        right = int((logits.argmax(axis=1) == test_labels).sum())
        print(f"{step:<40} {right} of {len(test_labels)}  {100 * right / len(test_labels):.2f} %")

    @torch.no_grad()
    def logits(net: Net) -> np.ndarray:
        return net(torch.from_numpy(test_images)).numpy()

    net = Net()
    fit(net, *data, epochs=DENSE_EPOCHS, rate=DENSE_RATE)
    tell("dense, float", logits(net))
    parameters = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    onnx.save(float_model(parameters, SHOWN), folder / "digits-float.onnx")

    net.draw_masks()
    tell("2:4 by magnitude, not retrained", logits(net))
    retrain(net, *data)
    tell("2:4, retrained", logits(net))

    int8 = Int8Net(net, input_activations(net, data[0]))
    tell("2:4, int8, not retrained", logits(int8))
    fit(int8, *data, epochs=INT8_EPOCHS, rate=INT8_RATE)
    expected = logits(int8)
    tell("2:4, int8, quantisation-aware", expected)

    layers = int8.layers()
    got = run(int8_model(layers, len(test_images)), test_images)
    tell("digits-int8.onnx in onnxruntime", got)
    differing = int((got != expected).sum())
    print(f"logits of onnxruntime that differ from PyTorch's: {differing} of {got.size}")
    illegal = 0
    for name, layer in layers.items():
        if can_be_sparse(layer.weight):
            illegal += illegal_groups(layer.weight)
        else:
            print(f"{name} {layer.weight.shape} stays dense: too few input channels")
    print(f"groups with more than two weights in the other layers: {illegal}")
    if differing or illegal:
        raise SystemExit("both must be 0: no int8 model is written")
    onnx.save(int8_model(layers, SHOWN), folder / "digits-int8.onnx")
    shown = test_images[:SHOWN], test_labels[:SHOWN].astype(np.uint8)
    np.savez(folder / "digits.npz", image=shown[0], label=shown[1])


if __name__ == "__main__":
    main()
