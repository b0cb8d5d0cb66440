"""Reading of ONNX models: files, opset, inputs and outputs, attributes of nodes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path
from typing import Any, Literal

from r2p_edge._optional import missing
from r2p_edge.errors import ModelError, ModelNotFoundError, R2PError, SpecError, one_line
from r2p_edge.spec.checks import plain

try:
    import onnx
except ImportError as error:
    raise missing("onnx") from error

Shape = tuple[int, ...]
"""Sizes of a tensor's axes."""

INPUT_DTYPES: dict[int, str] = {
    onnx.TensorProto.UINT8: "uint8",
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.DOUBLE: "float64",
}
"""Types that the input of a model may have, as NumPy names them."""

_SMALL = 64  # elements; constants of up to as many can be a shape or axes


def load_onnx(path: Path) -> onnx.ModelProto:
    """Read an ONNX file.

    Raises:
        ModelNotFoundError: there is no such file.
        ModelError: the file is not an ONNX model, or damaged.
    """
    if not path.is_file():
        raise ModelNotFoundError(f"there is no ONNX file {path}; check the path")
    try:
        model = onnx.load(path, format="protobuf")  # whatever its name
        _check_text(model)
        return model
    except Exception as error:  # protobuf's, onnx's or the system's, depending on the damage
        if (absent := _absent_data(path)) is not None:
            raise ModelError(
                f"{path} keeps its weights in {plain(absent)}, which is not beside it; copy that "
                "file too"
            ) from error
        raise ModelError(
            f"{path} is not a whole ONNX file ({error}); copy or export it again"
        ) from error


def _absent_data(path: Path) -> str | None:
    """Return the name of a model's file of weights that is not there; None if all are."""
    with contextlib.suppress(Exception):  # the caller has an error already
        model = onnx.load(path, format="protobuf", load_external_data=False)
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location" and not (path.parent / entry.value).exists():
                    return str(entry.value)
    return None


def _check_text(message: Any) -> None:
    """Check the encoding of all text of a message, in place of which protobuf may give bytes.

    Raises:
        ValueError: some of it is not UTF-8.
    """
    for field in message.DESCRIPTOR.fields:
        if field.type == field.TYPE_STRING:
            value = getattr(message, field.name)
            texts = [value] if isinstance(value, (str, bytes)) else value
            if any(isinstance(text, bytes) for text in texts):
                raise ValueError(f"{field.full_name} is not UTF-8")
        elif field.type == field.TYPE_MESSAGE:
            value = getattr(message, field.name)
            if hasattr(value, "DESCRIPTOR"):  # one message, there or not
                value = [value] if message.HasField(field.name) else []
            for each in value:
                _check_text(each)


@contextlib.contextmanager
def malformed_is_error() -> Iterator[None]:
    """Turn what onnx, NumPy and Python raise about a malformed model into an error of its own.

    Raises:
        ModelError: they raised something.
    """
    try:
        yield
    except R2PError:
        raise
    except Exception as error:  # without a common base
        raise ModelError(
            f"the model is malformed ({one_line(error)}); check it with onnx.checker"
        ) from error


def opset(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators in the model."""
    versions = {entry.domain: int(entry.version) for entry in model.opset_import}
    return versions.get("", versions.get("ai.onnx", 1))


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Return a node's attributes as Python values; strings are str."""
    found = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    return {
        name: value.decode(errors="replace") if isinstance(value, bytes) else value
        for name, value in found.items()
    }


def model_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs that a runtime has to be fed; old exporters list weights there too."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def network_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """Return the model's one input.

    Raises:
        SpecError: the model has several inputs, or none.
    """
    return _only(model_inputs(model.graph), "input")


def network_output(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """Return the model's one output.

    Raises:
        SpecError: the model has several outputs, or none.
    """
    return _only(model.graph.output, "output")


def axis_sizes(value: onnx.ValueInfoProto) -> list[int | None]:
    """Return the sizes of a tensor's axes; None for an open axis."""
    axes = value.type.tensor_type.shape.dim
    return [axis.dim_value if axis.HasField("dim_value") else None for axis in axes]


def network_sizes(
    model: onnx.ModelProto,
) -> tuple[int | None, int | None, tuple[int, int] | None]:
    """Return the number of outputs, T and (H, W) of a model; None where the model leaves it open.

    Raises:
        SpecError: the model has more than one input or output.
    """
    found = axis_sizes(network_input(model))
    result = axis_sizes(network_output(model))
    if len(found) == 6:  # with an axis of clips
        found = [found[0], *found[2:]]
    t = h = w = None
    if len(found) == 5 and found[1] == 3:
        t, h, w = found[2:]
    elif len(found) == 5 and found[4] == 3:
        t, h, w = found[1:4]
    elif len(found) == 5 and found[2] == 3:
        t, h, w = found[1], *found[3:]
    size = None if h is None or w is None else (h, w)
    outputs = [each for each in result[1:] if each != 1] or result[1:2]
    return outputs[0] if len(outputs) == 1 else None, t, size


def takes_pixels(model: onnx.ModelProto) -> bool:
    """Return True if the model's input is uint8, False if it is of a floating-point type.

    Raises:
        SpecError: the input has another dtype.
    """
    found = network_input(model).type.tensor_type.elem_type
    if found not in INPUT_DTYPES:
        raise SpecError(
            f"the model's input is {onnx.TensorProto.DataType.Name(found)}, which is neither "
            "FLOAT nor UINT8; convert its input to float32"
        )
    return bool(found == onnx.TensorProto.UINT8)


def graph_kind(model: onnx.ModelProto) -> Literal["conv3d", "conv2d"] | None:
    """Return the model's `ModelSpec.graph`; None if no convolution has a constant weight."""
    ranks = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    for node in model.graph.node:  # weights of int8, behind the nodes that make them floats
        if node.op_type in ("DequantizeLinear", "QuantizeLinear") and node.input[0] in ranks:
            ranks[node.output[0]] = ranks[node.input[0]]
    places = {"Conv": 1, "QLinearConv": 3}
    weights = [
        node.input[places[node.op_type]] for node in model.graph.node if node.op_type in places
    ]
    found = {ranks[name] for name in weights if name in ranks}
    if not found:
        return None
    return "conv3d" if 5 in found else "conv2d"


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy a model without the values of its large constants, which can take gigabytes.

    They keep type and shape, so that shapes can still be inferred.
    """
    light = onnx.ModelProto(ir_version=model.ir_version)
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    graph, source = light.graph, model.graph
    graph.name = source.name
    for part in ("node", "input", "output", "value_info"):
        getattr(graph, part).extend(getattr(source, part))
    for weight in source.initializer:
        if prod(weight.dims) <= _SMALL:
            graph.initializer.append(weight)
        else:
            graph.initializer.add(name=weight.name, dims=weight.dims, data_type=weight.data_type)
    return light


def keep_output(model: onnx.ModelProto, name: str) -> None:
    """Remove all outputs of a model but this one from its list of outputs, in place.

    Raises:
        SpecError: the model has no output of that name.
    """
    outputs = model.graph.output
    chosen = [value for value in outputs if value.name == name]
    if not chosen:
        raise SpecError(f"the model has no output {name!r}; it has {_listed(outputs)}")
    del outputs[:]
    outputs.extend(chosen)


_ONE = (
    "export it from a module around it that takes one clip and makes the other inputs of it "
    "(--module)"
)


def _only(values: Iterable[onnx.ValueInfoProto], kind: str) -> onnx.ValueInfoProto:
    values = list(values)
    if len(values) != 1:
        way = "choose one with --output NAME" if kind == "output" else _ONE
        raise SpecError(
            f"the model has {len(values)} {kind}s ({_listed(values)}), expected 1; "
            + (way if values else f"export it with its {kind}")
        )
    return values[0]


def _listed(values: Iterable[onnx.ValueInfoProto]) -> str:
    """Return the names of tensors with their shapes, as an error lists them."""
    texts = []
    for value in values:
        sizes = ", ".join("?" if size is None else str(size) for size in axis_sizes(value))
        texts.append(f"{value.name} ({sizes})")
    return ", ".join(texts)
