"""Streams of frames, one per tick, on which a form with state is compared with the clip model."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from r2p_edge.calibration import motion
from r2p_edge.errors import VideoError
from r2p_edge.preprocess.preprocessor import Preprocessor
from r2p_edge.spec import ModelSpec
from r2p_edge.video.source import open_source

_log = logging.getLogger(__name__)

LASTING = (
    "rotate clockwise",
    "rotate counter-clockwise",
    "shake",
    "nod",
    "blink",
    "still",
)
"""Motions of the bundled model's classes that can go on for any time."""

_LONGEST = 256  # ticks of one recording, so that a long one does not outweigh the others


@dataclass(frozen=True)
class TickStream:
    """Frames that a camera gives without a reset.

    Attributes:
        frames: uint8 (H, W, 3) each, as the model takes them.
        ends: ticks, counted from 0, of the last frames of the windows to compare.
    """

    frames: Iterable[npt.NDArray[np.uint8]]
    ends: frozenset[int]


def scenes_with_cuts(
    spec: ModelSpec,
    split: str,
    count: int,
    *,
    ticks: int = 20,
    tail: int = 48,
    first: int = 0,
    every: bool = False,
) -> TickStream:
    """Return scenes of the bundled generator back to back, a window in the middle of each.

    Args:
        spec: of the bundled model.
        split: a key of `motion.SPLITS`.
        count: number of scenes; the classes take turns, so that each cut changes the class.
        ticks: of each scene.
        tail: ticks of further scenes, in which late answers come.
        first: number of the first scene.
        every: take every window that lies within a scene.
    """
    more = -(-tail // ticks)
    scenes = [motion.scene(split, number) for number in range(first, first + count + more)]
    return _back_to_back(spec, scenes, count, ticks, every=every)


def scenes_of_one_class(
    spec: ModelSpec,
    split: str,
    count: int,
    *,
    scenes: int = 6,
    ticks: int = 20,
    tail: int = 48,
    first: int = 0,
    every: bool = False,
) -> TickStream:
    """Return different scenes of one class in a row, then those of another, and so on.

    Args:
        spec, split, ticks, tail, first, every: see `scenes_with_cuts`.
        count: number of rows; the classes take turns.
        scenes: number of scenes in each.
    """
    period, more = len(motion.CLASSES), -(-tail // ticks)
    found = [
        motion.scene(split, first + (row // period * scenes + turn) * period + row % period)
        for row in range(count)
        for turn in range(scenes)
    ]
    after = [motion.scene(split, first + (count + turn) * scenes * period) for turn in range(more)]
    return _back_to_back(spec, [*found, *after], len(found), ticks, every=every)


def _back_to_back(
    spec: ModelSpec, scenes: Sequence[motion.Scene], count: int, ticks: int, *, every: bool
) -> TickStream:
    spare = ticks - spec.clip.frames
    starts = range(spare + 1) if every else (spare // 2,)
    ends = {n * ticks + start + spec.clip.frames - 1 for n in range(count) for start in starts}
    return TickStream(_drawn(spec, scenes, ticks), frozenset(ends))


def pieces(
    recorded: Sequence[TickStream], frames: int, late: int, rng: np.random.Generator
) -> TickStream:
    """Return pieces of some recordings in random order, each a little longer than a window.

    Args:
        recorded: as `recordings` gives them.
        frames: of a window.
        late: ticks after a window's end at which its last answer comes.
        rng: chooses the pieces.
    """
    ticks = frames + frames // 4
    found = []
    for stream in recorded:
        images = list(stream.frames)
        found += [images[at : at + ticks] for at in range(0, len(images) - ticks + 1, ticks)]
    order = rng.permutation(len(found))
    shown = [image for number in order for image in found[number]]
    spare = ticks - frames
    ends = range(spare // 2 + frames - 1, len(shown) - late, ticks)
    return TickStream(shown, frozenset(ends))


def uncut_scenes(
    spec: ModelSpec,
    split: str,
    count: int,
    *,
    ticks: int = 120,
    ends: Sequence[int] = (60, 108),
    first: int = 0,
) -> TickStream:
    """Return long scenes of the bundled generator back to back, with some windows in each.

    The first scene has no windows, as nothing is before it.

    Args:
        spec: of the bundled model.
        split: a key of `motion.SPLITS`.
        count: number of scenes, of the motions that can last.
        ticks: of each scene.
        ends: ticks of each scene with which the windows end.
        first: number from which the scenes are counted, a multiple of the classes.
    """
    period = len(motion.CLASSES)
    lasting = [number for number in range(period) if motion.CLASSES[number] in LASTING]
    numbers = [number + turn * period for turn in range(count) for number in lasting][: count + 1]
    scenes = [motion.scene(split, first + number) for number in numbers]
    found = (number * ticks + end for number in range(1, count) for end in ends)
    return TickStream(_drawn(spec, scenes, ticks), frozenset(found))


def recordings(
    spec: ModelSpec, videos: Iterable[Path], *, late: int, most: int
) -> Iterator[TickStream]:
    """Yield the recordings that are long enough, each as a stream of its own.

    Args:
        spec: of the model.
        videos: video files.
        late: ticks after a window's end at which its last answer comes.
        most: number of windows in all, after which no more recordings are read.
    """
    clip, windows = spec.clip, 0
    step = max(1, clip.frames // 2)
    for video in videos:
        if windows >= most:
            return
        try:
            frames = _recorded(spec, video)
        except VideoError as error:
            _log.warning("%s is left out: %s", video, error)
            continue
        # The first full window's answer is the clip model's own.
        ends = frozenset(range(clip.frames - 1 + step, len(frames) - late, step))
        windows += len(ends)
        if ends:
            yield TickStream(frames, ends)


def _recorded(spec: ModelSpec, video: Path) -> list[npt.NDArray[np.uint8]]:
    preprocessor, tick = Preprocessor(spec), spec.clip.tick
    with contextlib.closing(open_source(video, spec.clip.fps, planes=True)) as source:
        count = min(_LONGEST, int(float(source.times[-1]) / tick) + 1)
        moments = np.arange(count, dtype=np.float64) * tick
        found = []
        for image in source.read(moments):
            pixels = np.empty(preprocessor.frame_shape, np.uint8)
            preprocessor.frame(image, pixels)
            found.append(pixels)
    return found


def _drawn(
    spec: ModelSpec, scenes: Sequence[motion.Scene], ticks: int
) -> Iterator[npt.NDArray[np.uint8]]:
    preprocessor, tick = Preprocessor(spec), spec.clip.tick
    for scene in scenes:
        for number in range(ticks):
            pixels = np.empty(preprocessor.frame_shape, np.uint8)
            preprocessor.frame(scene.draw(number * tick), pixels)
            yield pixels
