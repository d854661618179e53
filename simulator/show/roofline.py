"""The roofline of a run: operations for each byte moved and for each cycle, and their bounds.

Operations are those of the dense problem; a multiplication and its addition are two.
"""

from __future__ import annotations

from dataclasses import dataclass

from cube24.errors import StrPath
from cube24.simulator import isa
from cube24.simulator.pipes import ScheduleError
from cube24.simulator.run import PEAK, Run
from cube24.simulator.show.plots import figure, save
from cube24.simulator.timing import demand_legal


@dataclass(frozen=True)
class Traffic:
    """What a program moves and multiplies."""

    bytes_in: int
    bytes_out: int
    macs: int

    @property
    def intensity(self) -> float:
        """Operations a byte; a multiplication and its addition are two."""
        return 2 * self.macs / max(self.bytes_in + self.bytes_out, 1)


def traffic(program: isa.Program) -> Traffic:
    """Bytes between global memory and the core, and multiplications of the dense problem.

    Raises:
        ScheduleError: the program has an instruction that no unit can run.
    """
    demand_legal(program)
    bytes_in = bytes_out = macs = 0
    for i in program.instructions:
        if isinstance(i, isa.CopyIn):
            bytes_in += i.bytes * i.bursts
        elif isinstance(i, isa.Nd2Nz):
            bytes_in += i.bytes * i.rows
        elif isinstance(i, isa.Fixpipe) and i.to == "GM":
            bytes_out += i.m * i.n * isa.RESULT_BYTES[i.mode]
        elif isinstance(i, isa.Mmad):
            macs += i.m * i.n * i.k
    return Traffic(bytes_in, bytes_out, macs)


def peaks(run: Run) -> dict[str, float]:
    """What the cube can do in a cycle."""
    assert run.plan is not None
    peak = 2.0 * PEAK[run.plan.problem.dtype]
    found = {"cube, dense": peak}
    if run.plan.problem.sparse:
        found["cube, 2:4"] = 2 * peak
    return found


def roofs(run: Run) -> dict[str, float]:
    """Bytes a cycle of one core."""
    config, cores = run.config, run.chip.cores
    per_core = 1000 / config.clock_mhz / cores
    return {
        "bursts": config.burst_rate,
        "rows": config.row_rate,
        "HBM, its share": config.hbm_rate * per_core,
    }


def points(run: Run) -> dict[str, tuple[float, float]]:
    """Operations a byte and a cycle, of the run and of its dense twin, if there is one to list."""
    runs, twin = {"this run": run}, run.dense
    if twin is not None and twin is not run and twin.listed:
        runs["dense"] = twin
    found = {}
    for name, one in runs.items():
        of = traffic(one.program)
        found[name] = (of.intensity, 2 * of.macs / one.cycles)
    return found


def write_roofline_png(run: Run, path: StrPath, *, overwrite: bool = False) -> None:
    """Draw the roofline as PNG or SVG, by the name of the file.

    Raises:
        MissingExtraError: matplotlib is not there.
        ScheduleError: the run is empty, or has too many instructions to list.
        ArgumentError, FileAccessError: as for :func:`plots.save`.
    """
    if run.plan is None:
        raise ScheduleError("the run is empty: there is nothing to draw")
    found, drawing = points(run), figure(8, 5)
    axes = drawing.subplots()
    low, high = 1.0, max(1024.0, *(2 * x for x, _ in found.values()))
    levels = peaks(run)
    for name, rate in roofs(run).items():
        end = min(high, max(levels.values()) / rate)
        axes.plot([low, end], [low * rate, end * rate], color="0.3", linewidth=1, label=name)
    for name, peak in levels.items():
        axes.axhline(peak, color="0.3", linewidth=1)
        axes.annotate(name, (low, peak), textcoords="offset points", xytext=(4, 3))
    for name, (x, y) in found.items():
        axes.plot([x], [y], "o", label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("operations a byte")
    axes.set_ylabel("operations a cycle")
    axes.legend(fontsize="small")
    save(drawing, path, overwrite=overwrite)
