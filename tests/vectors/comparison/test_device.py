"""Devices: rounding away from zero differs from the unit in rounding alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from compared import Made

from cube24.simulator import requant as package_requant
from cube24.vectors.comparison.device import finished
from cube24.vectors.comparison.operands import operands_of


def test_half_away_differs_in_rounding_alone(cases: Callable[[str], Made]) -> None:
    # The requantisation with its last rounding exchanged is written anew; to even it must be the
    # unit's: on values without ties both agree.
    stored, arrays = cases("columns")
    operands = operands_of(stored.spec, arrays)
    values = np.arange(-10_000, 10_000, dtype=np.int64)[:, None].repeat(4, 1)
    even, away = (finished(operands, values, half_away=way).astype(int) for way in (False, True))
    words = arrays["requant"]
    scale = (words & np.uint64(0xFFFF_E000)).astype(np.uint32).view(np.float32)
    exact = np.clip(values * scale.astype(float), -256, 255)
    ties = exact - np.floor(exact) == 0.5
    assert (even == away)[~ties].all()
    assert (even != away)[ties].any()
    assert package_requant.MODES == ("REQ8", "DEQF16")
