"""Pixels of one frame: an image in RGB, or the planes that the decoder gave.

Video is stored in YUV with one sample of each colour for four pixels (4:2:0). Converting a whole
frame to RGB costs more than resizing it, so a frame stays in planes until it is resized.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import VideoError
from r2p_edge.orientation import UPRIGHT, Orientation, orientation_of

Image = npt.NDArray[np.uint8]
"""Pixels, uint8 (H, W, 3), or several images stacked along leading axes."""

# Shares of red and blue in the luma of each `AVColorSpace` of libavutil/pixfmt.h. A frame that
# declares none is taken for BT.601, as in FFmpeg's own conversion.
_BT709, _BT601, _BT2020 = (0.2126, 0.0722), (0.299, 0.114), (0.2627, 0.0593)
_SHARES = {1: _BT709, 2: _BT601, 5: _BT601, 6: _BT601, 9: _BT2020}
_FULL_RANGE = 2  # of `AVColorRange`


@dataclass(frozen=True, eq=False)
class Planes:
    """A frame in YUV 4:2:0.

    Attributes:
        y: uint8 (H, W); rows may be any number of bytes apart.
        u, v: uint8 ((H + 1) // 2, (W + 1) // 2).
        matrix: conversion to RGB, as `Resizer.resize_yuv` takes it.
        frame: PyAV's frame, which owns the planes' memory.
    """

    y: Image
    u: Image
    v: Image
    matrix: tuple[int, int, int, int, int, int]
    frame: Any

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the image, (H, W, 3)."""
        return *self.y.shape, 3

    def rgb(self) -> Image:
        """Return the frame as uint8 RGB (H, W, 3)."""
        return rgb_of(self.frame)


def picture_of(frame: Any, name: str = "the frame") -> Image | Planes:
    """Return the planes of a PyAV frame if it is upright and in 4:2:0, else the frame in RGB.

    Args:
        name: name of the video in messages.

    Raises:
        VideoError: see `rgb_of`.
    """
    form, planes = frame.format.name, frame.planes
    shares = _SHARES.get(frame.colorspace)
    orientation = orientation_of(frame)
    upright = orientation == UPRIGHT and all(plane.line_size > 0 for plane in planes)
    if shares is None or not upright or form not in ("yuv420p", "yuvj420p", "nv12"):
        return _rgb(frame, name, orientation)
    height, width = frame.height, frame.width
    rows, columns = (height + 1) // 2, (width + 1) // 2
    if form == "nv12":
        pairs = _plane(planes[1], rows, 2 * columns)
        u, v = pairs[:, ::2], pairs[:, 1::2]
    else:
        u, v = (_plane(plane, rows, columns) for plane in planes[1:])
    full = form == "yuvj420p" or frame.color_range == _FULL_RANGE
    return Planes(_plane(planes[0], height, width), u, v, _matrix(*shares, full=full), frame)


def rgb_of(frame: Any, name: str = "the frame") -> Image:
    """Return a PyAV frame as uint8 RGB (H, W, 3), turned and mirrored as it is to be shown.

    Args:
        name: name of the video in messages.

    Raises:
        VideoError: FFmpeg cannot convert its colours.
    """
    return _rgb(frame, name, orientation_of(frame))


def _rgb(frame: Any, name: str, orientation: Orientation) -> Image:
    try:
        # One thread: swscale's slice threads cost three times what they save at these sizes.
        image: Image = frame.to_ndarray(format="rgb24", threads=1)
    except (OSError, ValueError) as error:  # of FFmpeg and of PyAV
        raise VideoError(
            f"{name} cannot be converted to RGB: its colours are {frame.format.name}, "
            f"matrix {int(frame.colorspace)}, transfer {int(frame.color_trc)} ({error}); "
            "convert it to BT.709 with another program"
        ) from error
    swapped, *flips = orientation
    if swapped:
        image = image.swapaxes(0, 1)
    down, across = (-1 if flipped else 1 for flipped in flips)
    return np.ascontiguousarray(image[::down, ::across])


def _plane(plane: Any, height: int, width: int) -> Image:
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:height, :width]


@functools.cache
def _matrix(red: float, blue: float, *, full: bool) -> tuple[int, int, int, int, int, int]:
    """Return the conversion to RGB for Y = red R + green G + blue B (ITU-R BT.601, 3.5)."""
    green = 1 - red - blue
    gain, chroma = (1.0, 2.0) if full else (255 / 219, 2 * 255 / 224)
    from_v, from_u = chroma * (1 - red), chroma * (1 - blue)
    numbers = gain, from_v, -from_u * blue / green, -from_v * red / green, from_u
    return 0 if full else 16, *(round(8192 * number) for number in numbers)  # type: ignore[return-value]
