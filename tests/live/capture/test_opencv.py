"""Cameras and pipelines through OpenCV."""

import pytest
from live import TICK, watch

from r2p_edge.errors import MissingDependencyError, VideoError, VideoNotFoundError
from r2p_edge.live.capture.opencv import CameraCapture
from r2p_edge.live.open import open_capture

pytestmark = pytest.mark.usefixtures("nothing_is_left")


@pytest.mark.slow
def test_a_camera_that_returns_no_frame(camera, predictor):
    camera(0)
    with predictor.stream(0) as answers, pytest.raises(VideoError, match="video0 gives no frames"):
        next(answers)


def test_a_camera_that_cannot_be_opened(camera, predictor):
    camera(None)
    with pytest.raises(VideoError, match="no other program uses it"):
        predictor.stream(0)


@pytest.mark.slow
def test_there_is_no_such_camera(predictor):
    with pytest.raises(VideoNotFoundError, match="there is no camera /dev/video97"):
        predictor.stream(97)
    with pytest.raises(VideoNotFoundError, match="there is no camera /dev/video98"):
        predictor.stream("/dev/video98")


PIPELINE = "v4l2src ! videoconvert ! video/x-raw,format=BGR ! appsink"


@pytest.mark.slow
def test_gstreamer(camera, predictor):
    kind = camera(8)
    now = iter(range(10**6))
    capture = open_capture(
        PIPELINE,
        predictor.spec.clip,
        TICK,
        timeout=1,
        reconnect=0,
        transport="tcp",
        clock=lambda: next(now) / 25,
    )
    with watch(predictor, capture, policy="all", stride=1) as answers:
        found = list(answers)
    assert kind.opened == ((PIPELINE, 1800),)
    assert [answer.live.source for answer in found] == [PIPELINE] * 5


@pytest.mark.slow
def test_opencv_without_gstreamer(camera, predictor):
    camera(gstreamer=False)
    with pytest.raises(MissingDependencyError, match=r"without GStreamer.*python3-opencv"):
        predictor.stream(PIPELINE)


@pytest.mark.slow
def test_a_password_in_a_pipeline_is_not_shown(camera, predictor):
    kind = camera(None)
    with pytest.raises(VideoError, match=r"\*\*\*@host"):
        predictor.stream("rtspsrc location=rtsp://user:secret@host ! appsink")
    assert "user:secret@host" in kind.opened[0][0]


@pytest.mark.slow
def test_decoding_is_timed(camera):
    camera(3)
    capture = CameraCapture(0, reconnect=0)
    assert all(frame.decode_ms > 0 for frame in capture.frames())
