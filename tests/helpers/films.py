"""Films whose every moment has a known class: drawn segments of the bundled model's motions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from r2p_edge.calibration import motion
from r2p_edge.calibration.motion_scene import DURATION, REVERSED, Scene

TUNING = 1801
"""Seed of the film on which the defaults of `timeline` were chosen, at 25 frames a second."""

HELD_OUT = (1811, 1812, 1813)
"""Seeds of those on which they are measured, unchanged, at each of `RATES`."""

RATES = (15, 30, 60)

SECONDS, SEGMENTS, STILL = 600.0, 64, 5
SHORTEST, LONGEST = 3.0, 20.0

_CANNOT_LAST = {name for pair in REVERSED.items() for name in pair if "rotate" not in name}
"""Classes whose patch leaves the picture, or fills it, so that their motion is repeated."""


class Part(NamedTuple):
    """A segment of a film.

    Attributes:
        start, end: in seconds.
        label: class of the bundled model.
    """

    start: float
    end: float
    label: str


def plan(seed: int, seconds: float = SECONDS, segments: int = SEGMENTS) -> list[Part]:
    """Return the segments of a film: random lengths and classes, neighbours of different class.

    Of 64 segments five have the class without motion, and each other class has five or six.
    """
    rng = np.random.default_rng(seed)
    while True:
        shares = rng.gamma(2.0, size=segments)
        lengths = SHORTEST + (seconds - segments * SHORTEST) * shares / shares.sum()
        if lengths.max() <= LONGEST:
            break
    still = round(STILL * segments / SEGMENTS)
    moving = rng.permutation([name for name in motion.CLASSES if name != "still"])
    names = ["still"] * still + [moving[k % len(moving)] for k in range(segments - still)]
    while True:
        order = [str(name) for name in rng.permutation(names)]
        if all(one != other for one, other in itertools.pairwise(order)):
            break
    ends = np.concatenate([[0.0], np.cumsum(lengths)]).tolist()
    return [Part(*each) for each in zip(ends, ends[1:], order)]


def pictures(
    parts: list[Part], seed: int, times: np.ndarray, size: tuple[int, int] = (132, 176)
) -> Iterator[np.ndarray]:
    """Draw the picture at each of these ascending moments, uint8 RGB (height, width, 3).

    Each segment is a scene of its own. A motion that cannot last begins anew every 1.6 s.
    """
    height, width = size
    shown, scene = -1, None
    for time in times.tolist():
        number = next(k for k, part in enumerate(parts) if time < part.end or part is parts[-1])
        part = parts[number]
        if number != shown:
            shown, scene = number, Scene(part.label, [seed, number])
        assert scene is not None
        inside = time - part.start
        yield scene.draw(
            inside % DURATION if part.label in _CANNOT_LAST else inside, height=height, width=width
        )


def write_film(
    path: Path, seed: int, rate: float, seconds: float = SECONDS, segments: int = SEGMENTS
) -> list[Part]:
    """Write a film as MPEG-4 and return its segments."""
    from fractions import Fraction

    import av

    parts = plan(seed, seconds, segments)
    times = np.arange(round(seconds * rate)) / rate
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(rate).limit_denominator(1000))
        stream.height, stream.width, stream.pix_fmt = 132, 176, "yuv420p"
        stream.codec_context.qmin = stream.codec_context.qmax = 3
        for image in pictures(parts, seed, times):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return parts
