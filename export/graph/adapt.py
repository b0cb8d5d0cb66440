"""Other people's ONNX models, edited to take the input that a spec describes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from r2p_edge._optional import missing
from r2p_edge.errors import ModelError, ModelNotFoundError, SpecError, UsageError
from r2p_edge.export.graph.builder import GraphBuilder
from r2p_edge.spec import ModelSpec

if TYPE_CHECKING:
    import onnx


def load(path: Path) -> onnx.ModelProto:
    """The model in an ONNX file.

    Raises:
        ModelNotFoundError: there is no such file.
        ModelError: it is no ONNX model.
        MissingDependencyError: onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise missing("onnx", "export") from error
    if not path.is_file():
        raise ModelNotFoundError(f"there is no ONNX file {path}; check the path")
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf's, onnx's or the system's, depending on the damage
        raise ModelError(
            f"{path} is not a whole ONNX file ({error}); copy or export it again"
        ) from error


def check_normalisation(carried: ModelSpec, spec: ModelSpec) -> None:
    """Makes sure that `spec` does not contradict what an artifact's graph holds already.

    Args:
        carried: the artifact's own spec.
        spec: what it shall be exported with.

    Raises:
        SpecError: the graph normalises with other numbers, or takes float32 pixels, in front of
            which nothing can be put.
    """
    if not carried.input.normalized_in_graph:
        return
    if carried.input.dtype != "uint8":
        raise SpecError(
            "the artifact takes float32 pixels that its graph normalises, and can only be used as "
            "it is; export the model again from its source"
        )
    changed = [name for name in ("scale", "mean", "std") if _differ(name, carried, spec)]
    if carried.input.color != spec.input.color:
        changed.append("input.color")
    if changed:
        raise SpecError(
            f"{', '.join(changed)} of the spec differ from those of the artifact, whose graph "
            "keeps the normalisation that it has; leave them as they are, or export the model "
            "again from its source"
        )


def _differ(name: str, one: ModelSpec, other: ModelSpec) -> bool:
    return bool(getattr(one, name) != getattr(other, name))


def adapt(model: onnx.ModelProto, spec: ModelSpec, batch: int | None = None) -> None:
    """Gives the model the input and output of `spec`, in place.

    The model takes normalised float32 (N, 3, T, H, W); the spec's normalisation and transpose are
    put in front of it. A model that takes uint8 in the spec's layout already is taken to hold
    them, and keeps its nodes. Both ends get the spec's names and static shapes.

    Args:
        batch: size of the batch axis; by default the model's own, 1 where that is open.

    Raises:
        SpecError: the model has more than one input or output, or others than the spec says.
        UsageError: the model's batch axis has another size.
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
    fixed = _fix(source, (batch or 1, *shape))
    if batch not in (None, fixed):
        raise UsageError(
            f"batch is {batch} but the model's {source.name} has a batch axis of {fixed}; leave "
            "batch out, or export the model with an open batch axis"
        )
    batch = fixed
    _fix(result, (batch, len(spec.labels)))

    front = GraphBuilder()
    end = front.input(spec, batch)
    names = {source.name: spec.input.name if pixels else end, result.name: spec.output.name}
    taken = (front.names | {spec.output.name}) - set(names)
    names |= {name: f"model.{name}" for name in taken}
    rename(graph, names)
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


def sizes(model: onnx.ModelProto) -> tuple[int | None, int | None, tuple[int, int] | None]:
    """Number of classes, T and (H, W) of a model; None for what it leaves open.

    Raises:
        SpecError: the model has more than one input or output.
    """
    found = _dims(network_input(model))
    result = _dims(_only(model.graph.output, "output"))
    t = h = w = None
    if len(found) == 5 and found[1] == 3:
        t, h, w = found[2:]
    elif len(found) == 5 and found[4] == 3:
        t, h, w = found[1:4]
    size = None if h is None or w is None else (h, w)
    return result[1] if len(result) == 2 else None, t, size


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


def _dims(value: onnx.ValueInfoProto) -> list[int | None]:
    """The axes of a tensor; None for an open one."""
    axes = value.type.tensor_type.shape.dim
    return [axis.dim_value if axis.HasField("dim_value") else None for axis in axes]


def _fix(value: onnx.ValueInfoProto, wanted: tuple[int, ...]) -> int:
    """Makes the shape of `value` static and returns its batch; open axes become as `wanted`.

    A static batch of the model's own stays; the other axes must be as wanted.
    """
    tensor, found = value.type.tensor_type, _dims(value)
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


def rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
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
                rename(inner, names)
