"""Live sources that are lost and found."""

import pytest

from r2p_edge.errors import VideoError
from r2p_edge.live.capture.opencv import CameraCapture

pytestmark = pytest.mark.usefixtures("nothing_is_left")


def test_a_camera_is_lost_and_found(camera):
    kind = camera(3, None, 0, 4)
    now = iter(range(10**6))
    capture = CameraCapture(2, reconnect=1e9, clock=lambda: next(now) / 25)
    frames = []
    for frame in capture.frames():
        frames.append(frame)
        if len(frames) == 7:
            capture.stop()
    capture.close()
    assert [frame.joined for frame in frames] == [False, True, True, False, True, True, True]
    assert [frame.color for frame in frames] == ["BGR"] * 7
    assert kind.opened == ((2,),) * 4


def test_a_camera_is_lost_for_good(camera):
    camera(3, *[None] * 9)
    now = iter(range(10**6))
    capture = CameraCapture("/dev/video3", reconnect=5, clock=lambda: float(next(now)))
    shots = capture.frames()
    assert [next(shots).size for _ in range(3)] == [(10, 12)] * 3
    with pytest.raises(VideoError, match=r"video3 gives no frames .*cannot be opened.*video"):
        next(shots)
