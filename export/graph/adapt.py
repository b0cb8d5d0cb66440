"""Foreign ONNX models, changed to take the input that a spec describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from r2p_edge.errors import SpecError, UsageError
from r2p_edge.export.graph.builder import GraphBuilder
from r2p_edge.export.graph.model import axis_sizes, network_input, network_output, takes_pixels
from r2p_edge.spec import ModelSpec

if TYPE_CHECKING:
    import onnx


def check_normalisation(carried: ModelSpec, spec: ModelSpec) -> None:
    """Check that `spec` does not contradict the normalisation in an artifact's graph.

    Args:
        carried: the artifact's own spec.
        spec: the spec to export it with.

    Raises:
        SpecError: the graph normalises with other numbers, or takes float32 pixels, to which no
            other normalisation can be added.
    """
    if not carried.input.normalized_in_graph:
        return
    if carried.input.dtype != "uint8":
        raise SpecError(
            "the artifact takes float32 pixels that its graph normalises, and can only be used as "
            "it is; export the model again from its source"
        )
    changed = [
        name for name in ("scale", "mean", "std") if getattr(carried, name) != getattr(spec, name)
    ]
    if carried.input.color != spec.input.color:
        changed.append("input.color")
    if changed:
        raise SpecError(
            f"{', '.join(changed)} of the spec differ from those of the artifact, whose graph "
            "already normalises with its own; leave them as they are, or export the model again "
            "from its source"
        )


def adapt(model: onnx.ModelProto, spec: ModelSpec, batch: int | None = None) -> None:
    """Give the model the input and output of `spec`, in place.

    The model takes normalised float32 (N, 3, T, H, W); the spec's normalisation and transpose are
    put in front of it. A model that takes uint8 is assumed to normalise in its own graph, in the
    spec's layout, and keeps its nodes. Input and output get the spec's names and static shapes.

    Args:
        batch: size of the batch axis; by default the model's own, or 1 if that is open.

    Raises:
        SpecError: the model has more than one input or output, or shapes other than the spec's.
        UsageError: the model's batch axis has another size.
    """
    graph = model.graph
    source, result = network_input(model), network_output(model)
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


def rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    """Rename tensors everywhere, in the inner graphs of control flow too.

    Args:
        names: new names by old ones.
    """
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


def _fix(value: onnx.ValueInfoProto, wanted: tuple[int, ...]) -> int:
    """Make the shape of `value` static and return its batch size.

    Open axes get the wanted sizes and a static batch stays; the other axes must be as wanted.
    """
    tensor, found = value.type.tensor_type, axis_sizes(value)
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
