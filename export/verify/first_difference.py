"""The search for the first intermediate tensor in which two models differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from r2p_edge.agreement import TOLERANCE
from r2p_edge.artifact.open import open_artifact
from r2p_edge.export.verify.ort_session import open_session, run_batches
from r2p_edge.export.verify.synthetic_clips import input_from_clips
from r2p_edge.predictor import Predictor

if TYPE_CHECKING:
    import onnx

Activations = Callable[[np.ndarray], Iterable[tuple[str, np.ndarray]]]
"""Gives a source's named intermediate tensors, in order, for uint8 clips (1, T, H, W, 3)."""

# Intermediate tensors that are compared at a time.
_CHUNK_BYTES, _CHUNK = 256 << 20, 16


def first_difference(reference: str | Path, other: str | Path, clip: Any) -> str:
    """Name the first tensor of an ONNX artifact that differs from another's of the same name.

    Args:
        reference: the artifact whose tensors are right.
        other: the artifact to search.
        clip: the input of both; whatever `Predictor.predict` takes, as `reference` reads it.

    Returns:
        A phrase such as "the first tensor that differs is layer1.0, by 0.2 of its largest value".

    Raises:
        R2PError: one of the two cannot be used, or the clip cannot be read.
        MissingDependencyError: onnx or onnxruntime is not installed.
    """
    reference, other = Path(reference), Path(other)
    with Predictor(reference, runtime="onnxruntime") as predictor:
        pixels = predictor.pixels(clip)
    one = input_from_clips(pixels, predictor.spec)
    two = input_from_clips(pixels, open_artifact(other).spec)
    from r2p_edge.export.graph.model import load_onnx

    right = _OpenGraph(load_onnx(reference))

    def activations() -> Iterator[tuple[str, np.ndarray]]:
        for start in range(0, len(right.names), _CHUNK):
            names = right.names[start : start + _CHUNK]
            yield from zip(names, right.run(names, one), strict=True)

    return difference_from(activations(), other, two)


def difference_from(
    activations: Iterable[tuple[str, np.ndarray]],
    model: bytes | str | Path,
    tensor: np.ndarray,
) -> str:
    """Name the first tensor of an ONNX model that differs from the activation of the same name.

    Args:
        activations: the right tensors, by name, in the order of execution.
        model: the file's path or content.
        tensor: the model's input, (1, ...).

    Returns:
        A phrase, see `first_difference`.
    """
    import onnx

    proto = onnx.load_model_from_string(model) if isinstance(model, bytes) else onnx.load(model)
    graph = _OpenGraph(proto)
    known = set(graph.names)
    chunk: list[tuple[str, np.ndarray]] = []
    for name, value in activations:
        if name in known:
            chunk.append((name, value.copy()))
        if sum(value.nbytes for _, value in chunk) > _CHUNK_BYTES:
            if (found := _difference(graph, tensor, chunk)) is not None:
                return found
            chunk = []
    found = _difference(graph, tensor, chunk) if chunk else None
    return found or "every tensor before the logits agrees"


def _difference(
    graph: _OpenGraph, tensor: np.ndarray, chunk: list[tuple[str, np.ndarray]]
) -> str | None:
    """Compare the tensors of one chunk."""
    limit = TOLERANCE["fp32"][1]
    outputs = graph.run([name for name, _ in chunk], tensor)
    for (name, want), have in zip(chunk, outputs, strict=True):
        if have.shape != want.shape:
            return f"the first tensor that differs is {name}: {have.shape}, not {want.shape}"
        largest = float(np.abs(want).max()) or 1.0
        # `not <=` also catches NaN.
        if not (difference := float(np.abs(have - want).max()) / largest) <= limit:
            return (
                f"the first tensor that differs is {name}, by {difference:.2g} of its largest value"
            )
    return None


class _OpenGraph:
    """An ONNX graph that can be run up to any of its tensors.

    Attributes:
        names: of the tensors that its nodes compute, in the order of execution.
    """

    def __init__(self, proto: onnx.ModelProto) -> None:
        self._proto = proto
        self._nodes = list(proto.graph.node)
        # By tensor, the number of nodes that must run to compute it.
        self._after = {name: i for i, node in enumerate(self._nodes, 1) for name in node.output}
        self.names = [name for name in self._after if name]

    def run(self, names: list[str], tensor: np.ndarray) -> list[np.ndarray]:
        """Compute the tensors of these names for one input."""
        import onnx

        graph = self._proto.graph
        del graph.node[:], graph.output[:]
        graph.node.extend(self._nodes[: max(self._after[name] for name in names)])
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        (outputs,) = run_batches(open_session(self._proto.SerializeToString()), tensor)
        return outputs
