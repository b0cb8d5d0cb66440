"""GStreamer pipelines through an OpenCV that has GStreamer."""

import contextlib
import itertools
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from functools import partial

import numpy as np
import pytest
from live import TICK, Clock, free_port, grey, rtsp_servers, shows, watch
from models import brightness_model
from requirements import require
from swing import swing

from r2p_edge.errors import VideoError
from r2p_edge.live.capture import opencv
from r2p_edge.live.capture.opencv import PipelineCapture

END = "videoconvert ! video/x-raw,format=BGR ! appsink"
"""How every pipeline ends."""


@pytest.fixture(autouse=True)
def _gstreamer(no_thread_is_left):
    """GStreamer; Debian's OpenCV leaves files of it open."""
    require("gstreamer")


def opened(pipeline, *, reconnect=0.0, wait=threading.Event.wait):
    """Open a pipeline on a clock that goes on by a tick with each frame."""
    now = itertools.count()
    return PipelineCapture(
        pipeline,
        reconnect=reconnect,
        clock=lambda: next(now) * TICK / 2,  # it is asked twice for each
        wait=wait,
    )


class Sender:
    """A camera that a pipeline connects to, which sends what it is told to."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.pipeline = (
            f"tcpclientsrc host=127.0.0.1 port={port} ! "
            f"rawvideoparse width=64 height=48 format=bgr framerate=25/1 ! {END} sync=false"
        )
        self._connection = None

    def send(self, *numbers):
        if self._connection is None:
            self._connection, _ = self._listener.accept()
        for number in numbers:
            self._connection.sendall(grey(swing(number), 48, 64).tobytes())

    def end(self):
        self.send()
        self._connection.close()
        self._connection = None

    def close(self):
        if self._connection is not None:
            self._connection.close()
        self._listener.close()


@pytest.fixture
def sender():
    with contextlib.closing(Sender()) as sender:
        yield sender


def then(frames, count, call):
    """Yield frames; call once a reader has done with so many of them and asks for the next."""
    for number, frame in enumerate(frames, 1):
        yield frame
        if number == count:
            call()


def in_thread(call, *arguments):
    thread = threading.Thread(target=call, args=arguments)
    thread.start()
    return thread


@pytest.mark.parametrize("live", ["true", "false"])
def test_a_pipeline_is_watched_to_its_end(predictor, live):
    pipeline = (
        f"videotestsrc num-buffers=20 is-live={live} pattern=blue ! "
        f"video/x-raw,width=96,height=80,framerate=25/1 ! {END}"
    )
    with watch(predictor, opened(pipeline), stride=1, policy="all") as answers:
        found = list(answers)
    assert len(found) == 17
    ends = [answer.span[1] for answer in found]
    np.testing.assert_allclose(np.diff(ends), TICK)
    assert {(answer.coverage, answer.live.gaps) for answer in found} == {(1.0, 0)}
    assert found[0].live.image.shape == (80, 96, 3)
    assert found[0].live.image.mean((0, 1)).round().tolist() == [0, 0, 255]


def first_numbers(seen):
    """Return the first of the successive frames that whole windows show; none if they are not."""
    whole = [answer for answer in seen if answer.coverage == 1.0]
    assert len(whole) >= len(seen) - 3  # the clock is asked more often when a source is back
    return [
        first
        for first in range(46)
        if all(shows(answer, first + k, 1) for k, answer in enumerate(whole))
    ]


def test_a_sender_that_goes_and_comes_back_twice(predictor, sender):
    sending = in_thread(sender.send, *range(10))
    capture = opened(sender.pipeline, reconnect=1e6)
    found = []
    with watch(predictor, capture, stride=1, policy="all") as answers:
        for first in (10, 20, 30):
            found.append([next(answers) for _ in range(7)])
            sending.join()
            sender.end()
            sending = in_thread(sender.send, *range(first, first + 10))
        sending.join()
    assert [{answer.live.gaps for answer in seen} for seen in found] == [{0}, {1}, {2}]
    # After a gap the first whole window may come two frames later; see `first_numbers`.
    assert [first_numbers(seen) for seen in found] == [[3], [14], [24]]


@pytest.mark.slow
def test_an_rtsp_server_that_is_killed_twice(predictor):
    """Through GStreamer's own client, as on a Jetson."""
    require("gst_rtsp")
    back = threading.Event()
    with rtsp_servers("h264") as (url, serve):
        serve(0)
        pipeline = (
            f'rtspsrc location="{url}" protocols=tcp latency=200 ! rtph264depay ! h264parse ! '
            f"openh264dec ! {END} sync=false"
        )
        capture = opened(pipeline, reconnect=1e6, wait=lambda *_: back.wait(60))
        found = [[], [], []]
        with watch(predictor, capture, stride=1, policy="all") as answers:
            for answer in answers:
                run = answer.live.gaps
                found[run].append(answer)
                if len(found[run]) == 20 and run < 2:
                    back.clear()
                    serve(0)
                    back.set()
                if len(found[2]) == 20:
                    break
    assert [len(first_numbers(seen)) for seen in found] == [1, 1, 1]


RAW = "videotestsrc num-buffers=5 ! video/x-raw,width=64,height=48"


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        (f"{RAW},format=GRAY8 ! appsink", r"gives no frames \(a frame has shape \(48, 64\)"),
        (f"{RAW},format=I420 ! appsink", r"gives no frames \(a frame has shape \(72, 64\)"),
        (f"{RAW},format=BGRx ! appsink", r"gives no frames \(a frame has shape \(48, 64, 4\)"),
        (f"{RAW},format=RGB ! appsink", "cannot be opened"),
        ("videotestsrc ! nosuchelement ! appsink", "cannot be opened"),
        ("videotestsrc ! ! appsink", "cannot be opened"),
        ("videotestsrc ! videoconvert ! fakesink", "cannot be opened"),
        (f"{RAW} ! video/x-raw,width=65 ! {END}", "cannot be opened"),
        (f"filesrc location=/absent.mp4 ! decodebin ! {END}", "cannot be opened"),
        (f"v4l2src device=/dev/video97 ! {END}", "cannot be opened"),
        (f"videotestsrc num-buffers=0 ! {END}", r"gives no frames \(it ended\)"),
    ],
)
def test_pipelines_that_are_refused(predictor, pipeline, message):
    with (
        pytest.raises(VideoError, match=message) as caught,
        predictor.stream(pipeline, reconnect=0) as answers,
    ):
        next(answers)
    assert str(caught.value).startswith(f"{pipeline} ")
    assert "; end it with videoconvert ! video/x-raw,format=BGR ! appsink, and" in str(caught.value)


def test_a_pipeline_that_gives_no_frame(predictor, sender, monkeypatch):
    monkeypatch.setattr(PipelineCapture, "timeout", 0.0)
    monkeypatch.setattr(opencv, "_OPENING_SLACK", 0.0)
    before = set(threading.enumerate())
    with pytest.raises(VideoError, match=r"appsink sync=false has given no frame for 0 s; end it"):
        predictor.stream(sender.pipeline)
    # What was left behind frees the pipeline when that is open at last.
    (left,) = set(threading.enumerate()) - before
    sender.send(0, 1)
    left.join(60)
    sender.end()


def test_a_pipeline_that_stops_giving_frames(predictor, sender, monkeypatch):
    first = in_thread(sender.send, *range(7))
    clock, done = Clock(), threading.Event()
    capture = opened(sender.pipeline)
    monkeypatch.setattr(capture, "frames", partial(then, capture.frames(), 7, done.set))
    with watch(predictor, capture, clock=clock) as answers:
        next(answers)
        first.join()
        assert done.wait(60)  # or the last frames would come after the clock is moved
        clock.now += 100.0
        with pytest.raises(VideoError, match="appsink sync=false has given no frame for 60 s"):
            list(answers)
        sender.end()


COMMAND = """
import sys
from r2p_edge.cli import main
from r2p_edge.live.capture.opencv import PipelineCapture

PipelineCapture.timeout = 0.1
sys.exit(main())
"""


def command(tmp_path, pipeline, *options):
    model = brightness_model(tmp_path / "model.onnx")
    return [sys.executable, "-c", COMMAND, "stream", model, pipeline, "--json", *options]


NOBODY = f"rtspsrc location=rtsp://127.0.0.1:{free_port()}/camera"


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        (f"videotestsrc ! valve drop=true ! {END}", "has given no frame for 0.1 s"),
        # OpenCV may notice first that nobody is there.
        (f"{NOBODY} ! rtph264depay ! openh264dec ! {END}", "(has given|cannot be opened)"),
    ],
)
def test_the_command_does_not_wait_for_ever(tmp_path, pipeline, message):
    done = subprocess.run(command(tmp_path, pipeline), capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (3, "")
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("r2p-edge: ")]
    assert re.match(f"r2p-edge: error: {re.escape(pipeline)} {message}", said)


def test_the_command_watches_a_pipeline_until_it_is_stopped(tmp_path):
    pipeline = f"videotestsrc is-live=true ! video/x-raw,framerate=25/1 ! {END}"
    stream = subprocess.Popen(
        command(tmp_path, pipeline), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    found = [json.loads(stream.stdout.readline()) for _ in range(5)]
    stream.send_signal(signal.SIGTERM)
    rest, errors = stream.communicate(timeout=60)
    assert stream.returncode == 0, errors
    found += [json.loads(line) for line in rest.splitlines()]
    assert all(a["time"] < b["time"] for a, b in itertools.pairwise(found))
    assert {answer["source"] for answer in found} == {pipeline}
