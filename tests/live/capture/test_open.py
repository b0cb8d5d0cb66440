"""The choice of a capture for a source."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from live import TICK
from models import spec_of_brightness

from r2p_edge.errors import UsageError, VideoError
from r2p_edge.live.capture.file import FileCapture
from r2p_edge.live.capture.open import open_capture
from r2p_edge.live.capture.opencv import CameraCapture, PipelineCapture

pytestmark = pytest.mark.usefixtures("nothing_is_left")


def opened(source):
    """Return the class of the capture of a source, which is closed again."""
    clip = spec_of_brightness().clip
    capture = open_capture(source, clip, TICK, timeout=10, reconnect=0, transport="tcp")
    capture.close()
    return type(capture)


DEVICE = "/dev/video0"


@pytest.mark.parametrize(
    ("source", "expected"),
    [(0, 0), (np.int64(3), 3), (DEVICE, DEVICE), (Path(DEVICE), DEVICE)],
)
def test_cameras(camera, source, expected):
    kind = camera(1)
    assert opened(source) is CameraCapture
    assert kind.opened == ((expected,),)


@pytest.mark.parametrize("source", [True, False, np.True_, None, 1.0, b"video.mp4"])
def test_what_is_none_of_these(camera, source):
    kind = camera(1)
    with pytest.raises(UsageError, match="cannot be streamed; give a camera's number"):
        opened(source)
    assert kind.opened == ()


@pytest.mark.parametrize("name", ["a ! b.mp4", "odd:/clip.mp4", "clip.mp4"])
def test_a_file_that_exists_is_a_file(tmp_path, monkeypatch, clip, name):
    path = tmp_path / "of" / name
    path.parent.mkdir(parents=True)
    shutil.copy(clip, path)
    assert opened(path) is FileCapture
    assert opened(str(path).replace("odd:/", "odd://")) is FileCapture
    monkeypatch.chdir(tmp_path / "of")
    assert opened(name) is FileCapture


def test_a_file_in_shared_memory_is_no_camera(clip):
    with tempfile.NamedTemporaryFile(dir="/dev/shm", suffix=".mp4") as file:
        file.write(clip.read_bytes())
        file.flush()
        assert opened(file.name) is FileCapture


def test_pipelines_may_be_long(camera):
    kind = camera(1)
    pipeline = f"videotestsrc pattern=1 ! {'identity ! ' * 500}appsink"
    assert opened(pipeline) is PipelineCapture
    assert kind.opened == ((pipeline, 1800),)


@pytest.mark.parametrize("name", ["nowhere.mp4", "odd://", "x" * 5000, "zero\0byte"])
def test_there_is_no_such_file(name):
    with pytest.raises(VideoError):
        opened(name)
