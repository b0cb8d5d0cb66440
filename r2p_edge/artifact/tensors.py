"""Input and output of a model file, read without the library that runs it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO, NamedTuple

from r2p_edge.artifact import protobuf
from r2p_edge.artifact.open import Artifact
from r2p_edge.errors import ModelError
from r2p_edge.spec import ModelSpec

# Field numbers of onnx/onnx.proto3.
_GRAPH = 7  # of ModelProto
_INITIALIZER, _INPUT, _OUTPUT = 5, 11, 12  # of GraphProto
_NAME, _TYPE = 1, 2  # of ValueInfoProto
_TENSOR_NAME = 8  # of TensorProto
_TENSOR_TYPE = 1  # of TypeProto
_SHAPE = 2  # of TypeProto.ModelTensor
_DIM, _DIM_VALUE = 1, 1  # of TensorShapeProto, and of its Dimension


class ModelTensor(NamedTuple):
    """An input or output of a model.

    Attributes:
        name: its name in the file.
        shape: its sizes; -1 for an axis that may have any.
    """

    name: str
    shape: tuple[int, ...]


class Tensors(NamedTuple):
    """The tensors of a model that takes clips: its input, and the output of its answer."""

    input: ModelTensor
    output: ModelTensor


def tensors_of(artifact: Artifact) -> Tensors:
    """Return the input and the answer of a model, with their names and shapes in the file.

    An engine says neither without its library: they are then those of the spec, for one clip.

    Raises:
        ModelError: the file cannot be read, or its tensors are not those of its spec.
    """
    path, spec = artifact.path, artifact.spec
    read = {".onnx": _tensors_of_onnx, ".xml": _tensors_of_openvino}.get(path.suffix.lower())
    if read is None:
        output = ModelTensor(spec.output.name, (1, spec.outputs))
        return Tensors(ModelTensor(spec.input.name, spec.input_shape), output)
    inputs, outputs = read(path)
    taken = _named(inputs, spec.input.name, path)
    given = _named(outputs, spec.output.name, path)
    _check_shapes(path, spec, taken.shape, given.shape)
    return Tensors(taken, given)


def _check_shapes(
    path: Path, spec: ModelSpec, taken: tuple[int, ...], given: tuple[int, ...]
) -> None:
    expected = spec.input_shape
    fits = len(taken) == len(expected) and all(
        size in (-1, wanted) for size, wanted in zip(taken[1:], expected[1:])
    )
    if not fits or len(given) != 2:
        raise ModelError(
            f"{path} takes {taken} and gives {given}, but its spec says {expected} and "
            f"(N, {spec.outputs}); export the model again"
        )


def _named(tensors: list[ModelTensor], name: str, path: Path) -> ModelTensor:
    """Return the tensor of a name; the only one, whatever its name is."""
    found = tensors if len(tensors) == 1 else [each for each in tensors if each.name == name]
    if not found:
        names = ", ".join(each.name for each in tensors) or "no tensors"
        raise ModelError(f"{path} has no tensor {name!r} but {names}; export the model again")
    return found[0]


def _tensors_of_onnx(path: Path) -> tuple[list[ModelTensor], list[ModelTensor]]:
    found: dict[int, list[ModelTensor]] = {_INPUT: [], _OUTPUT: []}
    weights = set()
    with protobuf.open_model(path, "ONNX") as file:
        for field in protobuf.fields(file, path.stat().st_size):
            if (field.number, field.wire_type) != (_GRAPH, protobuf.LENGTH):
                continue
            for part in protobuf.fields(file, file.tell() + field.value):
                if part.number in found and part.wire_type == protobuf.LENGTH:
                    found[part.number].append(_value_info(file, file.tell() + part.value))
                elif part.number == _INITIALIZER and part.wire_type == protobuf.LENGTH:
                    weights.add(_text(file, file.tell() + part.value, _TENSOR_NAME))
    # Some exporters list the weights among the inputs.
    inputs = [tensor for tensor in found[_INPUT] if tensor.name not in weights]
    return inputs, found[_OUTPUT]


def _value_info(file: BinaryIO, end: int) -> ModelTensor:
    name = ""
    shape: tuple[int, ...] = ()
    for field in protobuf.fields(file, end):
        if field.wire_type != protobuf.LENGTH:
            continue
        if field.number == _NAME:
            name = file.read(field.value).decode()
        elif field.number == _TYPE:
            shape = _shape(file, file.tell() + field.value)
    return ModelTensor(name, shape)


def _shape(file: BinaryIO, end: int) -> tuple[int, ...]:
    """Return the shape in the TypeProto that spans from the file's position to `end`."""
    for number in (_TENSOR_TYPE, _SHAPE):
        for field in protobuf.fields(file, end):
            if (field.number, field.wire_type) == (number, protobuf.LENGTH):
                end = file.tell() + field.value  # of the inner message, at which the file stands
                break
        else:
            return ()
    sizes = []
    for field in protobuf.fields(file, end):
        if field.number == _DIM and field.wire_type == protobuf.LENGTH:
            inner = protobuf.fields(file, file.tell() + field.value)
            values = [
                each.value
                for each in inner
                if (each.number, each.wire_type) == (_DIM_VALUE, protobuf.VARINT)
            ]
            sizes.append(values[0] if values else -1)
    return tuple(sizes)


def _text(file: BinaryIO, end: int, number: int) -> str:
    """Return the text of a field of the message that spans from the file's position to `end`."""
    for field in protobuf.fields(file, end):
        if (field.number, field.wire_type) == (number, protobuf.LENGTH):
            return file.read(field.value).decode()
    return ""


def _tensors_of_openvino(path: Path) -> tuple[list[ModelTensor], list[ModelTensor]]:
    import xml.etree.ElementTree as ElementTree

    try:
        net = ElementTree.parse(path).getroot()
        layers = {layer.get("id"): layer for layer in net.findall("layers/layer")}
        before = {
            edge.get("to-layer"): (edge.get("from-layer"), edge.get("from-port"))
            for edge in net.findall("edges/edge")
        }

        def tensor(layer: str | None, port: str | None) -> ModelTensor:
            node = layers[layer]
            found = node.find(f"output/port[@id='{port}']")
            if found is None:
                raise ValueError(f"the layer {node.get('name')} has no output {port}")
            sizes = [int(dim.text or "") for dim in found.findall("dim")]
            # Commas within a name are escaped; a tensor may have several names.
            names = re.split(r"(?<!\\),", found.get("names") or node.get("name") or "")
            return ModelTensor(names[0], tuple(sizes))

        kinds = [(layer.get("type"), number) for number, layer in layers.items()]
        inputs = [tensor(number, "0") for kind, number in kinds if kind == "Parameter"]
        outputs = [tensor(*before[number]) for kind, number in kinds if kind == "Result"]
    except (ElementTree.ParseError, LookupError, ValueError, OSError) as error:
        raise ModelError(
            f"{path} is not a whole OpenVINO file ({error}); copy or export it again"
        ) from error
    return inputs, outputs
