"""The motion gate: finds out from the pixels alone if anything moves in a window."""

from __future__ import annotations

import functools
import itertools
from collections import deque

import numpy as np
import numpy.typing as npt

from r2p_edge.live.arguments import check_number

MOTION = 15.0
"""Default threshold in grey levels; see `MotionGate`."""

_CELLS = 14  # per side: 8x8 pixels each of a frame of 112, which averages most of the noise away


class MotionGate:
    """A detector of motion that compares the frames of a window cell by cell.

    A frame becomes a grid of mean grey levels, which removes a sensor's noise. Changes of
    brightness and contrast are fitted for each frame and removed. The change of a cell over the
    window that remains is motion.

    Args:
        threshold: grey levels by which a cell must change.
        frames: number of frames in a window.
        more: frames to keep beside those.

    Raises:
        UsageError: the threshold is not a number above 0.
    """

    def __init__(self, threshold: float, frames: int, more: int = 0) -> None:
        check_number("motion", threshold, lambda x: x > 0, "a number of grey levels above 0")
        self._threshold = threshold
        self._length = frames
        self._frames: deque[npt.NDArray[np.float32]] = deque(maxlen=frames + more)

    def clear(self) -> None:
        """Forget the frames before the next one."""
        self._frames.clear()

    def cells(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the mean grey levels, float32 (cells,), of a frame.

        Args:
            pixels: uint8 (H, W, 3), or (H, W) of a grey one.
        """
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        rows, columns = _means(pixels.shape[0], 1), _means(pixels.shape[1], channels)
        flat = pixels.reshape(len(pixels), -1).astype(np.float32)
        return np.asarray(rows @ flat @ columns.T, np.float32).ravel()

    def add(self, cells: npt.NDArray[np.float32]) -> None:
        """Add the cells of the newest frame."""
        self._frames.append(cells)

    def level(self, back: int = 0) -> float:
        """Return the largest change of a cell over a window, in grey levels.

        Args:
            back: number of frames that came after the window.
        """
        stop = len(self._frames) - back
        first = max(stop - self._length, 0)
        frames = np.stack(list(itertools.islice(self._frames, first, stop)))
        light = frames.mean(axis=1, keepdims=True)
        detail = frames - light
        usual = detail.mean(axis=0)
        # Contrast of each frame against the usual one, by least squares.
        contrast = detail @ usual / max(float(usual @ usual), 1e-9)
        contrast = np.where(np.abs(contrast) > 0.1, contrast, 1.0)[:, np.newaxis]
        return float(np.ptp(detail / contrast, axis=0).max())

    def moving(self, back: int = 0) -> bool:
        """Return True if anything moves in a window; see `level`."""
        return self.level(back) > self._threshold


@functools.cache
def _means(side: int, channels: int) -> npt.NDArray[np.float32]:
    """Return the matrix (cells, side * channels) that averages a line's pixels over its cells."""
    cells = np.arange(side) * _CELLS // side
    weights = np.arange(_CELLS)[:, np.newaxis] == np.repeat(cells, channels)
    weights = weights[weights.any(axis=1)].astype(np.float32)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
