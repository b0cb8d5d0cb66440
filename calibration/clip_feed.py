"""Clips run through a model of which intermediate tensors are read."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge._optional import missing
from r2p_edge.artifact.scratch import scratch_folder
from r2p_edge.errors import ModelError, VideoError, one_line
from r2p_edge.export.verify.ort_session import open_session
from r2p_edge.export.verify.synthetic_clips import input_from_clips
from r2p_edge.spec import ModelSpec

try:
    import onnx
except ImportError as error:
    raise missing("onnx") from error

CalibrationClips = Callable[[], Iterable[npt.NDArray[np.uint8]]]
"""Gives the same clips, uint8 (T, H, W, 3), from the first one on at each call."""


class ClipFeed:
    """Clips that can be run through a model several times.

    Args:
        spec: describes how a clip becomes the model's input.
        clips: the clips.
        progress: called after each clip.
    """

    def __init__(
        self, spec: ModelSpec, clips: CalibrationClips, progress: Callable[[], None] = lambda: None
    ) -> None:
        self._spec, self._clips, self._progress = spec, clips, progress

    def run(
        self,
        model: onnx.ModelProto,
        outputs: Iterable[str],
        nodes: Iterable[onnx.NodeProto] = (),
        constants: Iterable[onnx.TensorProto] = (),
    ) -> Iterator[tuple[int, list[npt.NDArray[Any]]]]:
        """Run all clips, and yield the number of clips and the tensors of each batch.

        Args:
            model: left unchanged.
            outputs: names of the tensors to read after the model's own output.
            nodes, constants: to add to the model.

        Raises:
            VideoError: a clip is not what the spec describes.
            ModelError: ONNX Runtime cannot run the model.
            OutputError: the temporary folder cannot be written.
        """
        session = _session(model, outputs, nodes, constants)
        (entry,) = session.get_inputs()
        size = entry.shape[0]
        clips = enumerate(self._clips(), 1)
        while batch := [self._pixels(*clip) for clip in itertools.islice(clips, size)]:
            # Copies that fill the batch change no extreme, and hardly a distribution.
            filled = np.stack(batch + batch[-1:] * (size - len(batch)))
            try:
                values = session.run(None, {entry.name: input_from_clips(filled, self._spec)})
            except Exception as error:  # the library's exceptions have no common public base
                raise ModelError(
                    f"ONNX Runtime cannot run the model ({one_line(error)}); check that its spec "
                    "describes it"
                ) from error
            for _ in batch:
                self._progress()
            yield len(batch), values

    def _pixels(self, number: int, clip: Any) -> npt.NDArray[np.uint8]:
        crop = self._spec.crop
        shape = (self._spec.clip.frames, crop.height, crop.width, self._spec.channels)
        dtype = np.dtype(self._spec.frame_dtype)
        found = getattr(clip, "dtype", type(clip).__name__), getattr(clip, "shape", "of no shape")
        if found != (dtype, shape):
            raise VideoError(
                f"clip {number} is {found[0]} {found[1]}, but the model is shown {dtype} {shape}; "
                "read the clips as the model's spec says"
            )
        return np.asarray(clip)


def _session(
    model: onnx.ModelProto,
    outputs: Iterable[str],
    nodes: Iterable[onnx.NodeProto],
    constants: Iterable[onnx.TensorProto],
) -> Any:
    """Open a session of a copy of the model with more nodes and outputs."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.node[:]
    probe.graph.node.extend(_as_early_as_possible(model.graph.node, nodes))
    probe.graph.initializer.extend(constants)
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    with scratch_folder("the model") as folder:
        path = folder / "probe.onnx"
        onnx.save_model(probe, path)
        del probe
        return open_session(path, probe=True)


def _as_early_as_possible(
    nodes: Iterable[onnx.NodeProto], added: Iterable[onnx.NodeProto]
) -> list[onnx.NodeProto]:
    """Insert each added node right after the nodes that it reads, so that these can be freed.

    Both arguments are in an order in which they can run.
    """
    listed = list(enumerate(nodes))
    places = {name: place for place, node in listed for name in node.output}
    for node in added:
        place = max((places[name] for name in node.input if name in places), default=-1)
        places |= dict.fromkeys(node.output, place)
        listed.append((place, node))
    return [node for _, node in sorted(listed, key=operator.itemgetter(0))]
