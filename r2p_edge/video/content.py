"""Video files that are in memory or open already, as FFmpeg can read them."""

from __future__ import annotations

import io
from typing import Any, BinaryIO, NamedTuple, cast

from r2p_edge.errors import VideoError

_LONGEST_PATH = 4096  # PATH_MAX of Linux


class Content(NamedTuple):
    """A file in memory.

    Attributes:
        name: name of the file in messages.
        file: the file, which can be read and sought.
    """

    name: str
    file: BinaryIO


def can_be_path(source: Any) -> bool:
    """Return True for bytes that may be a path; any video is longer, or has null bytes in it."""
    return isinstance(source, bytes) and len(source) <= _LONGEST_PATH and b"\0" not in source


def is_content(source: Any) -> bool:
    """Return True for the bytes of a file, and for an open file."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return not can_be_path(source)
    return hasattr(source, "read") and hasattr(source, "seek")


def content_of(source: Any) -> Content | None:
    """Return the file that `source` holds, or None if it is neither bytes nor an open file.

    Args:
        source: the bytes of a video file, or a file that is open for reading in binary, such as
            `io.BytesIO`. It is read from its start, wherever it stands, and not closed.

    Raises:
        VideoError: it is empty or closed, or cannot be sought, or gives text.
    """
    if not is_content(source):
        return None
    name = getattr(source, "name", None)
    content = Content(name if isinstance(name, str) else "the file in memory", _file(source))
    if content.file.seek(0, io.SEEK_END) == 0:
        raise VideoError(f"{content.name} is empty; give all bytes of a video file")
    return content


def _file(source: Any) -> BinaryIO:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return io.BytesIO(source)
    what = f"the {type(source).__name__}"
    if getattr(source, "closed", False):
        raise VideoError(f"{what} is closed; open it again, or give its path")
    if isinstance(source, io.TextIOBase):
        raise VideoError(f"{what} gives text; open the video in binary (mode 'rb')")
    if hasattr(source, "seekable") and not source.seekable():
        raise VideoError(f"{what} cannot be sought; give io.BytesIO(file.read()), or a path")
    if isinstance(source, io.BytesIO):  # threads that share it must not share its position
        return io.BytesIO(source.getvalue())
    return cast(BinaryIO, source)
