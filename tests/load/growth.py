"""Memory, descriptors and threads of this process, and their growth."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Use(NamedTuple):
    """Memory, descriptors and threads of this process at a moment."""

    descriptors: int
    threads: int
    megabytes: float


def use() -> Use:
    """Return the use of this process now, without what it could give back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    count = [sum(1 for _ in Path("/proc/self", name).iterdir()) for name in ("fd", "task")]
    return Use(count[0] - 1, count[1], resident())  # the folder itself was open


def resident() -> float:
    """Return the megabytes of memory that this process uses."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * 4096 / 1e6


class Growth(NamedTuple):
    """The growth over repeated work.

    Attributes:
        megabytes: per repetition, the slope of a line through all but the first tenth.
        before, after: what the process held after the first tenth, and at the end.
    """

    megabytes: float
    before: Use
    after: Use


def growth(step: Callable[[], object], count: int, samples: int = 100) -> Growth:
    """Call a function `count` times; return how the process grows."""
    every = max(count // samples, 1)
    first = count // 10
    points, before = [], use()
    for number in range(count):
        step()
        if number == first:
            before = use()
        if number >= first and number % every == 0:
            points.append((number, resident()))
    slope = float(np.polyfit(*zip(*points), 1)[0])
    return Growth(slope, before, use())
