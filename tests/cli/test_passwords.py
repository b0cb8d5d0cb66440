"""No password of a camera in anything that the programs print, or that errors in Python show."""

import json
import os
import subprocess
import sys
import threading
import traceback

import numpy as np
import pytest
from file_server import serving
from paths import EXAMPLES
from requirements import require
from videos import written

from r2p_edge import Predictor
from r2p_edge.cli import main
from r2p_edge.errors import R2PError

SECRET = "S3cret"
NOWHERE = "127.0.0.1:9"  # where nobody listens
SOURCES = [
    f"rtsp://admin:{SECRET}@{NOWHERE}/cam",
    f"http://admin:p@ss:{SECRET}@{NOWHERE}/x.mp4",
    f"rtsp://admin%3A{SECRET}@{NOWHERE}/cam",
    f"http://admin:{SECRET}/1@{NOWHERE}/x.mp4",
    f"tcp://admin:two {SECRET}@{NOWHERE}",
    f"http://admin:{SECRET}@[::1]:9/x.mp4",
    f"http://{NOWHERE}/x.mp4?user=admin&pwd={SECRET}",
    f"http://{NOWHERE}/x.mp4?token={SECRET}",
    f"srt://{NOWHERE}?passphrase={SECRET}&mode=caller",
    f"unheard-of://admin:{SECRET}@{NOWHERE}",
    f"rtsp:/admin:{SECRET}@{NOWHERE}/cam",
    f"rtspsrc location=rtsp://{NOWHERE}/x user-id=admin user-pw={SECRET} ! decodebin",
    f'rtspsrc location="rtsp://a:{SECRET}@{NOWHERE}/x" ! decodebin ! appsink',
]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    "verb", [["predict"], ["stream", "--timeout", "1", "--reconnect", "0"]], ids=lambda it: it[0]
)
def test_a_source_that_cannot_be_opened(model, capfd, verb, source):
    """Libraries write to stderr too, past Python."""
    for more in (["--json", "--verbose"], []):
        assert main([verb[0], str(model), source, *verb[1:], *more]) > 0
        printed = "".join(capfd.readouterr())
        assert "***" in printed or "127.0.0.1" not in printed
        assert SECRET not in printed


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("method", ["predict", "stream", "outputs"])
def test_errors_in_python_and_their_causes(model, method, source):
    with Predictor(model) as predictor, pytest.raises(R2PError) as caught:
        getattr(predictor, method)(source)
    shown = "".join(traceback.format_exception(None, caught.value, None))
    for cause in (caught.value, caught.value.__cause__, caught.value.__context__):
        shown += "".join(traceback.format_exception_only(cause)) if cause else ""
        shown += repr(cause)
    assert SECRET not in shown


@pytest.mark.parametrize("length", [30, 70, 300])
def test_what_is_no_source_is_cut_after_its_password(model, length):
    secret = (SECRET * 60)[:length]
    with Predictor(model) as predictor:
        for call in (predictor.stream, predictor.predict):
            for source in ({f"rtsp://a:{secret}@h": 1}.keys(), f"rtsp:/a:{secret}@{'h' * 300}"):
                with pytest.raises(R2PError) as caught:
                    call(source)
                assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [["stream", "m", "0"], ["predict", "m", "--views"], ["stream", "m", "0", "--every"]],
)
def test_arguments_that_are_wrong(capsys, run, arguments):
    with pytest.raises(SystemExit):
        run(*arguments, SOURCES[0])
    printed = "".join(capsys.readouterr())
    assert "rtsp://***@" in printed
    assert SECRET not in printed


@pytest.fixture
def served(tmp_path):
    """The address of a video on a server that takes any password."""
    options = {"movflags": "faststart"}  # a file with an end, in front of its pictures
    file = tmp_path / "clip.mp4"
    written(file, np.arange(50) / 25, codec="libx264", rate=25, options=options)
    with serving(tmp_path) as server:
        yield server.url(f"{file.name}?token={SECRET}").replace("//", f"//admin:{SECRET}@")


@pytest.mark.slow
def test_answers_show_none(run, motion_model, served):
    for verb, field in (("predict", "video"), ("stream", "source")):
        code, output, errors = run(verb, motion_model, served, "--json", "--verbose")
        assert code == 0
        assert json.loads(output.splitlines()[0])[field].startswith("http://***@127.0.0.1:")
        assert SECRET not in output + errors
        code, output, errors = run(verb, motion_model, served)
        assert (code, SECRET in output + errors) == (0, False)


@pytest.mark.slow
def test_answers_in_python_show_none_but_a_name_that_was_given(motion_model, served):
    with Predictor(motion_model) as predictor:
        with predictor.stream(served) as answers:
            live = next(answers).live
            names = [thread.name for thread in threading.enumerate()]
        assert any("http://***@" in name for name in names)
        assert SECRET not in repr([live, live.source, live.to_dict(), *names])
        with predictor.stream_many({served: served}) as answers:
            live = next(answers).live
        assert live.source == served  # by which the caller knows it
        assert SECRET not in repr([live, live.to_dict()])
        with pytest.raises(R2PError) as caught:
            predictor.stream_many({served: served}, policy="latest")
        assert SECRET not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [[SOURCES[0], "--json"], [SOURCES[5], "--json"], ["0", SOURCES[0]]]
)
def test_webcam(model, arguments):
    command = [sys.executable, EXAMPLES / "webcam.py", model, "--no-window", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode > 0
    assert "***" in done.stderr
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.slow
def test_webcam_answers(motion_model, served):
    command = [sys.executable, EXAMPLES / "webcam.py", motion_model, served]
    done = subprocess.run([*command, "--no-window", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "http://***@" in done.stdout
    assert SECRET not in done.stdout + done.stderr


def test_pipelines_that_gstreamer_refuses(model):
    """OpenCV and GStreamer write of them on stderr by themselves."""
    require("gstreamer")
    for source in SOURCES[-2:]:
        command = [sys.executable, "-m", "r2p_edge", "stream", model, source, "--reconnect", "0"]
        environment = {**os.environ, "OPENCV_LOG_LEVEL": "VERBOSE"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode > 0
        assert SECRET not in done.stdout + done.stderr
