"""Films of events: the newest pictures of each source, and how they become a file."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from r2p_edge.artifact.atomic import atomic_file, not_written
from r2p_edge.errors import OutputError, R2PError, one_line
from r2p_edge.frame import Image, Planes
from r2p_edge.pictures.encoding import reduced_jpeg_of

_LONGEST = 640  # pixels of the longer side of a picture
BEFORE_SECONDS, LONGEST_SECONDS = 3.0, 60.0
"""Seconds of a film before its event begins, and of a whole film at most."""

_STEP = 0.1  # seconds from one picture to the next at least
_SLACK = 0.01  # cameras of exactly ten pictures a second are not exact
_UNIT = 90_000
_OPTIONS = {"preset": "veryfast", "crf": "23"}
_BT709, _BT601 = 1, 5  # of FFmpeg's AVColorSpace, and the first of AVColorPrimaries too
_LIMITED, _FULL = 1, 2  # of its AVColorRange


class ClipFrame(NamedTuple):
    """A picture of a film: when it was captured, in seconds since 1970, and its JPEG file."""

    wall: float
    jpeg: bytes


class ClipRecorder:
    """The newest pictures of sources, ten a second, for films of events.

    A source keeps those of the last seconds, and those of a whole film while an event goes on.
    Safe to share between threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frames: dict[str, deque[ClipFrame]] = {}
        self._active: dict[str, int] = {}

    def add(self, source: str, picture: Callable[[], Image | Planes], wall: float) -> None:
        """Keep a picture, if it is time for one.

        Args:
            source: name of the source.
            picture: returns the picture in RGB, or its planes.
            wall: when it was captured, in seconds since 1970.
        """
        with self._lock:
            frames = self._frames.setdefault(source, deque())
            if frames and 0 <= wall - frames[-1].wall < _STEP - _SLACK:
                return
        try:
            jpeg = reduced_jpeg_of(picture(), _LONGEST)
        except R2PError:  # of colours that FFmpeg cannot convert; a film may lack a picture
            return
        with self._lock:
            frames.append(ClipFrame(wall, jpeg))
            kept = LONGEST_SECONDS if self._active.get(source) else BEFORE_SECONDS
            while frames[0].wall < wall - kept or frames[0].wall > wall:
                frames.popleft()

    def begin(self, source: str) -> None:
        """Keep the pictures of an event that begins."""
        with self._lock:
            self._active[source] = self._active.get(source, 0) + 1

    def end(self, source: str, began: float, ended: float) -> list[ClipFrame]:
        """Return the pictures of an event that has ended, and of the seconds before.

        Args:
            source: name of the source.
            began, ended: its moments in seconds since 1970.
        """
        with self._lock:
            self._active[source] = max(self._active.get(source, 0) - 1, 0)
            first = max(began - BEFORE_SECONDS, ended - LONGEST_SECONDS)
            return [each for each in self._frames.get(source, ()) if first <= each.wall <= ended]


def write_clip(path: Path, frames: Iterable[ClipFrame]) -> None:
    """Write pictures as a film in H.264, each at its own time; the first is at 0.

    Raises:
        OutputError: it cannot be written; nothing is left of it then.
    """
    import av

    decoder = av.CodecContext.create("mjpeg", "r")
    pictures = list(frames)
    if not pictures:
        raise OutputError(f"{path} cannot be written: no picture came; check the source")
    try:
        with atomic_file(path) as draft, av.open(f"file:{draft}", "w") as film:
            stream = film.add_stream("libx264", rate=10, options=_OPTIONS)
            stream.time_base = stream.codec_context.time_base = Fraction(1, _UNIT)
            stamp = -1
            for each in pictures:
                (frame,) = decoder.decode(av.Packet(each.jpeg))
                if stamp < 0:
                    _begin(stream.codec_context, frame)
                frame = frame.reformat(
                    stream.width,
                    stream.height,
                    "yuv420p",
                    src_colorspace=_BT601,  # of every JPEG file
                    dst_colorspace=_BT709,
                    src_color_range=_FULL,
                    dst_color_range=_LIMITED,
                )
                stamp = max(round((each.wall - pictures[0].wall) * _UNIT), stamp + 1)
                frame.pts, frame.time_base = stamp, Fraction(1, _UNIT)
                film.mux(stream.encode(frame))
            film.mux(stream.encode(None))
    except av.FFmpegError as error:
        if isinstance(error, OSError) and error.strerror:
            raise not_written(path, error) from error
        raise OutputError(f"{path} cannot be written ({one_line(error)})") from error


def _begin(context: Any, frame: Any) -> None:
    """Set up the encoder of a film for pictures like this one."""
    context.width, context.height, context.pix_fmt = frame.width, frame.height, "yuv420p"
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = _LIMITED
