"""Cases that are made from a good one by changing it: faults and negative cases.

A fault is one flipped bit in what the unit reads: the files hold the flipped bytes, and what the
unit makes of them is what must come out. Of requantisation, words that are one a column can be
flipped: those stand in memory, where a single word is part of the program. A negative case has a
damaged copy of the case beside the good files, and names the error that reading it must give;
damage.py makes those.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cube24.errors import ArgumentError
from cube24.simulator import IllegalIndexError, RangeError, Run, Unit
from cube24.vectors import damage
from cube24.vectors.case import Case, CaseArray, accumulators, bits, compute
from cube24.vectors.spec import requant_of

#: What a bit can be flipped in: the arrays that stand for data on a bus of the unit.
FAULT_ROLES = ("dense", "index", "activations", "requant")


def apply(case: Case) -> Case:
    """Apply the change that the spec of a case names.

    Raises:
        ArgumentError: no such change, or it cannot be made in this case.
    """
    change = case.spec["change"] or {}
    if change.get("kind") == "fault":
        return _fault(case, change)
    if change.get("kind") == "negative":
        return damage.damaged(case)
    raise ArgumentError(f"change {change!r}: its kind is fault or negative")


def flipped(array: npt.NDArray[Any], bit: int) -> npt.NDArray[Any]:
    """A copy of an array of bytes with one bit flipped: bit N % 8 of byte N // 8, in C order."""
    data = np.array(array, order="C")
    data.reshape(-1).view(np.uint8)[bit // 8] ^= 1 << bit % 8
    return data


def _fault(case: Case, change: Mapping[str, Any]) -> Case:
    if change.keys() != {"kind", "role", "bit"} or change["role"] not in FAULT_ROLES:
        raise ArgumentError(
            f"change {change!r}: a fault has a bit, and a role of {', '.join(FAULT_ROLES)}"
        )
    role, bit = change["role"], change["bit"]
    how = requant_of(case.spec)
    if role == "requant" and (how is None or not how.per_column):
        raise ArgumentError(f"change {change!r}: the case has no words that are one a column")
    good = case.pieces[role]
    if type(bit) is not int or not 0 <= bit < 8 * good.array.nbytes:
        raise ArgumentError(
            f"change {change!r}: the bits of {role} are 0 to {8 * good.array.nbytes - 1}"
        )
    pieces = {**case.pieces, role: replace(good, array=flipped(good.array, bit))}
    expected, sums = pieces.pop("expected"), pieces.pop("accumulators", None)
    arrays = {name: piece.array for name, piece in pieces.items()}
    try:
        if role == "requant":
            run = with_words(case.run, arrays[role])
        else:
            run = compute(case.spec, case.unit, arrays)
    except (IllegalIndexError, RangeError) as error:
        # The run stays that of the good bytes: the time up to the refusal is nobody's business.
        return replace(
            case, pieces=pieces, outcome={"kind": "error", "error": type(error).__name__}
        )
    assert run.output is not None
    # Of fp16, 0 and -0 are two results.
    differing = int(np.count_nonzero(bits(run.output) != bits(expected.array)))
    if sums is not None:
        pieces["accumulators"] = accumulators(case.spec, case.unit, arrays)
    pieces["expected"] = CaseArray(run.output, expected.layout)
    outcome = {"kind": "changed", "differing": differing} if differing else {"kind": "masked"}
    return replace(case, pieces=pieces, run=run, outcome=outcome)


def with_words(run: Run, words: npt.NDArray[np.uint64]) -> Run:
    """The program of a run of a case, run with other words in its memory, one a column.

    Raises:
        RangeError: a word has no meaning.
    """
    assert run.operands is not None
    good = run.output
    assert good is not None
    inputs = {**run.operands(), "words": words}
    held = Unit(run.config).execute(run.program, inputs)["output"]
    output = held.view(good.dtype).reshape(good.shape)
    return replace(run, output=output, operands=lambda: inputs)
