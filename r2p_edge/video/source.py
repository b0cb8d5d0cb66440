"""Any finite source of frames behind one small interface.

PyAV reads files because it shows presentation times, rotation and broken metadata as they are;
OpenCV's reader hides all three. Frames are converted only when a clip needs them.
"""

from __future__ import annotations

import contextlib
import os
import re
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeVar

import numpy as np

from r2p_edge.addresses import without_password
from r2p_edge.errors import VideoError, VideoNotFoundError
from r2p_edge.frame import Image, Planes
from r2p_edge.video.arrays import frames_from_array
from r2p_edge.video.content import can_be_path, content_of, is_content
from r2p_edge.video.flow_names import flow_folders
from r2p_edge.video.frame_folder import any_image_in, frames_in
from r2p_edge.video.sampling import Times, nearest
from r2p_edge.video.video_folder import looking_up

if TYPE_CHECKING:
    from r2p_edge.video.file import Count, VideoFile

_Picture = TypeVar("_Picture")

_FILE_URI = re.compile(r"file:(?://(?:localhost)?(?=/))?((?!//).+)", re.IGNORECASE | re.DOTALL)
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_LIVE = ("rtsp", "rtsps", "rtmp", "rtp", "udp", "srt", "tcp")


class Source(Protocol):
    """A finite video.

    Attributes:
        name: name of the source in messages.
        times: float64 (n,), presentation times of the frames in seconds from the first one.
        lost: float64 (m,), such times of the frames that are damaged, ascending.
        truncated: whether decoding stopped before the end that the file declares.
    """

    name: str
    times: Times
    lost: Times
    truncated: bool

    def read(self, times: Times) -> Iterator[Image | Planes]:
        """Give the frame nearest to each of the ascending moments: uint8 (H, W, 3), or its planes.

        Where one frame is nearest to several moments, the same object is given for all of them.

        Raises:
            ShorterThanDeclaredError: other frames came; `times` is now true, so plan again.
            VideoError: nothing can be decoded.
        """
        ...

    def close(self) -> None:
        """Release files and decoders."""
        ...


def open_source(source: Any, fps: float, *, count: Count = "trust", planes: bool = False) -> Source:
    """Open a path, a URL, a folder of images, a file in memory, or an array of frames.

    Args:
        source: path or URL (str, bytes or Path), what `content_of` takes, or an array that
            `frames_from_array` takes.
        fps: frames per second of a folder or an array.
        count: how sure the number of a file's frames must be; see `VideoFile`.
        planes: whether frames of files in YUV 4:2:0 are given as `Planes`; otherwise all frames
            are RGB.

    Raises:
        VideoNotFoundError: the file or folder does not exist.
        VideoError: the path cannot be looked up, or has no frames that can be used.
    """
    if not is_path(source):
        if (content := content_of(source)) is not None:
            return video_file(content.name, content.file, count, planes=planes)
        frames = frames_from_array(source)
        return ArraySource(frames, np.arange(len(frames)) / fps)
    name = path_of_uri(os.fsdecode(source))
    if not name:
        raise VideoError("the path of the video is empty; give that of a video file or a folder")
    if is_url(name):
        if name.split(":", 1)[0].lower() in _LIVE:
            raise VideoError(
                f"{name} is a live stream, which has no end; predict on a recorded file, or use "
                "stream"
            )
        return video_file(without_password(name), name, count, planes=planes)
    path = Path(name)
    with looking_up(path):
        if path.is_dir():
            return ImageFolder(path, fps, planes=planes)
        if not path.exists():
            raise VideoNotFoundError(f"there is no video {name}; check the path")
        if not path.is_file():
            raise VideoError(f"{name} is a device or a pipe; give a video file")
        if path.stat().st_size == 0:
            raise VideoError(f"{name} is an empty file; copy or record it again")
    # Without the protocol's name FFmpeg would take what stands before a colon for one.
    return video_file(name, f"file:{name}", count, planes=planes)


def video_file(
    name: str, url: str | BinaryIO, count: Count = "trust", *, planes: bool = False
) -> VideoFile:
    """Open a file of video or of one image; see `VideoFile`."""
    # What decodes is a third of the modules of `Predictor`; it is imported with the first file.
    from r2p_edge.video.file import VideoFile

    return VideoFile(name, url, count=count, planes=planes)


def is_path(source: Any) -> bool:
    """Return True for a path or URL, and False for frames and for a file in memory."""
    return isinstance(source, (str, os.PathLike)) or can_be_path(source)


def is_file(source: Any) -> bool:
    """Return True for whatever knows its own frame rate and colours: not for frames and folders."""
    return not is_folder(source) if is_path(source) else is_content(source)


def is_url(name: str) -> bool:
    """Return True for an address, such as `https://host/video.mp4`."""
    return _URL.match(name) is not None


def is_folder(source: str | bytes | os.PathLike[Any]) -> bool:
    """Return whether a path is that of a folder; False if it cannot be looked up."""
    # Path.is_dir raises for a name that is too long.
    return os.path.isdir(path_of_uri(os.fsdecode(source)))


def path_of_uri(name: str) -> str:
    """Return the path in a `file:` URI, as `Path.as_uri` makes them; other names as they are."""
    found = _FILE_URI.fullmatch(name)
    if found is None or os.path.exists(name):
        return name
    # FFmpeg takes such names too, but unquoted.
    quoted = found[1]
    path = urllib.parse.unquote(quoted, errors="surrogateescape")
    return path if os.path.exists(path) or not os.path.exists(quoted) else quoted


class ArraySource:
    """Frames in memory; a `Source`.

    Args:
        frames: uint8 (n, H, W, 3), or as many of what is made of pictures.
        times: float64 (n,), ascending, in seconds from the first frame on.
        name: name of the frames in messages.
        untimed: nobody has said when the frames are shown, so that exactly as many of them as the
            model takes are the clip itself.
    """

    truncated = False
    lost: Times = np.empty(0)

    def __init__(
        self,
        frames: Image | Sequence[Any],
        times: Times,
        name: str = "the array",
        *,
        untimed: bool = False,
    ) -> None:
        self.name, self.times, self.untimed = name, times, untimed
        self._frames = frames

    def read(self, times: Times) -> Iterator[Any]:
        """Give the frame nearest to each of the ascending moments; see `Source.read`."""
        yield from _repeating(nearest(self.times, times), lambda index: self._frames[index])

    def close(self) -> None:
        """Do nothing: the frames are the caller's."""


class ImageFolder:
    """Images in a folder, in the order of the numbers in their names, `fps` of them a second."""

    truncated = False
    lost: Times = np.empty(0)

    def __init__(self, folder: Path, fps: float, *, planes: bool = False) -> None:
        self.name = str(folder)
        self._planes = planes
        if (flow := flow_folders(folder)) is not None and not any_image_in(folder):
            names = " and ".join(part.name for part in flow)
            raise VideoError(
                f"{folder} has optical flow in its folders {names} and no frames; give the video "
                "itself, or let predict or eval ask a model of flow alone"
            )
        self._paths = frames_in(folder)
        self.times = np.arange(len(self._paths)) / fps

    def read(self, times: Times) -> Iterator[Image | Planes]:
        """Give the frame nearest to each of the ascending moments; see `Source.read`."""

        def image(index: int) -> Image | Planes:
            path = self._paths[index]
            file = video_file(str(path), f"file:{path}", planes=self._planes)
            with contextlib.closing(file):
                return next(file.read(np.zeros(1)))

        yield from _repeating(nearest(self.times, times), image)

    def close(self) -> None:
        """Do nothing: each image is closed once it is read."""


def _repeating(indices: Iterable[int], image: Callable[[int], _Picture]) -> Iterator[_Picture]:
    """Give `image(index)` for each index, made once for a run of the same index."""
    shown: int | None = None
    current: _Picture | None = None
    for index in indices:
        if index != shown:
            shown, current = index, image(index)
        assert current is not None
        yield current
