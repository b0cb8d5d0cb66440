"""The graph from the features of a window to its answer, as in the clip's graph."""

from __future__ import annotations

import onnx

from r2p_edge.errors import ModelError
from r2p_edge.export.graph.per_frame.clip_graph import ClipGraph
from r2p_edge.export.graph.per_frame.part import PartGraph
from r2p_edge.export.graph.per_frame.rings import Rings, unsqueezed
from r2p_edge.export.graph.per_frame.timing import TIME

_CLIPS = "N"  # windows per call, such as those of several cameras


def tail_graph(graph: ClipGraph, feature: str, rings: Rings, positions: int) -> onnx.ModelProto:
    """Build the tail: `RING.p0` to `RING.pn`, (N, C, H, W) each, to the answer, (N, classes).

    Args:
        graph: the clip's graph.
        feature: the tensor of the features.
        rings: of the form.
        positions: number of the features' positions.

    Raises:
        ModelError: the later stages see more than the features.
    """
    part, name = PartGraph(graph), rings.names[feature]
    shape: list[int | str] = [_CLIPS, *rings.slice_shape(feature)[1:]]
    slices = [
        part.input(f"{name}.p{place}", graph.type(feature), shape) for place in range(positions)
    ]
    part.node("Concat", unsqueezed(part, slices), feature, axis=TIME)
    before = {node.output[0] for node in graph.region(feature)}
    made = {feature}
    for node in graph.region(graph.output):
        if node.output[0] in before:
            continue
        stray = [each for each in node.input if each not in made and not graph.is_constant(each)]
        if stray:
            raise ModelError(
                f"{node.name} sees {stray[0]}, which is before the features {feature}; choose "
                "another number of stages, or calibrate the model with r2p-edge"
            )
        part.take(node)
        made.add(node.output[0])
    answer: list[int | str] = [_CLIPS, *graph.shape(graph.output)[1:]]
    outputs = {graph.output: (graph.type(graph.output), answer)}
    return part.model("tail", outputs, rings.renamed())


def one_camera(part: onnx.ModelProto) -> onnx.ModelProto:
    """Return a part that answers one camera per call, for tools that need all shapes."""
    model = onnx.ModelProto()
    model.CopyFrom(part)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    return model
