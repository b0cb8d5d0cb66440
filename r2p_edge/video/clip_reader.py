"""Clips for a model, read from any source; needs the model's spec, not the model."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import numbers
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from r2p_edge.addresses import shortened
from r2p_edge.errors import LowFrameRateWarning, UsageError, VideoError, warn_caller
from r2p_edge.frame import Image, Planes
from r2p_edge.prediction import Timing
from r2p_edge.preprocess.flow import displacements_of
from r2p_edge.preprocess.frame_maker import FrameMaker, MadeFrame
from r2p_edge.preprocess.preprocessor import Preprocessor
from r2p_edge.spec import ClipSpec, ModelSpec, TwoStreamSpec
from r2p_edge.video.arrays import frames_from_array, is_array
from r2p_edge.video.assembly import FlowAssembly, FrameAssembly
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
            W, 2), uint8 or float32; of two streams (clips, T), records of "rgb" and "flow".
        plans: the moments that each clip shows; of two streams those of both, one after the other.
        truncated: decoding stopped before the end that the file declares.
        duration: seconds from the first frame of the whole source to the end of its last one.
        offset: seconds of the source before the part that the plans are of.
    """

    pixels: npt.NDArray[Any]
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
        self._maker = FrameMaker(spec)
        self._spec = spec

    @functools.cached_property
    def of_colours(self) -> ClipReader:
        """Reader of the frames that a model sees of a video; of two streams, of their colours."""
        return ClipReader(self._spec.rgb) if isinstance(self._spec, TwoStreamSpec) else self

    def blank(self, clips: int, level: int = 0) -> npt.NDArray[Any]:
        """Return clips as `Clips.pixels`, of which every level is the same."""
        shape = clips, self._spec.clip.frames, *self._maker.frame_shape
        return np.full(shape, level, self._maker.frame_dtype)

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
        _ = self._maker.flow  # a library that is missing is told before a video is opened
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

    def in_rgb(self, pixels: npt.NDArray[Any]) -> Image:
        """Return preprocessed pixels, which are in the model's order of channels, in RGB.

        Of two streams they are those of the stream of colours.
        """
        colours = pixels if pixels.dtype.names is None else pixels["rgb"]
        return colours if self._spec.input.color == "RGB" else colours[..., ::-1]

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
            assembly = FrameAssembly(plans[0])
            for levels in self._stored(video, assembly.moments, timing):
                assembly.add(levels)
            pixels = assembly.clips()
        else:
            pixels = self._assembled(
                plans, lambda times: self._frames(video, times, color, timing), timing
            )
        if video.times is not planned:  # a long file's holes are found where it is read
            plans = self._planned(video, clips)
        duration = duration_of(video.times, video.lost)
        return Clips(pixels, list(itertools.chain(*plans)), video.truncated, duration)

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
            kept.append(self._make(item.image, item.color or color, timing))
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
        pixels = self._assembled(plans, video.read, timing)
        return Clips(pixels, list(itertools.chain(*plans)), video.truncated, duration_of(times))

    def _plan(self, video: Source, clips: int) -> list[list[ClipPlan]]:
        """Return the plans of each stream: of frames, of the pairs of flow, or of both."""
        clip = self._spec.clip
        if self._maker.pairs and len(video.times) < 2 and not _is_stored(video):
            raise VideoError(
                f"{video.name} has one frame, and optical flow goes from a frame to the next; give "
                "a video of at least two"
            )
        whole = any(_is_clip(video, each) for each in self._looks(video))
        if clip.sampling == "time" and len(video.times) > 1 and not whole:
            step = float(np.median(np.diff(video.times)))
            if step > 1.01 * clip.tick:
                warn_caller(
                    f"{video.name} has {1 / step:.3g} frames a second but the model looks at "
                    f"{1 / clip.tick:.3g}; frames are repeated and the answer may suffer",
                    LowFrameRateWarning,
                )
        return self._planned(video, clips)

    def _looks(self, video: Source) -> list[ClipSpec]:
        """Return how each stream looks at a video: at frames, at the pictures of flow, or both."""
        clip = self._spec.clip
        if not self._maker.pairs or _is_stored(video):
            return [clip]
        return [clip, self._spec.pictures] if self._maker.has_colours else [self._spec.pictures]

    def _planned(self, video: Source, clips: int) -> list[list[ClipPlan]]:
        plans = []
        for look in self._looks(video):
            pairs = look.frames > self._spec.clip.frames
            plans.append(
                [ClipPlan(video.times, coverage=1.0)]
                if _is_clip(video, look)
                else plan_clips(look, video.times, clips, video.lost, pairs=pairs)
            )
        return plans

    def _assembled(
        self,
        plans: list[list[ClipPlan]],
        read: Callable[[Times], Iterator[MadeFrame]],
        timing: Timing,
    ) -> npt.NDArray[Any]:
        """Return the clips of these plans, for all of which a moment is read once."""
        flow = self._maker.flow
        frames = FrameAssembly(plans[0]) if self._maker.has_colours else None
        pairs = None if flow is None else FlowAssembly(plans[-1], flow, timing)
        moments = np.unique(np.concatenate([each.moments for each in (frames, pairs) if each]))
        for made, moment in zip(read(moments), moments):
            if frames and made.colours is not None and moment == frames.awaited:
                frames.add(made.colours)
            if pairs and made.grey is not None and moment == pairs.awaited:
                pairs.add(made.grey)
        if frames is None:
            assert pairs is not None
            return pairs.clips()
        if pairs is None:
            return frames.clips()
        pixels = self.blank(len(plans[0]))
        pixels["rgb"], pixels["flow"] = frames.clips(), pairs.clips()
        return pixels

    def _stored(self, video: Source, times: Times, timing: Timing) -> Iterator[Image]:
        """Give the frame of stored flow nearest to each of the moments, each made once."""
        assert self._maker.flow is not None
        assert self._spec.flow is not None
        images = video.read(times)
        shown, pixels = None, np.empty(0, np.uint8)
        for _ in times:
            with timing.stage("decode"):
                levels = np.asarray(next(images))
            if levels is not shown:
                with timing.stage("preprocess"):
                    shown = levels
                    pixels = np.empty(self._maker.frame_shape, self._maker.frame_dtype)
                    self._maker.flow.crop(displacements_of(levels, self._spec.flow), pixels)
            yield pixels

    def _frames(
        self, video: Source, times: Times, color: str, timing: Timing
    ) -> Iterator[MadeFrame]:
        """Give what is made of the frame nearest to each ascending moment, each made once."""
        images = video.read(times)
        shown, made = None, MadeFrame(None, None)
        for _ in times:
            with timing.stage("decode"):
                image = next(images)
            if image is not shown:
                shown, made = image, self._make(image, color, timing)
            yield made

    def _make(self, image: Image | Planes, color: str, timing: Timing) -> MadeFrame:
        with timing.stage("preprocess"):
            return self._maker.make(image, color)


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


def _is_clip(video: Source, look: ClipSpec) -> bool:
    """Return whether frames in memory are the clip itself: as many as it has, without times."""
    return isinstance(video, ArraySource) and video.untimed and len(video.times) == look.frames
