"""Play cases of cube24 on a compiled simulation of tb_case.sv, and say PASS or FAIL of each.

    python play.py SIMULATION CASE [CASE ...]      SIMULATION: build/Vtb_case, or build/tb_case.vvp

A CASE is the folder of a case, or a folder of cases. What the case says stands in its manifest;
here it becomes the plusargs of the bench. Before a case is played, each of its files must have the
checksum of the manifest, and the manifest that of itself. Exit code 1: a case failed.

A case that holds an index of 3 passes if the unit flags it: a fault that must be refused, and the
damaged copy of a negative case that is about it. So does one with a parameter word whose scale is
not finite. Of other negative cases, whose damage a multiplier cannot see, the good files are
played.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

#: Fields of the unit that the bench is told; of the others, none changes a result.
RULES = ("overflow", "grain", "index3", "pair20", "requant_shift", "requant_offset")
#: Damages that the unit sees: a damaged copy that holds an index of 3.
ILLEGAL = ("index-3", "index-3-unit")
#: What the bench is told of a case that the unit must refuse, by the error of the manifest.
REFUSED = {"IllegalIndexError": "illegal", "RangeError": "bad-word"}
#: Files that the bench reads.
ROLES = ("activations", "dense", "index", "bias", "requant", "expected")
#: m, n and k up to which one Mmad takes all of k, in the order of the unit of the vectors.
ONE_MMAD = (64, 64, 320)


class BadCaseError(Exception):
    """A case that cannot be played, with the reason."""


def read_manifest(folder: Path, *, check: bool = True) -> dict[str, Any]:
    """The manifest of a case, whose files are what it says."""
    try:
        text = (folder / "manifest.json").read_bytes()
        manifest: dict[str, Any] = json.loads(text)
        files = manifest["files"]
        if check:
            # The seal is over the manifest without its last line, which holds it.
            seal = "seal" if "layer" in manifest else "sha256"
            sealed = re.sub(rb',\n "%s": "[0-9a-f]{64}"\n\}\n\Z' % seal.encode(), b"\n}\n", text)
            if hashlib.sha256(sealed).hexdigest() != manifest[seal]:
                raise BadCaseError("manifest.json was changed: its SHA-256 is another one")
            for entry in files:
                found = hashlib.sha256((folder / entry["name"]).read_bytes()).hexdigest()
                if found != entry["sha256"]:
                    raise BadCaseError(f"{entry['name']} was changed: its SHA-256 is another one")
    except OSError as error:
        raise BadCaseError(f"cannot read it: {error}") from error
    return manifest


def sizes_of(spec: dict[str, Any]) -> tuple[int, int, int]:
    """m, n and k of the multiplication of a case."""
    size = spec["sizes"]
    if spec["operation"] != "conv2d":
        return size["m"], size["n"], size["k"]
    (top, left, bottom, right), kernel = size["pads"], size["kernel"]
    m, padded = size["batch"], (size["h"] + top + bottom, size["w"] + left + right)
    for whole, taps, stride, apart in zip(
        padded, kernel, size["strides"], size["dilations"], strict=True
    ):
        m *= (whole - (taps - 1) * apart - 1) // stride + 1
    return m, size["cout"], -(-size["cin"] // 32) * 32 * kernel[0] * kernel[1]


def mmads_of(manifest: dict[str, Any]) -> list[int]:
    """The k of each Mmad of a tile of the result, in order; all of k where they make no difference.

    They do where what an Mmad sums up is added to an accumulator that saturates.

    Raises:
        BadCaseError: the manifest does not say it, or no steps of 64 are like that.
    """
    sizes = sizes_of(manifest["spec"])
    rules = manifest["spec"]["unit"]["overrides"]
    if rules.get("grain") != "instruction" or rules.get("overflow") == "wrap":
        return [sizes[2]]
    found: list[int] | None = manifest.get("layer", {}).get("mmad_k")
    if found is None:
        if all(size <= most for size, most in zip(sizes, ONE_MMAD, strict=True)):
            return [sizes[2]]
        raise BadCaseError(
            "it cannot be played: its accumulators saturate after each Mmad, and its manifest does "
            "not say which k one has; `cube24 vectors bench` makes a version 2 of it, which does"
        )
    if sum(found) != sizes[2] or min(found) < 1 or any(k % 64 for k in found[:-1]):
        raise BadCaseError(f"its mmad_k {found} are no steps of 64 of k {sizes[2]}")
    return found


def plusargs(folder: Path, manifest: dict[str, Any], name: str, outcome: str) -> dict[str, Any]:
    """The plusargs of a case, as README.md lists them."""
    spec, style = manifest["spec"], manifest["style"]
    size, how = spec["sizes"], spec["requant"]
    files: dict[str, dict[str, Any]] = {}
    for entry in manifest["files"]:
        if entry["format"] == "hex":
            # Of a weight in both layouts, that of the case comes first.
            files.setdefault(entry["role"], entry)
    for role in ROLES:
        if role not in files and any(entry["role"] == role for entry in manifest["files"]):
            raise BadCaseError(f"it has no hex file of {role}: write it with --format hex")
    if any(f["order"] != style["order"] for f in files.values()):
        raise BadCaseError("its hex files have words of both orders; the bench takes one")
    given: dict[str, Any] = {"case": name, "outcome": outcome, "layout": spec["layout"]}
    given |= {"word_bytes": style["word_bytes"], "order": style["order"]}
    if spec["operation"] == "conv2d":
        c1 = -(-size["cin"] // 32)
        given |= {"conv": 1, "batch": size["batch"], "c1": c1, "h": size["h"], "w": size["w"]}
        given |= {"n": size["cout"], "offset_x": size["offset_x"]}
        for field, values in (
            ("kernel", size["kernel"]), ("stride", size["strides"]), ("dilation", size["dilations"])
        ):  # fmt: skip
            given |= {f"{field}_h": values[0], f"{field}_w": values[1]}
        sides = ("top", "left", "bottom", "right")
        given |= {f"pad_{side}": pad for side, pad in zip(sides, size["pads"], strict=True)}
    else:
        given |= {"m": size["m"], "n": size["n"], "k": size["k"]}
    given |= {rule: spec["unit"]["overrides"][rule] for rule in RULES
              if rule in spec["unit"]["overrides"]}  # fmt: skip
    first, *more = mmads_of(manifest)
    if more:
        if any(k != first for k in more[:-1]) or more[-1] > first:
            raise BadCaseError(
                f"it cannot be played: its Mmads of k {[first, *more]} are not alike"
            )
        given["mmad_k"] = first
    if how is not None:
        signed = "int8" if how.get("signed", True) else "uint8"
        given["output"] = "float16" if how.get("mode", "REQ8") == "DEQF16" else signed
        slope = how.get("relu", False)
        if slope is True:
            given["relu"] = "relu"
        elif slope is not False:
            given |= {"relu": "leaky", "alpha": struct.pack(">f", slope).hex()}
        given["requant_words"] = files["requant"]["shape"][0]
    for role in ROLES:
        if role in files:
            given[role] = folder / files[role]["name"]
            if files[role]["bits_per_word"] != 8 * style["word_bytes"]:
                given[f"{role}_word_bytes"] = files[role]["bits_per_word"] // 8
            # Only a manifest of version 2 has strides.
            if files[role].get("row_stride") != files[role].get("row_bytes"):
                given[f"{role}_row_stride"] = files[role]["row_stride"]
    return given


def plan(folder: Path, *, check: bool = True) -> dict[str, Any]:
    """What is to be played for a case.

    Raises:
        BadCaseError: it cannot be played.
    """
    try:
        return planned(folder, check=check)
    except (
        LookupError, TypeError, ValueError, AttributeError, ArithmeticError, struct.error,
    ) as error:  # fmt: skip
        raise BadCaseError(f"manifest.json: {type(error).__name__}: {error}") from error


def planned(folder: Path, *, check: bool) -> dict[str, Any]:
    """The same of a manifest that has all that it should have."""
    manifest = read_manifest(folder, check=check)
    name = f"{manifest['suite']}/{manifest['case']}"
    change = manifest["spec"]["change"]
    outcome = manifest["outcome"]
    if outcome["kind"] == "error" and change["kind"] == "negative":
        if change["what"] not in ILLEGAL:
            return plusargs(folder, manifest, name, "result")
        # Its checksums are those of the damaged files.
        return plusargs(folder / "bad", read_manifest(folder / "bad", check=check), name, "illegal")
    if outcome["kind"] != "error":
        return plusargs(folder, manifest, name, "result")
    if outcome["error"] not in REFUSED:
        raise BadCaseError(f"it cannot be played: no unit tells of {outcome['error']}")
    return plusargs(folder, manifest, name, REFUSED[outcome["error"]])


def cases_in(folder: Path) -> list[Path]:
    """The folders of cases in a folder, or itself; damaged copies are no cases."""
    if (folder / "manifest.json").exists():
        return [folder]
    found = sorted(path.parent for path in folder.rglob("manifest.json"))
    return [path for path in found if path.name != "bad"]


def run(simulation: Path, arguments: list[str], limit: float) -> tuple[str, str]:
    """What a simulation prints, and how it ended otherwise than with 0; nothing if it did not."""
    command = ["vvp", "-N", str(simulation)] if simulation.suffix == ".vvp" else [str(simulation)]
    try:
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, check=False, timeout=limit
        )
    except subprocess.TimeoutExpired as error:
        printed = error.stdout or b""
        text = printed if isinstance(printed, str) else printed.decode(errors="replace")
        return text, f"did not end in {limit:g} seconds"
    except OSError as error:
        return "", f"did not run: {error}"
    ended = f"ended with {done.returncode}: {done.stderr[-2000:]}" if done.returncode else ""
    return done.stdout, ended


def play(simulation: Path, lines: list[list[str]], limit: float) -> int:
    """Play cases, of each its arguments, `case` first; print what is said; the number that failed.

    A case has passed if that is said of it, by its name, as often as it is played.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
        listed.write("".join(" ".join(words) + "\n" for words in lines))
        listed.flush()
        text, ended = run(simulation, [f"+list={listed.name}"], limit)
    # Not what a simulator says of its own end.
    told_by_bench = ("PASS ", "FAIL", "first ", "  expected ", "  got ")
    said = [line for line in text.splitlines() if line.startswith(told_by_bench)]
    failures = [line for line in said if line.startswith("FAIL")]
    played = Counter(words[0].removeprefix("case=") for words in lines)
    passed = Counter(re.findall(r"^PASS (\S+): ", text, re.MULTILINE))
    missing, more = played - passed, passed - played
    told = {line.split()[1].removesuffix(":") for line in failures if " " in line}
    said += [f"FAIL {name}: no result was told" for name in missing if name not in told]
    said += [f"FAIL {name}: passed, and was not played" for name in more]
    # With failures, the bench ends with an error too.
    if ended and not re.search(r"^\d+ cases, [1-9]\d* failed$", text, re.MULTILINE):
        said.append(f"FAIL: {simulation} {ended}".rstrip(": \n"))
    if said:
        print("\n".join(said))
    return max(missing.total(), len(failures), bool(ended)) + more.total()


def main() -> int:
    """Play the cases of the command line; 1 if one fails."""
    parser = argparse.ArgumentParser(description="Play cases of cube24 on the RTL.")
    parser.add_argument("simulation", type=Path, help="what make built: Vtb_case or tb_case.vvp")
    parser.add_argument("cases", type=Path, nargs="+", help="folders of cases")
    parser.add_argument("--dump", type=Path, help="write the result of the one case here, as hex")
    parser.add_argument("--plusargs", action="store_true", help="print the plusargs, play nothing")
    parser.add_argument("--unchecked", action="store_true", help="do not look at checksums first")
    parser.add_argument("--limit", type=float, default=3600, help="seconds that it may take")
    given = parser.parse_args()
    if not 0 < given.limit <= 1e6:
        parser.error("--limit is more than 0 seconds, and at most 1000000")
    # A path without a directory would be looked for among the commands.
    simulation = given.simulation.resolve()
    if not simulation.is_file() and not given.plusargs:
        parser.error(f"{given.simulation}: no such file; `make` builds simulations")
    folders = []
    for folder in given.cases:
        found = cases_in(folder)
        if not found:
            parser.error(f"{folder}: no case there")
        folders += found
    if given.dump and len(folders) > 1:
        parser.error("--dump goes with one case")
    lines, failed = [], 0
    for folder in folders:
        try:
            wanted = plan(folder, check=not given.unchecked)
        except BadCaseError as error:
            print(f"FAIL {folder}: {error}")
            failed += 1
            continue
        if given.dump:
            wanted["dump"] = given.dump
        words = [f"{name}={value}" for name, value in wanted.items()]
        if any(character.isspace() for word in words for character in word):
            parser.error(f"{folder}: a simulator takes no path with a space")
        lines.append(words)
    if given.plusargs:
        print("\n".join(" ".join(f"+{word}" for word in words) for words in lines))
        return failed > 0
    if lines:
        failed += play(simulation, lines, given.limit)
    print(f"{len(folders)} cases, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    try:
        code = main()
        if sys.stdout:  # it may be closed
            sys.stdout.flush()
    except OSError as error:  # of print
        if not isinstance(error, BrokenPipeError):  # whoever reads has seen enough, as `head` does
            print(f"play.py: {error}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)
