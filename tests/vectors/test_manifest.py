"""Manifests: what they list, that no field can change, and where folders of cases are found."""

import hashlib
import json
import shutil

import numpy as np
import pytest

from cube24.encoder import FileFormatError
from cube24.vectors import manifest, schema
from cube24.vectors.files import SUFFIXES
from cube24.vectors.manifest import check_files, files_of, folders, load


def test_a_manifest_lists_what_is_there_and_arrays_are_read_from_it(made, folder):
    stored = load(folder)
    check_files(stored)
    assert {path.name for path in folder.iterdir()} == {
        "manifest.json", *(entry["name"] for entry in stored.manifest["files"])
    }  # fmt: skip
    for role, piece in made.pieces.items():
        assert len(stored.entries(role)) == len(SUFFIXES)
        assert np.array_equal(stored.array(role), piece.array)
    for entry in stored.manifest["files"]:
        data = (folder / entry["name"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == entry["sha256"]
        if entry["format"] == "hex":
            lines = [line for line in data.decode().splitlines() if not line.startswith("//")]
            assert len(lines) == entry["words"]
            assert {len(line) for line in lines} == {entry["bits_per_word"] // 4}
    text = b"".join(path.read_bytes() for path in folder.iterdir()).decode("latin1")
    assert str(folder) not in text


def test_scripts_find_the_seal_under_its_old_name():
    assert manifest._sealed is manifest.sealed


def test_no_field_of_a_manifest_can_change(folder):
    text = (folder / "manifest.json").read_text()
    assert '"package": "0.1.0"' in text
    (folder / "manifest.json").write_text(text.replace('"package": "0.1.0"', '"package": "0.1.1"'))
    with pytest.raises(FileFormatError, match="it was changed"):
        load(folder)


def test_folders_are_found_below_a_folder_and_no_unfinished_ones(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "set" / "requant" / "a")
    shutil.copytree(folder, tmp_path / "set" / "requant" / ".b.part")
    assert list(folders(tmp_path / "set")) == [tmp_path / "set" / "requant" / "a"]
    assert list(folders(folder)) == [folder]
    with pytest.raises(FileFormatError, match="holds no case"):
        list(folders(tmp_path / "set" / "none"))


def test_manifests_name_no_clock_host_user_or_path(made):
    assert manifest.files_of(made) == manifest.files_of(made)
    keys = set(json.loads(files_of(made)["manifest.json"]))
    assert keys == set(schema.load("case-1")["required"])


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        ([{"a": 1}, {"b": [2]}], ['  {"a": 1},', '  {"b": [2]}']),
        # What stands between two objects of a list stands in one of them, too.
        ([{"a": "}, {"}, {"b": 2}], ['  {"a": "}, {"},', '  {"b": 2}']),
        ([{"a": [{"c": 1}, {"c": 2}]}], ['  {"a": [{"c": 1}, {"c": 2}]}']),
        ([{"a": 1}, [{"b": 2}, {"c": 3}]], ['  {"a": 1},', '  [{"b": 2}, {"c": 3}]']),
    ],
)
def test_an_object_of_a_list_has_a_line(value: object, lines: list[str]) -> None:
    text = manifest.json_text({"x": 1, "files": value}).decode()
    assert text.splitlines() == ["{", ' "x": 1,', ' "files": [', *lines, " ]", "}"]
