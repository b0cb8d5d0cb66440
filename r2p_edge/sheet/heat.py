"""Colours for what the positions of a feature map say, and pictures as PNG files."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from r2p_edge.frame import Image

STOPS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
"""Colours from low to high, five of Matplotlib's viridis, which colour-blind people can order."""

_STRONGEST = 0.7  # opacity of the highest value, so that the frame is seen through it


def heat_of(
    values: npt.NDArray[np.float32], span: tuple[float, float], height: int, width: int
) -> Image:
    """Return the values of one time position over a frame, uint8 (height, width, 4), RGBA.

    The higher, the more opaque. Between the centres of positions the values are interpolated
    linearly.

    Args:
        values: float32 (H', W').
        span: lowest and highest value of the colours.
        height, width: size of the frame.
    """
    low, high = span
    scaled = (_stretched(values, height, width) - low) / max(high - low, 1e-9)
    scaled = scaled.clip(0, 1)
    places = np.linspace(0, 1, len(STOPS))
    channels = [
        np.interp(scaled, places, [stop[channel] for stop in STOPS]) for channel in range(3)
    ]
    opacity = 255 * _STRONGEST * scaled
    heat: Image = np.stack([*channels, opacity], axis=-1).round().astype(np.uint8)
    return heat


def _stretched(values: npt.NDArray[np.float32], height: int, width: int) -> npt.NDArray[np.float64]:
    """Return values resized bilinearly, each position over the same share of the frame."""
    rows, columns = values.shape
    x = (np.arange(width) + 0.5) * columns / width - 0.5
    y = (np.arange(height) + 0.5) * rows / height - 0.5
    across = np.stack([np.interp(x, np.arange(columns), row) for row in values])
    return np.stack([np.interp(y, np.arange(rows), column) for column in across.T], axis=1)
