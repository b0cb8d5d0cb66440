"""Opening live sources: what reads each of them, and which arguments are refused."""

import inspect
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from live import TICK
from models import spec_of_brightness

from r2p_edge import Predictor, Stream
from r2p_edge.errors import UsageError, VideoError
from r2p_edge.live.capture.file import FileCapture
from r2p_edge.live.capture.opencv import CameraCapture, PipelineCapture
from r2p_edge.live.open import open_capture

pytestmark = pytest.mark.usefixtures("nothing_is_left")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (np.zeros((4, 8, 8, 3), np.uint8), {}, "push frames of your own"),
        (0, {"policy": "newest"}, "policy is 'newest'"),
        (0, {"timeout": 0}, "timeout is 0"),
        (0, {"reconnect": -1}, "reconnect is -1"),
        (0, {"transport": "http"}, "transport is 'http'"),
        (0, {"stride": 0}, "stride is 0"),
        (0, {"timeout": True}, "timeout is True"),
        (0, {"reconnect": False}, "reconnect is False"),
        (0, {"motion": True}, "motion is True"),
        (-1, {}, "-1 is no camera; cameras have numbers from 0 on"),
    ],
)
def test_bad_arguments(predictor, source, options, message):
    with pytest.raises(UsageError, match=message):
        predictor.stream(source, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": "a"}, "^yard: every is 'a'; it must be a number"),
        ({"timeout": 0}, "^yard: timeout is 0"),
    ],
)
def test_an_option_of_one_of_several_sources_says_of_which(camera, predictor, options, message):
    camera(1)
    with pytest.raises(UsageError, match=message):
        predictor.stream_many({"door": 0, "yard": 1}, options={"yard": options})


@pytest.mark.slow
def test_a_file_cannot_be_latest(predictor, clip):
    with pytest.raises(UsageError, match="leave out policy"):
        predictor.stream(clip, policy="latest")
    with pytest.raises(UsageError, match="no sources"):
        predictor.stream_many({})


@pytest.mark.slow
@pytest.mark.parametrize("method", ["stream", "stream_many"])
def test_every_option_is_a_keyword_with_a_default(method):
    parameters = list(inspect.signature(getattr(Predictor, method)).parameters.values())[2:]
    assert {parameter.kind for parameter in parameters} == {inspect.Parameter.KEYWORD_ONLY}
    assert all(parameter.default is not inspect.Parameter.empty for parameter in parameters)
    stream = inspect.signature(Stream).parameters
    names = ("stride", "every", "smoothing", "majority", "hysteresis", "min_score", "motion")
    defaults = {parameter.name: parameter.default for parameter in parameters}
    assert {name: defaults[name] for name in names} == {
        name: stream[name].default for name in names
    }


def opened(source):
    """Return the class of the capture of a source, which is closed again."""
    clip = spec_of_brightness().clip
    capture = open_capture(source, clip, TICK, timeout=10, reconnect=0, transport="tcp")
    capture.close()
    return type(capture)


DEVICE = "/dev/video0"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "expected"),
    [(0, 0), (np.int64(3), 3), (DEVICE, DEVICE), (Path(DEVICE), DEVICE)],
)
def test_cameras(camera, source, expected):
    kind = camera(1)
    assert opened(source) is CameraCapture
    assert kind.opened == ((expected,),)


@pytest.mark.slow
@pytest.mark.parametrize("source", [True, False, np.True_, None, 1.0, b"video.mp4"])
def test_what_is_none_of_these(camera, source):
    kind = camera(1)
    with pytest.raises(UsageError, match="cannot be streamed; give a camera's number"):
        opened(source)
    assert kind.opened == ()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a ! b.mp4", "odd:/clip.mp4", "clip.mp4"])
def test_a_file_that_exists_is_a_file(tmp_path, monkeypatch, clip, name):
    path = tmp_path / "of" / name
    path.parent.mkdir(parents=True)
    shutil.copy(clip, path)
    assert opened(path) is FileCapture
    assert opened(str(path).replace("odd:/", "odd://")) is FileCapture
    monkeypatch.chdir(tmp_path / "of")
    assert opened(name) is FileCapture


@pytest.mark.slow
def test_a_file_in_shared_memory_is_no_camera(clip):
    with tempfile.NamedTemporaryFile(dir="/dev/shm", suffix=".mp4") as file:
        file.write(clip.read_bytes())
        file.flush()
        assert opened(file.name) is FileCapture


@pytest.mark.slow
def test_pipelines_may_be_long(camera):
    kind = camera(1)
    pipeline = f"videotestsrc pattern=1 ! {'identity ! ' * 500}appsink"
    assert opened(pipeline) is PipelineCapture
    assert kind.opened == ((pipeline, 1800),)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nowhere.mp4", "odd://", "x" * 5000, "zero\0byte"])
def test_there_is_no_such_file(name):
    with pytest.raises(VideoError):
        opened(name)
