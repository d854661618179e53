"""The unit that reads the bytes.

``Unit`` runs matrix multiplications, convolutions and fully connected layers as programs of
instructions on byte-addressed memories. ``functional`` computes the same without instructions;
``dense`` is the independent computation from the original weights that both are compared with;
``demo`` is a real network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cube24.lazy import front

if TYPE_CHECKING:
    from cube24.simulator import (
        chip,
        dealing,
        demo,
        dense,
        functional,
        hazards,
        isa,
        layouts,
        machine,
        profiles,
        requant,
        show,
        sweep,
        writer,
    )
    from cube24.simulator.account import PipeAccount, Timing
    from cube24.simulator.config import PRESETS, ConfigError, UnitConfig
    from cube24.simulator.isa import Program, ProgramError
    from cube24.simulator.layer import Conv2d, Layer, Matmul, flattened
    from cube24.simulator.machine import (
        AlignmentError,
        CapacityError,
        ExecutionError,
        FlagError,
        IllegalIndexError,
        RangeError,
        UnsupportedError,
    )
    from cube24.simulator.pipes import DeadlockError, ScheduleError
    from cube24.simulator.profiles import validate
    from cube24.simulator.requant import Requant, RequantError
    from cube24.simulator.run import Run
    from cube24.simulator.tiler import Tile, TilingError
    from cube24.simulator.unit import MismatchError, Unit
else:
    __getattr__, __dir__ = front(
        __name__,
        {
            ".": (
                "chip", "dealing", "demo", "dense", "functional", "hazards", "isa", "layouts",
                "machine", "profiles", "requant", "show", "sweep", "writer",
            ),
            ".account": ("PipeAccount", "Timing"),
            ".config": ("PRESETS", "ConfigError", "UnitConfig"),
            ".isa": ("Program", "ProgramError"),
            ".layer": ("Conv2d", "Layer", "Matmul", "flattened"),
            ".machine": (
                "AlignmentError", "CapacityError", "ExecutionError", "FlagError",
                "IllegalIndexError", "RangeError", "UnsupportedError",
            ),
            ".pipes": ("DeadlockError", "ScheduleError"),
            ".profiles": ("validate",),
            ".requant": ("Requant", "RequantError"),
            ".run": ("Run",),
            ".tiler": ("Tile", "TilingError"),
            ".unit": ("MismatchError", "Unit"),
        },
    )  # fmt: skip

__all__ = [
    "PRESETS",
    "AlignmentError",
    "CapacityError",
    "ConfigError",
    "Conv2d",
    "DeadlockError",
    "ExecutionError",
    "FlagError",
    "IllegalIndexError",
    "Layer",
    "Matmul",
    "MismatchError",
    "PipeAccount",
    "Program",
    "ProgramError",
    "RangeError",
    "Requant",
    "RequantError",
    "Run",
    "ScheduleError",
    "Tile",
    "TilingError",
    "Timing",
    "Unit",
    "UnitConfig",
    "UnsupportedError",
    "chip",
    "dealing",
    "demo",
    "dense",
    "flattened",
    "functional",
    "hazards",
    "isa",
    "layouts",
    "machine",
    "profiles",
    "requant",
    "show",
    "sweep",
    "validate",
    "writer",
]
