"""Clips that show nothing to calibrate on: black, of one colour, or a picture that stands still."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import CalibrationWarning, VideoError, warn_caller

MOST_BLANK = 0.9
"""Share of blank clips from which on a calibration is refused."""

LOOKAHEAD = 32
"""Clips that are looked at, where all of them are blank, before the model sees the first."""

Clip = npt.NDArray[np.uint8]

_NOISE = 8  # levels by which a codec and a sensor blur what is one colour
_FLICKER = 0.6  # levels that a frozen picture changes on average, as a codec's quality does


_MIDDLE = 127.5  # grey level of no motion
_LEVELS_OF_NOISE = 1.5
_PIXELS_OF_NOISE = 0.1


def what_is_blank(clip: Clip) -> str | None:
    """Return "black", "of one colour" or "frozen" for such a clip; None if it shows something.

    The noise of a codec does not count; that of a camera on a scene without motion does.

    Args:
        clip: uint8 (T, H, W, 3); or optical flow (T, H, W, 2), uint8 or float32.
    """
    clip = clip[:, ::2, ::2]  # for speed
    if clip.shape[-1] == 2:
        return _what_is_still(clip)
    if np.percentile(clip, 99.9) <= 2 * _NOISE:
        return "black"
    low, high = np.percentile(clip, (0.1, 99.9), axis=(0, 1, 2))
    if (high - low).max() <= _NOISE:
        return "of one colour"
    change = np.abs(clip[1:].astype(np.int16) - clip[0])
    if len(change) and change.mean() <= _FLICKER and np.percentile(change, 99.9) <= 2 * _NOISE:
        return "frozen"
    return None


def _what_is_still(flow: npt.NDArray[Any]) -> str | None:
    """Return "without motion" for flow that hardly goes anywhere; None for other flow."""
    levels = flow.dtype == np.uint8
    length = np.abs(flow.astype(np.float32) - (_MIDDLE if levels else 0))
    least = _LEVELS_OF_NOISE if levels else _PIXELS_OF_NOISE
    return "without motion" if np.percentile(length, 99.9) <= least else None


def showing(
    clips: Iterable[tuple[str, Clip]], total: int, *, warn: bool = True
) -> Generator[Clip, None, int]:
    """Yield the clips from the first one on, unless too many show nothing; return how many do.

    Clips before the first that shows something are held back, so that a model does no work on a
    folder of nothing else.

    Args:
        clips: names of videos and clips of them.
        total: number of clips that there should be.
        warn: whether to warn of blank clips.

    Raises:
        VideoError: so many clips are blank, or all of the first ones.

    Warns:
        CalibrationWarning: some clips are blank.
    """
    blank: list[str] = []
    held: list[Clip] = []
    seen = 0

    def summary() -> str:
        return f"{len(blank)} of the first {seen} calibration clips show nothing ({blank[0]})"

    for seen, (name, clip) in enumerate(clips, 1):
        if what := what_is_blank(clip):
            blank.append(f"{name} is {what}")
        held.append(clip)
        if len(blank) == seen == LOOKAHEAD or len(blank) >= MOST_BLANK * total:
            break
        if len(blank) < seen:
            yield from held
            held.clear()
    if seen and (len(blank) >= MOST_BLANK * seen or len(blank) >= MOST_BLANK * total):
        raise VideoError(
            f"{summary()}; the ranges of int8 would be those of no real video, so give videos such "
            "as the model will see"
        )
    if blank and warn:
        warn_caller(
            f"{summary()}; int8 may be coarser for it, so leave such videos out", CalibrationWarning
        )
    return len(blank)
