"""The suite of magnitudes: sums that need so and so many bits of an accumulator."""

from __future__ import annotations

from collections.abc import Iterator

from cube24.vectors.spec import INT32_MAX, Item, matmul

#: k after which sums of -128 x -128 need 20, 22, 24 and 27 bits for the first time, and those of
#: -128 x 127 as many, but for the last one: 2048 of them need 26.
_K = {20: (32, 64), 22: (128, 256), 24: (512, 1024), 27: (4096, 4096)}


def cases(level: int, seed: int) -> Iterator[Item]:
    """Sums of 16 to 27 and of 31 bits, of both signs; bias that hides them, and bias added late.

    Level 1 has every length of a fractal on the way, in both layouts.
    """
    for sign, weight in (("pos", "max"), ("neg", "min")):
        spec = matmul(1, 1, 512, weights=weight, activations="one", layout="nd")
        yield Item(f"products-16-{sign}", spec, ("magnitude",))
    for bits, ks in _K.items():
        for sign, x, k in zip(("pos", "neg"), ("min", "max"), ks, strict=True):
            layout = "nd" if k > 512 else "zn"
            spec = matmul(1, 1, k, weights="min", activations=x, layout=layout)
            yield Item(f"products-{bits}-{sign}", spec, ("magnitude",))
            # The sum is taken back to about zero, so that only what is on the way is large, and
            # brought to the edge of 31 bits from within.
            sign_of = 1 if x == "min" else -1
            sum_of = sign_of * (128 if x == "min" else 127) * 128 * (k // 2)
            near = sign_of * ((1 << 30) - 1) - sum_of
            spec = matmul(
                2, 2, k, weights="min", activations=x, bias=[-sum_of, near], layout=layout
            )
            yield Item(f"bias-{bits}-{sign}", spec, ("magnitude", "bias"))
    # A bias at the edge: added first, sums on the way saturate; added late, they do not.
    spec = matmul(
        4, 5, 260, weights="edges", activations="edges", layout="nd",
        bias=[INT32_MAX, -INT32_MAX, INT32_MAX - 20000, 20000 - INT32_MAX, 0],
    )  # fmt: skip
    yield Item("bias-late", spec, ("magnitude", "bias"))
    if level >= 1:
        for step in range(1, 65):
            for layout in ("nd", "zn"):
                spec = matmul(
                    2, 3, 64 * step, weights="min", activations="edges", layout=layout,
                    bias="uniform" if step % 2 else None,
                )  # fmt: skip
                yield Item(f"steps-{step:02d}-{layout}", spec, ("magnitude",))
