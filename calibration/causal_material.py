"""Material that a semi-causal form is fitted to: features of streams, and a clip model's answers.

Nothing of it needs labels. The statistics of the clip model's later convolutions stand for those
of its batch norms, which an exported graph has folded in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from r2p_edge.calibration.tick_streams import TickStream
from r2p_edge.export.graph.model import opset
from r2p_edge.export.graph.per_frame.clip_graph import ClipGraph, stage_of
from r2p_edge.export.graph.per_frame.forms import per_frame_form
from r2p_edge.export.targets.onnx import onnx_bytes
from r2p_edge.export.verify.ort_session import open_session
from r2p_edge.export.verify.per_frame_run import PerFrameRun, onnx_part
from r2p_edge.spec import ModelSpec

_AXES = [0, 2, 3, 4]  # all but the channels
_MEAN, _SQUARE = ".mean", ".square"  # ends of the names of outputs


class ChannelStatistics(NamedTuple):
    """Mean and standard deviation of each channel, float64 (C,)."""

    mean: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]


class CausalMaterial(NamedTuple):
    """Streams one after the other, without a reset between them.

    Attributes:
        features: float16 (ticks, C, H, W), the slice of the last stage that stays which each tick
            gives.
        ends: (windows,), ticks of the last frames of windows.
        answers: float32 (windows, classes), the clip model's outputs for them.
        statistics: of the outputs of the clip model's convolutions above the stage, by name.
    """

    features: npt.NDArray[np.float16]
    ends: npt.NDArray[np.intp]
    answers: npt.NDArray[np.float32]
    statistics: Mapping[str, ChannelStatistics]


def causal_material(
    model: onnx.ModelProto,
    spec: ModelSpec,
    stages: int,
    streams: Iterable[TickStream],
    progress: Callable[[int], None] = lambda _: None,
    file: BinaryIO | None = None,
) -> CausalMaterial:
    """Run a clip model and its first stages over streams.

    Args:
        model: an fp32 artifact of this package.
        spec: its contract.
        stages: last stage that stays as it was trained.
        streams: of frames; the windows that they name are answered.
        progress: called with the number of windows that are done.
        file: takes the features, which the result then lacks; opened for writing in binary mode.

    Raises:
        UsageError, SpecError, ModelError: it can have no form with state, see `per_frame_form`.
    """
    form = per_frame_form(model, spec, stages)
    head = PerFrameRun(form, spec.clip.frames, {"head": onnx_part(onnx_bytes(form.parts["head"]))})
    assert form.feature is not None
    clip = _ClipProbe(ClipGraph(model, spec.output.name), stages)
    recent: deque[npt.NDArray[np.uint8]] = deque(maxlen=spec.clip.frames)
    features, ends = [], []
    shape = (-1, *next(ring.shape for ring in form.rings if ring.name == form.feature))
    for stream in streams:
        first = head.ticks
        for frame in stream.frames:
            recent.append(frame)
            head.step(frame)
            newest = head.slice(form.feature, 0)[0].astype(np.float16)
            if file is None:
                features.append(newest)
            else:
                file.write(newest.tobytes())
            tick = head.ticks - 1
            if tick - first in stream.ends:
                ends.append(tick)
                clip.answer(np.stack(recent))
                progress(len(ends))
    return CausalMaterial(
        np.reshape(features, shape).astype(np.float16),
        np.array(ends, np.intp),
        np.reshape(clip.answers, (len(ends), len(spec.labels))),
        clip.statistics(),
    )


class _ClipProbe:
    """A clip model that also says the means of its later convolutions' outputs."""

    def __init__(self, graph: ClipGraph, stages: int) -> None:
        model = onnx.ModelProto()
        model.CopyFrom(graph.model)
        convs = [node for node in graph.nodes if node.op_type == "Conv" and stage_of(node) > stages]
        for node in convs:
            output = node.output[0]
            square = helper.make_node("Mul", [output, output], [f"{output}.squared"])
            model.graph.node.append(square)
            for name, end in ((output, _MEAN), (square.output[0], _SQUARE)):
                model.graph.node.append(_mean_node(model, name, f"{node.name}{end}"))
                value = helper.make_tensor_value_info(f"{node.name}{end}", TensorProto.FLOAT, None)
                model.graph.output.append(value)
        self._session = open_session(onnx_bytes(model))
        self._input, self._output = graph.input, graph.output
        self._names = [value.name for value in self._session.get_outputs()]
        self._sums: dict[str, npt.NDArray[np.float64]] = {}
        self.answers: list[npt.NDArray[np.float32]] = []

    def answer(self, clip: npt.NDArray[np.uint8]) -> None:
        """Take in a clip, (T, H, W, 3)."""
        found = dict(zip(self._names, self._session.run(None, {self._input: clip[None]})))
        self.answers.append(found.pop(self._output)[0])
        for name, value in found.items():
            if name.endswith((_MEAN, _SQUARE)):
                self._sums[name] = self._sums.get(name, 0.0) + value.astype(np.float64)

    def statistics(self) -> dict[str, ChannelStatistics]:
        """Return those of all clips together, by the names of the convolutions."""
        found, clips = {}, len(self.answers)
        for name, total in self._sums.items():
            if name.endswith(_MEAN):
                conv, mean = name.removesuffix(_MEAN), total / clips
                square = self._sums[f"{conv}{_SQUARE}"] / clips
                found[conv] = ChannelStatistics(mean, np.sqrt(np.maximum(square - mean**2, 0)))
        return found


def _mean_node(model: onnx.ModelProto, name: str, output: str) -> Any:
    if opset(model) < 18:
        return helper.make_node("ReduceMean", [name], [output], axes=_AXES, keepdims=0)
    axes = "r2p_edge.axes"
    if all(tensor.name != axes for tensor in model.graph.initializer):
        tensor = helper.make_tensor(axes, TensorProto.INT64, [len(_AXES)], _AXES)
        model.graph.initializer.append(tensor)
    return helper.make_node("ReduceMean", [name, axes], [output], keepdims=0)


def share_of_agreement(found: npt.NDArray[np.floating], wanted: npt.NDArray[np.floating]) -> float:
    """Return how often the largest of each row is at the same place."""
    return float((found.argmax(axis=1) == wanted.argmax(axis=1)).mean())


def within(material: CausalMaterial, waits: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Return which windows have their answers, at the longest of some waits, before the end."""
    return np.asarray(material.ends + max(waits) < len(material.features))
