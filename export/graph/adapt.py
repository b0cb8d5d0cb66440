"""Foreign ONNX models, changed to take the input that a spec describes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from r2p_edge._optional import missing
from r2p_edge.errors import SpecError, UsageError
from r2p_edge.export.graph.builder import Batch, GraphBuilder, batch_axis
from r2p_edge.export.graph.layout import class_axes, class_misfit, clip_sizes, input_layout
from r2p_edge.export.graph.model import (
    axis_sizes,
    network_input,
    network_output,
    opset,
    takes_pixels,
)
from r2p_edge.spec import ModelSpec

try:
    import onnx
except ImportError as error:
    raise missing("onnx") from error

RAW = "output.raw"
"""Name of a model's own output, where more stands behind it."""


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


def adapt(
    model: onnx.ModelProto,
    spec: ModelSpec,
    batch: Batch | None = None,
    *,
    shape: Sequence[int] | None = None,
    layout: str | None = None,
    shown: int | None = None,
) -> None:
    """Give the model the input and output of `spec`, in place.

    The model takes a clip in any order of its axes (see `input_layout`) and of any floating-point
    type, normalised by the spec; the normalisation and what brings its axes into order are put in
    front of it. A model that takes uint8 is assumed to normalise in its own graph, and gets the
    order of the axes alone. Its output is reduced to float32 (N, classes), by the mean over every
    further axis. Input and output get the spec's names and static shapes.

    Args:
        batch: size of the batch axis; by default the model's own, or 1 if that is open. "dynamic"
            leaves it open.
        shape: of the model's output for N clips, as it was seen; by default as the model says.
        layout: axes of the model's input; by default those of `input_layout`.
        shown: axis of the output's classes, where the graph shows it.

    Raises:
        SpecError: the model has more than one input or output, or shapes other than the spec's.
        UsageError: the model's batch axis has another size.
    """
    graph = model.graph
    source, result = network_input(model), network_output(model)
    pixels, layout = takes_pixels(model), layout or input_layout(model, spec)
    if pixels and spec.input.dtype != "uint8":
        raise SpecError(
            f"the model takes uint8 but the spec's input is {spec.input.dtype}; "
            "set input.dtype to uint8 with input.normalized_in_graph, as the model has it"
        )
    size = _fix_input(source, layout, spec, batch)
    front, back = GraphBuilder(), GraphBuilder()
    kind = source.type.tensor_type.elem_type
    end = _add_front(front, spec, size, layout, kind)
    last = _add_back(back, result, spec, opset(model), size, shape, shown)
    # The spec's own names are free for the model's ends, all others for what stands around it.
    names = {source.name: end, result.name: spec.output.name if last == result.name else RAW}
    taken = (front.names | back.names | {spec.output.name, RAW}) - set(names)
    names |= {name: f"model.{name}" for name in taken}
    rename(graph, names)
    others = [value for value in graph.input if value.name != end]
    nodes = list(graph.node)
    del graph.input[:], graph.node[:], graph.output[:]
    graph.input.extend([*front.inputs, *others])
    graph.node.extend([*front.nodes, *nodes, *back.nodes])
    graph.initializer.extend([*front.constants, *back.constants])
    sizes = [batch_axis(size), spec.outputs]
    graph.output.append(
        onnx.helper.make_tensor_value_info(spec.output.name, onnx.TensorProto.FLOAT, sizes)
    )
    # Shapes that were inferred with another batch.
    del graph.value_info[:]


def _add_front(front: GraphBuilder, spec: ModelSpec, batch: Batch, layout: str, kind: int) -> str:
    """Add what stands before a model; return the name of the tensor that the model takes."""
    pixels = kind == onnx.TensorProto.UINT8
    end = front.input(spec, batch, layout.replace("K", ""), normalize=not pixels)
    if "K" in layout:
        sizes = {"N": 0, **clip_sizes(spec)}
        end = front.reshape(end, [sizes[axis] for axis in layout], "input.clips")
    if kind not in (onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT):
        end = front.cast(end, kind, "input.converted")
    return end


def _add_back(
    back: GraphBuilder,
    result: onnx.ValueInfoProto,
    spec: ModelSpec,
    version: int,
    batch: Batch,
    shape: Sequence[int] | None,
    shown: int | None,
) -> str:
    """Add what stands behind a model; return the last tensor, the model's own if nothing does."""
    classes = spec.outputs
    declared = axis_sizes(result)
    if shape is None:
        # An open axis of classes has their number, and another may have any size.
        shape = [classes if i == 1 and n is None else n or 0 for i, n in enumerate(declared)]
        if not declared:
            shape = [0, classes]
    axes = class_axes(shape, classes, shown)
    if axes is None:
        raise SpecError(class_misfit(result.name, declared or shape, classes))
    if len(shape) < 2 and classes > 1 and batch != 1:
        raise UsageError(
            f"batch is {batch} but the model's {result.name} is ({classes}), for one clip; leave "
            "batch out, or export the model with a batch axis in its output"
        )
    steps: list[Callable[[str, str], str]] = []
    if result.type.tensor_type.elem_type not in (onnx.TensorProto.FLOAT, 0):
        steps.append(lambda x, output: back.cast(x, onnx.TensorProto.FLOAT, output))
    if len(shape) < 2:
        steps.append(lambda x, output: back.reshape(x, [-1, classes], output))
    elif axes and all(shape[axis] == 1 for axis in axes):
        steps.append(back.flatten)
    elif axes:
        steps.append(lambda x, output: back.mean(x, axes, version, output))
    x = RAW if steps else result.name
    for number, step in enumerate(steps, 1):
        x = step(x, spec.output.name if number == len(steps) else f"output.{number}")
    return x


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


def _fix_input(
    value: onnx.ValueInfoProto, layout: str, spec: ModelSpec, batch: Batch | None
) -> Batch:
    """Return the batch that a model is to have, after checking it against the model's own."""
    found = axis_sizes(value)
    own = found[0] if found else None
    if own is None:
        return batch or 1
    if batch not in (None, own):
        raise UsageError(
            f"batch is {batch} but the model's {value.name} has a batch axis of {own}; leave "
            "batch out, or export the model with an open batch axis"
        )
    return own
