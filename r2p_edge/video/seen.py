"""The frames behind an answer, for whoever asks to see them afterwards.

A clip has half a megabyte and more, so an answer does not hold on to one. Those of a file are read
again, and shown only if they are the same.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from r2p_edge.errors import VideoError
from r2p_edge.frame import Image
from r2p_edge.video.clip_reader import ClipReader
from r2p_edge.video.source import is_path, path_of_uri

_ROWS = 4  # every fourth row of pixels tells another video from this one

Frames = Callable[[], Image]
"""Returns the frames of some clips in RGB, uint8 (clips, T, H, W, 3)."""


def frames_to_show(
    reader: ClipReader,
    source: Any,
    clips: int,
    fps: float | None,
    pixels: Image,
    *,
    keep: bool,
) -> Frames | None:
    """Return what gives the frames of an answer, or None if nothing can.

    Args:
        reader, source, clips, fps: as the frames were read; see `ClipReader.read`.
        pixels: uint8 (clips, T, H, W, 3), the frames.
        keep: hold on to the frames; else those of a file on this machine are read again.
    """
    if keep:
        return KeptFrames(reader.in_rgb(pixels))
    if is_path(source) and os.path.exists(path_of_uri(os.fsdecode(source))):
        return FramesOfFile(reader, source, clips, fps, _checksum(pixels))
    return None


@dataclass(frozen=True, slots=True, eq=False)
class KeptFrames:
    """Frames in memory, RGB, uint8 (clips, T, H, W, 3)."""

    frames: Image

    def __call__(self) -> Image:
        """Return the frames."""
        return self.frames


@dataclass(frozen=True, slots=True, eq=False)
class FramesOfFile:
    """Frames of a file or folder, read again when they are asked for. Pickled, it is None."""

    reader: ClipReader
    source: Any
    clips: int
    fps: float | None
    checksum: int

    def __call__(self) -> Image:
        """Return the frames.

        Raises:
            VideoError: the file is gone, or has other frames than before.
        """
        pixels = self.reader.read(self.source, clips=self.clips, fps=self.fps).pixels
        if _checksum(pixels) != self.checksum:
            name = os.fsdecode(self.source)
            raise VideoError(f"{name} has changed since this answer; predict it again")
        return self.reader.in_rgb(pixels)

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        # Another process may be on another machine; and the reader would travel with each answer.
        return _none, ()


def _none() -> None:
    return None


def _checksum(pixels: Image) -> int:
    return zlib.crc32(pixels[:, :, ::_ROWS].tobytes(), pixels.size)
