"""Clips for a model, read from any source; needs the model's spec, not the model."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import numbers
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from r2p_edge.addresses import shortened
from r2p_edge.errors import LowFrameRateWarning, UsageError, VideoError, warn_caller
from r2p_edge.frame import Image, Planes
from r2p_edge.prediction import Timing
from r2p_edge.preprocess.flow import FlowPreprocessor, displacements_of
from r2p_edge.preprocess.preprocessor import Preprocessor
from r2p_edge.spec import ModelSpec
from r2p_edge.video.arrays import frames_from_array, is_array
from r2p_edge.video.content import is_content
from r2p_edge.video.excerpt import Excerpt
from r2p_edge.video.flow_folder import FlowFolder, open_flow
from r2p_edge.video.frame_objects import (
    Item,
    broke_off,
    is_capture,
    items_of,
    items_of_capture,
    rate_of_capture,
    times_of_stamps,
    what_to_give,
)
from r2p_edge.video.sampling import (
    ClipPlan,
    ShorterThanDeclaredError,
    Times,
    duration_of,
    plan_clips,
)
from r2p_edge.video.source import ArraySource, Source, is_file, is_path, open_source

if TYPE_CHECKING:
    from r2p_edge.video.file import Count


@dataclass(frozen=True)
class Clips:
    """The clips of one source, preprocessed.

    Attributes:
        pixels: uint8 (clips, T, H, W, 3), before any normalisation; of optical flow (clips, T, H,
            W, 2), uint8 or float32.
        plans: the moments that each clip shows.
        truncated: decoding stopped before the end that the file declares.
        duration: seconds from the first frame of the whole source to the end of its last one.
        offset: seconds of the source before the part that the plans are of.
    """

    pixels: Image
    plans: list[ClipPlan]
    truncated: bool
    duration: float
    offset: float = 0.0

    @property
    def span(self) -> tuple[float, float]:
        """Seconds after the first frame of the source, of the first and the last frame shown."""
        times = np.concatenate([plan.times for plan in self.plans])
        return float(times.min()), float(times.max())

    @property
    def coverage(self) -> float:
        """Share of the clips' frames that are real; see `ClipPlan`."""
        return sum(plan.coverage for plan in self.plans) / len(self.plans)


class ClipReader:
    """Reads sources as a spec says. Safe to share between threads."""

    def __init__(self, spec: ModelSpec) -> None:
        self.preprocessor = Preprocessor(spec)
        self._spec = spec

    @functools.cached_property
    def _flow(self) -> FlowPreprocessor | None:
        """Maker of flow from pictures; looked for when the first video is read."""
        return None if self._spec.flow is None else FlowPreprocessor(self._spec)

    def read(
        self,
        source: Any,
        *,
        clips: int = 1,
        fps: float | None = None,
        color: str = "RGB",
        part: tuple[float, float] | None = None,
        timing: Timing | None = None,
    ) -> Clips:
        """Read and preprocess the clips of a source.

        Args:
            source, clips, fps, color: as of `Predictor.predict`, and so are the errors.
            part: seconds of a file or folder from which and before which frames are taken; by
                default all of them are.
            timing: gets the time of decoding and preprocessing added, and their total.
        """
        self._check_arguments(source, clips, fps, color)
        _ = self._flow  # a library that is missing is told before a video is opened
        timing = Timing() if timing is None else timing
        with timing.stage("total"):
            if is_path(source) or is_content(source) or is_array(source):
                with timing.stage("decode"):
                    video = self._open(source, fps)
                with contextlib.closing(video):
                    shown = video if part is None else Excerpt(video, *part)
                    try:
                        found = self._read_video(shown, clips, color, timing)
                    except ShorterThanDeclaredError:  # now its frames have been counted
                        found = self._read_video(shown, clips, color, timing)
                    if isinstance(shown, Excerpt):
                        duration = duration_of(video.times, video.lost)
                        found = dataclasses.replace(found, duration=duration, offset=shown.offset)
                return found
            if is_capture(source):
                rate, items = rate_of_capture(source), items_of_capture(source)
                found = self._read_items(items, clips, fps, color, timing, rate)
                return dataclasses.replace(found, truncated=broke_off(source))
            if isinstance(source, Iterable):
                return self._read_items(items_of(source), clips, fps, color, timing)
        raise VideoError(f"{shortened(source)} is not a video; {what_to_give(source)}")

    def in_rgb(self, pixels: Image) -> Image:
        """Return preprocessed pixels, which are in the model's order of channels, in RGB."""
        return pixels if self._spec.input.color == "RGB" else pixels[..., ::-1]

    def _open(self, source: Any, fps: float | None) -> Source:
        rate = fps or self._spec.clip.fps
        if is_array(source):
            frames = frames_from_array(source)
            return ArraySource(frames, np.arange(len(frames)) / rate, untimed=fps is None)
        if self._spec.flow is not None and (stored := open_flow(source, rate, self._spec)):
            return stored
        return open_source(source, rate, count=self._count, planes=True)

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
        if color != "RGB" and (is_path(source) or is_content(source)):
            raise UsageError(
                "color describes arrays and frames; a file is converted correctly as it is"
            )
        check_rate(source, fps)

    def _read_video(self, video: Source, clips: int, color: str, timing: Timing) -> Clips:
        plans, planned = self._plan(video, clips), video.times
        if _is_stored(video):
            pixels = _arrange(plans, lambda times: self._stored(video, times, timing))
        else:
            pixels = self._arranged(
                plans, lambda times: self._frames(video, times, color, timing), timing
            )
        if video.times is not planned:  # a long file's holes are found where it is read
            plans = self._planned(video, clips)
        return Clips(pixels, plans, video.truncated, duration_of(video.times, video.lost))

    def _read_items(
        self,
        items: Iterator[Item],
        clips: int,
        fps: float | None,
        color: str,
        timing: Timing,
        declared: float | None = None,
    ) -> Clips:
        """Preprocess frames one by one, so that only the results are kept.

        Args:
            items, clips, fps, color, timing: see `read`.
            declared: rate to go by where the frames' own times are no times.
        """
        kept, stamps = [], []
        while True:
            with timing.stage("decode"):
                item = next(items, None)
            if item is None:
                break
            if color == "BGR" and item.color == "RGB":
                raise UsageError(
                    "color describes arrays; images of PIL and frames of PyAV are converted "
                    "correctly as they are"
                )
            kept.append(self._preprocess(item.image, item.color or color, timing))
            stamps.append(item.time)
        if not kept:
            raise VideoError(
                "the source gave no frame; expected frames, which a generator or a capture that "
                "was read before no longer has"
            )
        times = times_of_stamps(stamps, fps, declared)
        untimed = times is None
        if times is None:
            times = np.arange(len(kept)) / self._spec.clip.fps
        video = ArraySource(kept, times, "the iterable", untimed=untimed)
        plans = self._plan(video, clips)
        pixels = self._arranged(plans, video.read, timing)
        return Clips(pixels, plans, video.truncated, duration_of(times))

    def _plan(self, video: Source, clips: int) -> list[ClipPlan]:
        clip = self._spec.clip
        untimed = isinstance(video, ArraySource) and video.untimed
        if self._flow is not None and len(video.times) < 2 and not _is_stored(video):
            raise VideoError(
                f"{video.name} has one frame, and optical flow goes from a frame to the next; give "
                "a video of at least two"
            )
        if untimed and len(video.times) == self._spec.pictures.frames:
            return [ClipPlan(video.times, coverage=1.0)]
        if clip.sampling == "time" and len(video.times) > 1:
            step = float(np.median(np.diff(video.times)))
            if step > 1.01 * clip.tick:
                warn_caller(
                    f"{video.name} has {1 / step:.3g} frames a second but the model looks at "
                    f"{1 / clip.tick:.3g}; frames are repeated and the answer may suffer",
                    LowFrameRateWarning,
                )
        return self._planned(video, clips)

    def _planned(self, video: Source, clips: int) -> list[ClipPlan]:
        if self._flow is None or _is_stored(video):
            return plan_clips(self._spec.clip, video.times, clips, video.lost)
        return plan_clips(self._spec.pictures, video.times, clips, video.lost, pairs=True)

    def _arranged(
        self, plans: list[ClipPlan], read: Callable[[Times], Iterator[Image]], timing: Timing
    ) -> Image:
        """Return the clips of these plans from preprocessed frames, or from pictures of flow."""
        if self._flow is None:
            return _arrange(plans, read)
        times = np.stack([plan.times for plan in plans])
        moments, places = np.unique(times, return_inverse=True)
        places = places.reshape(times.shape)
        pairs = np.stack([places[:, :-1].ravel(), places[:, 1:].ravel()], axis=1)
        wanted, at = np.unique(pairs[:, ::-1], axis=0, return_inverse=True)
        shape, dtype = self.preprocessor.frame_shape, self.preprocessor.frame_dtype
        found = np.empty((len(wanted), *shape), dtype)
        # Sorted by their second pictures: a first one is kept until its last pair has been made.
        last = dict(zip(wanted[:, 1].tolist(), wanted[:, 0].tolist()))
        kept: dict[int, Image] = {}
        number = 0
        for moment, picture in enumerate(read(moments)):
            kept[moment] = picture
            while number < len(wanted) and wanted[number, 0] == moment:
                with timing.stage("preprocess"):
                    self._flow.frame(kept[int(wanted[number, 1])], picture, found[number])
                number += 1
            kept = {each: grey for each, grey in kept.items() if last.get(each, -1) > moment}
        return found[at.ravel()].reshape(len(plans), self._spec.clip.frames, *shape)

    def _stored(self, video: Source, times: Times, timing: Timing) -> Iterator[Image]:
        """Give the frame of stored flow nearest to each of the moments, each made once."""
        assert self._flow is not None
        assert self._spec.flow is not None
        images = video.read(times)
        shown, pixels = None, np.empty(0, np.uint8)
        for _ in times:
            with timing.stage("decode"):
                levels = np.asarray(next(images))
            if levels is not shown:
                with timing.stage("preprocess"):
                    shown = levels
                    pixels = np.empty(self.preprocessor.frame_shape, self.preprocessor.frame_dtype)
                    self._flow.crop(displacements_of(levels, self._spec.flow), pixels)
            yield pixels

    def _frames(self, video: Source, times: Times, color: str, timing: Timing) -> Iterator[Image]:
        """Give the preprocessed frame nearest to each of the ascending moments, each made once.

        Of optical flow it is the picture.
        """
        images = video.read(times)
        shown, pixels = None, np.empty(0, np.uint8)
        for _ in times:
            with timing.stage("decode"):
                image = next(images)
            if image is not shown:
                shown, pixels = image, self._preprocess(image, color, timing)
            yield pixels

    def _preprocess(self, image: Image | Planes, color: str, timing: Timing) -> Image:
        with timing.stage("preprocess"):
            if self._flow is not None:
                return self._flow.picture(image, color)
            pixels = np.empty(self.preprocessor.frame_shape, np.uint8)
            self.preprocessor.frame(image, pixels, color)
        return pixels


def check_rate(source: Any, fps: Any) -> None:
    """Check the rate that is given with a source.

    Raises:
        UsageError: it is no possible rate, or the source is a file, which has its own.
    """
    if fps is not None and not (isinstance(fps, numbers.Real) and 1e-3 <= float(fps) <= 1e6):
        raise UsageError(f"fps is {fps!r}; it must be a number from 0.001 to 1000000")
    if fps is not None and is_file(source):
        raise UsageError("fps describes arrays, frames and folders; a file knows its own rate")


def _is_stored(video: Source) -> bool:
    """Return whether a source, or the one that it is a part of, has flow in place of frames."""
    return isinstance(video.whole if isinstance(video, Excerpt) else video, FlowFolder)


def _arrange(plans: list[ClipPlan], read: Callable[[Times], Iterator[Image]]) -> Image:
    """Return the clips of these plans, each of whose moments is read once, in ascending order."""
    times = np.stack([plan.times for plan in plans])
    moments, places = np.unique(times, return_inverse=True)
    frames = list(read(moments))
    clips = np.stack([frames[place] for place in places.ravel()])
    return clips.reshape(*times.shape, *clips.shape[1:])
