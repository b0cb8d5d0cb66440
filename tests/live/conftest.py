"""Fixtures of the tests of live video."""

import contextlib
import gc
import threading
from collections import Counter
from pathlib import Path

import pytest
from live import fake_cv2, free_port, senders
from models import brightness_model

from r2p_edge import Predictor
from r2p_edge.live import predictions
from r2p_edge.live.capture import opencv, reconnecting


@pytest.fixture
def predictor(tmp_path):
    with Predictor(brightness_model(tmp_path / "model.onnx")) as opened:
        yield opened


@pytest.fixture(scope="module")
def motion_predictor(motion_model):
    with Predictor(motion_model) as opened:
        yield opened


@pytest.fixture
def no_thread_is_left(monkeypatch):
    """Check that a test leaves no thread; and let none of it wait long."""
    monkeypatch.setattr(reconnecting, "BACK_OFF", (0.01, 0.1))
    monkeypatch.setattr(predictions, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(predictions, "CLOSE_SECONDS", 60.0)
    before = set(threading.enumerate())
    yield
    gc.collect()
    assert set(threading.enumerate()) <= before


@pytest.fixture
def nothing_is_left(no_thread_is_left):
    """Check that a test leaves no thread and no open file."""
    before = handles()
    yield
    gc.collect()
    assert not handles() - before


def handles():
    """Count what the process has open, but for what ONNX Runtime opens once."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the folder's own
            found.append(str(link.readlink()))
    return Counter(name for name in found if "onnxruntime" not in name)


@pytest.fixture
def camera(monkeypatch):
    """Put a camera that gives these numbers of frames in the place of OpenCV's."""

    def camera(*frames, gstreamer=True):
        cv2 = fake_cv2(*frames, gstreamer=gstreamer)
        monkeypatch.setattr(opencv, "import_library", lambda *_: cv2)
        monkeypatch.setattr(opencv.Path, "exists", lambda _: True)
        return cv2.VideoCapture

    return camera


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def send(port):
    with senders(port) as send:
        yield send
