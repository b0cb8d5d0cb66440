"""Contact sheets: which frames are where, how large they are, and the picture as a file."""

import cv2
import numpy as np
import pytest

from r2p_edge.pictures.contact_sheet import contact_sheet, spread
from r2p_edge.pictures.encoding import jpeg_of


def clips_of(clips, frames, height=8, width=6):
    """Return clips whose frame k of clip c is all 16 * c + k."""
    levels = np.arange(clips)[:, None] * 16 + np.arange(frames)
    shape = (clips, frames, height, width, 3)
    return np.broadcast_to(levels[:, :, None, None, None], shape).astype(np.uint8)


def test_numbers_are_spread_from_the_first_to_the_last():
    assert spread(1, 3) == [0]
    assert spread(3, 3) == [0, 1, 2]
    assert spread(10, 3) == [0, 4, 9]
    assert spread(400, 16)[-1] == 399


def test_frames_stand_in_order_and_each_clip_begins_a_row():
    sheet = contact_sheet(clips_of(2, 16))
    assert sheet.shape == (4 * 10, 8 * 8, 3)
    tiles = sheet.reshape(4, 10, 8, 8, 3)[:, :8, :, :6]
    assert (tiles == tiles[:, :1, :, :1]).all()
    assert tiles[:, 0, :, 0, 0].ravel().tolist() == list(range(32))


def test_a_row_may_be_part_filled():
    sheet = contact_sheet(clips_of(1, 11))
    assert sheet.shape[1] == 8 * 8
    assert (sheet[10:18, 3 * 8 :] == 128).all()


@pytest.mark.parametrize(("clips", "frames", "side"), [(1, 1, 1), (300, 4, 9), (5, 64, 300)])
def test_a_sheet_is_of_a_bounded_size(clips, frames, side):
    sheet = contact_sheet(clips_of(clips, frames, side, side))
    assert sheet.shape[0] % 2 == sheet.shape[1] % 2 == 0
    assert sheet.shape[0] <= 6 * 114
    assert sheet.shape[1] <= 8 * 114


def test_the_jpeg_shows_the_sheet():
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :, 0], image[24:, :, 2] = 200, 100  # red above blue
    shown = cv2.imdecode(np.frombuffer(jpeg_of(image), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    difference = np.abs(shown.astype(int) - image)
    assert difference.mean() < 3
    assert difference[:16].max() < 12
