"""A live frame: its pixels in RGB."""

import numpy as np
from live import TICK

from r2p_edge import Stream


def test_images_are_rgb_again(predictor):
    blue = np.zeros((9, 9, 3), np.uint8)
    blue[..., 0] = 200
    stream = Stream(predictor, color="BGR")
    answer = [stream.push(blue, k * TICK) for k in range(4)][-1]
    assert answer.live.image[0, 0].tolist() == [0, 0, 200]
