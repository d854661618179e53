"""The network in PyTorch: in float with masked weights, and as the unit computes it.

It is not trained here, and nothing is written. Rounding and masking pass gradients straight
through: a weight that is dropped gets the gradient of its place, and a later mask may take it back.
"""

import numpy as np
import torch
from export import CONV_ATTRIBUTES, INT8, Activation, Layer, can_be_sparse, mask
from torch import nn
from torch.nn import functional

LAYERS = ("conv1", "conv2", "fc1", "fc2")


class Net(nn.Module):
    """The float network; a layer with a mask uses what the mask leaves of its weight."""

    def __init__(self) -> None:
        """Create the layers with random weights and no masks."""
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 32, 3)
        self.fc1 = nn.Linear(128, 32, bias=False)
        self.fc2 = nn.Linear(32, 10)
        self.masks: dict[str, torch.Tensor] = {}
        self.inputs: dict[str, torch.Tensor] = {}  # of each layer, in the last forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits (batch, 10) of images (batch, 1, 8, 8)."""
        x = self.layer("conv2", self.layer("conv1", x))
        x = functional.max_pool2d(x, 2).flatten(1)
        return self.layer("fc2", self.layer("fc1", x))

    def layer(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """Run one layer with its ReLU; the last one has none."""
        self.inputs[name] = x.detach()
        x = sums(name, x, self.weight(name), self.get_submodule(name).bias)
        return x if name == LAYERS[-1] else functional.relu(x)

    def weight(self, name: str) -> torch.Tensor:
        """Return the masked weight; the gradient goes to all weights, dropped ones too."""
        weight = self.get_parameter(f"{name}.weight")
        return straight_through(weight, weight * self.masks[name]) if name in self.masks else weight

    def draw_masks(self) -> None:
        """Set the masks from the magnitudes that the weights have now."""
        for name in LAYERS:
            weight = self.get_parameter(f"{name}.weight").detach().numpy()
            if can_be_sparse(weight):
                self.masks[name] = torch.from_numpy(mask(weight))


class Int8Net(Net):
    """The same network as the unit computes it; between layers go integers, q - zero point.

    They are float32 here, in which sums are exact below 2^24, so that no order of adding shows.
    """

    def __init__(self, net: Net, activations: dict[str, Activation]) -> None:
        """Go on with the weights and masks of net; activations are those of the layers' inputs."""
        super().__init__()
        self.load_state_dict(net.state_dict())
        self.masks = net.masks
        self.activations = activations

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits (batch, 10) of images (batch, 1, 8, 8)."""
        return super().forward(self.int8(x / self.activations[LAYERS[0]].scale.item(), LAYERS[0]))

    def layer(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """Run one layer: int32 sums, then the next layer's int8, whose clipping is the ReLU."""
        weight, bias, step = self.integers(name)
        x = sums(name, x, weight, bias)
        scale = step * self.activations[name].scale.item()
        if name == LAYERS[-1]:
            return x * scale
        following = LAYERS[LAYERS.index(name) + 1]
        return self.int8(
            x * along_n(scale / self.activations[following].scale.item(), x, 1), following
        )

    def int8(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """Round and clip to what int8 minus the zero point can be at the input of a layer."""
        zero_point = int(self.activations[name].zero_point)
        return rounded(x).clamp(INT8.min - zero_point, INT8.max - zero_point)

    def integers(self, name: str) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
        """Return weight and bias in integers, and the step (N,) of the weight."""
        weight, bias = self.weight(name), self.get_submodule(name).bias
        # A channel without weights has a step all the same.
        step = weight.detach().abs().flatten(1).amax(1).clamp(min=1e-30) / INT8.max
        whole = rounded(weight / along_n(step, weight, 0))
        if bias is not None:
            bias = rounded(bias / (step * self.activations[name].scale.item()))
        return whole, bias, step

    @torch.no_grad()
    def layers(self) -> dict[str, Layer]:
        """Return what int8_model() takes."""
        result = {}
        for name, following in zip(LAYERS, (*LAYERS[1:], None), strict=True):
            weight, bias, step = self.integers(name)
            result[name] = Layer(
                weight.numpy().astype(np.int8),
                step.numpy(),
                bias if bias is None else bias.numpy().astype(np.int32),
                self.activations[name],
                None if following is None else self.activations[following],
            )
        return result


def sums(
    name: str, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """Convolve or multiply, and add the bias."""
    if name not in CONV_ATTRIBUTES:
        return functional.linear(x, weight, bias)
    attributes = CONV_ATTRIBUTES[name]
    return functional.conv2d(x, weight, bias, attributes["strides"], attributes["pads"][:2])


def along_n(values: torch.Tensor, like: torch.Tensor, axis: int) -> torch.Tensor:
    """Shape values (N,) so that they go along an axis of another tensor."""
    return values.reshape(-1, *[1] * (like.ndim - 1 - axis))


def straight_through(x: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Return value with the gradient of x; exact if value is 0, x, or x rounded."""
    return x + (value - x).detach()


def rounded(x: torch.Tensor) -> torch.Tensor:
    """Round to integers, halves to even, with the gradient of x."""
    return straight_through(x, x.round())
