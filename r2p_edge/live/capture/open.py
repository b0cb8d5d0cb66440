"""The choice of what reads a live source: PyAV or OpenCV, once or for ever.

PyAV reads files and network streams, because it gives their timestamps; OpenCV reads cameras and
GStreamer pipelines.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Protocol

from r2p_edge.errors import UsageError
from r2p_edge.live.arguments import is_whole
from r2p_edge.live.capture.file import FileCapture
from r2p_edge.live.capture.network import AddressCapture
from r2p_edge.live.capture.opencv import CameraCapture, PipelineCapture
from r2p_edge.live.frame import LiveFrame
from r2p_edge.spec import ClipSpec

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


class Capture(Protocol):
    """A source of frames in the order of their times.

    Attributes:
        name: name for messages.
        live: True if the source goes on whether or not its frames are read.
        timeout: seconds that a live source may take to give the next frame.
    """

    name: str
    live: bool
    timeout: float

    @property
    def truncated(self) -> bool:
        """True if the source ended before the end that it declares."""
        ...

    def frames(self) -> Iterator[LiveFrame]:
        """Yield the frames; a live source is opened again where it breaks off.

        Raises:
            VideoError: it is lost for good.
        """
        ...

    def stop(self) -> None:
        """Make `frames` end soon; from any thread."""
        ...

    def close(self) -> None:
        """Release the source; from the thread that reads it, or after it."""
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
    """Open the source behind a camera's number or device, an address, a pipeline, or a path.

    Args:
        clip: how the model wants its frames.
        tick: seconds from one frame that is wanted of a file to the next.
        timeout, reconnect, transport: see `Predictor.stream`.
        clock: returns seconds of a monotonic clock.

    Raises:
        VideoNotFoundError: there is no such camera or file.
        VideoError: it cannot be opened, or has no frames.
        UsageError: it is none of these.
        MissingDependencyError: OpenCV, or its GStreamer, is not installed.
    """
    if is_whole(source):
        return CameraCapture(int(source), reconnect=reconnect, clock=clock)
    if not isinstance(source, (str, os.PathLike)):
        raise UsageError(
            f"{source!r:.80} cannot be streamed; give a camera's number, an address, a pipeline "
            "or a file, or push frames of your own into a Stream"
        )
    name = os.fsdecode(source)
    if _ADDRESS.match(name):
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
        return FileCapture(name, clip, tick, clock=clock, container=address.container)
    # A file that exists is a file, also in /dev/shm or with " ! " in its name.
    if not _is_video(name):
        if " ! " in name:
            return PipelineCapture(name, reconnect=reconnect, clock=clock)
        if name.startswith("/dev/"):
            return CameraCapture(name, reconnect=reconnect, clock=clock)
    return FileCapture(name, clip, tick, clock=clock)


def _is_video(name: str) -> bool:
    """Return True for the path of a file, or of a folder of images."""
    path = Path(name)
    try:
        return path.is_file() or path.is_dir()
    except (OSError, ValueError):  # a name that is too long, as pipelines are, or has a zero byte
        return False
