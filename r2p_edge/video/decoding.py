"""Decoding that goes on: a packet that the decoder refuses ends nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import av
    from av.video.stream import VideoStream

    Packet = av.Packet[VideoStream]


class Decoded(NamedTuple):
    """The answer of the decoder to one packet.

    Attributes:
        packet: the packet; None where the decoder was emptied at the end.
        frames: the frames that it gave then, which may be of packets before this one.
        refused: why it refused the packet; "" if it did not.
    """

    packet: Packet | None
    frames: list[av.VideoFrame]
    refused: str


def decode_packets(stream: VideoStream, packets: Iterable[Packet]) -> Iterator[Decoded]:
    """Decode packets one by one, and empty the decoder at last.

    Packets without content are passed over: they repeat a picture, or stand for one that was never
    stored. To the decoder they would be the end of the video.
    """
    for packet in packets:
        if packet.size:
            yield _tried(stream, packet)
    yield _tried(stream, None)


def _tried(stream: VideoStream, packet: Packet | None) -> Decoded:
    import av

    try:
        return Decoded(packet, stream.decode(packet), "")
    except av.FFmpegError as error:
        return Decoded(packet, [], refusal_of(error, stream))


def refusal_of(error: av.FFmpegError, stream: VideoStream) -> str:
    """Return why the decoder of a stream refused a packet, in words.

    Without the size of the pictures, which is in the headers, FFmpeg says no more than that an
    argument is invalid.
    """
    if error.errno != errno.EINVAL:
        return cause_of(error)
    if stream.codec_context.width > 0:
        return "the decoder refuses it"
    return (
        "its stream has no headers that the decoder needs; send them with the key frames (ffmpeg "
        "-bsf:v dump_extra)"
    )


def cause_of(error: Exception) -> str:
    """Return what FFmpeg or the system says of an error, without its number and file name."""
    return str(getattr(error, "strerror", None) or error)


def set_up_decoder(stream: VideoStream, *, parallel: bool = False) -> None:
    """Make the decoder of a stream, before its first packet, do the same on every machine.

    The decoder of JPEG pictures refuses those that are cut off or damaged: by default it fills up
    the rest in grey and says nothing, also where half of them is missing.

    Args:
        parallel: decode whole frames in parallel, which delays them; otherwise slices.
    """
    context = stream.codec_context
    stream.thread_type = "AUTO" if parallel else "SLICE"
    # With slices in several threads the H.264 decoder conceals no errors (`enable_er` in
    # libavcodec/h264dec.c); on one core it would have one thread and mark other frames as corrupt.
    if _cores() == 1:
        context.thread_count = 2
    if context.name == "mjpeg":
        context.options = {"err_detect": "explode"}


def _cores() -> int:
    """Return the number of cores that this process may use, as FFmpeg counts them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
