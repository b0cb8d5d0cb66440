"""Metadata of ONNX files, read without the package onnx."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from r2p_edge.artifact import protobuf

METADATA_KEY = "r2p_edge.spec"
"""Name of the spec in the metadata of an ONNX file."""

# Field numbers of onnx/onnx.proto3: ModelProto.metadata_props, StringStringEntryProto.key, .value
_METADATA_PROPS, _KEY, _VALUE = 14, 1, 2
# ModelProto.ir_version, .graph, .opset_import
_ALWAYS = {(1, protobuf.VARINT), (7, protobuf.LENGTH), (8, protobuf.LENGTH)}


def looks_like_onnx(path: Path) -> bool:
    """Return whether a file has the fields that every ONNX model has, whatever its name is."""
    try:
        with path.open("rb") as file:
            # The first field of every writer; TensorFlow's frozen graphs begin otherwise.
            if file.read(1) != b"\x08":
                return False
            file.seek(0)
            size = path.stat().st_size
            found = {(field.number, field.wire_type) for field in protobuf.fields(file, size)}
    except (OSError, ValueError):
        return False
    return found >= _ALWAYS


def onnx_metadata(path: Path) -> dict[str, str]:
    """Return `metadata_props` of an ONNX file; the weights are skipped, not read.

    Raises:
        ModelError: the file cannot be read or is not a protobuf message.
    """
    found = {}
    with protobuf.open_model(path, "ONNX") as file:
        for field in protobuf.fields(file, path.stat().st_size):
            if field.number == _METADATA_PROPS and field.wire_type == protobuf.LENGTH:
                key, value = _string_pair(file, file.tell() + field.value)
                found[key] = value
    return found


def spec_of_onnx(path: Path) -> str | None:
    """Return the JSON text of the spec in an ONNX file, or None if it has none.

    Raises:
        ModelError: see `onnx_metadata`.
    """
    return onnx_metadata(path).get(METADATA_KEY)


def _string_pair(file: BinaryIO, end: int) -> tuple[str, str]:
    """Read the StringStringEntryProto that spans from the file's position to `end`."""
    pair = {_KEY: "", _VALUE: ""}
    for field in protobuf.fields(file, end):
        if field.number in pair and field.wire_type == protobuf.LENGTH:
            pair[field.number] = file.read(field.value).decode()
    return pair[_KEY], pair[_VALUE]
