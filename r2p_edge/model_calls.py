"""Calls of a model that is loaded, for clips that are preprocessed already."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from r2p_edge.artifact.open import Artifact
from r2p_edge.errors import VideoError
from r2p_edge.features import Features, further_names, joined_features
from r2p_edge.model_checks import check_classes, check_cpu, check_model, tell_of_waste
from r2p_edge.prediction import Prediction, StreamScores, Timing
from r2p_edge.preprocess.preprocessor import Preprocessor
from r2p_edge.runtimes import open_runtime
from r2p_edge.runtimes.base import Options, Runtime
from r2p_edge.scores import scores_of_outputs


class ModelCalls(NamedTuple):
    """A loaded model, and how clips become its inputs.

    Attributes:
        artifact: its file and contract.
        runtime: runs it.
        batch: number of clips in a call.
        preprocessor: makes the tensors.
    """

    artifact: Artifact
    runtime: Runtime
    batch: int
    preprocessor: Preprocessor

    @classmethod
    def open(cls, artifact: Artifact, runtime: str | None, options: Options) -> ModelCalls:
        """Load a model.

        Args:
            artifact: its file and contract.
            runtime, options: see `open_runtime`, also for the errors.

        Raises:
            SpecError: the model contradicts its contract.
            BackendError: this CPU would compute it wrongly.
        """
        opened = open_runtime(artifact.path, artifact.spec, runtime, options)
        try:
            check_cpu(artifact, opened.device)
            batch = check_model(artifact, opened)
            return cls(artifact, opened, batch, Preprocessor(artifact.spec))
        except BaseException:
            opened.close()
            raise

    def outputs(self, pixels: npt.NDArray[np.uint8], timing: Timing) -> npt.NDArray[Any]:
        """Return the model's answers, (clips, classes).

        Args:
            pixels: uint8 (clips, T, H, W, 3); of optical flow see `Clips`.
            timing: gets the time of each stage added.

        Raises:
            VideoError: the pixels have another shape or dtype.
            SpecError: the answers have another shape than the contract says.
            BackendError: the runtime failed.
        """
        clips = self._checked(pixels)
        if len(clips) < self.batch:
            tell_of_waste(self.artifact.path, self.batch)
        answers: list[npt.NDArray[Any]] = []
        for tensor in self._inputs(clips, timing):
            with timing.stage("inference"):
                output = self.runtime.run(tensor)
            check_classes(self.artifact, output.shape)
            answers.append(output)
        return np.concatenate(answers)[: len(clips)]

    def answered(
        self, pixels: npt.NDArray[np.uint8], timing: Timing
    ) -> tuple[npt.NDArray[np.float64], StreamScores]:
        """Return the scores of clips, (clips, classes), and no streams of them; see `outputs`.

        Raises:
            ModelError: the model answers NaN.
        """
        return self.scores_of(self.outputs(pixels, timing)), {}

    def beside(self, answer: Prediction, _: StreamScores) -> Prediction:
        """Return an answer as it is: there are no streams to stand beside it."""
        return answer

    def scores_of(self, outputs: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the scores of the model's outputs; see `scores_of_outputs`."""
        kind = self.artifact.spec.output.kind
        return scores_of_outputs(outputs, kind, self.artifact.path, self.runtime.name)

    def features(self, pixels: npt.NDArray[np.uint8]) -> Features:
        """Return the features of clips; see `outputs`.

        Raises:
            VideoError: the pixels have another shape or dtype.
            ModelError: the model was exported without further outputs.
            BackendError: the runtime gives answers alone, or failed.
        """
        spec = self.artifact.spec
        if spec.output.kind == "features" and spec.feature_outputs is None:
            answers = self.outputs(pixels, Timing()).astype(np.float32)
            return Features(answers, answers, None, None)
        names = (spec.output.name, *further_names(self.artifact))
        clips = self._checked(pixels)
        calls = [self.runtime.run_further(each, names) for each in self._inputs(clips, Timing())]
        return joined_features(calls, spec, len(clips))

    def _checked(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        expected = (self.artifact.spec.clip.frames, *self.preprocessor.frame_shape)
        dtype = self.preprocessor.frame_dtype
        if pixels.dtype != dtype or pixels.shape[1:] != expected or len(pixels) == 0:
            raise VideoError(
                f"clips are {pixels.dtype} {pixels.shape}; expected {dtype} (clips, "
                f"{', '.join(map(str, expected))}), as pixels() gives them"
            )
        return np.ascontiguousarray(pixels)

    def _inputs(self, clips: npt.NDArray[np.uint8], timing: Timing) -> Iterator[npt.NDArray[Any]]:
        """Yield the inputs of calls, the last of which is filled up with its last clip."""
        for first in range(0, len(clips), self.batch):
            group = clips[first : first + self.batch]
            with timing.stage("preprocess"):
                tensors = [self.preprocessor.tensor(clip) for clip in group]
                tensors += tensors[-1:] * (self.batch - len(group))
                tensor = tensors[0] if self.batch == 1 else np.concatenate(tensors)
            yield tensor
