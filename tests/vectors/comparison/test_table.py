"""Hypotheses: each injected fault is named, and nothing else is.

What a faulty device gives comes from plain_device.py: plain loops that share nothing with the
package.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plain_device as device
import pytest
from compared import Made, make

from cube24.vectors.comparison import compare
from cube24.vectors.comparison.table import HYPOTHESES
from cube24.vectors.manifest import Stored
from cube24.vectors.spec import matmul


def names(stored: Stored, got: Any) -> list[str]:
    return [found.name for found in compare(stored, got).hypotheses]


_BITS = ("index-pair-swapped", "index-nibbles-swapped", "index-msb-first", "slots-swapped",
         "slot1-without-plus-one", "activations-unsigned", "weights-unsigned")  # fmt: skip

#: Case, fault, which, and the names that must be given beside that of the fault.
FAULTY: list[tuple[str, str, Any, tuple[str, ...]]] = [
    *((case, fault, None, ()) for case in ("zn", "nd", "conv", "requant") for fault in _BITS),
    *(("conv-nd", fault, None, ()) for fault in _BITS
      if fault not in ("index-nibbles-swapped", "index-msb-first")),
    # With three channels the other group of each byte is empty, and its pair (0, 0) both ways.
    ("conv-nd", "index-nibbles-swapped", None, ("index-msb-first",)),
    ("conv-nd", "index-msb-first", None, ("index-nibbles-swapped",)),
    *((case, fault, None, ()) for case in ("zn", "conv")
      for fault in ("fractal-order-nz", "fractal-order-zz", "k-n-exchanged")),
    ("nd", "k-n-exchanged", None, ()),
    ("nd-tail", "k-n-exchanged", None, ()),
    ("conv-nd", "k-n-exchanged", None, ()),
    ("requant", "fractal-order-nz", None, ()),
    ("saturate", "wraps-instead-of-saturates", None, ()),
    ("grain", "wraps-instead-of-saturates", None, ()),
    ("wrap", "saturates-instead-of-wraps", None, ()),
    *((case, fault, None, ()) for case in ("zn", "nd", "requant")
      for fault in ("last-rows-dropped", "last-columns-dropped")),
    ("conv", "last-columns-dropped", None, ()),
    *(("tiles", "last-rows-dropped", tile, ()) for tile in (16, 64)),
    *(("tiles", "last-columns-dropped", tile, ()) for tile in (16, 32)),
    ("tiles", "last-k-dropped", 256, ("k-fractal-skipped",)),
    ("tiles-k", "last-k-dropped", 128, ()),
    ("tiles-k", "last-k-dropped", 256, ()),
    # Here one block is all there is, so two faults give zeros alone.
    ("nd-tail", "last-rows-dropped", None, ("last-columns-dropped",)),
    ("nd-tail", "last-columns-dropped", None, ("last-rows-dropped",)),
    # The last fractal is a fractal.
    ("zn", "last-k-dropped", None, ("k-fractal-skipped",)),
    ("conv-nd", "last-k-dropped", None, ("k-fractal-skipped",)),
    ("nd-tail", "k-fractal-skipped", 2, ("last-k-dropped",)),
    *((case, fault, which, ()) for case, which in (("zn", 0), ("nd", 1), ("conv", 4))
      for fault in ("k-fractal-skipped", "k-fractal-repeated")),
    ("saturate", "k-fractal-repeated", 3, ()),
    ("saturate", "k-fractal-skipped", 3, ()),
    ("grain", "k-fractal-skipped", 2, ()),
    ("wrap", "k-fractal-repeated", 4, ()),
    ("nd", "k-tail-not-zeroed", "next", ()),
    ("nd", "k-tail-not-zeroed", "stale", ()),
    ("nd-tail", "k-tail-not-zeroed", "next", ()),
    ("nd-tail", "k-tail-not-zeroed", "stale", ()),
    ("conv-nd", "k-tail-not-zeroed", "next", ()),
    *((case, fault, "before", ()) for case in ("nd-tail", "conv-nd", "requant", "half", "wrap")
      for fault in ("bias-missing", "bias-twice")),
    ("saturate", "bias-missing", None, ()),
    ("saturate", "bias-twice", "before", ()),
    ("saturate", "bias-twice", "after", ()),
    ("ties", "rounds-half-away", None, ()),
    ("columns", "rounds-half-away", None, ()),
    ("ties-half", "rounds-half-away", None, ()),
    ("half", "activations-unsigned", None, ()),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fault", "which", "beside"), FAULTY)
def test_the_right_hypothesis_is_named_and_no_other(
    cases: Callable[[str], Made], name: str, fault: str, which: Any, beside: tuple[str, ...]
) -> None:
    stored, arrays = cases(name)
    got = device.run(stored.spec, arrays, fault, which)
    found = compare(stored, got)
    assert not found.equal
    assert {each.name for each in found.hypotheses} == {fault, *beside}
    details = next(each for each in found.hypotheses if each.name == fault).details
    if fault in ("k-fractal-skipped", "k-fractal-repeated"):
        assert len(details) == 1
        assert details[0].startswith(f"fractal {which},")
    if fault.startswith("last") and which is not None:
        size = stored.spec["sizes"]["mnk"["rck".index(fault[5])]]
        assert len(details) == 1
        assert details[0].endswith(f" {(size - 1) // which * which} to {size - 1}")
    if fault == "k-tail-not-zeroed":
        assert len(details) == 1
        assert ("step before" in details[0]) == (which == "stale")
    assert found.explanation is not None
    assert found.explanation.matches
    assert fault in {each.about for each in found.explanation.faults}


def test_every_hypothesis_has_a_faulty_device() -> None:
    assert {fault for _, fault, _, _ in FAULTY} == {each.name for each in HYPOTHESES}
    assert set(device.FAULTS) == {each.name for each in HYPOTHESES}


def test_a_fault_that_changes_nothing_is_not_named(tmp_path: Path) -> None:
    # No bias but zero: a device without bias is right, and a wrong dump is not its doing.
    stored, arrays = make(tmp_path / "case", matmul(2, 3, 8, bias=[0]))
    assert (device.run(stored.spec, arrays, "bias-missing") == arrays["expected"]).all()
    assert compare(stored, arrays["expected"]).hypotheses == ()
    assert not {"bias-missing", "bias-twice"} & set(names(stored, arrays["expected"] + 1))


@pytest.mark.parametrize("name", ["zn", "conv", "requant"])
def test_a_fault_that_does_not_explain_all_is_not_named(
    cases: Callable[[str], Made], name: str
) -> None:
    # One row in the middle is right, or has one more mistake; all others have the fault.
    stored, arrays = cases(name)
    got = device.run(stored.spec, arrays, "activations-unsigned")
    n = got.shape[-1]
    assert names(stored, got) == ["activations-unsigned"]
    for change in ("right", "flip"):
        other = got.copy().reshape(-1, n)
        row = len(other) // 2
        if change == "right":
            other[row] = arrays["expected"].reshape(-1, n)[row]
        else:
            other[row, 1] ^= 1
        assert (other != got.reshape(-1, n)).any()
        assert names(stored, other.reshape(got.shape)) == []


def test_single_flipped_bits_of_a_dump_name_no_hypothesis(cases: Callable[[str], Made]) -> None:
    rng = np.random.default_rng(5)
    for name in ("zn", "nd", "conv", "requant", "half", "saturate"):
        stored, arrays = cases(name)
        for _ in range(6):
            raw = bytearray(arrays["expected"].tobytes())
            bit = int(rng.integers(8 * len(raw)))
            raw[bit // 8] ^= 1 << bit % 8
            got = np.frombuffer(bytes(raw), arrays["expected"].dtype)
            found = compare(stored, got.reshape(arrays["expected"].shape))
            assert (found.differing, found.hypotheses) == (1, ())
            assert "no hypothesis" in str(found)
