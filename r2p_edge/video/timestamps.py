"""Presentation times as files have them: most are good, some stand twice, jump or are missing."""

from __future__ import annotations

import bisect
import math

import numpy as np
import numpy.typing as npt

_Stamps = npt.NDArray[np.float64]


def ascending(stamps: _Stamps, period: float) -> _Stamps:
    """Return times of the frames in the order in which they are shown, strictly ascending.

    A time that does not fit among the others is put evenly between its neighbours; where hardly
    any fit, all are spaced evenly.

    Args:
        stamps: float64 (n,), times as decoded; NaN where a frame has none.
        period: time from one frame to the next, where the times do not tell it.
    """
    if bool(np.all(np.diff(stamps) > 0)) and not np.isnan(stamps).any():
        return stamps
    steps = np.diff(stamps)
    if np.any(steps > 0):
        period = float(np.median(steps[steps > 0]))
    stamps = _without_repeats(stamps, period)
    good = _longest_ascent(stamps)
    numbers = np.arange(len(stamps))
    if len(good) < max(2, len(stamps) / 2):
        first = float(stamps[good[0]]) - good[0] * period if good else 0.0
        return np.asarray(first + numbers * period, np.float64)
    mended = np.interp(numbers, good, stamps[good])
    before, after = numbers < good[0], numbers > good[-1]
    mended[before] -= (good[0] - numbers[before]) * period
    mended[after] += (numbers[after] - good[-1]) * period
    return mended


def _without_repeats(stamps: _Stamps, period: float) -> _Stamps:
    """Return the times with those that stand several times in a row moved to where there is room.

    That is behind such a time, or before it if only there the frames are missing.
    """
    stamps = stamps.copy()
    first = 0
    while first < len(stamps):
        last = first
        while last + 1 < len(stamps) and stamps[last + 1] == stamps[first]:
            last += 1
        count = last - first
        if count:
            whole = (count + 1) * period
            before = stamps[first] - stamps[first - 1] if first else 0.0
            after = stamps[last + 1] - stamps[last] if last + 1 < len(stamps) else whole
            places = np.arange(count + 1) / (count + 1)
            enough = whole - period / 2
            if before >= enough and (after < enough or last + 1 == len(stamps)):
                stamps[first : last + 1] += (places - places[-1]) * min(whole, before)
            else:
                stamps[first : last + 1] += places * min(whole, after)
        first = last + 1
    return stamps


def _longest_ascent(stamps: _Stamps) -> list[int]:
    """Return the numbers of the most frames whose times ascend strictly."""
    ends: list[float] = []  # the smallest time with which an ascent of each length ends
    places: list[int] = []
    before = [-1] * len(stamps)
    for number, stamp in enumerate(stamps.tolist()):
        if math.isnan(stamp):
            continue
        length = bisect.bisect_left(ends, stamp)
        before[number] = places[length - 1] if length else -1
        ends[length : length + 1] = [stamp]
        places[length : length + 1] = [number]
    ascent = []
    number = places[-1] if places else -1
    while number >= 0:
        ascent.append(number)
        number = before[number]
    return ascent[::-1]
