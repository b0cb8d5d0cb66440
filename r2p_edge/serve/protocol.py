"""Requests and answers of KServe's protocol, version 2, over HTTP, with its binary extension.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol and
https://github.com/triton-inference-server/server/tree/main/docs/protocol. A body is a JSON object,
after which come the bytes of the tensors that are not in it.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import UsageError
from r2p_edge.spec.checks import shown

LENGTH_HEADER = "Inference-Header-Content-Length"
"""Header with the number of bytes of the JSON object, where tensors follow it."""

_DATATYPES = {"UINT8": np.uint8, "FP32": np.float32}
_MOST_AXES = 8
_MOST_TENSORS = 16
_LARGEST = 1 << 62


class ProtocolError(UsageError):
    """A request is not one of the protocol; its message is for the client."""


@dataclass(frozen=True)
class InputTensor:
    """A tensor of a request.

    Attributes:
        name, shape, datatype: as the request has them.
        data: its bytes; a list of Python's numbers or texts where they were in the JSON object.
    """

    name: str
    shape: tuple[int, ...]
    datatype: str
    data: memoryview | list[Any]


class WantedOutput(NamedTuple):
    """An output that a request asks for.

    Attributes:
        name: its name.
        binary: its bytes follow the JSON object.
        classes: number of best classes to give in place of the numbers; 0 for the numbers.
    """

    name: str
    binary: bool
    classes: int


@dataclass(frozen=True)
class InferRequest:
    """A request for an inference.

    Attributes:
        inputs: its tensors by their names.
        outputs: what it asks for; None for all outputs.
        binary: the bytes of outputs that are not listed follow the JSON object.
        id: is given back with the answer; "" for none.
    """

    inputs: Mapping[str, InputTensor]
    outputs: Sequence[WantedOutput] | None = None
    binary: bool = False
    id: str = ""


@dataclass
class OutputTensor:
    """A tensor of an answer: an array, or texts in an array of objects."""

    name: str
    value: npt.NDArray[Any]
    binary: bool = False
    parameters: dict[str, Any] = field(default_factory=dict)


def parse_request(body: bytes, json_length: str | None, longest_json: int) -> InferRequest:
    """Return the request in a body.

    Args:
        body: the body.
        json_length: the header `LENGTH_HEADER`; None where the whole body is the JSON object.
        longest_json: most bytes of the JSON object, from which Python makes many times more.

    Raises:
        ProtocolError: it is none.
    """
    head, tail = _split(body, json_length)
    if len(head) > longest_json:
        raise ProtocolError(
            f"the JSON of the request has {len(head)} bytes, and may have {longest_json}; send "
            "tensors by the binary extension"
        )
    data = _object(_json(head), "the request")
    parameters = _parameters(data, "the request")
    binary = _flag(parameters, "binary_data_output", "the request")
    inputs, used = _inputs(data.get("inputs"), tail)
    if used < len(tail):
        raise ProtocolError(
            f"{len(tail) - used} bytes are left after the last tensor; let binary_data_size of "
            "the inputs add up to what follows the JSON"
        )
    outputs = None
    if "outputs" in data:
        outputs = [_output(each, binary) for each in _array(data["outputs"], "outputs")]
        if len({each.name for each in outputs}) < len(outputs):
            raise ProtocolError("an output is asked for twice; name each once")
    number = data.get("id", "")
    if not isinstance(number, str):
        raise ProtocolError(f"id is {shown(number)}; it must be a text")
    return InferRequest(inputs, outputs, binary, number)


def _split(body: bytes, json_length: str | None) -> tuple[bytes, memoryview]:
    if json_length is None:
        return body, memoryview(b"")
    if not (json_length.isascii() and json_length.isdecimal()) or len(json_length) > 18:
        raise ProtocolError(f"the header {LENGTH_HEADER} is no number; give the bytes of the JSON")
    length = int(json_length)
    if length > len(body):
        raise ProtocolError(
            f"the header {LENGTH_HEADER} is {length} and the body has {len(body)} bytes; give "
            "the bytes of the JSON alone"
        )
    return body[:length], memoryview(body)[length:]


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise ProtocolError(
            f"the request is not JSON ({reason}); send a JSON object, and where bytes follow it, "
            f"the header {LENGTH_HEADER}"
        ) from error


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ProtocolError(f"{what} is {shown(value)}; it must be a JSON object")
    return value


def _array(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > _MOST_TENSORS:
        raise ProtocolError(f"{what} is {shown(value)}; it must be a JSON array of a few tensors")
    return value


def _parameters(data: Mapping[str, Any], what: str) -> dict[str, Any]:
    return _object(data.get("parameters", {}), f"parameters of {what}")


def _flag(parameters: Mapping[str, Any], name: str, what: str) -> bool:
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        raise ProtocolError(f"{name} of {what} is {shown(value)}; it must be true or false")
    return value


def _name(data: Mapping[str, Any], what: str) -> str:
    name = data.get("name")
    if not isinstance(name, str):
        raise ProtocolError(f"the name of {what} is {shown(name)}; it must be a text")
    return name


def _inputs(listed: Any, tail: memoryview) -> tuple[dict[str, InputTensor], int]:
    """Return the inputs by their names, and how many of the bytes after the JSON they have."""
    found: dict[str, InputTensor] = {}
    used = 0
    for each in _array(listed, "inputs"):
        data = _object(each, "an input")
        name = _name(data, "an input")
        what = f"input {shown(name)}"
        if name in found:
            raise ProtocolError(f"{what} stands twice; give it once")
        parameters = _parameters(data, what)
        if "shared_memory_region" in parameters:
            raise ProtocolError(f"{what} is in shared memory, which is not offered; send its bytes")
        content: memoryview | list[Any]
        if "binary_data_size" in parameters:
            size = _whole(parameters["binary_data_size"], f"binary_data_size of {what}")
            content = tail[used : used + size]
            if len(content) < size:
                raise ProtocolError(
                    f"{what} has {size} bytes, of which {len(content)} came; send all, and the "
                    f"header {LENGTH_HEADER} with the bytes of the JSON before them"
                )
            used += size
        else:
            content = data.get("data")  # type: ignore[assignment] # checked next
            if not isinstance(content, list):
                raise ProtocolError(
                    f"{what} has neither data nor binary_data_size; give one of the two"
                )
        found[name] = InputTensor(name, _shape(data, what), _datatype(data, what), content)
    return found, used


def _whole(value: Any, what: str) -> int:
    if type(value) is not int or not 0 <= value < _LARGEST:
        raise ProtocolError(f"{what} is {shown(value)}; it must be a whole number from 0 on")
    return value


def _shape(data: Mapping[str, Any], what: str) -> tuple[int, ...]:
    shape = data.get("shape")
    if not isinstance(shape, list) or len(shape) > _MOST_AXES:
        raise ProtocolError(f"the shape of {what} is {shown(shape)}; it must be a few sizes")
    return tuple(_whole(size, f"a size of {what}") for size in shape)


def _datatype(data: Mapping[str, Any], what: str) -> str:
    datatype = data.get("datatype")
    if not isinstance(datatype, str):
        raise ProtocolError(f"the datatype of {what} is {shown(datatype)}; it must be a text")
    return datatype


def _output(value: Any, binary: bool) -> WantedOutput:
    data = _object(value, "an output")
    name = _name(data, "an output")
    what = f"output {shown(name)}"
    parameters = _parameters(data, what)
    if "shared_memory_region" in parameters:
        raise ProtocolError(f"{what} is to go to shared memory, which is not offered")
    classes = _whole(parameters.get("classification", 0), f"classification of {what}")
    asked = _flag({"binary_data": binary, **parameters}, "binary_data", what)
    return WantedOutput(name, asked, classes)


def array_of(tensor: InputTensor, datatype: str) -> npt.NDArray[Any]:
    """Return a tensor of numbers as an array, which shares its bytes.

    Args:
        tensor: the tensor.
        datatype: name of the datatype that it must have, "UINT8" for example.

    Raises:
        ProtocolError: it has another, or more or fewer numbers than its shape says, or numbers
            that the datatype cannot have.
    """
    dtype = np.dtype(_DATATYPES[datatype])
    what = f"input {tensor.name!r}"
    if tensor.datatype != datatype:
        raise ProtocolError(f"{what} is {shown(tensor.datatype)}; it must be {datatype}")
    count = math.prod(tensor.shape)
    if isinstance(tensor.data, memoryview):
        if len(tensor.data) != count * dtype.itemsize:
            raise ProtocolError(
                f"{what} has {len(tensor.data)} bytes and the shape {list(tensor.shape)}, which "
                f"has {count * dtype.itemsize}"
            )
        return np.frombuffer(tensor.data, dtype.newbyteorder("<")).reshape(tensor.shape)
    try:
        numbers = np.array(tensor.data)
    except (ValueError, OverflowError, RecursionError) as error:  # of lists that are not even
        raise ProtocolError(f"the data of {what} are no array of numbers") from error
    fractions = dtype.kind == "f"
    if numbers.size != count or numbers.dtype.kind not in "iuf"[: 2 + fractions] or not count:
        raise ProtocolError(
            f"the data of {what} are {numbers.size} values of the kind {numbers.dtype}; they must "
            f"be {count} {'numbers' if fractions else 'whole numbers'}"
        )
    if fractions:
        return numbers.astype(dtype).reshape(tensor.shape)
    if numbers.min() < 0 or numbers.max() > np.iinfo(np.uint8).max:
        raise ProtocolError(f"the data of {what} go beyond 0 to 255")
    return numbers.astype(dtype).reshape(tensor.shape)


def bytes_of(tensor: InputTensor) -> memoryview:
    """Return the one element of a tensor of bytes.

    Raises:
        ProtocolError: it is of another datatype, or has not one element, or is in the JSON.
    """
    what = f"input {tensor.name!r}"
    if tensor.datatype != "BYTES":
        raise ProtocolError(f"{what} is {shown(tensor.datatype)}; it must be BYTES")
    if math.prod(tensor.shape) != 1:
        raise ProtocolError(f"{what} has the shape {list(tensor.shape)}; send one video at a time")
    if not isinstance(tensor.data, memoryview):
        raise ProtocolError(f"{what} is in the JSON; send its bytes by the binary extension")
    data = tensor.data
    if len(data) < 4 or struct.unpack("<I", data[:4])[0] != len(data) - 4:
        raise ProtocolError(
            f"{what} has {len(data)} bytes, which must begin with the number of those that follow, "
            "of 4 bytes, little end first"
        )
    return data[4:]


def answer_body(
    head: Mapping[str, Any], outputs: Sequence[OutputTensor]
) -> tuple[bytes, int | None]:
    """Return the body of an answer, and the length of its JSON where tensors follow it.

    Args:
        head: the fields of the answer beside its outputs.
        outputs: the tensors.
    """
    listed, tail = [], []
    for output in outputs:
        value, text = output.value, output.value.dtype == object
        entry: dict[str, Any] = {
            "name": output.name,
            "datatype": "BYTES" if text else "FP32",
            "shape": list(value.shape),
        }
        if output.binary:
            data = _packed(value) if text else value.astype("<f4").tobytes()
            entry["parameters"] = {**output.parameters, "binary_data_size": len(data)}
            tail.append(data)
        else:
            entry["data"] = value.reshape(-1).tolist()
        listed.append(entry)
    text_of_head = json.dumps({**head, "outputs": listed}).encode()
    return b"".join([text_of_head, *tail]), len(text_of_head) if tail else None


def _packed(texts: npt.NDArray[Any]) -> bytes:
    """Return texts as the protocol has them: each after its length in 4 bytes."""
    encoded = [text.encode() for text in texts.reshape(-1)]
    return b"".join(struct.pack("<I", len(each)) + each for each in encoded)


def best_classes(
    values: npt.NDArray[np.float32], labels: Sequence[str], count: int
) -> npt.NDArray[np.object_]:
    """Return the best classes of each clip as texts "value:index:label", best first.

    Args:
        values: (clips, classes).
        labels: name of each class.
        count: number of classes for each clip.
    """
    rows = []
    for row in values:
        order = np.argsort(-row, kind="stable")[:count]
        rows.append([f"{row[index]:f}:{index}:{labels[index]}" for index in order])
    return np.array(rows, np.object_)
