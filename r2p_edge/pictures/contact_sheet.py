"""One small picture of the frames of some clips, however many and large they are."""

from __future__ import annotations

import math

import numpy as np

from r2p_edge.frame import Image

MOST_CLIPS, MOST_FRAMES = 3, 16
"""Clips, and frames of each, on a sheet; of more, such as are spread evenly."""

_COLUMNS = 8
_SIDE = 112  # longest side of a tile in pixels
_GAP, _GREY = 2, 128  # between tiles


def spread(count: int, most: int) -> list[int]:
    """Return up to `most` of the numbers below `count`, spread from the first to the last."""
    return [round(number) for number in np.linspace(0, count - 1, min(count, most)).tolist()]


def contact_sheet(clips: Image) -> Image:
    """Return the frames of clips side by side in one picture, uint8 (H, W, 3).

    Each clip begins a row. See `MOST_CLIPS`: the sheet is of a bounded size.

    Args:
        clips: uint8 (clips, T, H, W, 3).
    """
    frames = clips[:, spread(clips.shape[1], MOST_FRAMES)][spread(len(clips), MOST_CLIPS)]
    step = math.ceil(max(frames.shape[2:4]) / _SIDE)
    tiles = frames[:, :, ::step, ::step]
    count, length, height, width, _ = tiles.shape
    columns, rows = min(length, _COLUMNS), math.ceil(length / _COLUMNS)
    across, down = width + _GAP, height + _GAP
    # JPEG with halved colours wants even sides.
    sides = (count * rows * down + 1) // 2 * 2, (columns * across + 1) // 2 * 2
    sheet = np.full((*sides, 3), _GREY, np.uint8)
    for clip in range(count):
        for number in range(length):
            top = (clip * rows + number // _COLUMNS) * down
            left = number % _COLUMNS * across
            sheet[top : top + height, left : left + width] = tiles[clip, number]
    return sheet
