"""Writing ONNX models: one file, or one with its large data in a second one beside it.

Both files appear under their names at the end. What is written reads back as the same model, byte
for byte; nothing is changed here but where the data stand.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from cube24.errors import ArgumentError, FileAccessError, StrPath
from cube24.files import asked, check_target, exists, is_same, whole_file, write_bytes
from cube24.graph.model import PROTO_LIMIT, Model
from cube24.graph.protos import graphs_of, onnx, tensors_of
from cube24.sizes import round_up, truth

#: Initializers of so many bytes or more go into the other file, as onnx's own writer does it.
LARGE = 1024

#: Where a tensor begins in the other file: a multiple, so that a runtime can map it into memory.
ALIGNED = 64


def data_file(path: StrPath) -> Path:
    """The file beside a model that holds its large data."""
    return Path(f"{os.fspath(path)}.data")


def save(
    model: Model, path: StrPath, *, overwrite: bool = False, external: bool = False
) -> tuple[Path, ...]:
    """Write a model.

    Args:
        model: stays as it is.
        path: of the file.
        overwrite: whether what stands there may be replaced.
        external: initializers of 1,024 bytes or more go into ``data_file(path)``. Tensors that are
            attributes of nodes stay in the model, for not every runtime looks for them elsewhere.

    Returns:
        The files, the model first.

    Raises:
        ArgumentError: the file would have 2 GiB or more, which no reader takes.
        FileAccessError: one of the files holds data that the model was read from; a file is there
            already and overwrite is False, is no regular file, or the system refuses; or,
            with external, the path is a link, so that it is not clear beside which name a reader
            looks for the data.
    """
    overwrite, external = truth(overwrite, "overwrite"), truth(external, "external")
    path, data = Path(path), data_file(path)
    for target in (path, data) if external else (path,):
        if any(is_same(target, file) for file in model.files):
            raise FileAccessError(
                target, f"holds data of {model.path}, and would be lost; name another"
            )
    check_target(path, overwrite=overwrite)
    if not external:
        write_bytes(path, _bytes(model.proto, path), overwrite=overwrite)
        return (path,)
    _demand_plain(path)
    check_target(data, overwrite=overwrite)
    new, placed = not exists(data), False
    light = model.copy().proto
    try:
        with whole_file(path, overwrite=overwrite) as file:
            with whole_file(data, overwrite=overwrite) as beside:
                for tensor in _large(light.graph):
                    _move(tensor, beside, data.name)
                # All of both is on the disk before the first of them takes its name.
                file.write(_bytes(light, path))
                file.flush()
                os.fsync(file.fileno())
            placed = new
    except BaseException:
        if placed:  # the model could not take its name, and nobody reads its data
            with suppress(OSError):
                data.unlink()
        raise
    return path, data


def _large(graph: Any) -> Iterator[Any]:
    """The initializers that go into the other file, of graphs inside of nodes too."""
    for tensor in graph.initializer:
        if len(tensor.raw_data) >= LARGE:
            yield tensor
    for node in graph.node:
        for _, inner in graphs_of(node):
            yield from _large(inner)


def _move(tensor: Any, file: BinaryIO, location: str) -> None:
    """Append the data of a tensor to a file, and leave in the tensor where they are."""
    data = tensor.raw_data
    end = file.tell()
    offset = round_up(end, ALIGNED)
    file.write(bytes(offset - end))
    file.write(data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx().TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", len(data))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)


def _bytes(proto: Any, path: Path) -> bytes:
    """The bytes of a model, the same ones each time.

    Raises:
        ArgumentError: they are too many for any reader.
    """
    size = sum(len(tensor.raw_data) for tensor in tensors_of(proto.graph))
    if size < PROTO_LIMIT:  # else no version of protobuf says in the same way that it is too much
        with suppress(ValueError):  # what it says where the rest is what makes it too much
            data: bytes = proto.SerializeToString(deterministic=True)
            if len(data) < PROTO_LIMIT:
                return data
    raise ArgumentError(
        f"{path}: the model has 2 GiB or more, which no ONNX file can hold; put its large data "
        f"into a file beside it: --external-data, or external=True"
    )


def _demand_plain(path: Path) -> None:
    """Refuse a name beside which a reader may not find the data, or that ONNX cannot write down."""
    with asked(path, "write"):
        if path.is_symlink():
            raise FileAccessError(path, "is a link, and data stand beside the file; name that one")
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise FileAccessError(
            path, "its name is no UTF-8, so the model cannot say where its data are; name another"
        ) from None
