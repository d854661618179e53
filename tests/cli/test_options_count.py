"""Each option of each command counts: changing it changes what comes out, or is refused.

The table has two command lines for each option and argument that the command tree has. They differ
in nothing else, and what they print, write or end with differs. A third text is part of what the
second line, which is then refused, says of it. An option without a row fails.
"""

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import onnx
import onnx_forms
import pytest
from onnx_makers import quantised_conv
from sparse_weights import sparse_weight

from cube24 import encoder, simulator, vectors
from cube24.cli import run
from cube24.cli.app import cli
from cube24.simulator import profiles

Row = tuple[str, str] | tuple[str, str, str]

THERE = "is there already"

WEIGHT = {
    "SOURCE": ("legal.npy", "excess.npy"),
    "--name": ("two.npz --name a", "two.npz --name b"),
    "--shape": ("raw.bin --shape 2x8", "raw.bin --shape 4x4"),
    "--dtype": ("raw.bin --shape 2x8", "raw.bin --shape 2x8 --dtype uint8", "two's complement"),
    "--conv": ("conv.npy", "conv.npy --conv"),
}

LOOSE = "--dense loose/dense.bin --index loose/index.bin"
HEX = "--dense words/dense.hex --index words/index.hex --shape 16x128 --word-bytes 2"
FOUR = "--dense four/dense.bin --index four/index.bin --shape 2x32x2x8 -o o.npy"


def after(rows: dict[str, Row], more: str) -> dict[str, Row]:
    """The rows with more words behind both lines."""
    return {
        name: (f"{row[0]} {more}", f"{row[1]} {more}", *row[2:])  # type: ignore[misc]
        for name, row in rows.items()
    }


def layer(x: str, w: str, x2: str, w2: str, tile: str, kind: str) -> dict[str, Row]:
    """Rows of the options that all commands of simulate have; kind: of the files of two arrays."""
    base, out = f"{x} {w}", f"{x} {w} -o o.npy"
    files = {"trace": "json", "vcd": "vcd", "csv": "csv", "report": "html", "roofline": "png"}
    return {
        "ACTIVATIONS": (out, f"{x2} {w} -o o.npy"),
        "WEIGHT": (out, f"{x} {w2} -o o.npy"),
        "--bias": (out, f"{out} --bias bias.npy"),
        "--name": (f"{x} {kind}.npz --name one -o o.npy", f"{x} {kind}.npz --name two -o o.npy"),
        "--activations-name": (
            f"{kind}-x.npz {w} --activations-name one -o o.npy",
            f"{kind}-x.npz {w} --activations-name two -o o.npy",
        ),
        "--bias-name": (
            f"{out} --bias biases.npz --bias-name one",
            f"{out} --bias biases.npz --bias-name two",
        ),
        "--unit": (base, f"{base} --unit 310B1"),
        "--sparsity": (base, f"{base} --sparsity 0"),
        "--dense": (base, f"{base} --dense"),
        "--scale": (f"{out} --scale 0.01", f"{out} --scale 0.02"),
        "--offset": (f"{out} --scale 0.01", f"{out} --scale 0.01 --offset 9"),
        "--unsigned": (f"{out} --scale 0.01", f"{out} --scale 0.01 --unsigned"),
        "--fp16": (f"{out} --scale 0.01", f"{out} --scale 0.01 --fp16"),
        "--relu": (f"{out} --scale 0.01", f"{out} --scale 0.01 --relu"),
        "--tile": (base, f"{base} --tile {tile}"),
        "--check": (base, f"{base} --no-check"),
        "--program": (base, f"{base} --program p.txt"),
        "--output": (base, out),
        "--time-only": (base, f"{base} --time-only"),
        "--cores": (f"{base} --time-only", f"{base} --time-only --cores 2"),
        "--dtype": (f"{base} --time-only", f"{base} --time-only --dtype float16"),
        "--why": (base, f"{base} --why"),
        **{f"--{name}": (base, f"{base} --{name} f.{end}") for name, end in files.items()},
        "--overwrite": (f"{base} -o legal.npy --overwrite", f"{base} -o legal.npy", THERE),
    }


MATMUL = layer("a.npy", "w.npy", "a2.npy", "w2.npy", "16,16,64,64", "matrices")
BASE = "a.npy w.npy"
CONV = layer("x.npy", "f.npy", "x2.npy", "f2.npy", "16,16,64,64", "kernels")
CONV_O = "x.npy f.npy -o o.npy"
GRID = "--m 16,32 --n 16,32 --k 64"
TILE = "--tile-m 32 --tile-n 32 --tile-k 64 --tile-k-l1 128"
SMALL = "--m 64 --n 64 --k 256"


def style(base: str) -> dict[str, Row]:
    """Rows of the options that all commands that write cases have."""
    return {
        "--format": (f"{base} --format npy", f"{base} --format bin"),
        "--word-bytes": (base, f"{base} --word-bytes 2"),
        "--order": (f"{base} --word-bytes 2", f"{base} --word-bytes 2 --order big"),
        "--header": (base, f"{base} --no-header"),
        "--steps": (base, f"{base} --steps"),
        "--seed": (base, f"{base} --seed 2"),
        "--role-words": (f"{base} --manifest 2", f"{base} --manifest 2 --role-words dense=2"),
        "--row-stride": (f"{base} --manifest 2", f"{base} --manifest 2 --row-stride dense=64"),
        "--manifest": (base, f"{base} --manifest 2"),
        "--bench": (f"{base} --manifest 2", f"{base} --manifest 2 --bench"),
    }


OWN = "--weights legal.npy --activations own-x.npy -o out"
OWN_8 = f"{OWN} --requant own-scale.npy"
OWN_CONV = "--weights own-conv.npy --activations own-image.npy -o out"
ONE = "out --suite shapes --level 0 --case matmul-1x1x8"
MADE = "out --suite faults --level 0"
DUT = "--dut-cmd 'sed -n \"s/^[0-9a-f]*$/ee/;w {got}\" {case}/expected.hex'"
TWO = "--dut-cmd 'sh -c \"cp two.hex {got}\" {case}'"
_SLOWLY = 'sleep 1; sed "s/^[0-9a-f]*$/ee/" "$0/expected.hex" > "$1"'
SLOW = f"--dut-cmd {shlex.quote(f'sh -c {shlex.quote(_SLOWLY)} {{case}} {{got}}')}"
SLEEPS = "case -o out --dut-cmd 'sleep 9 {case} {got}'"

COMPILE = "net.onnx --sparsity 1 -o o.onnx"
RUN = "done.onnx --input acts.npz"
PRUNE = "two.onnx -o o.onnx"
SAMPLED = f"{PRUNE} --calibrate samples.npz --method"

TABLE: dict[str, dict[str, Row]] = {
    "": {"--version": ("units", "--version units")},
    "check": {
        **WEIGHT,
        "--limit": ("excess.npy", "excess.npy --limit 1"),
        "--json": ("legal.npy", "legal.npy --json"),
        "--input-shape": ("open.onnx", "open.onnx --input-shape x:1,64,9,9"),
        "--select": ("net.onnx", "net.onnx --select faster"),
        "--skip": ("net.onnx", "net.onnx --skip second"),
        "--skip-type": ("net.onnx", "net.onnx --skip-type QLinear*"),
        "--unit": ("net.onnx", "net.onnx --unit 310B1"),
        "--cores": ("net.onnx", "net.onnx --cores 2"),
        "--report": ("net.onnx", "net.onnx --report r.html"),
        "--overwrite": (
            "net.onnx --report legal.npy --overwrite", "net.onnx --report legal.npy", THERE,
        ),
    },
    "compile": {
        "MODEL": (COMPILE, COMPILE.replace("net", "net2")),
        "--output": (COMPILE, "net.onnx --sparsity 1 -o p.onnx"),
        "--sparsity": ("net.onnx -o o.onnx", COMPILE),
        "--layout": (COMPILE, f"{COMPILE} --layout nd"),
        "--select": (COMPILE, f"{COMPILE} --select faster"),
        "--skip": (COMPILE, f"{COMPILE} --skip second"),
        "--skip-type": (COMPILE, f"{COMPILE} --skip-type QLinear*"),
        "--keep-compress-ops": (COMPILE, f"{COMPILE} --keep-compress-ops"),
        "--requant": (COMPILE, f"{COMPILE} --requant unit"),
        "--snap-scales": (COMPILE, f"{COMPILE} --snap-scales"),
        "--strict": (
            "float.onnx --sparsity 1 -o o.onnx", "float.onnx --sparsity 1 -o o.onnx --strict",
            "1 node could be sparse",
        ),
        "--input-shape": (
            "open.onnx --sparsity 1 -o o.onnx",
            "open.onnx --sparsity 1 -o o.onnx --input-shape x:1,64,9,9",
        ),
        "--unit": (COMPILE, f"{COMPILE} --unit tiny.toml"),
        "--external-data": (COMPILE, f"{COMPILE} --external-data"),
        "--compress_weight_conf": (
            COMPILE, f"{COMPILE} --compress_weight_conf x", "cannot do together with --sparsity",
        ),
        "--enable_compress_weight": (
            COMPILE, f"{COMPILE} --enable_compress_weight true",
            "cannot do together with --sparsity",
        ),
        "--overwrite": (f"{COMPILE[:-6]}w.npy --overwrite", f"{COMPILE[:-6]}w.npy", THERE),
    },
    "decompile": {
        "MODEL": ("done.onnx -o o.onnx", "done2.onnx -o o.onnx"),
        "--output": ("done.onnx -o o.onnx", "done.onnx -o p.onnx"),
        "--external-data": ("done.onnx -o o.onnx", "done.onnx -o o.onnx --external-data"),
        "--overwrite": ("done.onnx -o w.npy --overwrite", "done.onnx -o w.npy", THERE),
    },
    "run": {
        "MODEL": (f"{RUN} -o o.npz", f"{RUN.replace('done', 'done2')} -o o.npz"),
        "--input": (f"{RUN} -o o.npz", f"{RUN.replace('acts.npz', 'x=acts.npy')} -o o.npz"),
        "--output": (RUN, f"{RUN} -o o.npz"),
        "--reference": (RUN, f"{RUN} --reference net.onnx"),
        "--requant": (RUN, f"{RUN} --requant unit"),
        "--rest": (RUN, f"{RUN} --rest reference"),
        "--layers": (RUN, f"{RUN} --layers sec*"),
        "--dump": (RUN, f"{RUN} --dump out"),
        "--unit": (RUN, f"{RUN} --unit 310B1"),
        "--cores": (RUN, f"{RUN} --cores 2"),
        "--trace": (RUN, f"{RUN} --trace t.json"),
        "--report": (RUN, f"{RUN} --report r.html"),
        "--overwrite": (f"{RUN} -o two.npz --overwrite", f"{RUN} -o two.npz", THERE),
        "--json": (RUN, f"{RUN} --json"),
    },
    "prune": {
        **after(WEIGHT, "-o o.npy"),
        "--output": ("excess.npy -o o.npy", "excess.npy -o o.bin"),
        "--policy": ("excess.npy -o o.npy", "excess.npy -o o.npy --policy first_two"),
        "--json": ("excess.npy -o o.npy", "excess.npy -o o.npy --json"),
        "--overwrite": ("excess.npy -o w.npy --overwrite", "excess.npy -o w.npy", THERE),
        "--method": (f"{SAMPLED} wanda", f"{SAMPLED} reconstruct"),
        "--calibrate": (f"{SAMPLED} wanda", f"{SAMPLED} wanda --calibrate other.npz"),
        "--sensitivity": (f"{SAMPLED} wanda", f"{SAMPLED} wanda --sensitivity"),
        "--skip": (PRUNE, f"{PRUNE} --skip first"),
        "--skip-type": (PRUNE, f"{PRUNE} --skip-type Gemm"),
        "--config": (PRUNE, f"{PRUNE} --config prune.cfg"),
        "--external-data": (PRUNE, f"{PRUNE} --external-data"),
    },
    "encode": {
        **after(WEIGHT, "-o e --policy magnitude"),
        "--output": ("legal.npy -o e", "legal.npy -o e.npz"),
        "--format": ("legal.npy -o e", "legal.npy -o e --format bin"),
        "--layout": ("legal.npy -o e", "legal.npy -o e --layout zn"),
        "--policy": ("excess.npy -o e --policy magnitude", "excess.npy -o e --policy first_last"),
        "--word-bytes": (
            "legal.npy -o e --format hex", "legal.npy -o e --format hex --word-bytes 4",
        ),
        "--order": (
            "legal.npy -o e --format hex --word-bytes 4",
            "legal.npy -o e --format hex --word-bytes 4 --order big",
        ),
        "--header": ("legal.npy -o e --format hex", "legal.npy -o e --format hex --no-header"),
        "--overwrite": ("legal.npy -o loose --overwrite", "legal.npy -o loose", THERE),
    },
    "decode": {
        "SOURCE": ("loose -o o.npy", "words -o o.npy"),
        "--output": ("loose -o o.npy", "loose -o o.bin"),
        "--strict": ("padded -o o.npy", "padded -o o.npy --strict", "padding"),
        "--dense": (
            f"{LOOSE} --shape 16x128 -o o.npy",
            "--dense wide/dense.bin --index loose/index.bin --shape 16x128 -o o.npy",
        ),
        "--index": (
            f"{LOOSE} --shape 16x128 -o o.npy",
            "--dense loose/dense.bin --index wide/index.bin --shape 16x128 -o o.npy",
        ),
        "--shape": (f"{LOOSE} --shape 16x128 -o o.npy", f"{LOOSE} --shape 128x16 -o o.npy"),
        "--conv": (FOUR, f"{FOUR} --conv"),
        "--layout": (
            f"{LOOSE} --shape 16x128 -o o.npy", f"{LOOSE} --shape 16x128 -o o.npy --layout zn",
        ),
        "--word-bytes": (f"{HEX} -o o.npy", f"{HEX} -o o.npy --word-bytes 4", "digits, expected 8"),
        "--order": (f"{HEX} -o o.npy", f"{HEX} -o o.npy --order big"),
        "--overwrite": ("loose -o w.npy --overwrite", "loose -o w.npy", THERE),
    },
    "info": {
        "SOURCE": ("legal.npy", "loose"),
        "--name": ("two.npz --name a", "two.npz --name c", "it has: a, b"),
        "--verify": ("flipped", "flipped --verify", "another checksum"),
        "--json": ("legal.npy", "legal.npy --json"),
    },
    "demo": {"--layout": ("", "--layout zn")},
    "dpi": {
        "--sv": ("--cflags", "--cflags --sv"),
        "--cflags": ("--sv", "--sv --cflags"),
        "--libs": ("--sv", "--sv --libs"),
        "--shared": ("--libs", "--libs --shared"),
        "--pkg-config-path": ("--sv", "--sv --pkg-config-path", "ask for it alone"),
    },
    "simulate matmul": MATMUL,
    "simulate fc": MATMUL,
    "simulate case": {
        "CASE": ("case", "case2"),
        **{name: (one.replace(f"{BASE} ", "case ") if one != BASE else "case",
                  other.replace(f"{BASE} ", "case "), *said)
           for name, (one, other, *said) in MATMUL.items()
           if name in ("--program", "--output", "--why", "--trace", "--vcd", "--csv", "--report",
                       "--roofline", "--overwrite")},
    },
    "simulate conv2d": {
        **CONV,
        "--dtype": (
            "x.npy f.npy --time-only", "x.npy f.npy --time-only --dtype float16",
            "float16 has a time for matrix multiplications only",
        ),
        "--strides": (CONV_O, f"{CONV_O} --strides 1,2"),
        "--pads": (CONV_O, f"{CONV_O} --pads 1,0,0,0"),
        "--dilations": (CONV_O, f"{CONV_O} --dilations 2,1"),
        "--offset-x": (f"{CONV_O} --pads 1,1,1,1", f"{CONV_O} --pads 1,1,1,1 --offset-x 7"),
        "--data-format": (CONV_O, f"{CONV_O} --data-format NHWC"),
        "--data": (CONV_O, f"{CONV_O} --data NHWC"),
    },
    "units": {
        "UNIT": ("310B1", "dav-3510"),
        "--toml": ("310B1", "310B1 --toml"),
        "--json": ("310B1", "310B1 --json"),
    },
    "validate": {"--unit": ("", "--unit slow.toml"), "--json": ("", "--json")},
    "hazards": {
        "PROGRAM": ("good.txt", "bad.txt"),
        "--unit": ("good.txt", "good.txt --unit small.toml", "beyond"),
        "--limit": ("bad.txt", "bad.txt --limit 0"),
        "--json": ("good.txt", "good.txt --json"),
    },
    "sweep": {
        "--m": (SMALL, "--m 128 --n 64 --k 256"),
        "--n": (SMALL, "--m 64 --n 128 --k 256"),
        "--k": (SMALL, "--m 64 --n 64 --k 512"),
        "--tile-m": (f"{SMALL} {TILE}", f"{SMALL} {TILE} --tile-m 64"),
        "--tile-n": (f"{SMALL} {TILE}", f"{SMALL} {TILE} --tile-n 64"),
        "--tile-k": (f"{SMALL} {TILE}", f"{SMALL} {TILE} --tile-k 128"),
        "--tile-k-l1": (f"{SMALL} {TILE}", f"{SMALL} {TILE} --tile-k-l1 256"),
        "--cores": (f"{SMALL} --cores 1", f"{SMALL} --cores 2"),
        "--unit": (SMALL, f"{SMALL} --unit 310B1 --unit dav-3510"),
        "--dtype": (SMALL, f"{SMALL} --dtype float16"),
        "--set": (SMALL, f"{SMALL} --set flag_cycles=1,99"),
        "--output": (SMALL, f"{SMALL} -o s.csv"),
        "--plot": (GRID, f"{GRID} --plot p.svg"),
        "--over": (f"{GRID} --plot p.svg", f"{GRID} --plot p.svg --over m"),
        "--overwrite": (f"{SMALL} -o legal.npy --overwrite", f"{SMALL} -o legal.npy", THERE),
    },
    "vectors generate": {
        **style(MADE),
        "FOLDER": (MADE, "other --suite faults --level 0"),
        "--suite": (MADE, "out --suite patterns --level 0"),
        "--level": ("out --suite patterns --level 0 --shard 2/9",
                    "out --suite patterns --level 1 --shard 2/9"),
        "--workers": (MADE, f"{MADE} --workers 0", "'--workers': 0"),  # any number: the same bytes
        "--shard": (f"{MADE} --shard 0/2", f"{MADE} --shard 1/2"),
        "--case": (MADE, f"{MADE} --case *-00003"),
        "--layout": (f"{ONE} --layout nd", f"{ONE} --layout zn"),
        "--add": ("grown --suite faults --add", "grown --suite faults", "another campaign"),
        "--cluster": (f"{MADE} --workers 1", f"{MADE} --workers 1 --cluster tcp://nowhere:1",
                      "a cluster has workers of its own"),
    },
    "vectors onnx": {
        **style("m.onnx out"),
        "MODEL": ("m.onnx out", "m2.onnx out"),
        "FOLDER": ("m.onnx out", "m.onnx other"),
        "--size": ("m.onnx out", "m.onnx out --size 2"),
        "--prefix": ("m.onnx out", "m.onnx out --prefix net"),
    },
    "vectors from-arrays": {
        **{name: row for name, row in style(OWN).items() if name not in ("--seed", "--manifest")},
        "--manifest": (OWN, f"{OWN} --manifest 1"),
        "--weights": (OWN, OWN.replace("legal.npy", "excess.npy"), "2:4"),
        "--activations": (OWN, OWN.replace("own-x.npy", "own-x2.npy")),
        "--bias": (OWN, f"{OWN} --bias own-bias.npy"),
        "--requant": (OWN, f"{OWN} --requant own-scale.npy"),
        "--offset": (OWN_8, f"{OWN_8} --offset 3"),
        "--unsigned": (OWN_8, f"{OWN_8} --unsigned"),
        "--fp16": (OWN_8, f"{OWN_8} --fp16"),
        "--relu": (OWN_8, f"{OWN_8} --relu"),
        "--strides": (OWN_CONV, f"{OWN_CONV} --strides 2,1"),
        "--pads": (OWN_CONV, f"{OWN_CONV} --pads 1,0,0,0"),
        "--dilations": (OWN_CONV, f"{OWN_CONV} --dilations 2,1"),
        "--offset-x": (f"{OWN_CONV} --pads 1,0,0,0", f"{OWN_CONV} --pads 1,0,0,0 --offset-x 7"),
        "--layout": (f"{OWN} --layout nd", f"{OWN} --layout both"),
        "--unit": (OWN, f"{OWN} --unit 310B1"),
        "--case-name": (OWN, f"{OWN} --case-name other"),
        "--output": (OWN, OWN.replace("-o out", "-o other")),
    },
    "vectors bench": {
        "PATHS": ("case -o out", "case2 -o out"),
        "--output": ("case -o out", "case -o other"),
    },
    "vectors list": {
        "--suite": ("--level 0", "--level 0 --suite shapes"),
        "--level": ("--suite shapes --level 0", "--suite shapes --level 1"),
        "--case": ("--level 0", "--level 0 --case conv-*"),
    },
    "vectors verify": {
        "PATHS": ("case", "case case2"),
        "--mutate": ("case", "case --mutate 1"),
        "--workers": ("case", "case --workers 0", "'--workers': 0"),  # any number: the same output
    },
    "vectors compare": {
        "CASE": ("case case/expected.hex", "case2 case/expected.hex"),
        "GOT": ("case case/expected.hex", "case wrong.hex"),
        "--format": ("case dump.txt --format hex", "case dump.txt", "name the format"),
        "--word-bytes": ("case two.hex --word-bytes 2", "case two.hex", "digits"),
        "--order": ("case two.hex --word-bytes 2", "case two.hex --word-bytes 2 --order big"),
        "--cycles": ("case wrong.hex", "case wrong.hex --cycles 7"),
        "--cycles-within": ("case case/expected.hex --cycles 7",
                            "case case/expected.hex --cycles 7 --cycles-within 1"),
        "--json": ("case wrong.hex", "case wrong.hex --json"),
        "--junit": ("case wrong.hex", "case wrong.hex --junit j.xml"),
        "--overwrite": ("case wrong.hex --junit dump.txt --overwrite",
                        "case wrong.hex --junit dump.txt", THERE),
    },
    "vectors coverage": {
        "PATHS": ("case", "case case2"),
        "--json": ("case", "case --json"),
        "--counts": ("case", "case --counts c.json"),
        "--markdown": ("case", "case --markdown c.md"),
        "--merge": ("case", "case --merge counts.json"),
        "--overwrite": ("case --counts counts.json --overwrite", "case --counts counts.json",
                        THERE),
    },
    "vectors shrink": {
        "CASE": (f"case -o out {DUT}", f"case2 -o out {DUT}"),
        "--dut-cmd": (f"case -o out {DUT}",
                      "case -o out --dut-cmd 'cp {case}/expected.hex {got}'", "does not fail"),
        "--got": (f"case -o out {DUT}", f"case -o out {DUT} --got .bin"),
        "--limit": (f"case -o out {DUT}", f"case -o out {DUT} --limit 2"),
        # A second is long enough that no load of the machine lets the device end before.
        "--timeout": (
            f"case -o out --limit 1 {SLOW}",
            f"case -o out --limit 1 {SLOW} --timeout 0.01",
        ),
        "--word-bytes": (f"case -o out {DUT} --limit 3",
                         f"case -o out {DUT} --limit 3 --word-bytes 2"),
        "--order": (f"case -o out {TWO} --limit 1 --word-bytes 2 --order big",
                    f"case -o out {TWO} --limit 1 --word-bytes 2", "does not fail"),
        "--output": (f"case -o out {DUT}", f"case -o other {DUT}"),
    },
}  # fmt: skip


# --- the command tree -----------------------------------------------------------------------------


def commands(command: click.Command, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command, groups too, with its words."""
    yield path, command
    if isinstance(command, click.Group):
        for name, below in sorted(command.commands.items()):
            yield from commands(below, f"{path} {name}".strip())


def spelling(parameter: click.Parameter) -> str:
    """--word-bytes, or SOURCE of an argument."""
    if isinstance(parameter, click.Argument):
        return str(parameter.name).upper()
    return max(parameter.opts, key=len)


COMMANDS = dict(commands(cli))


def test_every_option_of_every_command_has_a_row():
    tree = {(path, spelling(one)) for path, command in COMMANDS.items() for one in command.params}
    table = {(path, name) for path, rows in TABLE.items() for name in rows}
    assert tree - table == set()
    assert table - tree == set()
    assert len(tree) > 190


def test_options_of_one_name_are_of_one_type():
    found: dict[str, set[str]] = {}
    for command in COMMANDS.values():
        for one in command.params:
            if isinstance(one, click.Option):
                kind = f"{one.type!r} {one.is_flag}"
                found.setdefault(spelling(one), set()).add(kind)
    several = {name for name, kinds in found.items() if len(kinds) > 1}
    # --policy and --format name what the command can; --cores is a LIST in a sweep; --dense is a
    # file, or the old spelling of --sparsity 0; --limit of shrink are runs; --dtype of a .bin;
    # --layout of cases may be both; --requant is a file of words, or who does it in a model.
    assert several == {
        "--policy", "--format", "--cores", "--dense", "--limit", "--dtype", "--layout", "--requant",
    }  # fmt: skip
    texts = {
        one.help.split("  [")[0]
        for command in COMMANDS.values()
        for one in command.params
        if isinstance(one, click.Option) and one.help and spelling(one) in (
            "--word-bytes", "--order", "--overwrite", "--json", "--layout",
        )
        and "both" not in getattr(one.type, "choices", ())
    }  # fmt: skip
    assert len(texts) == 5


# --- the inputs -----------------------------------------------------------------------------------


def legal(shape: tuple[int, ...], axis: int, seed: int) -> np.ndarray:
    """Random weights of which elements 1 and 2 of each group along an axis are not zero."""
    weight = np.random.default_rng(seed).integers(1, 128, shape, dtype=np.int8)
    weight[..., ::2] *= -1
    moved = np.moveaxis(weight, axis, -1)
    moved[..., 0::4] = 0
    moved[..., 3::4] = 0
    return weight


def make_models() -> None:
    """Two layers, one of them faster sparse; another seed; an open size; floats; compiled ones."""
    for name, seed in (("net", 1), ("net2", 2)):
        graph = onnx_forms.Graph()
        numbers, source = onnx_forms.Numbers(x_scale=0.0123), "x"
        for target, shape in (("first", (64, 1024)), ("second", (10, 64))):
            weight = np.ascontiguousarray(sparse_weight(shape, seed).T)
            stored = graph.constant(weight, f"{target}_weight")
            onnx_forms.add_matmul(
                graph, "QLinearMatMul", numbers, weight, None, source, stored, target
            )
            source = target
        info = onnx.helper.make_tensor_value_info
        made = onnx.helper.make_graph(
            graph.nodes, "g", [info("x", 2, (64, 1024))], [info("second", 2, (64, 10))],
            graph.constants,
        )  # fmt: skip
        opset = onnx.helper.make_opsetid("", 13)
        onnx.save(onnx.helper.make_model(made, opset_imports=[opset], ir_version=8), f"{name}.onnx")
    images = np.random.default_rng(3).integers(0, 256, (2, 64, 1024), dtype=np.uint8)
    np.savez("acts.npz", x=images[0])
    np.save("acts.npy", images[1])
    weight = sparse_weight((32, 64, 3, 3))
    model = quantised_conv("QLinearConv", weight, x_shape=(1, 64, "H", "W"))
    onnx.save(model, "open.onnx")
    onnx.save(quantised_conv("Conv", weight, x_shape=(1, 64, 9, 9)), "float.onnx")
    for name, target in (("net", "done"), ("net2", "done2")):
        assert run(["compile", f"{name}.onnx", "-o", f"{target}.onnx", "--sparsity", "1"]) == 0


def make_float_model() -> None:
    """Two products of floats, with samples of their input, and a configuration of pruning."""
    rng, helper = np.random.default_rng(4), onnx.helper
    tensors = [
        onnx.numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)
        for name, shape in (("v", (24, 16)), ("w", (16, 8)))
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "v"], ["h"], "first"),
        helper.make_node("Gemm", ["h", "w"], ["y"], "second"),
    ]
    x, y = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [9, size])
        for name, size in (("x", 24), ("y", 8))
    )
    made = helper.make_graph(nodes, "g", [x], [y], tensors)
    opset = helper.make_opsetid("", 13)
    onnx.save(helper.make_model(made, opset_imports=[opset], ir_version=8), "two.onnx")
    scales = np.float32([0.1, 1, 3] * 8)
    for name in ("samples", "other"):
        np.savez(f"{name}.npz", x=rng.normal(size=(9, 24)).astype(np.float32) * scales)
        scales = scales[::-1]
    Path("prune.cfg").write_text(
        'override_layer_configs { layer_name: "second"\n'
        "prune_config { n_out_of_m_pruner { l1_selective_prune { n_out_of_m_type: M4N2 } } } }"
    )


def save_model(name: str, seed: int) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(seed).normal(size=(2, 4, 1, 1)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])], "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 2, 2])],
        [numpy_helper.from_array(weight, "w")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), name)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("inputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        make_weights()
        make_layers()
        make_cases()
        make_models()
        make_float_model()
    return root


def make_weights() -> None:
    good = np.array([[0, 0, 0, 5, 1, 2, 0, 0], [0, 3, 0, 0, 0, 0, -128, 127]], np.int8)
    bad = np.array([[1, 2, 3, 0, 0, 0, 0, 0], [0, 0, 0, 0, 9, 8, 7, -6]], np.int8)
    np.save("legal.npy", good)
    np.save("excess.npy", bad)
    np.savez("two.npz", a=good, b=bad)
    Path("raw.bin").write_bytes(good.tobytes())
    four = legal((2, 32, 2, 8), 1, 1)
    np.save("conv.npy", four)
    encoder.encode_conv(four).save("four", format="bin")
    encoder.encode(legal((16, 128), 1, 2)).save("loose", format="bin")
    # Other weights, and at the other places of a group.
    encoder.encode(np.roll(legal((16, 128), 1, 3), 1, 1)).save("wide", format="bin")
    encoder.encode(legal((16, 128), 1, 4)).save("words", format="hex", word_bytes=2)
    padded = encoder.encode(good, layout="zn")
    padded.dense[0, 0, 15, 31] = 1
    padded.save("padded")
    encoder.encode(good).save("flipped", format="bin")
    data = Path("flipped/dense.bin").read_bytes()
    Path("flipped/dense.bin").write_bytes(bytes([data[0] ^ 1]) + data[1:])


def make_layers() -> None:
    rng = np.random.default_rng(5)
    for name, shape in (("a", (20, 128)), ("a2", (20, 128)), ("x", (1, 4, 4, 4))):
        np.save(f"{name}.npy", rng.integers(-128, 128, shape, dtype=np.int8))
    np.save("x2.npy", rng.integers(-128, 128, (1, 4, 4, 4), dtype=np.int8))
    np.save("bias.npy", np.arange(20, dtype=np.int32) * 1000)
    for name, seed in (("", 6), ("2", 7)):
        np.save(f"w{name}.npy", legal((20, 128), 1, seed))
        np.save(f"f{name}.npy", legal((20, 4, 2, 2), 1, seed))
    np.savez("biases.npz", one=np.load("bias.npy"), two=-np.load("bias.npy"))
    for name, x, w in (("matrices", "a", "w"), ("kernels", "x", "f")):
        np.savez(f"{name}.npz", one=np.load(f"{w}.npy"), two=np.load(f"{w}2.npy"))
        np.savez(f"{name}-x.npz", one=np.load(f"{x}.npy"), two=np.load(f"{x}2.npy"))
    Path("slow.toml").write_text('name = "slow"\nmmad_head_idle = 900\n')
    Path("tiny.toml").write_text('name = "tiny"\nl0b_bytes = 512\n')
    Path("small.toml").write_text('name = "small"\nl0c_bytes = 1024\n')
    of = simulator.Unit().time(simulator.Matmul(32, 48, 64)).program
    Path("good.txt").write_text(str(of))
    wait = next(line for line in str(of).splitlines() if line.startswith("wait_flag of=MTE1 to=M "))
    Path("bad.txt").write_text(str(of).replace(f"{wait}\n", "", 1))


def make_cases() -> None:
    vectors.generate("set", vectors.Campaign(("shapes",), level=0))
    for source, target in (("matmul-15x17x60", "case"), ("matmul-15x17x68", "case2")):
        shutil.copytree(f"set/shapes/{source}", target)
    shutil.rmtree("set")
    of = np.load("legal.npy")
    for name, shift in (("own-x", 0), ("own-x2", 1)):
        x = (np.arange(3 * of.shape[1]).reshape(3, -1) % 120 + shift).astype(np.int8)
        np.save(f"{name}.npy", x)
    np.save("own-bias.npy", np.arange(len(of), dtype=np.int32))
    np.save("own-scale.npy", np.float32(0.125))
    np.save("own-conv.npy", np.int8([[[[1, -2], [3, 4]]], [[[0, 5], [-6, 7]]]]))
    np.save("own-image.npy", np.arange(30, dtype=np.int8).reshape(1, 1, 5, 6))
    vectors.generate("grown", vectors.Campaign(("patterns",), level=0))
    right = np.load("case/expected.npy")
    for name, array, size in (("wrong.hex", right + 1, 1), ("two.hex", right, 2)):
        data = array.astype("<i4").tobytes()
        words = [data[i : i + size][::-1].hex() for i in range(0, len(data), size)]
        Path(name).write_text("".join(f"{word}\n" for word in words))
    shutil.copy("wrong.hex", "dump.txt")
    assert run(["vectors", "coverage", "case", "--counts", "counts.json"]) == 1
    for name, seed in (("m.onnx", 8), ("m2.onnx", 9)):
        save_model(name, seed)


# --- the rows -------------------------------------------------------------------------------------


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def parsed(path: str, line: str) -> dict[str, object] | None:
    """The parameters of a command line by their names; None if the parser ends it."""
    words = shlex.split(line)
    try:
        return dict(COMMANDS[path].make_context(path, words, resilient_parsing=False).params)
    except (click.ClickException, click.exceptions.Exit):
        return None


ROWS = [(path, name) for path, rows in TABLE.items() for name in rows]


@pytest.mark.parametrize(("path", "name"), ROWS, ids=[" ".join(row).strip() for row in ROWS])
def test_an_option_changes_something_or_is_refused(
    path, name, inputs, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(profiles, "PROFILES", profiles.PROFILES[-1:])  # one row is enough, and fast
    one, other, *said = TABLE[path][name]
    outcomes = []
    for number, line in enumerate((one, other)):
        folder = tmp_path / str(number)
        shutil.copytree(inputs, folder)
        monkeypatch.chdir(folder)
        before = files(folder)
        code = run([*path.split(), *shlex.split(line)])
        out, err = capsys.readouterr()
        written = {file: data for file, data in files(folder).items() if before.get(file) != data}
        outcomes.append((code, out, written))
        if said and number:
            assert code == 2
            assert said[0] in err
            assert (out, written) == ("", {})
        else:
            assert code in (0, 1), err
    assert outcomes[0] != outcomes[1]

    first, second = parsed(path, one), parsed(path, other)
    if first is not None and second is not None:
        (key,) = (one.name for one in COMMANDS[path].params if spelling(one) == name)
        assert {item for item in first if first[item] != second[item]} == {key}
