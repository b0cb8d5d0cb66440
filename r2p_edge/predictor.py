"""`Predictor`: a model file goes in, answers on videos come out."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from r2p_edge.artifact import open_artifact
from r2p_edge.errors import LowFrameRateWarning, ModelError, SpecError, UsageError, VideoError
from r2p_edge.preprocess import Preprocessor
from r2p_edge.runtimes import open_runtime
from r2p_edge.sampling import ClipPlan, plan_clips
from r2p_edge.spec import ModelSpec
from r2p_edge.video import (
    ArraySource,
    ShorterThanDeclaredError,
    Source,
    frames_from_array,
    open_source,
)


@dataclass
class Timing:
    """Milliseconds that each stage took; `total` includes what lies between them."""

    decode: float = 0.0
    preprocess: float = 0.0
    inference: float = 0.0
    total: float = 0.0

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            elapsed = (time.perf_counter() - started) * 1e3
            setattr(self, name, getattr(self, name) + elapsed)


@dataclass(frozen=True)
class Prediction:
    """The answer on one video.

    Attributes:
        labels: name of each class.
        scores: float32 (classes,), probabilities, averaged over the clips.
        clips: how many clips were looked at.
        span: seconds after the first frame of the first and the last frame looked at.
        coverage: share of the clips' frames that are real; the rest repeats the last frame of a
            video that is shorter than a clip.
        truncated: decoding stopped before the end that the file declares.
        runtime, device: what it ran on.
        timing: milliseconds of each stage.
    """

    labels: tuple[str, ...]
    scores: npt.NDArray[np.float32]
    clips: int
    span: tuple[float, float]
    coverage: float
    truncated: bool
    runtime: str
    device: str
    timing: Timing

    @property
    def label(self) -> str:
        """Name of the most probable class."""
        return self.labels[int(self.scores.argmax())]

    @property
    def score(self) -> float:
        """Its probability."""
        return float(self.scores.max())

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The k most probable classes and their probabilities, best first."""
        best = np.argsort(-self.scores, kind="stable")[:k]
        return [(self.labels[i], float(self.scores[i])) for i in best]

    def to_dict(self, top: int = 5) -> dict[str, Any]:
        """Plain JSON types, times rounded to microseconds."""
        return {
            "label": self.label,
            "score": self.score,
            "top": [{"label": label, "score": score} for label, score in self.top(top)],
            "clips": self.clips,
            "coverage": self.coverage,
            "truncated": self.truncated,
            "runtime": self.runtime,
            "device": self.device,
            "timing_ms": {name: round(value, 3) for name, value in asdict(self.timing).items()},
        }

    def __repr__(self) -> str:
        return f"Prediction(label={self.label!r}, score={self.score:.3f}, clips={self.clips})"


class Predictor:
    """A model, ready to answer. Safe to call from several threads.

    Args:
        path: the model file; `.onnx` today.
        runtime: which library runs it; by default the first that takes such a file.
        device: of the runtime, "cpu" by default. What cannot be had is an error, not a fallback.
        threads: for the runtime; by default one per core that this process may use.
        spec: the contract of a model that carries none: a `ModelSpec` or its JSON file.

    Raises:
        ModelNotFoundError: there is no such file.
        ModelError: the file cannot be used, or its bytes are not those that were exported.
        SpecError: it carries no spec, or its spec contradicts the model.
        UsageError: an argument is wrong in itself.
        BackendError: the runtime or the device is not to be had.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        runtime: str | None = None,
        device: str | None = None,
        threads: int | None = None,
        spec: ModelSpec | str | Path | None = None,
    ) -> None:
        self.artifact = open_artifact(path, spec)
        self.spec = self.artifact.spec
        self._preprocessor = Preprocessor(self.spec)
        self._runtime = open_runtime(
            self.artifact.path, self.spec, runtime=runtime, device=device, threads=threads
        )
        try:
            self._batch = self._check_model()
        except BaseException:
            self.close()
            raise

    @property
    def runtime(self) -> str:
        """Name of the library that runs the model."""
        return self._runtime.name

    @property
    def device(self) -> str:
        """What the model runs on."""
        return self._runtime.device

    def _check_model(self) -> int:
        """Holds the loaded model against its spec; returns its batch size."""
        loaded, spec, path = self._runtime, self.spec, self.artifact.path
        batch, expected = loaded.input_shape[0], spec.input_shape
        fits = len(loaded.input_shape) == len(expected) and all(
            found in (-1, size) for found, size in zip(loaded.input_shape[1:], expected[1:])
        )
        if not fits or loaded.input_dtype != spec.input.dtype:
            raise SpecError(
                f"{path} takes {loaded.input_dtype} {loaded.input_shape} but its spec says "
                f"{spec.input.dtype} {expected}; correct clip, crop and input in the spec"
            )
        self._check_classes(loaded.output_shape)
        return max(batch, 1)

    def _check_classes(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 2 or shape[1] not in (-1, len(self.spec.labels)):
            raise SpecError(
                f"{self.artifact.path} gives an output of shape {shape} but its spec has "
                f"{len(self.spec.labels)} labels; expected (N, {len(self.spec.labels)})"
            )

    def predict(
        self,
        source: Any,
        *,
        clips: int = 1,
        fps: float | None = None,
        color: Literal["RGB", "BGR"] = "RGB",
    ) -> Prediction:
        """The classes of a video and their probabilities.

        Args:
            source: path or URL of a video file, folder of images, uint8 array (T, H, W, 3), or
                iterable of uint8 frames (H, W, 3), which is consumed once. An array or iterable
                of exactly as many frames as the model takes is the clip itself; any other
                length is a video.
            clips: 1 looks at the centre clip; more are spread uniformly from the first to the
                last and their probabilities averaged.
            fps: frames per second of an array, iterable or folder; by default the rate of the
                training videos. A file knows its own.
            color: channel order of an array or iterable; a file has none.

        Raises:
            VideoNotFoundError: there is no such file or folder.
            VideoError: it holds no frames that can be used.
            UsageError: an argument is wrong in itself.
            ModelError: the model answers NaN.
            BackendError: the runtime failed.
        """
        timing = Timing()
        with timing.stage("total"):
            self._check_arguments(source, clips, fps, color)
            rate = fps or self.spec.clip.fps
            if _is_path(source) or hasattr(source, "__array__"):
                probabilities, plans, video = self._predict_source(
                    source, clips, rate, color, timing
                )
            elif isinstance(source, Iterable):
                frames = self._preprocess_all(source, color, timing)
                video = ArraySource(frames, rate)
                plans = self._plan(video, clips)
                probabilities = self._infer(_gather(video.read, plans), timing)
            else:
                raise VideoError(
                    f"a {type(source).__name__} is no video; give a path, an array or frames"
                )
        times = np.concatenate([plan.times for plan in plans])
        return Prediction(
            labels=self.spec.labels,
            scores=probabilities.mean(axis=0).astype(np.float32),
            clips=len(plans),
            span=(float(times.min()), float(times.max())),
            coverage=sum(plan.coverage for plan in plans) / len(plans),
            truncated=video.truncated,
            runtime=self.runtime,
            device=self.device,
            timing=timing,
        )

    def _check_arguments(self, source: Any, clips: int, fps: float | None, color: str) -> None:
        if color not in ("RGB", "BGR"):
            raise UsageError(f"color is {color!r}; it must be 'RGB' or 'BGR'")
        if clips < 1:
            raise UsageError(f"clips is {clips}; it must be 1 or more")
        if fps is not None and not 0 < fps < float("inf"):
            raise UsageError(f"fps is {fps}; it must be a positive number")
        if _is_path(source) and color != "RGB":
            raise UsageError(
                "color describes arrays and frames; a file is converted correctly as it is"
            )
        if _is_path(source) and fps is not None and not Path(source).is_dir():
            raise UsageError("fps describes arrays, frames and folders; a file knows its own rate")

    def _predict_source(
        self, source: Any, clips: int, fps: float, color: str, timing: Timing
    ) -> tuple[npt.NDArray[np.float64], list[ClipPlan], Source]:
        with timing.stage("decode"):
            exact = self.spec.clip.order == "lexicographic"
            video = open_source(source, fps, exact=exact)
        with contextlib.closing(video):
            # A file that ends before its container says has then been counted: plan it again.
            for _ in range(2):
                plans = self._plan(video, clips)
                with contextlib.suppress(ShorterThanDeclaredError):
                    frames = _gather(lambda times: self._read(video, times, color, timing), plans)
                    return self._infer(frames, timing), plans, video
        raise VideoError(f"{video.name} decodes differently every time; convert the file")

    def _plan(self, video: Source, clips: int) -> list[ClipPlan]:
        clip = self.spec.clip
        if isinstance(video, ArraySource) and len(video.times) == clip.frames:
            return [ClipPlan(video.times, coverage=1.0)]
        if clip.sampling == "time" and len(video.times) > 1:
            step = float(np.median(np.diff(video.times)))
            if step > 1.01 * clip.tick:
                warnings.warn(
                    f"{video.name} has {1 / step:.3g} frames a second but the model looks at "
                    f"{1 / clip.tick:.3g}; frames are repeated and the answer may suffer",
                    LowFrameRateWarning,
                    stacklevel=4,
                )
        return plan_clips(clip, video.times, clips)

    def _read(
        self, video: Source, times: npt.NDArray[np.float64], color: str, timing: Timing
    ) -> Iterator[npt.NDArray[np.uint8]]:
        """Preprocessed frames nearest to the ascending moments, each made once."""
        images = video.read(times)
        shown, pixels = None, np.empty(0, np.uint8)
        for _ in times:
            with timing.stage("decode"):
                image = next(images)
            if image is not shown:
                with timing.stage("preprocess"):
                    pixels = np.empty(self._preprocessor.frame_shape, np.uint8)
                    self._preprocessor.frame(image, pixels, color)
                shown = image
            yield pixels

    def _preprocess_all(
        self, frames: Iterable[Any], color: str, timing: Timing
    ) -> npt.NDArray[np.uint8]:
        """An iterable's frames, preprocessed one by one, so that only these are kept."""
        kept = []
        images = iter(frames)
        while True:
            with timing.stage("decode"):
                image = next(images, None)
            if image is None:
                break
            (image,) = frames_from_array(np.asarray(image)[np.newaxis])
            with timing.stage("preprocess"):
                pixels = np.empty(self._preprocessor.frame_shape, np.uint8)
                self._preprocessor.frame(image, pixels, color)
            kept.append(pixels)
        if not kept:
            raise VideoError("the iterable gave no frame; expected uint8 arrays (H, W, 3)")
        return np.stack(kept)

    def _infer(
        self, clips: Iterator[npt.NDArray[np.uint8]], timing: Timing
    ) -> npt.NDArray[np.float64]:
        """Probabilities of each clip, float64 (clips, classes)."""
        answers: list[npt.NDArray[np.float64]] = []
        while group := list(itertools.islice(clips, self._batch)):
            with timing.stage("preprocess"):
                tensors = [self._preprocessor.tensor(clip) for clip in group]
                # A model of a fixed batch gets its last clips repeated; those answers are dropped.
                tensors += tensors[-1:] * (self._batch - len(group))
                batch = tensors[0] if self._batch == 1 else np.concatenate(tensors)
            with timing.stage("inference"):
                output = self._runtime.run(batch)
            self._check_classes(output.shape)
            answers.append(self._probabilities(output[: len(group)]))
        return np.concatenate(answers)

    def _probabilities(self, output: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        scores = np.asarray(output, np.float64)
        if not np.isfinite(scores).all():
            raise ModelError(
                f"{self.artifact.path} answers {scores[~np.isfinite(scores)][0]} on "
                f"{self.runtime}; its weights are damaged or its precision is too low, so export "
                "it again"
            )
        if self.spec.output.kind == "probabilities":
            return scores
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def warmup(self) -> None:
        """Runs the model once on a grey clip; the first real answer is then as fast as the next."""
        self.predict(
            np.full((self.spec.clip.frames, *self._preprocessor.frame_shape), 128, np.uint8)
        )

    def close(self) -> None:
        """Frees the model. Calling it twice is allowed."""
        self._runtime.close()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _gather(
    read: Callable[[npt.NDArray[np.float64]], Iterator[npt.NDArray[np.uint8]]],
    plans: list[ClipPlan],
) -> Iterator[npt.NDArray[np.uint8]]:
    """Clips of preprocessed frames, uint8 (T, H, W, 3), each as soon as its last frame is read.

    Frames are read once, in ascending order, and kept until the last clip that wants them.
    """
    moments = np.unique(np.concatenate([plan.times for plan in plans]))
    last_use = {moment: number for number, plan in enumerate(plans) for moment in plan.times}
    frames = zip(moments, read(moments))
    held: dict[float, npt.NDArray[np.uint8]] = {}
    for number, plan in enumerate(plans):
        while plan.times.max() not in held:
            moment, pixels = next(frames)
            held[moment] = pixels
        yield np.stack([held[moment] for moment in plan.times])
        held = {moment: held[moment] for moment in held if last_use[moment] > number}


def _is_path(source: Any) -> bool:
    return isinstance(source, (str, os.PathLike))
