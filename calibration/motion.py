"""Procedural motion clips: the training, calibration and test data of the bundled model.

`Scene` draws a clip at any moment; `scene` numbers the clips of each split; `write_video` writes
one as a file.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge.artifact.atomic import atomic_file
from r2p_edge.calibration.motion_scene import (
    BACKGROUND_CONTRAST,
    CLASSES,
    DURATION,
    FPS,
    FRAMES,
    INTERVAL,
    REVERSED,
    SIZE,
    SPAN,
    Pose,
    Scene,
)

__all__ = [
    "BACKGROUND_CONTRAST",
    "CLASSES",
    "DURATION",
    "FPS",
    "FRAMES",
    "INTERVAL",
    "REVERSED",
    "SIZE",
    "SPAN",
    "SPLITS",
    "Pose",
    "Scene",
    "frame_times",
    "scene",
    "write_video",
]

SPLITS = {"train": 0, "calibration": 1, "test": 2}
"""First word of the seed of every clip, so that no two splits share one."""


def scene(
    split: str, index: int, background_contrast: tuple[float, float] = BACKGROUND_CONTRAST
) -> Scene:
    """Return clip number `index` of a split, a key of `SPLITS`; the classes take turns."""
    return Scene(CLASSES[index % len(CLASSES)], [SPLITS[split], index], background_contrast)


def frame_times(fps: float = FPS) -> npt.NDArray[np.float64]:
    """Return the presentation times of a video of `DURATION`, float64 (n,), in seconds."""
    return np.arange(round(DURATION * fps)) / fps


def write_video(
    drawn: Scene,
    path: str | Path,
    times: npt.NDArray[np.float64] | None = None,
    *,
    height: int = 240,
    width: int = 320,
) -> None:
    """Write a scene as an MPEG-4 file with the given presentation times.

    Args:
        drawn: the scene.
        path: of the file; its suffix chooses the container, `.mp4` or `.mkv`.
        times: float64 (n,), ascending, in seconds; by default those of 25 fps. They are rounded
            to milliseconds, and need not be evenly spaced.

    Raises:
        OutputError: the file cannot be written.
    """
    import av

    times = frame_times() if times is None else times
    step = round(1000 * float(np.median(np.diff(times)))) if len(times) > 1 else 40
    with atomic_file(path) as draft, av.open(str(draft), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(1000))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        # The encoder's rate control counts frames, not time; a constant quantiser needs neither.
        stream.codec_context.qmin = stream.codec_context.qmax = 3
        stream.codec_context.time_base = Fraction(1, 1000)
        for time in times:
            image = drawn.draw(float(time), height=height, width=width)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            _mux(container, stream.encode(frame), step)
        _mux(container, stream.encode(), step)


def _mux(container: Any, packets: list[Any], duration: int) -> None:
    for packet in packets:
        # Without a duration the last frame takes no time, and readers find another frame rate.
        packet.duration = duration
        container.mux(packet)
