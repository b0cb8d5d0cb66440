"""Classes of tiny videos that `brightness_model` sees the differences of, to be taught."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

CLASSES = {
    "rising": (40, 80, 120, 160),
    "falling": (160, 120, 80, 40),
    "flash": (60, 180, 180, 60),
}
"""Mean level of each frame of a class's clips."""


def graded_video(path: Path, levels: tuple[int, ...], seed: int) -> Path:
    """Write a video at 25 fps whose frames have about these levels, two frames each.

    The noise of the levels, of which no two seeds have the same, is far below their differences.
    """
    noise = np.random.default_rng(seed).uniform(-12, 12, len(levels))
    frames = np.repeat(np.add(levels, noise).clip(0, 255).astype(np.uint8), 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.qmin = stream.codec_context.qmax = 2
        for level in frames:
            picture = np.full((32, 32, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def graded_folder(
    folder: Path, counts: dict[str, int], first: int = 0, suffix: str = ".mp4"
) -> Path:
    """Write so many videos of each class into a folder of its name; return the folder.

    Args:
        counts: number of videos of each class.
        first: seed of the first video of each class.
    """
    for number, (name, count) in enumerate(counts.items()):
        for seed in range(first, first + count):
            path = folder / name / f"clip {seed}{suffix}"
            graded_video(path, CLASSES[name], 1000 * number + seed)
    return folder
