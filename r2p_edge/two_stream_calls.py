"""Calls of two models that answer together, each on its part of the same clips."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from r2p_edge.artifact.two_streams import PairArtifact
from r2p_edge.errors import ModelError, UsageError, VideoError
from r2p_edge.model_calls import ModelCalls
from r2p_edge.prediction import Prediction, StreamScores, Timing
from r2p_edge.runtimes.base import Options
from r2p_edge.scores import softmax
from r2p_edge.spec import TwoStreamSpec

JOINT = "+"
"""Sign between the runtimes, or devices, of two streams."""


class BothRuntimes(NamedTuple):
    """The runtimes of two streams, told as one."""

    rgb: ModelCalls
    flow: ModelCalls

    @property
    def name(self) -> str:
        """Their names, such as "onnxruntime+openvino"; one where they are the same."""
        return _told(*(each.runtime.name for each in self))

    @property
    def device(self) -> str:
        """Their devices."""
        return _told(*(each.runtime.device for each in self))

    @property
    def precision(self) -> str:
        """The precisions that they compute in."""
        return _told(*(each.runtime.precision for each in self))

    def close(self) -> None:
        """Free both models."""
        for each in self:
            each.runtime.close()


class TwoStreamCalls(NamedTuple):
    """Two loaded models, see `ModelCalls`.

    Attributes:
        artifact: their files and contract.
        runtime: of both.
        streams: the models by the names of their streams.
    """

    artifact: PairArtifact
    runtime: BothRuntimes
    streams: Mapping[str, ModelCalls]

    @classmethod
    def open(cls, artifact: PairArtifact, runtime: str | None, options: Options) -> TwoStreamCalls:
        """Load both models; `runtime` and the device may name one for each, with + between them.

        Raises:
            UsageError: more than two are named.
            R2PError: see `ModelCalls.open`.
        """
        runtimes = _of_each("runtime", runtime)
        devices = _of_each("device", options.device)
        first, second = (dataclasses.replace(options, device=device) for device in devices)
        rgb = ModelCalls.open(artifact.rgb, runtimes[0], first)
        try:
            flow = ModelCalls.open(artifact.flow, runtimes[1], second)
        except BaseException:
            rgb.runtime.close()
            raise
        return cls(artifact, BothRuntimes(rgb, flow), {"rgb": rgb, "flow": flow})

    @property
    def batch(self) -> int:
        """Number of clips in a call: of the model that takes more of them."""
        return max(each.batch for each in self.streams.values())

    def outputs(self, pixels: npt.NDArray[Any], timing: Timing) -> npt.NDArray[np.float64]:
        """Return the fused outputs, (clips, classes): summed logits, or mean probabilities.

        Args:
            pixels: records of "rgb" and "flow", (clips, T).
            timing: gets the time of each stage added.

        Raises:
            R2PError: see `ModelCalls.outputs` and `scores_of_outputs`.
        """
        return self._answered(pixels, timing)[0]

    def answered(
        self, pixels: npt.NDArray[Any], timing: Timing
    ) -> tuple[npt.NDArray[np.float64], StreamScores]:
        """Return the fused scores, (clips, classes), and those of each stream; see `outputs`."""
        outputs, own = self._answered(pixels, timing)
        fused = softmax(outputs) if self.artifact.spec.output.kind == "logits" else outputs
        return fused, own

    def features(self, pixels: npt.NDArray[Any]) -> Any:
        """Raise ModelError: features are of one network."""
        raise ModelError(
            f"{self.artifact.spec.name} is a model of two streams, and features are of one; open "
            "one of its models"
        )

    def beside(self, answer: Prediction, own: StreamScores) -> Prediction:
        """Return a fused answer with each stream's own beside it.

        Args:
            answer: the fused one.
            own: scores of each stream, (clips, classes).
        """
        streams = {
            name: dataclasses.replace(
                answer,
                scores=scores.mean(axis=0).astype(np.float32),
                runtime=self.streams[name].runtime.name,
                device=self.streams[name].runtime.device,
                precision=self.streams[name].runtime.precision,
                live=None,
            )
            for name, scores in own.items()
        }
        return dataclasses.replace(answer, streams=streams)

    def _answered(
        self, pixels: npt.NDArray[Any], timing: Timing
    ) -> tuple[npt.NDArray[np.float64], StreamScores]:
        spec = self.artifact.spec
        assert isinstance(spec, TwoStreamSpec)
        if pixels.dtype.names != ("rgb", "flow"):
            raise VideoError(
                f"clips are {pixels.dtype} {pixels.shape}; expected records of rgb and flow "
                "(clips, T), as pixels() gives them"
            )
        outputs = {name: each.outputs(pixels[name], timing) for name, each in self.streams.items()}
        own = {name: each.scores_of(outputs[name]) for name, each in self.streams.items()}
        if spec.fusion.of == "probabilities":
            return spec.fusion.combine(**own), own
        logits = {name: each.astype(np.float64) for name, each in outputs.items()}
        return spec.fusion.combine(**logits), own


def _told(one: str, other: str) -> str:
    return one if one == other else f"{one}{JOINT}{other}"


def _of_each(what: str, names: str | None) -> list[str | None]:
    """Return the name of each stream's runtime or device.

    Raises:
        UsageError: there are more than two.
    """
    found: list[str | None] = [None] if names is None else [*names.split(JOINT)]
    if len(found) > 2:
        raise UsageError(
            f"{what} is {names!r}; two streams have one {what}, or two such as "
            "onnxruntime+openvino, that of colours first"
        )
    return found * 2 if len(found) == 1 else found
