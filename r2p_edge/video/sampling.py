"""Sampling: the moments of a video that make its clips, by time or by index, in any order.

A plan is made of moments in seconds after the first frame, never of pixels: the source then gives
the frame nearest to each moment. Read by time, a video is treated as if it ran at the training
rate: its k-th virtual frame is the one nearest to k / fps. A file at that rate therefore gives
exactly the frames that counting gives, and any other rate gives the same motion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from r2p_edge.spec import ClipSpec

Times = npt.NDArray[np.float64]
"""Moments in seconds, (n,)."""

_NONE = np.empty(0)


class ShorterThanDeclaredError(Exception):
    """A file turned out other than it declares; its `times` have been corrected: plan again."""


@dataclass(frozen=True)
class ClipPlan:
    """The moments of one clip.

    Attributes:
        times: float64 (T,), seconds after the first frame, in the order the model wants them.
        coverage: share of the T frames that are real. A video shorter than the clip repeats its
            last frame, one with a hole the frames around it, and damaged frames are replaced by
            their neighbours. Of optical flow it is the share of the pairs whose two pictures are
            real; there are T + 1 moments then.
    """

    times: Times
    coverage: float


def plan_clips(
    spec: ClipSpec,
    frame_times: Times,
    clips: int,
    lost: Times = _NONE,
    *,
    pairs: bool = False,
) -> list[ClipPlan]:
    """Plan the clips of a video.

    Args:
        spec: the model's sampling.
        frame_times: float64 (n,), ascending presentation times of the video's frames, in
            seconds, from 0 on. Sampling by time plans by the last one only.
        clips: 1 is the centre clip; more are spread uniformly, the first at the start and the
            last at the end, as in VMZ's clip_per_video (caffe2/video/video_io.cc): clip i of k
            starts at floor(i * (n - L) / (k - 1)) for n frames and a clip that spans L.
        lost: float64 (m,), ascending times of frames that cannot be used.
        pairs: each two neighbours of a clip's frames are one of flow, which is what is counted.
    """
    if spec.sampling == "time":
        length = _length(max([frame_times[-1], *lost[-1:]]) * spec.fps)
    else:
        length = float(len(frame_times))
    count = int(length)
    offsets, real = _offsets(spec, count)
    latest = max(length - window_length(spec), 0.0)
    starts = [int(latest / 2)]
    if clips > 1:
        starts = [int(i * latest / (clips - 1)) for i in range(clips)]
    plans = []
    for start in starts:
        numbers = np.minimum(start + offsets, count - 1)
        if spec.order == "lexicographic":
            numbers = np.array(sorted(range(count), key=str))[numbers]
        times = numbers / spec.fps if spec.sampling == "time" else frame_times[numbers]
        found = np.arange(spec.frames) < real
        found &= _found(spec, frame_times, lost, times, found)
        if pairs:
            found = found[:-1] & found[1:]
        plans.append(ClipPlan(times, int(np.count_nonzero(found)) / len(found)))
    return plans


def _found(
    spec: ClipSpec,
    frame_times: Times,
    lost: Times,
    times: Times,
    wanted: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:
    """Return which of a clip's moments have a frame of their own, if they are wanted at all.

    Not those whose frame is lost. In a hole that a stream would call a gap, each frame that there
    is counts once.
    """
    if not len(lost) and not np.any(np.diff(frame_times) > spec.gap):
        return np.ones(len(times), np.bool_)
    every = np.union1d(frame_times, lost)
    found = ~np.isin(every[nearest(every, times)], lost)
    after = np.searchsorted(every, times - TIE).clip(1, max(len(every) - 1, 1))
    before = np.maximum(after - 1, 0)
    hole = every[np.minimum(after, len(every) - 1)] - every[before] > spec.gap + TIE
    hole &= times < every[-1] - TIE
    shown = nearest(frame_times, times)
    seen = set(shown[wanted & found & ~hole].tolist())
    for number in np.flatnonzero(wanted & found & hole):
        found[number] = shown[number] not in seen
        seen.add(shown[number])
    return found


def window_length(spec: ClipSpec) -> int:
    """Return how many frames of the training video a clip spans, both ends included."""
    if spec.offsets == "linspace":
        return spec.frames * spec.interval
    return (spec.frames - 1) * spec.interval + 1


def _offsets(spec: ClipSpec, count: int) -> tuple[npt.NDArray[np.int64], int]:
    """Return the frame numbers of a clip from its start on, and how many of them are real."""
    if spec.offsets == "linspace":
        window = min(spec.frames * spec.interval, count)
        picked = max(window // spec.interval, 1)
        offsets = np.minimum(np.linspace(0, window, picked).astype(np.int64), window - 1)
        padding = np.full(spec.frames - picked, window - 1)
        return np.concatenate([offsets, padding]), picked
    offsets = np.arange(spec.frames) * spec.interval
    return offsets, int(np.count_nonzero(offsets < count))


def nearest(frame_times: Times, times: Times) -> npt.NDArray[np.int64]:
    """Return the index of the frame nearest to each time; of two equally near ones the earlier.

    "Equally near" allows for the microsecond that a container's time base rounds by.
    """
    after = np.searchsorted(frame_times, times).clip(1, max(len(frame_times) - 1, 1))
    before = after - 1
    if len(frame_times) == 1:
        return np.zeros(len(times), np.int64)
    later = frame_times[after] - times < times - frame_times[before] - TIE
    return np.where(later, after, before)


TIE = 1e-6
"""Seconds by which a later frame must be nearer than an earlier one to be taken instead."""

SLACK = 0.05
"""Training frames by which a time may be off; a time base that rounds to a millisecond is off by
0.0125 of them at 25 fps."""


def duration_of(frame_times: Times, lost: Times = _NONE) -> float:
    """Return the seconds from the first frame of a video to the end of its last one.

    The last frame is taken to be shown as long as the others are, by their median.

    Args:
        frame_times, lost: see `plan_clips`.
    """
    step = float(np.median(np.diff(frame_times))) if len(frame_times) > 1 else 0.0
    return float(max([frame_times[-1], *lost[-1:]])) + step


def _length(last: float) -> float:
    """Return the length of a video in training frames, given where its last frame lies.

    It need not be whole: a 60 fps file ends between two frames of a 25 fps one, and its clips
    should still start where those of the slower file do. A length near a whole one is rounded.
    """
    whole = math.floor(last + 0.5)
    return (whole if abs(last - whole) < SLACK else last) + 1.0
