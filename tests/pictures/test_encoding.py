import av
import numpy as np
import pytest

from r2p_edge.frame import picture_of
from r2p_edge.pictures.encoding import reduced_jpeg_of


def decoded(jpeg):
    decoder = av.CodecContext.create("mjpeg", "r")
    (frame,) = [*decoder.decode(av.Packet(jpeg)), *decoder.decode(None)]
    return frame.to_ndarray(format="rgb24")


@pytest.mark.parametrize(
    ("size", "found"),
    [
        ((1080, 1920), (360, 640)),
        ((1920, 1080), (640, 360)),
        ((360, 640), (360, 640)),
        ((48, 64), (48, 64)),  # never enlarged
        ((35, 51), (36, 52)),
        ((1, 2000), (2, 640)),
    ],
)
def test_the_longer_side_is_limited(size, found):
    assert decoded(reduced_jpeg_of(np.zeros((*size, 3), np.uint8), 640)).shape == (*found, 3)


@pytest.mark.parametrize("colour", [(200, 30, 0), (30, 200, 60), (20, 40, 220), (255, 255, 255)])
@pytest.mark.parametrize("matrix", ["itu601", "itu709"])
@pytest.mark.parametrize("full", [False, True])
def test_planes_keep_their_colours(colour, matrix, full):
    """A JPEG file has one matrix and full range, whatever the video has."""
    image = np.full((32, 32, 3), colour, np.uint8)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
        format="yuv420p", dst_colorspace=matrix, dst_color_range="JPEG" if full else "MPEG"
    )
    frame.colorspace = {"itu601": 5, "itu709": 1}[matrix]
    frame.color_range = 2 if full else 1
    shown = decoded(reduced_jpeg_of(picture_of(frame), 640))
    assert np.abs(shown[8, 8].astype(int) - picture_of(frame).rgb()[8, 8]).max() <= 4
    assert np.abs(shown[8, 8].astype(int) - colour).max() <= 6
