"""The forms of an artifact with state: the parts' graphs and what a host has to know of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import onnx

from r2p_edge.errors import ModelError, UsageError
from r2p_edge.export.graph.per_frame.clip_graph import STAGES, ClipGraph
from r2p_edge.export.graph.per_frame.flush import FlushGraph
from r2p_edge.export.graph.per_frame.rings import Rings
from r2p_edge.export.graph.per_frame.step import StepGraph, head_nodes
from r2p_edge.export.graph.per_frame.tail import tail_graph
from r2p_edge.export.graph.per_frame.timing import moments
from r2p_edge.spec import ModelSpec, PartSpec, PerFrameSpec, RingSpec
from r2p_edge.spec.per_frame import (
    PER_FRAME,
    SEMI_CAUSAL,
    check_per_frame_clip,
    window_positions,
)


class FormGraphs(NamedTuple):
    """A form before its parts are files.

    Attributes:
        parts: the graphs by name.
        form, stages, delay, wait, step, positions, feature, rings, missing: see `PerFrameSpec`.
    """

    parts: Mapping[str, onnx.ModelProto]
    form: Literal["per-frame", "semi-causal"]
    stages: int
    delay: int
    wait: int
    step: int
    positions: int
    feature: str | None
    rings: tuple[RingSpec, ...]
    missing: tuple[int, ...]

    def contract(self, parts: Mapping[str, PartSpec]) -> PerFrameSpec:
        """Return the record of the form, with the files of its parts."""
        fields = {name: value for name, value in self._asdict().items() if name != "parts"}
        return PerFrameSpec(**fields, parts=parts)


def per_frame_form(model: onnx.ModelProto, spec: ModelSpec, stages: int) -> FormGraphs:
    """Build the form whose stages up to `stages` see one frame per tick.

    Args:
        model: an artifact of this package, in any precision; it is left unchanged.
        spec: its contract.
        stages: 0 for the stem alone, up to 4.

    Raises:
        UsageError: there is no such stage.
        SpecError: the clips, the input or the graph are not those of a stream of frames.
        ModelError: the graph has something that no form with state can have.
    """
    _check_stages(stages)
    check_per_frame_clip(spec.clip, spec.input, spec.graph)
    graph, frames = ClipGraph(model, spec.output.name), spec.clip.frames
    feature = graph.feature(stages)
    nodes, found = head_nodes(graph, feature)
    rings, moment = Rings(graph, found), found[feature]
    head = StepGraph(graph, nodes, rings, "head")
    window = window_positions(frames, moment.delay, moment.stride)
    rings.read("tail", feature, *window.tail)
    flush = FlushGraph(graph, nodes, feature, rings, frames)
    parts = {
        "head": head.model([]),
        "tail": tail_graph(graph, feature, rings, window.positions),
        **({"flush": flush.model()} if flush.missing else {}),
    }
    return FormGraphs(
        parts,
        PER_FRAME,
        stages,
        moment.delay,
        window.wait,
        moment.stride,
        window.positions,
        rings.names[feature],
        rings.table(feature),
        flush.missing,
    )


def semi_causal_form(
    model: onnx.ModelProto,
    spec: ModelSpec,
    stages: int,
    *,
    wait: int = 0,
    weights: Mapping[str, np.ndarray] | None = None,
) -> FormGraphs:
    """Build the form of one graph whose stages above `stages` see no frame after their centre.

    Its convolutions over time see their input at the ticks t - 2d, t - d and t; see
    `causal_weight` for how they begin. In int8 the states keep the scales of the clip's tensors.

    Args:
        model: an artifact of this package, in any precision; it is left unchanged.
        spec: its contract.
        stages: last stage that sees later frames; 0 for the stem alone.
        wait: ticks after a window's last frame at which its answer is read.
        weights: constants in place of the source's, by their names in the float model; see
            `StepGraph`.

    Raises:
        UsageError, SpecError: see `per_frame_form`.
        ModelError: the graph has something that no such form can have, or a weight has another
            shape.
    """
    _check_stages(stages)
    check_per_frame_clip(spec.clip, spec.input, spec.graph)
    graph = ClipGraph(model, spec.output.name)
    nodes = graph.region(graph.output)
    ends = [i for i, node in enumerate(nodes) if node.op_type == "ReduceMean"]
    if not ends:
        raise ModelError(
            "the graph has no mean over time and space before its last layer; export the model "
            "from its checkpoint"
        )
    found = moments(graph, nodes[: ends[0]], stages)
    rings = Rings(graph, found)
    step = StepGraph(graph, nodes, rings, "step", stages, weights)
    delay = found[nodes[ends[0]].input[0]].delay
    return FormGraphs(
        {"step": step.model([graph.output])},
        SEMI_CAUSAL,
        stages,
        delay,
        wait,
        1,
        1,
        None,
        rings.table(None),
        (),
    )


def _check_stages(stages: int) -> None:
    if not 0 <= stages <= STAGES:
        raise UsageError(f"stages is {stages}; the stem is 0, and there are {STAGES} stages")
