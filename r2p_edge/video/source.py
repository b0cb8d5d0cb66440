"""Any source of frames behind one small interface.

PyAV reads files because it shows presentation times, rotation and broken metadata as they are;
OpenCV's reader hides all three. Frames are converted only when a clip needs them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from r2p_edge.errors import VideoError, VideoNotFoundError
from r2p_edge.frame import Image, Planes
from r2p_edge.video.file import Count, Times, VideoFile
from r2p_edge.video.sampling import nearest

_Picture = TypeVar("_Picture")

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_LIVE = ("rtsp", "rtsps", "rtmp", "rtp", "udp", "srt", "tcp")

VIDEO_SUFFIXES = {
    ".avi", ".mp4", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv", ".3gp"
}  # fmt: skip
"""What a file in a folder ends with, in lower case, to be taken for a video."""

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"}
"""The same for a frame."""


class Source(Protocol):
    """A finite video.

    Attributes:
        name: for messages.
        times: float64 (n,), presentation times of the frames in seconds from the first one.
        truncated: decoding stopped before the end that the file declares.
    """

    name: str
    times: Times
    truncated: bool

    def read(self, times: Times) -> Iterator[Image | Planes]:
        """For each of the ascending moments, the nearest frame: uint8 (H, W, 3), or its planes.

        The very same object comes again where one frame is nearest to several moments.

        Raises:
            ShorterThanDeclaredError: decoding ended early; `times` is now true, so plan again.
            VideoError: nothing can be decoded.
        """
        ...

    def close(self) -> None:
        """Releases files and decoders."""
        ...


def open_source(source: Any, fps: float, *, count: Count = "trust", planes: bool = False) -> Source:
    """The source behind a path, a URL, a folder of images, or an array of frames.

    Args:
        source: path or URL (str or Path), or uint8 array (n, H, W, 3).
        fps: frames per second of a folder or an array.
        count: how sure the number of a file's frames must be; see `VideoFile`.
        planes: frames of files in YUV 4:2:0 come as `Planes`; otherwise all are in RGB.

    Raises:
        VideoNotFoundError: there is no such file or folder.
        VideoError: it holds no frames that can be used.
    """
    if not isinstance(source, (str, os.PathLike)):
        return ArraySource(frames_from_array(source), fps)
    name = os.fsdecode(source)
    if _URL.match(name):
        if name.split(":", 1)[0].lower() in _LIVE:
            raise VideoError(
                f"{name} is a live stream, which has no end to predict to; record it to a file"
            )
        return VideoFile(name, name, count=count, planes=planes)
    path = Path(name)
    try:
        if path.is_dir():
            return ImageFolder(path, fps, planes=planes)
        if not path.exists():
            raise VideoNotFoundError(f"there is no video {name}; check the path")
        if not path.is_file():
            raise VideoError(f"{name} is a device or a pipe; give a video file")
        if path.stat().st_size == 0:
            raise VideoError(f"{name} is an empty file; copy or record it again")
    except (OSError, ValueError) as error:
        if isinstance(error, VideoError):
            raise
        raise VideoError(f"{name!r:.200} cannot be looked up ({error}); check the path") from error
    # Without the protocol's name FFmpeg would take what stands before a colon for one.
    return VideoFile(name, f"file:{name}", count=count, planes=planes)


def videos_in(folder: Path) -> list[Path]:
    """The video files in a folder and the folders in it, sorted by path.

    Raises:
        VideoNotFoundError: there is no such folder.
        VideoError: there is no video in it.
    """
    if not os.path.isdir(folder):
        raise VideoNotFoundError(f"there is no folder {folder}; give one of video files")
    files = (path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    found = sorted(path for path in files if path.is_file())
    if not found:
        suffixes = ", ".join(sorted(VIDEO_SUFFIXES))
        raise VideoError(f"{folder} holds no videos ({suffixes}); give another")
    return found


def frames_from_array(frames: Any) -> Image:
    """`frames` as an array, checked to be uint8 (n, H, W, 3) with at least one pixel.

    Raises:
        VideoError: it is not; the message says what was found.
    """
    try:
        array = np.asarray(frames)
    except (ValueError, TypeError) as error:
        raise VideoError(
            f"a {type(frames).__name__} cannot be taken as an array ({error}); expected uint8 "
            "(T, H, W, 3) in the memory of the host"
        ) from error
    if array.ndim != 4 or array.shape[-1] != 3:
        raise VideoError(
            f"frames have shape {array.shape}; expected (T, H, W, 3): frame, row, column, channel"
        )
    if array.dtype != np.uint8:
        raise VideoError(
            f"frames have dtype {array.dtype}; expected uint8 with values from 0 to 255"
        )
    if array.size == 0:
        raise VideoError(f"frames have shape {array.shape}; expected at least one frame and pixel")
    return array


def frame_from_item(item: Any) -> Image:
    """One item of an iterable as a frame, checked to be uint8 (H, W, 3).

    Raises:
        VideoError: it is not; the message says what was found.
    """
    if not hasattr(item, "__array__") and not isinstance(item, (list, tuple)):
        raise VideoError(
            f"an item of the iterable is {item!r:.80}; expected frames, uint8 arrays (H, W, 3)"
        )
    frame: Image = frames_from_array(np.asarray(item)[np.newaxis])[0]
    return frame


class ArraySource:
    """Frames in memory, uint8 (n, H, W, 3), `fps` of them a second."""

    truncated = False

    def __init__(self, frames: Image, fps: float, name: str = "the array") -> None:
        self.name = name
        self.times = np.arange(len(frames)) / fps
        self._frames = frames

    def read(self, times: Times) -> Iterator[Image]:
        yield from _repeating(nearest(self.times, times), lambda index: self._frames[index])

    def close(self) -> None:
        pass


class ImageFolder:
    """A folder of images, in the order of the numbers in their names, `fps` of them a second."""

    truncated = False

    def __init__(self, folder: Path, fps: float, *, planes: bool = False) -> None:
        self.name = str(folder)
        self._planes = planes
        images = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
        self._paths = sorted(images, key=_natural)
        if not self._paths:
            raise VideoError(
                f"{folder} has no images ({', '.join(sorted(IMAGE_SUFFIXES))}); "
                "give a video file or a folder of frames"
            )
        self.times = np.arange(len(self._paths)) / fps

    def read(self, times: Times) -> Iterator[Image | Planes]:
        def image(index: int) -> Image | Planes:
            path = self._paths[index]
            file = VideoFile(str(path), f"file:{path}", planes=self._planes)
            try:
                return next(file.read(np.zeros(1)))
            finally:
                file.close()

        yield from _repeating(nearest(self.times, times), image)

    def close(self) -> None:
        pass


def _repeating(indices: Iterable[int], image: Callable[[int], _Picture]) -> Iterator[_Picture]:
    """`image(index)` for each index, made once for a run of the same index."""
    shown: int | None = None
    current: _Picture | None = None
    for index in indices:
        if index != shown:
            shown, current = index, image(index)
        assert current is not None
        yield current


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort key that puts frame 10 after frame 9."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
