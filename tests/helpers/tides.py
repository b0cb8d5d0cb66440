"""Videos whose every moment has a known class for a `brightness_model`: rising, falling, calm."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RISING, FALLING = "frame 3", "frame 0"
"""Labels of a clip whose last, or first, frame is the brightest."""

_STEP = 6.0  # grey levels a frame at 25 fps


def tide(kinds: str, seconds: float = 2.0, rate: float = 25.0) -> list[int]:
    """Return the grey level of each frame: of "/", "\\" and "-", each so many seconds long.

    A rise or a fall begins anew every second, where it has gone through 150 levels.
    """
    levels, base = [], {"/": 40.0, "\\": 190.0, "-": 120.0}
    slope = {"/": _STEP, "\\": -_STEP, "-": 0.0}
    for kind in kinds:
        for number in range(round(seconds * rate)):
            inside = number / rate % 1.0
            levels.append(round(base[kind] + slope[kind] * 25 * inside))
    return levels


def write_levels(
    path: Path,
    levels: Sequence[int],
    times: Sequence[float] | None = None,
    *,
    codec: str = "mpeg4",
    gop: int = 12,
    size: tuple[int, int] = (64, 48),
    rate: float = 25.0,
) -> Path:
    """Write a video whose frame k is a flat grey of levels[k], at times[k] seconds or evenly."""
    untimed = path.suffix == ".avi"
    unit = Fraction(1, round(rate)) if untimed else Fraction(1, 1000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=round(rate) if untimed else 1000)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base, stream.codec_context.gop_size = unit, gop
        stream.codec_context.max_b_frames = 0
        if codec == "mpeg4":
            stream.codec_context.qmin = stream.codec_context.qmax = 2
        for number, level in enumerate(levels):
            image = np.full((size[1], size[0], 3), level, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            moment = number / rate if times is None else times[number]
            frame.pts, frame.time_base = round(moment / unit), unit
            _mux(container, stream.encode(frame), round(1 / rate / unit))
        _mux(container, stream.encode(), round(1 / rate / unit))
    return path


def _mux(container, packets, duration):
    for packet in packets:
        packet.duration = duration
        container.mux(packet)
