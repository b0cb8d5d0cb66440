"""Live sources that are lost and found."""

import contextlib
import logging
import math

import pytest
from live import Clock

from r2p_edge.errors import VideoError
from r2p_edge.live.capture import reconnecting
from r2p_edge.live.capture.opencv import CameraCapture

pytestmark = pytest.mark.usefixtures("nothing_is_left")


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_camera_is_lost_for_good(camera):
    camera(3, *[None] * 9)
    now = iter(range(10**6))
    capture = CameraCapture("/dev/video3", reconnect=5, clock=lambda: float(next(now)))
    frames = capture.frames()
    assert [next(frames).size for _ in range(3)] == [(10, 12)] * 3
    with pytest.raises(VideoError, match=r"video3 gives no frames .*cannot be opened.*video"):
        next(frames)


@pytest.mark.slow
def test_it_waits_longer_and_longer(monkeypatch, camera):
    monkeypatch.setattr(reconnecting, "BACK_OFF", (0.5, 10.0))
    camera(1, *[None] * 7, 2, 0)
    clock, waited = Clock(), []

    def wait(event, seconds):
        waited.append(seconds)
        clock.now += seconds

    capture = CameraCapture(0, reconnect=60, clock=clock, wait=wait)
    with contextlib.closing(capture), pytest.raises(VideoError, match="gives no frames"):
        list(capture.frames())
    assert waited[:8] == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]
    assert waited[8] == 0.5  # after frames came
    assert sum(waited[8:]) >= 60


@pytest.mark.slow
def test_the_log_says_that_a_camera_is_lost_and_back(monkeypatch, camera, caplog):
    monkeypatch.setattr(reconnecting, "BACK_OFF", (0.5, 10.0))
    caplog.set_level(logging.INFO, "r2p_edge")
    camera(1, None, None, 1)
    clock = Clock()
    capture = CameraCapture(0, reconnect=60, clock=clock, wait=clock.wait)
    with contextlib.closing(capture):
        frames = capture.frames()
        next(frames)
        next(frames)
    lost, back = caplog.records
    assert (lost.levelname, back.levelname) == ("WARNING", "INFO")
    assert lost.getMessage() == (
        "/dev/video0 is lost (it ended) and is opened again, for at most 60 s"
    )
    assert back.getMessage() == "/dev/video0 is back after 3.5 s"


@pytest.mark.slow
def test_a_camera_that_never_came_is_waited_for_without_end(monkeypatch, camera, caplog):
    monkeypatch.setattr(reconnecting, "BACK_OFF", (0.5, 10.0))
    caplog.set_level(logging.INFO, "r2p_edge")
    kind, clock = camera(*[None] * 50, 2, None, 1), Clock()
    capture = CameraCapture(0, reconnect=math.inf, clock=clock, wait=clock.wait)
    assert kind.opened == ()  # a camera that is dead holds up no other one
    with contextlib.closing(capture):
        frames = capture.frames()
        assert [next(frames).joined for _ in range(3)] == [False, True, False]
        assert not capture.lost
    assert [record.getMessage() for record in caplog.records] == [
        "/dev/video0 gives no frames (/dev/video0 cannot be opened; check that no other program "
        "uses it and that this user may (group video)) and is opened again",
        "/dev/video0 is back after 465.5 s",
        "/dev/video0 is lost (it ended) and is opened again",
        "/dev/video0 is back after 1.5 s",
    ]
