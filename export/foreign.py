"""Other people's ONNX models, edited to take the input that a spec describes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from r2p_edge.errors import SpecError
from r2p_edge.spec import ModelSpec

from .graph import GraphBuilder

if TYPE_CHECKING:
    import onnx


def adapt(model: onnx.ModelProto, spec: ModelSpec, batch: int = 1) -> None:
    """Gives the model the input and output of `spec`, in place.

    The model takes normalised float32 (N, 3, T, H, W); the spec's normalisation and transpose are
    put in front of it. A model that takes uint8 in the spec's layout already is taken to hold
    them, and keeps its nodes. Both ends get the spec's names and static shapes.

    Args:
        batch: size of the batch axis where the model leaves it open.

    Raises:
        SpecError: the model has more than one input or output, or others than the spec says.
    """
    graph = model.graph
    source, result = network_input(model), _only(graph.output, "output")
    pixels = takes_pixels(model)
    shape: tuple[int, ...] = (3, spec.clip.frames, spec.crop.height, spec.crop.width)
    if pixels:
        shape = spec.input_shape[1:]
        if spec.input.dtype != "uint8":
            raise SpecError(
                f"the model takes uint8 but the spec's input is {spec.input.dtype}; "
                "set input.dtype to uint8 with input.normalized_in_graph, as the model has it"
            )
    batch = _fix(source, (batch, *shape))
    _fix(result, (batch, len(spec.labels)))

    front = GraphBuilder()
    end = front.input(spec, batch)
    names = {source.name: spec.input.name if pixels else end, result.name: spec.output.name}
    taken = (front.names | {spec.output.name}) - set(names)
    names |= {name: f"model.{name}" for name in taken}
    _rename(graph, names)
    if not pixels:
        others = [value for value in graph.input if value.name != end]
        nodes = list(graph.node)
        del graph.input[:], graph.node[:]
        graph.input.extend([*front.inputs, *others])
        graph.node.extend([*front.nodes, *nodes])
        graph.initializer.extend(front.constants)
    # Shapes that were inferred with another batch.
    del graph.value_info[:]


def network_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """The one input that is not a weight.

    Raises:
        SpecError: there are several, or none.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    return _only([value for value in model.graph.input if value.name not in weights], "input")


def takes_pixels(model: onnx.ModelProto) -> bool:
    """Whether the model's input is uint8 (else float32).

    Raises:
        SpecError: it is neither.
    """
    import onnx

    found = network_input(model).type.tensor_type.elem_type
    if found not in (onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT):
        raise SpecError(
            f"the model's input is {onnx.TensorProto.DataType.Name(found)}, which is neither "
            "FLOAT nor UINT8; convert its input to float32"
        )
    return bool(found == onnx.TensorProto.UINT8)


def graph_kind(model: onnx.ModelProto) -> Literal["conv3d", "conv2d"] | None:
    """What `ModelSpec.graph` says of a model; None where no convolution has a constant weight."""
    ranks = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    found = {ranks[node.input[1]] for node in convolutions if node.input[1] in ranks}
    if not found:
        return None
    return "conv3d" if 5 in found else "conv2d"


def _only(values: Iterable[onnx.ValueInfoProto], what: str) -> onnx.ValueInfoProto:
    values = list(values)
    if len(values) != 1:
        names = ", ".join(value.name for value in values)
        raise SpecError(
            f"the model has {len(values)} {what}s ({names}), expected 1; export it with one {what}"
        )
    return values[0]


def _fix(value: onnx.ValueInfoProto, wanted: tuple[int, ...]) -> int:
    """Makes the shape of `value` static and returns its batch; open axes become as `wanted`.

    A static batch of the model's own stays; the other axes must be as wanted.
    """
    tensor = value.type.tensor_type
    found = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    if tensor.HasField("shape") and (
        len(found) != len(wanted)
        or any(have not in (None, want) for have, want in zip(found[1:], wanted[1:]))
    ):
        text = ", ".join("?" if size is None else str(size) for size in found)
        expected = ", ".join(str(size) for size in wanted[1:])
        raise SpecError(
            f"the model's {value.name} is ({text}) but the spec describes (N, {expected}); "
            "correct clip.frames, crop or labels, or export the model with these sizes"
        )
    batch = wanted[0] if not found or found[0] is None else found[0]
    del tensor.shape.dim[:]
    for size in (batch, *wanted[1:]):
        tensor.shape.dim.add(dim_value=size)
    return batch


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    """Renames tensors everywhere, inner graphs of control flow included."""
    for values in (graph.input, graph.output, graph.initializer):
        for value in values:
            value.name = names.get(value.name, value.name)
    for annotation in graph.quantization_annotation:
        annotation.tensor_name = names.get(annotation.tensor_name, annotation.tensor_name)
    for node in graph.node:
        for ends in (node.input, node.output):
            for i, name in enumerate(ends):
                ends[i] = names.get(name, name)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _rename(inner, names)
