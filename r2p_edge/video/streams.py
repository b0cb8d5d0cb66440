"""The choice of the video stream that is read, in a file or network stream that has several."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from r2p_edge.errors import VideoError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

_PICTURE_CODECS = {"png", "bmp", "gif", "webp", "tiff"}
"""Codecs of cover pictures. JPEG is one too, but also that of many cameras' videos."""

_DEFAULT = 5_000_000
"""Pixels that the flag "default" of a stream weighs, as in FFmpeg's fftools/ffmpeg_mux_init.c."""

_log = logging.getLogger(__name__)


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """Return the stream to read: as the ffmpeg program, the largest of those flagged "default".

    Unlike that program it takes no cover picture, however large, even where no flag says that it
    is one.

    Args:
        name: name of the file in messages.

    Raises:
        VideoError: there is no video, or FFmpeg has no decoder for it.
    """
    from av.stream import Disposition

    # FFmpeg renders text files as video, and a song's cover picture as a stream.
    streams = () if container.format.name == "tty" else container.streams.video
    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    moving = [stream for stream in streams if not stream.disposition & pictures]
    if not moving:
        only = " but a cover picture" if streams else ""
        raise VideoError(f"{name} has no video stream{only}; give a file or stream with video")
    counted = any(stream.frames > 1 for stream in moving)

    def rank(stream: VideoStream) -> tuple[bool, bool, int]:
        still = stream.frames < 2 if counted else _is_picture(stream)
        if not _has_decoder(stream):
            return not still, False, 0
        flagged = _DEFAULT * bool(stream.disposition & Disposition.default)
        return not still, True, stream.width * stream.height + flagged

    best = max(moving, key=rank)
    if not _has_decoder(best):
        raise VideoError(
            f"{name} has video of a codec that this FFmpeg cannot decode; convert it to H.264, "
            "for example, with a program that can"
        )
    if len(moving) > 1:
        listed = ", ".join(f"#{stream.index} {_text_of(stream)}" for stream in moving)
        _log.info("%s has several video streams (%s); #%d is read", name, listed, best.index)
    return best


def _has_decoder(stream: VideoStream) -> bool:
    context: object = stream.codec_context  # which PyAV's stubs do not take for optional
    return context is not None


def _is_picture(stream: VideoStream) -> bool:
    """Return True for a stream of one frame, as far as a file tells that has no count of them."""
    if not _has_decoder(stream):
        return False
    lasts = duration_of_tag(stream)
    if lasts is None:
        return stream.name in _PICTURE_CODECS
    return lasts * float(stream.average_rate or 25) < 1.5


def duration_of_tag(stream: VideoStream) -> float | None:
    """Return the seconds that a tag of Matroska's says a stream lasts; None without one."""
    tag = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))
    if tag is None:
        return None
    hours, minutes, seconds = (float(part) for part in tag.groups())
    return 3600 * hours + 60 * minutes + seconds


def _text_of(stream: VideoStream) -> str:
    if not _has_decoder(stream):
        return "without a decoder"
    return f"{stream.name} {stream.width}x{stream.height}"
