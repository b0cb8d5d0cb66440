"""Cameras and GStreamer pipelines, through OpenCV; a frame's time is when it arrives."""

from __future__ import annotations

import concurrent.futures
import math
import sys
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from r2p_edge._optional import OPENCV, import_library
from r2p_edge.addresses import without_password
from r2p_edge.errors import MissingDependencyError, VideoError, VideoNotFoundError
from r2p_edge.live.capture.reconnecting import LiveCapture, Wait
from r2p_edge.live.frame import LiveFrame, decoded
from r2p_edge.prediction import Timing
from r2p_edge.video.arrays import frame_from_item

_GSTREAMER = (
    "this OpenCV was built without GStreamer, as those of PyPI are; use the system's (on Jetson "
    "and Debian python3-opencv, in an environment with --system-site-packages), or give an "
    "rtsp:// address"
)

_OPENING_SLACK = 1.0
"""Seconds for an OpenCV that gives up by itself, and then says why on stderr."""


class OpenCVCapture(LiveCapture):
    """A source that OpenCV reads; its frames are timed as they arrive."""

    def _open(self) -> None:
        cv2 = import_library("cv2", OPENCV)
        self._capture = self._opened(cv2)
        if not self._capture.isOpened():
            self._capture.release()
            raise VideoError(f"{self.name} cannot be opened; {self.advice}")

    @abstractmethod
    def _opened(self, cv2: Any) -> Any:
        """Return a `cv2.VideoCapture`, open or not."""

    def _play(self) -> Iterator[LiveFrame]:
        while self._capture.grab():
            now, timing = self._clock(), Timing()
            with timing.stage("decode"):
                good, image = self._capture.retrieve()
            if not good or self._stopped.is_set():
                return
            image = frame_from_item(image)
            yield LiveFrame(
                time=now,
                captured=now,
                size=image.shape[:2],
                picture=decoded(image),
                color="BGR",
                decode_ms=timing.decode,
            )

    def _release(self) -> None:
        self._capture.release()


class CameraCapture(OpenCVCapture):
    """A camera, by its number or its device."""

    timeout = 10.0  # OpenCV's own, of V4L2 (modules/videoio/src/cap_v4l.cpp)
    advice = "check that no other program uses it and that this user may (group video)"

    def __init__(
        self,
        source: int | str,
        *,
        reconnect: float,
        clock: Callable[[], float] = time.monotonic,
        wait: Wait = threading.Event.wait,
    ) -> None:
        self._source = source
        device = Path(f"/dev/video{source}" if isinstance(source, int) else source)
        waits = math.isinf(reconnect)  # for a camera that may be plugged in tomorrow
        if sys.platform == "linux" and not waits and not device.exists():
            found = ", ".join(sorted(map(str, Path("/dev").glob("video*")))) or "none"
            raise VideoNotFoundError(f"there is no camera {device}; found: {found}")
        super().__init__(str(device), reconnect=reconnect, clock=clock, wait=wait)

    def _opened(self, cv2: Any) -> Any:
        return cv2.VideoCapture(self._source)


class PipelineCapture(OpenCVCapture):
    """A GStreamer pipeline that ends in an appsink with BGR frames."""

    timeout = 30.0  # OpenCV's own from 4.7 on; before, its calls end with the pipeline only
    advice = (
        "end it with videoconvert ! video/x-raw,format=BGR ! appsink, and "
        "try it with gst-launch-1.0, with fakesink for appsink"
    )

    def __init__(
        self,
        pipeline: str,
        *,
        reconnect: float,
        clock: Callable[[], float] = time.monotonic,
        wait: Wait = threading.Event.wait,
    ) -> None:
        self._pipeline = pipeline
        super().__init__(without_password(pipeline), reconnect=reconnect, clock=clock, wait=wait)

    def _opened(self, cv2: Any) -> Any:
        if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
            raise MissingDependencyError(_GSTREAMER)
        # OpenCV waits for the first frame, and no signal is heard meanwhile: in a thread, which is
        # left behind where no frame comes.
        opening: concurrent.futures.Future[Any] = concurrent.futures.Future()
        threading.Thread(
            target=_fulfil,
            args=(opening, cv2.VideoCapture, self._pipeline, cv2.CAP_GSTREAMER),
            name=f"r2p_edge opens {self.name}",
            daemon=True,
        ).start()
        try:
            return opening.result(self.timeout + _OPENING_SLACK)
        except concurrent.futures.TimeoutError:
            raise VideoError(
                f"{self.name} has given no frame for {self.timeout:g} s; {self.advice}"
            ) from None


def _fulfil(
    future: concurrent.futures.Future[Any], call: Callable[..., Any], *arguments: Any
) -> None:
    """Give a future what a call returns or raises."""
    try:
        future.set_result(call(*arguments))
    except BaseException as error:  # is raised again in the thread that waits
        future.set_exception(error)
