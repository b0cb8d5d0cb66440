"""Inputs of a MindIR file, read without MindSpore."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from r2p_edge.artifact import protobuf

# Field numbers of mindspore/core/proto/mind_ir.proto: ModelProto.graph, GraphProto.input,
# ValueInfoProto.tensor, TensorProto.dims and .data_type, and two of the latter's values.
_GRAPH, _INPUT, _TENSOR, _DIMS, _DATA_TYPE = 7, 5, 2, 1, 2
_DTYPES = {1: "float32", 2: "uint8"}


def inputs_of_mindir(path: Path) -> list[tuple[str, tuple[int, ...]]]:
    """Return the dtype and shape of each input of a MindIR file; -1 for an open axis.

    Raises:
        ModelError: the file cannot be read, is not a whole MindIR, or takes neither float32 nor
            uint8.
    """
    with protobuf.open_model(path, "MindIR") as file:
        return list(_inputs(file, path.stat().st_size))


def _inputs(file: BinaryIO, end: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield dtype and shape of each input of the model that spans to `end`."""
    for graph in _messages(file, end, _GRAPH):
        for value in _messages(file, graph, _INPUT):
            for tensor in _messages(file, value, _TENSOR):
                kind, sizes = 0, []
                for field in protobuf.fields(file, tensor):
                    if field.number == _DATA_TYPE:
                        kind = field.value
                    elif field.number == _DIMS:
                        # int64, of which protobuf writes a negative one modulo 2**64.
                        sizes.append(field.value if field.value < 1 << 63 else -1)
                if kind not in _DTYPES:
                    raise ValueError(f"its input is of type {kind}, neither float32 nor uint8")
                yield _DTYPES[kind], tuple(sizes)


def _messages(file: BinaryIO, end: int, number: int) -> Iterator[int]:
    """Yield the end of each message in the field `number`; the file is at its first byte."""
    for field in protobuf.fields(file, end):
        if field.number == number and field.wire_type == protobuf.LENGTH:
            yield file.tell() + field.value
