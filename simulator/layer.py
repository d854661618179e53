"""What is computed: a matrix multiplication or a convolution, by its sizes alone.

A layer is validated once, when it is made. On which unit, with which tile and type, and whether the
weight is 2:4, is said where it is run; values are not here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from math import prod
from typing import Any

from cube24.encoder import C0
from cube24.errors import ArgumentError, ShapeError
from cube24.simulator import isa
from cube24.sizes import ceil_div, shown, whole


@dataclass(frozen=True)
class Matmul:
    """Activations (m, k) times the transpose of a weight (n, k): (m, n).

    Raises:
        ShapeError: a size that is no whole number, below 0 or beyond 2^40, or k = 0 where there
            are results.
    """

    m: int
    n: int
    k: int

    def __post_init__(self) -> None:
        """Refuse what is no multiplication."""
        for spec in fields(self):
            _set_size(self, spec.name)
        if self.k == 0 and self.m and self.n:
            raise ShapeError("K is 0: there is nothing to multiply")

    @classmethod
    def of(cls, activations: tuple[int, ...], weight: tuple[int, ...]) -> Matmul:
        """The layer of activations (M, K) and a weight (N, K), by their shapes.

        Raises:
            ShapeError: they do not fit each other.
        """
        if len(weight) != 2:
            raise ShapeError(f"weight has shape {weight}; it takes (N, K)")
        n, k = weight
        if len(activations) != 2 or activations[1] != k:
            raise ShapeError(f"activations have shape {activations}; this weight takes (M, {k})")
        return _multiplication(activations[0], n, k)

    @property
    def batch(self) -> int:
        """How many times m rows there are: once."""
        return 1

    @property
    def activations(self) -> tuple[int, ...]:
        """Shape of the activations."""
        return (self.m, self.k)

    @property
    def weight(self) -> tuple[int, ...]:
        """Shape of the weight."""
        return (self.n, self.k)

    @property
    def output(self) -> tuple[int, ...]:
        """Shape of the result."""
        return (self.m, self.n)

    @property
    def macs(self) -> int:
        """Multiplications of the dense computation, without any padding."""
        return self.m * self.n * self.k


@dataclass(frozen=True)
class Conv2d:
    """A convolution, with the arguments of ONNX.

    Activations (batch, cin, h, w) and a weight (cout, cin, *kernel) give (batch, cout, *positions).

    Attributes: kernel, strides and dilations as (h, w); pads as (top, left, bottom, right);
    offset_x, the value that the padding holds, -128 to 127.

    Raises:
        ShapeError: a size that is no whole number or cannot be, or a kernel that does not fit.
        ArgumentError: a kernel, stride, padding, dilation or offset that the unit does not take
            (isa.LIMITS of Load3D).
    """

    batch: int
    cin: int
    h: int
    w: int
    cout: int
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    offset_x: int = 0

    def __post_init__(self) -> None:
        """Refuse what the unit's img2col cannot do."""
        for name in ("batch", "cin", "h", "w", "cout"):
            _set_size(self, name)
        for name, of in _NUMBERS.items():
            object.__setattr__(self, name, _numbers(name, getattr(self, name), of))
        offset = whole(self.offset_x, "offset_x", *isa.LIMITS[isa.Load3D]["pad"])
        object.__setattr__(self, "offset_x", offset)
        if self.cin == 0:
            raise ShapeError(f"weight has shape {self.weight}: there is nothing to multiply")
        low, high = isa.LIMITS[isa.Load3D]["h"]
        if not all(low <= size <= high for size in (self.h, self.w)):
            raise ShapeError(
                f"an image of {(self.h, self.w)} does not fit: the unit takes {low} to {high} rows "
                f"and columns"
            )
        if min(self.positions) < 1:
            raise ShapeError(
                f"a kernel of {self.kernel} does not fit an image of {(self.h, self.w)} with "
                f"{self.pads}"
            )

    @classmethod
    def of(
        cls,
        activations: tuple[int, ...],
        weight: tuple[int, ...],
        *,
        strides: tuple[int, int] = (1, 1),
        pads: tuple[int, int, int, int] = (0, 0, 0, 0),
        dilations: tuple[int, int] = (1, 1),
        offset_x: int = 0,
        data_format: str = "NCHW",
    ) -> Conv2d:
        """The layer of activations and a weight (Cout, Cin, Kh, Kw), by their shapes.

        Args:
            activations: (B, Cin, H, W), or (B, H, W, Cin) for data_format ``NHWC``.
            weight: (Cout, Cin, Kh, Kw).
            strides, pads, dilations, offset_x: as for the class.
            data_format: ``NCHW`` or ``NHWC``.

        Raises:
            ShapeError: they do not fit each other.
            ArgumentError: no such data format, or as for the class.
        """
        if data_format not in ("NCHW", "NHWC"):
            raise ArgumentError(f"data_format {data_format!r}: choose 'NCHW' or 'NHWC'")
        if len(weight) != 4:
            raise ShapeError(f"weight has shape {weight}; it takes (Cout, Cin, Kh, Kw)")
        if 0 in weight[1:]:
            raise ShapeError(f"weight has shape {weight}: there is nothing to multiply")
        if len(activations) != 4:
            raise ShapeError(f"activations have shape {activations}; they take {data_format}")
        order = range(4) if data_format == "NCHW" else (0, 3, 1, 2)
        batch, cin, h, w = (activations[i] for i in order)
        cout, channels, kh, kw = weight
        if cin != channels:
            raise ShapeError(f"activations have {cin} channels; this weight takes {channels}")
        if [type(of) for of in (strides, pads, dilations)] == [tuple] * 3 and (
            (len(strides), len(pads), len(dilations)) == (2, 4, 2)
        ):
            try:
                return _convolution(
                    batch, cin, h, w, cout, kh, kw, offset_x, *strides, *pads, *dilations
                )
            except TypeError:  # no numbers: told below
                pass
        return cls(batch, cin, h, w, cout, (kh, kw), strides, pads, dilations, offset_x)

    @cached_property
    def positions(self) -> tuple[int, int]:
        """Output height and width; 0 or less where the kernel does not fit."""
        top, left, bottom, right = self.pads
        spans = [(size - 1) * d + 1 for size, d in zip(self.kernel, self.dilations, strict=True)]
        return (
            (self.h + top + bottom - spans[0]) // self.strides[0] + 1,
            (self.w + left + right - spans[1]) // self.strides[1] + 1,
        )

    @cached_property
    def c1(self) -> int:
        """Blocks of 32 channels."""
        return ceil_div(self.cin, C0)

    @cached_property
    def m(self) -> int:
        """Rows of results of one image: its output positions."""
        height, width = self.positions
        return height * width

    @property
    def n(self) -> int:
        """Columns of results."""
        return self.cout

    @cached_property
    def k(self) -> int:
        """Products of each result, in the K order (C1, Kh, Kw, 32)."""
        return self.c1 * self.kernel[0] * self.kernel[1] * C0

    @cached_property
    def activations(self) -> tuple[int, ...]:
        """Shape of the activations, NCHW."""
        return (self.batch, self.cin, self.h, self.w)

    @cached_property
    def weight(self) -> tuple[int, ...]:
        """Shape of the weight."""
        return (self.cout, self.cin, *self.kernel)

    @cached_property
    def output(self) -> tuple[int, ...]:
        """Shape of the result, NCHW."""
        return (self.batch, self.cout, *self.positions)

    @property
    def macs(self) -> int:
        """Multiplications of the dense computation, without any padding."""
        return self.batch * self.m * self.cout * self.cin * self.kernel[0] * self.kernel[1]


# Layers that were made before: one is run many times, and it does not change. By type as well, for
# what is equal to a number, as True is to 1, may have to be refused.
_multiplication = lru_cache(1024, typed=True)(Matmul)


@lru_cache(1024, typed=True)
def _convolution(
    batch: int, cin: int, h: int, w: int, cout: int, kh: int, kw: int, offset_x: int, *of: int
) -> Conv2d:
    """The convolution with strides, pads and dilations, in this order."""
    strides, pads, dilations = (of[0], of[1]), (of[2], of[3], of[4], of[5]), (of[6], of[7])
    return Conv2d(batch, cin, h, w, cout, (kh, kw), strides, pads, dilations, offset_x)


#: What is computed.
Layer = Matmul | Conv2d


def flattened(shape: tuple[int, ...]) -> tuple[int, int]:
    """Activations (B, ...) of a fully connected layer as (B, K).

    Raises:
        ShapeError: fewer than two dimensions.
    """
    if len(shape) < 2:
        raise ShapeError(f"activations have shape {shape}; they take (B, ...)")
    return shape[0], prod(shape[1:])


#: The numbers of a convolution that the unit limits, with the fields of Load3D that hold them.
_NUMBERS = {
    "kernel": ("kernel_h", "kernel_w"),
    "strides": ("stride_h", "stride_w"),
    "pads": ("pad_top", "pad_left", "pad_bottom", "pad_right"),
    "dilations": ("dilation_h", "dilation_w"),
}


def _set_size(layer: Layer, name: str) -> None:
    """Keep a size as a plain int."""
    size = whole(getattr(layer, name), name, 0, isa.LARGEST, error=ShapeError)
    object.__setattr__(layer, name, size)


def _numbers(name: str, values: Any, of: tuple[str, ...]) -> tuple[int, ...]:
    """So many whole numbers, each within the limits of its field."""
    limits = [isa.LIMITS[isa.Load3D][field] for field in of]
    try:
        pairs = zip(values, limits, strict=True)
        return tuple(whole(value, name, low, high) for value, (low, high) in pairs)
    except (TypeError, ValueError) as error:  # of zip, and of whole
        low, high = limits[0]
        raise ArgumentError(
            f"{name} {shown(values)}: the unit takes {len(of)} whole numbers from {low} to {high}"
        ) from error
