"""Stand-ins for what a stream needs: a predictor, cameras, and a clock that tests drive."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from functools import partial
from types import SimpleNamespace

import numpy as np
from models import grey_frames, levels, spec_of_brightness
from paths import HELPERS
from requirements import SYSTEM_PYTHON
from swing import swing

from r2p_edge.live.frame import LiveFrame
from r2p_edge.live.predictions import Feed, PredictionStream
from r2p_edge.live.stream import Stream

TICK = 0.08


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def wait(self, event, seconds):
        """Let the time pass that a source waits before it is opened again."""
        self.now += seconds


class Shown:
    """A predictor that keeps the level of each frame of each window that it is shown."""

    runtime = device = precision = "none"

    def __init__(self, spec=None, cost=lambda: None):
        self.spec = spec or spec_of_brightness()
        self.windows, self._cost = [], cost

    def scores(self, pixels, *, timing):
        (clip,) = pixels
        assert (clip == clip[:, :1, :1, :1]).all()
        self.windows.append(clip[:, 0, 0, 0].tolist())
        self._cost()
        return np.full((1, len(self.spec.labels)), 1 / len(self.spec.labels))


def grey(level, height=10, width=12):
    """Return an image of one grey level."""
    return grey_frames([level % 250], height, width)[0]


def block(column):
    """Return a dark image of 16x16 pixels with a light block that begins at this column."""
    image = grey(20, 16, 16)
    image[4:12, column : column + 8] = 220
    return image


def push_all(stream, times, levels=None):
    """Push a frame at each of these times, frame k of level k; return the predictions."""
    levels = range(len(times)) if levels is None else levels
    pushed = (stream.push(grey(level), float(time)) for level, time in zip(levels, times))
    return [answer for answer in pushed if answer is not None]


class Camera:
    """A live source that shows frames when it is told to, frame k of level k at k / 25 seconds.

    Args:
        on_stall: is called, in the reader's thread, when there is nothing to show.
    """

    live, truncated, lost, timeout = True, False, False, 10.0

    def __init__(self, frames=range(10**6), name="camera", on_stall=lambda: None, **more):
        self.name, self._frames, self._on_stall, self._more = name, frames, on_stall, more
        self._go, self._stopped = threading.Semaphore(0), False
        self.shown, self.closed = threading.Event(), False

    def show(self, count):
        self._go.release(count)

    def frames(self):
        for k in self._frames:
            self.shown.set()
            if not self._go.acquire(blocking=False):
                self._on_stall()
                self._go.acquire()
            if self._stopped:
                return
            yield LiveFrame(k / 25, 0.0, (10, 12), partial(grey, k), **self._more)

    def stop(self):
        self._stopped = True
        self._go.release()

    def close(self):
        self.closed = True


def watch(predictor, *captures, policy="latest", patience=60.0, notifier=None, clock=None, **more):
    """Return the prediction stream of these captures, each with a stream of these options."""
    clock = clock or Clock()
    feeds = [
        Feed(Stream(predictor, name=capture.name, **more), capture, policy, patience, clock=clock)
        for capture in captures
    ]
    return PredictionStream(feeds, notifier=notifier)


def free_port():
    """Return the number of a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def senders(port):
    """Yield a function that starts a sender of live video, a process; end them all at last."""
    with contextlib.ExitStack() as ends:

        def send(first, count, codec="libx264"):
            sender = [sys.executable, str(HELPERS / "mpegts_sender.py"), f"tcp://127.0.0.1:{port}"]
            process = subprocess.Popen([*sender, str(first), str(count), codec])
            ends.callback(process.wait)
            ends.callback(process.kill)
            return process

        yield send


@contextlib.contextmanager
def rtsp_servers(codec, login=None):
    """Yield an address, and a function that starts its server anew, from a frame on.

    Args:
        codec: of the picture.
        login: USER:PASSWORD that it demands.
    """
    port, running = free_port(), []

    def stop():
        for process in running:
            process.kill()
            process.communicate()
        running.clear()

    def serve(first):
        stop()
        server = [SYSTEM_PYTHON, HELPERS / "rtsp_server.py", str(port), str(first), codec]
        more = {"R2P_RTSP_LOGIN": login} if login else {}
        environment = {**os.environ, **more}
        running.append(subprocess.Popen(server, stdout=subprocess.PIPE, text=True, env=environment))
        assert running[0].stdout.readline() == "ready\n"

    try:
        yield f"rtsp://127.0.0.1:{port}/camera", serve
    finally:
        stop()


def wait_for(stream, condition):
    """Wait until the readers of a prediction stream have got so far."""
    with stream._changed:
        assert stream._changed.wait_for(condition, 60)


def shown_numbers(answer):
    """Return the numbers of the frames of a window of `mpegts_sender`."""
    newest = round((float(answer.live.image.mean()) - 20) / 2)
    shown = np.array(levels(answer)) / 2
    return (newest - shown.max() + shown).round().astype(int).tolist()


def shows(answer, number, step):
    """Return True if a window ends with this frame of a sender, and has every `step`th before."""
    seen = np.array(levels(answer)) - levels(answer)[-1] + float(answer.live.image.mean())
    sent = [swing(number - step * back) for back in reversed(range(len(seen)))]
    return bool(np.abs(seen - sent).max() < 5)  # encoded, it is off by 4; by a frame, by 10


class FakeVideoCapture:
    """OpenCV's VideoCapture of a camera; a subclass has the number of frames of each opening."""

    opened = ()

    def __init__(self, *arguments):
        type(self).opened = (*self.opened, arguments)
        self._left = self.frames.pop(0) if self.frames else 0
        self.number = 0

    def isOpened(self):  # noqa: N802
        return self._left is not None

    def grab(self):
        self._left -= 1
        return self._left >= 0

    def retrieve(self):
        self.number += 1
        return True, grey(self.number)

    def release(self):
        pass


def fake_cv2(*frames, gstreamer=True):
    """Return an OpenCV whose cameras give these numbers of frames; None cannot be opened."""
    return SimpleNamespace(
        VideoCapture=type("Fake", (FakeVideoCapture,), {"frames": list(frames)}),
        CAP_GSTREAMER=1800,
        videoio_registry=SimpleNamespace(hasBackend=lambda _: gstreamer),
    )
