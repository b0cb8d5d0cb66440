"""From a source to the clips that a model is shown: needs the model's spec, not the model."""

from __future__ import annotations

import contextlib
import numbers
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import LowFrameRateWarning, UsageError, VideoError
from r2p_edge.frame import Image, Planes
from r2p_edge.prediction import Timing
from r2p_edge.preprocess.preprocessor import Preprocessor
from r2p_edge.spec.model_spec import ModelSpec
from r2p_edge.video.file import Count, ShorterThanDeclaredError
from r2p_edge.video.sampling import ClipPlan, plan_clips
from r2p_edge.video.source import ArraySource, Source, frame_from_item, open_source


class ClipReader:
    """Reads sources as a spec says. Safe to share between threads."""

    def __init__(self, spec: ModelSpec) -> None:
        self.preprocessor = Preprocessor(spec)
        self._spec = spec

    def pixels(
        self,
        source: Any,
        *,
        clips: int = 1,
        fps: float | None = None,
        color: str = "RGB",
        timing: Timing | None = None,
    ) -> npt.NDArray[np.uint8]:
        """The clips of a source, uint8 (clips, T, H, W, 3), before any normalisation.

        Args:
            source, clips, fps, color: see `Predictor.predict`, as for the errors.
            timing: what decoding and preprocessing take is added here.
        """
        timing = Timing() if timing is None else timing
        return self.use(source, clips, fps, color, timing, lambda each: np.stack(list(each)))[0]

    def use(
        self,
        source: Any,
        clips: int,
        fps: float | None,
        color: str,
        timing: Timing,
        consume: Callable[[Iterator[npt.NDArray[np.uint8]]], npt.NDArray[Any]],
    ) -> tuple[npt.NDArray[Any], list[ClipPlan], Source]:
        """What `consume` makes of the source's clips, and which frames of what they are."""
        self._check_arguments(source, clips, fps, color)
        rate = fps or self._spec.clip.fps
        if _is_path(source) or hasattr(source, "__array__"):
            return self._use_video(source, clips, rate, color, timing, consume)
        if isinstance(source, Iterable):
            frames = self._preprocess_all(source, color, timing)
            video = ArraySource(frames, rate, "the iterable")
            plans = self._plan(video, clips)
            return consume(_gather(video.read, plans)), plans, video
        raise VideoError(f"{source!r:.80} is no video; give a path, an array or frames")

    @property
    def _count(self) -> Count:
        """How sure a file's number of frames must be: text order shuffles all of them."""
        if self._spec.clip.order == "lexicographic":
            return "frames"
        return "packets" if self._spec.clip.sampling == "index" else "trust"

    def _check_arguments(self, source: Any, clips: Any, fps: Any, color: Any) -> None:
        if color not in ("RGB", "BGR"):
            raise UsageError(f"color is {color!r}; it must be 'RGB' or 'BGR'")
        if not isinstance(clips, numbers.Integral) or clips < 1:
            raise UsageError(f"clips is {clips!r}; it must be a whole number from 1 on")
        if fps is not None and not (isinstance(fps, numbers.Real) and 1e-3 <= float(fps) <= 1e6):
            raise UsageError(f"fps is {fps!r}; it must be a number from 0.001 to 1000000")
        if _is_path(source) and color != "RGB":
            raise UsageError(
                "color describes arrays and frames; a file is converted correctly as it is"
            )
        if _is_path(source) and fps is not None and not Path(source).is_dir():
            raise UsageError("fps describes arrays, frames and folders; a file knows its own rate")

    def _use_video(
        self,
        source: Any,
        clips: int,
        fps: float,
        color: str,
        timing: Timing,
        consume: Callable[[Iterator[npt.NDArray[np.uint8]]], npt.NDArray[Any]],
    ) -> tuple[npt.NDArray[Any], list[ClipPlan], Source]:
        with timing.stage("decode"):
            video = open_source(source, fps, count=self._count, planes=True)
        with contextlib.closing(video):
            # A file that ends before its container says has then been counted: plan it again.
            for _ in range(2):
                plans = self._plan(video, clips)
                with contextlib.suppress(ShorterThanDeclaredError):
                    frames = _gather(lambda times: self._read(video, times, color, timing), plans)
                    return consume(frames), plans, video
        raise VideoError(f"{video.name} decodes differently every time; convert the file")

    def _plan(self, video: Source, clips: int) -> list[ClipPlan]:
        clip = self._spec.clip
        if isinstance(video, ArraySource) and len(video.times) == clip.frames:
            return [ClipPlan(video.times, coverage=1.0)]
        if clip.sampling == "time" and len(video.times) > 1:
            step = float(np.median(np.diff(video.times)))
            if step > 1.01 * clip.tick:
                warnings.warn(
                    f"{video.name} has {1 / step:.3g} frames a second but the model looks at "
                    f"{1 / clip.tick:.3g}; frames are repeated and the answer may suffer",
                    LowFrameRateWarning,
                    stacklevel=5,
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
                shown, pixels = image, self._pixels(image, color, timing)
            yield pixels

    def _preprocess_all(
        self, frames: Iterable[Any], color: str, timing: Timing
    ) -> npt.NDArray[np.uint8]:
        """An iterable's frames, preprocessed one by one, so that only these are kept."""
        kept = []
        images = iter(frames)
        while True:
            with timing.stage("decode"):
                image = next(images, _END)
            if image is _END:
                break
            kept.append(self._pixels(frame_from_item(image), color, timing))
        if not kept:
            raise VideoError("the iterable gave no frame; expected uint8 arrays (H, W, 3)")
        return np.stack(kept)

    def _pixels(self, image: Image | Planes, color: str, timing: Timing) -> npt.NDArray[np.uint8]:
        with timing.stage("preprocess"):
            pixels = np.empty(self.preprocessor.frame_shape, np.uint8)
            self.preprocessor.frame(image, pixels, color)
        return pixels


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


_END = object()  # of an iterable; None is a frame, and a wrong one


def _is_path(source: Any) -> bool:
    return isinstance(source, (str, os.PathLike))
