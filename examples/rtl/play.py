"""Play cases of cube24 on a compiled simulation of tb_case.sv, and say PASS or FAIL of each.

    python play.py SIMULATION CASE [CASE ...]      SIMULATION: build/Vtb_case, or build/tb_case.vvp

A CASE is the folder of a case, or a folder of cases. What the case says stands in its manifest;
here it becomes the plusargs of the bench. Before a case is played, each of its files must have the
checksum of the manifest, and the manifest that of itself. Exit code 1: a case failed.

A case that holds an index of 3 passes if the unit flags it: a fault that must be refused, and the
damaged copy of a negative case that is about it. Of other negative cases, whose damage a
multiplier cannot see, the good files are played.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

#: Fields of the unit that the bench is told; of the others, none changes a result.
RULES = ("overflow", "grain", "index3", "pair20", "requant_shift", "requant_offset")
#: Damages that the unit sees: a damaged copy that holds an index of 3.
ILLEGAL = ("index-3", "index-3-unit")


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
    except (ValueError, KeyError, TypeError) as error:
        raise BadCaseError(f"manifest.json: {type(error).__name__}: {error}") from error
    return manifest


def plusargs(folder: Path, manifest: dict[str, Any], name: str, outcome: str) -> dict[str, Any]:
    """The plusargs of a case, as README.md lists them."""
    spec, style = manifest["spec"], manifest["style"]
    size, how = spec["sizes"], spec["requant"]
    files: dict[str, dict[str, Any]] = {}
    for entry in manifest["files"]:
        if entry["format"] == "hex":
            # Of a weight in both layouts, that of the case comes first.
            files.setdefault(entry["role"], entry)
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
    if how is not None:
        signed = "int8" if how.get("signed", True) else "uint8"
        given["output"] = "float16" if how.get("mode", "REQ8") == "DEQF16" else signed
        slope = how.get("relu", False)
        if slope is True:
            given["relu"] = "relu"
        elif slope is not False:
            given |= {"relu": "leaky", "alpha": struct.pack(">f", slope).hex()}
        given["requant_words"] = files["requant"]["shape"][0]
    for role in ("activations", "dense", "index", "bias", "requant", "expected"):
        if role in files:
            given[role] = folder / files[role]["name"]
            if files[role]["bits_per_word"] != 8 * style["word_bytes"]:
                given[f"{role}_word_bytes"] = files[role]["bits_per_word"] // 8
            # Only a manifest of version 2 has strides.
            if files[role].get("row_stride") != files[role].get("row_bytes"):
                given[f"{role}_row_stride"] = files[role]["row_stride"]
    return given


def plan(folder: Path, *, check: bool = True) -> dict[str, Any]:
    """What is to be played for a case."""
    manifest = read_manifest(folder, check=check)
    name = f"{manifest['suite']}/{manifest['case']}"
    change = manifest["spec"]["change"]
    outcome = manifest["outcome"]
    if outcome["kind"] == "error" and change["kind"] == "negative":
        if change["what"] not in ILLEGAL:
            return plusargs(folder, manifest, name, "result")
        # Its checksums are those of the damaged files.
        return plusargs(folder / "bad", read_manifest(folder / "bad", check=check), name, "illegal")
    illegal = outcome["kind"] == "error" and outcome["error"] == "IllegalIndexError"
    return plusargs(folder, manifest, name, "illegal" if illegal else "result")


def cases_in(folder: Path) -> list[Path]:
    """The folders of cases in a folder, or itself; damaged copies are no cases."""
    if (folder / "manifest.json").exists():
        return [folder]
    found = sorted(path.parent for path in folder.rglob("manifest.json"))
    return [path for path in found if path.name != "bad"]


def run(simulation: Path, arguments: list[str]) -> str:
    """What a simulation prints."""
    command = ["vvp", "-N", str(simulation)] if simulation.suffix == ".vvp" else [str(simulation)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def main() -> int:
    """Play the cases of the command line; 1 if one fails."""
    parser = argparse.ArgumentParser(description="Play cases of cube24 on the RTL.")
    parser.add_argument("simulation", type=Path, help="what make built: Vtb_case or tb_case.vvp")
    parser.add_argument("cases", type=Path, nargs="+", help="folders of cases")
    parser.add_argument("--dump", type=Path, help="write the result of the one case here, as hex")
    parser.add_argument("--plusargs", action="store_true", help="print the plusargs, play nothing")
    parser.add_argument("--unchecked", action="store_true", help="do not look at checksums first")
    given = parser.parse_args()
    folders = [case for folder in given.cases for case in cases_in(folder)]
    if not folders or (given.dump and len(folders) > 1):
        parser.error("no case there" if not folders else "--dump goes with one case")
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
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
            listed.write("".join(" ".join(words) + "\n" for words in lines))
            listed.flush()
            text = run(given.simulation, [f"+list={listed.name}"])
        said = [
            line for line in text.splitlines() if line.startswith(("PASS ", "FAIL", "first ", "  "))
        ]
        print("\n".join(said))
        passed = sum(line.startswith("PASS ") for line in said)
        failed += len(lines) - passed
    print(f"{len(folders)} cases, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
