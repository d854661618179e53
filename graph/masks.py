"""Which two weights of a group of four stay, and least squares on those that do.

Arithmetic on weights alone, of any number type: nothing here knows of models. Groups lie along K of
a matrix (N, K), and along Cin of a convolution (Cout, Cin, Kh, Kw).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.encoder import GROUP, Kind
from cube24.sizes import round_up

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

#: What is added to the squares of the inputs of each weight, as a share of their mean, so that
#: inputs that hardly ever differ do not make weights large.
RIDGE = 0.01


def kept(values: npt.NDArray[Any], kind: Kind, scores: Floats | None = None) -> Mask:
    """Which weights stay, so that no group has more than two.

    Args:
        values: of any number type, none of it NaN.
        kind: of the weight.
        scores: not negative, in the shape of values: the two highest of a group stay, ties to the
            lowest position; None: their absolute values.

    Returns:
        True for each weight that stays; all non-zeros of a group that has no more than two do.
    """
    score = np.abs(values.astype(np.float64)) if scores is None else scores
    # A zero never takes the place of a weight, were its score zero too.
    score = np.where(values != 0, score, -1.0)
    rows = _rows(score, kind)
    k = rows.shape[1]
    wide = np.pad(rows, ((0, 0), (0, round_up(k, GROUP) - k)), constant_values=-1.0)
    groups = wide.reshape(-1, GROUP)
    # Whether fewer than two come first: stable, so that of equal scores the lowest position does.
    order = np.argsort(-groups, axis=1, kind="stable")
    mask = np.zeros(groups.shape, np.bool_)
    np.put_along_axis(mask, order[:, :2], True, axis=1)
    stay = _back(mask.reshape(wide.shape)[:, :k], values.shape, kind)
    return np.asarray(stay & (values != 0))


def excess(values: npt.NDArray[Any], mask: Mask, kind: Kind) -> int:
    """How many groups lose a weight by a mask."""
    lost = _rows((values != 0) & ~mask, kind)
    k = lost.shape[1]
    wide = np.pad(lost, ((0, 0), (0, round_up(k, GROUP) - k)))
    return int(wide.reshape(-1, GROUP).any(axis=1).sum())


def _rows(array: npt.NDArray[Any], kind: Kind) -> npt.NDArray[Any]:
    """With the groups along the last of two axes."""
    if kind == "matrix":
        return array
    return array.transpose(0, 2, 3, 1).reshape(-1, array.shape[1])


def _back(rows: npt.NDArray[Any], shape: tuple[int, ...], kind: Kind) -> npt.NDArray[Any]:
    if kind == "matrix":
        return rows
    cout, cin, height, width = shape
    return rows.reshape(cout, height, width, cin).transpose(0, 3, 1, 2)


# --- least squares --------------------------------------------------------------------------------


def refitted(weight: Floats, mask: Mask, gram: Floats) -> Floats:
    """The weights that stay, changed so that the outputs differ least from those of all weights.

    For each row n and the set S of those that stay: H[S, S] w = H[S, :] w0, where H is the Gram
    matrix with RIDGE of the mean of its diagonal added to the diagonal.

    Args:
        weight: (N, K), before pruning.
        mask: of the same shape: what stays.
        gram: (K, K), sum of x x' over the inputs x.

    Returns:
        (N, K), zero where the mask is False. A row that loses nothing stays as it is.
    """
    ridge = RIDGE * np.trace(gram) / len(gram)
    if not ridge > 0:  # no input but zeros: nothing to fit to
        return weight * mask
    h = gram + ridge * np.eye(len(gram))
    wanted = weight @ h
    found = weight * mask
    for n in np.flatnonzero(((weight != 0) & ~mask).any(axis=1)):
        stay = np.flatnonzero(mask[n])
        found[n, stay] = np.linalg.solve(h[np.ix_(stay, stay)], wanted[n, stay])
    return found


def error(weight: Floats, other: Floats, gram: Floats) -> float:
    """Relative error of the outputs of another weight: squares of the differences over squares of
    the outputs; 0 where there are no outputs but zeros.

    Args:
        weight, other: (N, K).
        gram: (K, K), of the inputs.
    """
    total = float(((weight @ gram) * weight).sum())
    change = other - weight
    return max(float(((change @ gram) * change).sum()), 0.0) / total if total > 0 else 0.0
