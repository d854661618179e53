"""A schedule as a table: one row for each instruction."""

from __future__ import annotations

import csv
from functools import lru_cache

from cube24.errors import StrPath
from cube24.simulator.run import Run
from cube24.simulator.show.cores import TEXTS, Scheduled, cores_of, text_file

#: The columns of a CSV trace: the core, then those of account.Row, then the instruction as text.
COLUMNS = (
    "core", "number", "name", "pipe", "issued", "start", "end", "head", "work", "slowed", "waited",
    "cause", "text",
)  # fmt: skip


def write_csv(run: Run | Scheduled, path: StrPath, *, overwrite: bool = False) -> None:
    r"""Write one row for each instruction, in program order, core by core.

    The first line names the columns (COLUMNS); lines end in ``\n``; times are in cycles.

    Raises:
        FileAccessError: the file is there already, or the system refuses.
        ScheduleError: the run has more than chip.PROGRAM_LIMIT instructions.
    """
    with text_file(path, overwrite) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        text = lru_cache(TEXTS)(str)
        for core in cores_of(run):
            instructions = core.program.instructions
            table.writerows(
                (
                    core.number, r.index, r.name, r.pipe, r.issued, r.start, r.end, r.head, r.work,
                    r.slowed, r.waited, r.cause, text(instructions[r.index]),
                )
                for r in core.timing.instructions
            )  # fmt: skip
