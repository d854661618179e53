"""Verification: what it finds in a case that was damaged, and that it finds every flipped bit."""

import hashlib
import json
import os
from dataclasses import replace

import pytest

from cube24 import __version__
from cube24.encoder import Cube24Error
from cube24.vectors import manifest, suites, verification
from cube24.vectors.build import build
from cube24.vectors.case import CaseArray
from cube24.vectors.files import CaseStyle
from cube24.vectors.manifest import files_of, write
from cube24.vectors.verification import VerifyError, mutate, verify


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "manifest.json").write_bytes(b"{"), "no readable JSON"),
        (lambda f: (f / "manifest.json").write_bytes(b"[]"), "is no object"),
        (lambda f: (f / "dense.hex").unlink(), "dense.hex"),
        (lambda f: (f / "more").write_bytes(b""), "not in the manifest"),
        (lambda f: (f / "index.bin").write_bytes(b"no"), "SHA-256"),
    ],
)
def test_a_damaged_folder_is_told(folder, damage, said):
    verify(folder)
    damage(folder)
    with pytest.raises(Cube24Error, match=said):
        verify(folder)


def test_a_case_that_agrees_with_its_checksums_but_not_with_its_spec_is_found(folder):
    data = bytearray((folder / "expected.bin").read_bytes())
    data[3] ^= 4
    (folder / "expected.bin").write_bytes(data)
    of = json.loads((folder / "manifest.json").read_text())
    for entry in of["files"]:
        if entry["name"] == "expected.bin":
            entry["sha256"] = hashlib.sha256(data).hexdigest()
    del of["sha256"]
    (folder / "manifest.json").write_bytes(manifest.sealed(of))
    with pytest.raises(VerifyError, match=r"expected\.bin: byte 3 is"):
        verify(folder)


def _resealed(text: str) -> bytes:
    """A manifest with the checksum of exactly this text, however it is written."""
    body, _, _ = text.rpartition(',\n "sha256": ')
    digest = hashlib.sha256(f"{body}\n}}\n".encode()).hexdigest()
    return f'{body},\n "sha256": "{digest}"\n}}\n'.encode()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"suite": ', '"suite": "shapes",\n "suite": '),  # named twice
        ('"suite": ', '"suite":  '),
        ('"suite": ', '"more": 1,\n "suite": '),
        ('"suite_version": 1', '"suite_version": true'),
        ('"suite_version": 1', '"suite_version": 1.0'),
        ('"k": ', '"k": 1180591620717411303424'),  # no number of 64 bits
        ('"k": ', '"k": -'),
        ('"k": ', '"k": 1099511627776'),  # more than there is memory for
        ('"m": ', '"m": 0.'),
        ('"bias": ', '"bias": NaN, "of": '),
        ('"overrides": {}', '"overrides": {"cores": 1}'),
        ('"overrides": {}', '"overrides": {"no_such": 1}'),
        ('"formats": ["', '"formats": ["none", "'),
        ('"steps": false', '"steps": true'),
        ('"steps": false', '"steps": 0'),
        ('"name": "dense.bin"', '"name": "../case/dense.bin"'),
        ('"name": "dense.bin"', '"name": ["dense.bin"]'),
        ('"name": "dense.bin"', '"name": "index.bin"'),
        ('"role": "dense"', '"role": "index"'),
        ('"layout": "nd"', '"layout": "zn"'),
        ('"coverage": [', '"coverage": ["act/0", '),
        ('"coverage": [', '"coverage": [7, '),
        ('"coverage": [', '"coverage": {}, "of": ['),
        ('"files": [', '"files": [], "of": ['),
        ('"kind": "result"', '"kind": "masked"'),
        ('"kind": "result"', '"kind": "result", "error": "X"'),
        ('"case_seed": "0x', '"case_seed": "0x0'),
        ('"case": "', '"case": "../'),
    ],
)
def test_no_manifest_passes_but_the_one_that_is_made_again(folder, old, new):
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_bytes(_resealed(text))
    verify(folder)
    assert old in text
    (folder / "manifest.json").write_bytes(_resealed(text.replace(old, new, 1)))
    with pytest.raises(Cube24Error):
        verify(folder)


def test_bins_of_another_version_are_names_too(made, folder):
    for name, data in files_of(made, "0.0.9").items():
        (folder / name).write_bytes(data)
    verify(folder)
    text = (folder / "manifest.json").read_text()
    changed = text.replace('"coverage": [', '"coverage": [7, ')
    (folder / "manifest.json").write_bytes(_resealed(changed))
    with pytest.raises(Cube24Error, match="coverage"):
        verify(folder)


def _linked(folder):
    (folder / "dense.bin").rename(folder.parent / "dense.bin")
    (folder / "dense.bin").symlink_to(folder.parent / "dense.bin")


@pytest.mark.parametrize(
    "change",
    [
        _linked,
        lambda f: (f / "steps").mkdir(),
        lambda f: (f / "none" / "deeper").mkdir(parents=True),
        lambda f: (f / "link").symlink_to(f / "dense.bin"),
        lambda f: (f / "link").symlink_to(f),
        lambda f: os.mkfifo(f / "pipe"),
        lambda f: [(f / "dense.bin").unlink(), (f / "dense.bin").mkdir()],
        lambda f: (f / "manifest.json").rename(f / "manifest"),
    ],
)
def test_nothing_else_stands_beside_the_files(folder, change):
    verify(folder)
    change(folder)
    with pytest.raises(Cube24Error):
        verify(folder)


def test_a_file_system_that_gives_few_bytes_at_once_gives_the_same_files(folder, monkeypatch):
    read, asked = os.read, []

    def few(descriptor, size):
        asked.append(size)
        return read(descriptor, min(size, 100))

    monkeypatch.setattr(os, "read", few)
    verify(folder)
    assert len(asked) > 20


def test_a_case_that_is_made_again_the_same_needs_no_closer_look(folder, monkeypatch):
    def look(of):
        raise VerifyError("looked at closely")

    monkeypatch.setattr(verification, "_demand_unchanged", look)
    verify(folder)
    (folder / "dense.bin").write_bytes(b"")
    with pytest.raises(VerifyError, match="looked at closely"):
        verify(folder)


def test_a_manifest_of_another_version_of_the_package_is_made_again_with_that_version(made, folder):
    for name, data in files_of(made, "0.0.9").items():
        (folder / name).write_bytes(data)
    verify(folder)


@pytest.mark.parametrize("package", ["0.0.9", __version__])
def test_time_and_bins_of_another_version_are_taken_over_and_nothing_else(made, folder, package):
    cycles = b'{"cycles": 7}\n'
    for name, data in files_of(replace(made, bins=("op/old",)), package, cycles).items():
        (folder / name).write_bytes(data)
    if package == __version__:
        with pytest.raises(VerifyError, match=r"cycles\.json"):
            verify(folder)
        return
    verify(folder)
    array = made.pieces["expected"].array.copy()
    array.reshape(-1)[0] ^= 1
    wrong = replace(made, pieces={**made.pieces, "expected": CaseArray(array, "nd")})
    for name, data in files_of(wrong, package, cycles).items():
        (folder / name).write_bytes(data)
    with pytest.raises(VerifyError, match="expected"):
        verify(folder)


def test_every_flipped_bit_of_a_whole_case_is_noticed(tmp_path):
    items = {item.name: item for item in suites.items("shapes", 0, 2)}
    style = CaseStyle(("bin",), header=False)
    write(build("shapes", 1, items["matmul-1x1x8"], 2, style), tmp_path / "case")
    bits = sum(8 * path.stat().st_size for path in (tmp_path / "case").iterdir())
    found = mutate(tmp_path / "case", None)
    assert found.missed == ()
    assert found.flipped == bits > 10_000


def test_mutations_flip_bits_of_each_file_and_verify_notices_all(folder):
    found = mutate(folder, 6)
    names = len(list(folder.iterdir()))
    assert 5 * names <= found.flipped <= 6 * names
    assert found.missed == ()
    verify(folder)  # the case itself stays as it was


def test_mutations_that_verify_does_not_notice_are_listed(folder, monkeypatch):
    monkeypatch.setattr(verification, "verify", lambda folder: None)
    found = mutate(folder, 2)
    assert len(found.missed) == found.flipped > 0
