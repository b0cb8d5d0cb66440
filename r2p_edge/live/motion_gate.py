"""Whether anything moves in a window, told from its pixels without a model."""

from __future__ import annotations

import functools
from collections import deque

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import UsageError

MOTION = 15.0
"""Default threshold in grey levels; see `MotionGate`."""

_CELLS = 14  # per side: 8x8 pixels each of a frame of 112, which averages most of the noise away


class MotionGate:
    """Compares the frames of a window cell by cell, apart from the light.

    A frame becomes a grid of mean grey levels, in which a sensor's noise has gone. What light
    does to a frame, more or less of it and of contrast, is fitted for each frame and taken off.
    What is left of a cell's change over the window is motion.

    Args:
        threshold: grey levels by which a cell must change.
        frames: of a window.

    Raises:
        UsageError: the threshold is not positive.
    """

    def __init__(self, threshold: float, frames: int) -> None:
        if not threshold > 0:
            raise UsageError(f"motion is {threshold}; it must be a number of grey levels above 0")
        self._threshold = threshold
        self._frames: deque[npt.NDArray[np.float32]] = deque(maxlen=frames)

    def clear(self) -> None:
        self._frames.clear()

    def cells(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Mean grey levels, float32 (cells,), of a frame, uint8 (H, W, 3)."""
        rows, columns = _means(pixels.shape[0], 1), _means(pixels.shape[1], 3)
        flat = pixels.reshape(len(pixels), -1).astype(np.float32)
        return np.asarray(rows @ flat @ columns.T, np.float32).ravel()

    def add(self, cells: npt.NDArray[np.float32]) -> None:
        """The newest frame of the window."""
        self._frames.append(cells)

    def level(self) -> float:
        """The largest change of a cell over the window, in grey levels."""
        frames = np.stack(self._frames)
        light = frames.mean(axis=1, keepdims=True)
        detail = frames - light
        usual = detail.mean(axis=0)
        # Contrast of each frame against the usual one, by least squares.
        contrast = detail @ usual / max(float(usual @ usual), 1e-9)
        contrast = np.where(np.abs(contrast) > 0.1, contrast, 1.0)[:, np.newaxis]
        return float(np.ptp(detail / contrast, axis=0).max())

    def moving(self) -> bool:
        """Whether anything moves in the window."""
        return self.level() > self._threshold


@functools.cache
def _means(side: int, channels: int) -> npt.NDArray[np.float32]:
    """The matrix, (cells, side * channels), that makes a line's pixels the means of its cells."""
    cells = np.arange(side) * _CELLS // side
    weights = np.arange(_CELLS)[:, np.newaxis] == np.repeat(cells, channels)
    weights = weights[weights.any(axis=1)].astype(np.float32)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
