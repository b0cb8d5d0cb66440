"""What a stream can be opened from: cameras, network streams, GStreamer pipelines and files.

PyAV reads files and network streams, for their timestamps; OpenCV reads cameras and pipelines.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import sys
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from r2p_edge._optional import import_library
from r2p_edge.errors import MissingDependencyError, UsageError, VideoError, VideoNotFoundError
from r2p_edge.frame import Image, Planes
from r2p_edge.live.buffer import Shot
from r2p_edge.live.capture.network import AddressCapture
from r2p_edge.live.capture.reconnecting import LiveCapture
from r2p_edge.spec import ClipSpec
from r2p_edge.video.file import ShorterThanDeclaredError, Times
from r2p_edge.video.sampling import SLACK, nearest
from r2p_edge.video.source import frame_from_item, open_source

_GSTREAMER = (
    "this OpenCV was built without GStreamer, as those of PyPI are; use the system's (on Jetson "
    "and Debian python3-opencv, in an environment with --system-site-packages), or give an "
    "rtsp:// address"
)


class Capture(Protocol):
    """A source of frames in the order of their times.

    Attributes:
        name: for messages.
        live: it goes on whether or not its frames are read.
        timeout: seconds that it may take to give the next frame, if it is live.
        truncated: it ended before it said that it would.
    """

    name: str
    live: bool
    timeout: float

    @property
    def truncated(self) -> bool: ...

    def shots(self) -> Iterator[Shot]:
        """The frames; it is opened again where it breaks off.

        Raises:
            VideoError: it is lost for good.
        """
        ...

    def stop(self) -> None:
        """Makes `shots` end soon; from any thread."""
        ...

    def close(self) -> None:
        """Releases the source; from the thread that reads it, or after it."""
        ...


def open_capture(
    source: Any,
    clip: ClipSpec,
    tick: float,
    *,
    timeout: float,
    reconnect: float,
    transport: Literal["tcp", "udp"],
    clock: Callable[[], float] = time.monotonic,
) -> Capture:
    """The source behind a camera's number or device, an address, a pipeline, or a path.

    Args:
        clip: how the model wants its frames.
        tick: seconds from one frame that is wanted of a file to the next.
        timeout, reconnect, transport: see `Predictor.stream`.

    Raises:
        VideoNotFoundError: there is no such camera or file.
        VideoError: it cannot be opened, or has no frames.
        MissingDependencyError: OpenCV, or its GStreamer, is not installed.
    """
    if isinstance(source, int):
        return CameraCapture(source, reconnect=reconnect, clock=clock)
    if not isinstance(source, (str, os.PathLike)):
        raise UsageError(
            f"{source!r:.80} is no stream; give a camera's number, an address, a pipeline or a "
            "file, or push frames of your own into a Stream"
        )
    name = os.fsdecode(source)
    if " ! " in name:
        return PipelineCapture(name, reconnect=reconnect, clock=clock)
    if name.startswith("/dev/"):
        return CameraCapture(name, reconnect=reconnect, clock=clock)
    if "://" not in name:
        return FileCapture(name, clip, tick, clock)
    address = AddressCapture(
        name,
        timeout=timeout,
        reconnect=reconnect,
        transport=transport,
        patience=clip.frames * clip.tick / 2,
        clock=clock,
    )
    if address.live:
        return address
    address.close()
    return FileCapture(name, clip, tick, clock)


class FileCapture:
    """A finite video: the frames nearest to its ticks, as `sampling` picks them from files."""

    live = False
    timeout = math.inf

    def __init__(self, name: str, clip: ClipSpec, tick: float, clock: Callable[[], float]) -> None:
        self.name = name
        self._clip, self._tick, self._clock = clip, tick, clock
        self._stopped = False
        # True times, of long files too: all of it is going to be read anyway.
        count: Literal["trust", "packets"] = "trust" if "://" in name else "packets"
        self._video = open_source(name, clip.fps, count=count, planes=True)

    @property
    def truncated(self) -> bool:
        """See `Capture`."""
        return self._video.truncated

    def shots(self) -> Iterator[Shot]:
        """See `Capture`."""
        newest = -math.inf
        # A file that ends before it says has then been counted: what is left is planned again.
        for _ in range(2):
            wanted = self._wanted()
            wanted = wanted[wanted > newest]
            with contextlib.suppress(ShorterThanDeclaredError):
                for time, picture in zip(wanted.tolist(), self._video.read(wanted)):
                    if self._stopped:
                        return
                    newest = time
                    shown = functools.partial(_same, picture)
                    yield Shot(time, self._clock(), picture.shape[:2], shown)
                return
        raise VideoError(f"{self.name} decodes differently every time; convert the file")

    def _wanted(self) -> Times:
        """Times of the frames that are nearest to a tick, and of the last, which settles it."""
        times = self._video.times
        ticks = math.floor((times[-1] + SLACK / self._clip.fps) / self._tick) + 1
        moments: Times = np.arange(ticks, dtype=np.float64) * self._tick
        return np.asarray(times[np.union1d(nearest(times, moments), len(times) - 1)])

    def stop(self) -> None:
        """See `Capture`."""
        self._stopped = True

    def close(self) -> None:
        """See `Capture`."""
        self._video.close()


class OpenCVCapture(LiveCapture):
    """What OpenCV reads; its frames are timed as they arrive."""

    def _open(self) -> None:
        cv2 = import_library("cv2", 'pip install "r2p_edge[opencv]"')
        self._capture = self._opened(cv2)
        if not self._capture.isOpened():
            self._capture.release()
            raise VideoError(f"{self.name} cannot be opened; {self.advice}")

    @abstractmethod
    def _opened(self, cv2: Any) -> Any:
        """A `cv2.VideoCapture`, open or not."""

    def _play(self) -> Iterator[Shot]:
        while self._capture.grab():
            now = self._clock()
            good, image = self._capture.retrieve()
            if not good or self._stopped.is_set():
                return
            image = frame_from_item(image)
            yield Shot(now, now, image.shape[:2], functools.partial(_same, image), "BGR")

    def close(self) -> None:
        """See `Capture`."""
        self._capture.release()


class CameraCapture(OpenCVCapture):
    """A camera, by its number or its device."""

    timeout = 10.0  # OpenCV's own, of V4L2 (modules/videoio/src/cap_v4l.cpp)
    advice = "check that no other program uses it and that this user may (group video)"

    def __init__(self, source: int | str, *, reconnect: float, clock: Callable[[], float]) -> None:
        self._source = source
        device = Path(f"/dev/video{source}" if isinstance(source, int) else source)
        if sys.platform == "linux" and not device.exists():
            found = ", ".join(sorted(map(str, Path("/dev").glob("video*")))) or "none"
            raise VideoNotFoundError(f"there is no camera {device}; found: {found}")
        super().__init__(str(device), reconnect=reconnect, clock=clock)

    def _opened(self, cv2: Any) -> Any:
        return cv2.VideoCapture(self._source)


class PipelineCapture(OpenCVCapture):
    """A GStreamer pipeline that ends in an appsink with BGR frames."""

    timeout = 30.0  # OpenCV's own from 4.7 on; before, its read ends with the pipeline only
    advice = "try it with gst-launch-1.0, with fakesink for appsink"

    def _opened(self, cv2: Any) -> Any:
        if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
            raise MissingDependencyError(_GSTREAMER)
        return cv2.VideoCapture(self.name, cv2.CAP_GSTREAMER)


def _same(picture: Image | Planes) -> Image | Planes:
    return picture
