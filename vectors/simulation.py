"""Run a case on the unit that it names, from the files that a device reads."""

from __future__ import annotations

from cube24.errors import ArgumentError, StrPath
from cube24.simulator import Run
from cube24.vectors.case import bits, compute
from cube24.vectors.change import with_words
from cube24.vectors.manifest import Stored, check_sums, load
from cube24.vectors.spec import requant_of, unit_of

#: What a device reads beside the words of requantisation: a single one is part of the program, and
#: comes from the spec.
_READ = ("activations", "dense", "index", "bias")


def simulate(case: Stored | StrPath) -> tuple[Run, int]:
    """Run a case.

    Args:
        case: a case, or its folder.

    Returns:
        What the unit did, its output in the layout of the expected result, and in how many outputs
        the two differ.

    Raises:
        FileFormatError: a file is not what the manifest says.
        FileAccessError: the system refuses.
        ExecutionError: the unit refuses the bytes, as it must with some faults.
        ArgumentError: a case that has no result because a reader must refuse it.
    """
    stored = case if isinstance(case, Stored) else load(case)
    error = stored.manifest["outcome"].get("error")
    if error is not None and stored.entries("bad"):
        raise ArgumentError(
            f"{stored.name}: has nothing to run; what stands in bad/ must be refused ({error})"
        )
    check_sums(stored)
    arrays = {role: stored.array(role) for role in _READ if stored.entries(role)}
    with stored.explained("spec"):
        run = compute(stored.spec, unit_of(stored.spec), arrays)
        how = requant_of(stored.spec)
    if how is not None and how.per_column:
        run = with_words(run, stored.array("requant"))
    assert run.output is not None
    if not stored.entries("expected"):
        return run, run.output.size
    return run, int((bits(run.output) != bits(stored.array("expected"))).sum())
