"""Files and streams opened through PyAV, and the one video stream of a file."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from r2p_edge.addresses import hide_password
from r2p_edge.errors import VideoError
from r2p_edge.video.as_stored import note_aspect
from r2p_edge.video.streams import duration_of_tag, video_stream

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

    Packet = av.Packet[VideoStream]

CACHE_BYTES = 64 << 20
"""Packets kept of a file that was read to its end, so that it is not read or connected again; and
decoded frames kept of a file that was counted by decoding."""

NETWORK_SECONDS = (10.0, 30.0)
"""Seconds to wait for a URL: to connect, and for each read."""

_log = logging.getLogger(__name__)


def open_container(
    url: str, timeout: float | tuple[float, float] | None, options: dict[str, str] | None = None
) -> InputContainer:
    """Open a file or stream for reading, with any supported version of PyAV.

    Args:
        timeout: seconds to wait for the connection and for each read, as one number or two;
            None waits without limit.
        options: options of FFmpeg's protocols and formats.

    Raises:
        av.FFmpegError, OSError: FFmpeg cannot open it.
    """
    import av

    arguments: dict[str, Any] = {}
    if int(av.__version__.partition(".")[0]) < 19:
        # Without it, these versions refuse files whose title is not in UTF-8.
        arguments["metadata_errors"] = "replace"
    try:
        container: InputContainer = av.open(url, "r", timeout=timeout, options=options, **arguments)
    except (av.FFmpegError, OSError) as error:
        hide_password(error)
        raise
    return container


class VideoDecoder:
    """The video stream of a file or URL, decoded from any moment on.

    Times are seconds on the file's own clock, which need not start at 0.

    Attributes:
        name: name of the file in messages.
        rate: frames per second, as the file declares it or FFmpeg guesses it.
        tick: seconds per unit of the frames' timestamps.
        start: declared time of the first frame.
        timed: whether the file stores presentation times. AVI stores none, and those that FFmpeg
            makes up have gaps and change after a seek.

    Raises:
        VideoError: the file cannot be opened, or has no video stream.
    """

    def __init__(self, name: str, url: str, container: InputContainer | None = None) -> None:
        self.name = name
        self._url = url
        self._packets: list[Packet] | None = None
        self._open(container)
        stream = self._stream
        rate = stream.average_rate or stream.guessed_rate
        self.rate = float(rate) if rate else 25.0
        self.tick = float(stream.time_base) if stream.time_base else 1 / 90000
        self.start = 0.0 if stream.start_time is None else stream.start_time * self.tick
        self.timed = self._container.format.name != "avi"
        note_aspect(name, stream.sample_aspect_ratio)

    def _open(self, container: InputContainer | None = None) -> None:
        import av

        timeout = None if self._url.startswith("file:") else NETWORK_SECONDS
        try:
            self._container = container or open_container(self._url, timeout)
        except (av.FFmpegError, OSError) as error:
            raise VideoError(
                f"{self.name} cannot be read as a video ({cause_of(error)}); check the file"
            ) from error
        try:
            self._stream = self._video_stream()
        except BaseException:
            self.close()
            raise
        self._touched = False

    def _video_stream(self) -> VideoStream:
        container = self._container
        if container.format.name == "hls" and container.duration is None:
            raise VideoError(
                f"{self.name} is a live playlist, which has no end; record it to a file"
            )
        stream = video_stream(container, self.name)
        # Slices cost no delay; whole frames in parallel pay only where frames are large.
        large = stream.width * stream.height > 640 * 480
        stream.thread_type = "AUTO" if large else "SLICE"
        return stream

    def declared_seconds(self, *, of_stream: bool) -> float | None:
        """Return the declared duration: of the stream, or else of the longest stream in the file.

        None where the file declares none.
        """
        stream, container = self._stream, self._container
        if not self.timed and stream.frames:
            return stream.frames / self.rate
        if stream.duration is not None:
            return stream.duration * self.tick
        # What Matroska calls a duration is the time of the end, also in the tag that some of
        # its writers add for each stream (hours:minutes:seconds).
        start = self.start if container.format.name.startswith("matroska") else 0.0
        if (end := duration_of_tag(stream)) is not None:
            return end - start
        if container.duration is None or (of_stream and len(container.streams) > 1):
            return None
        return container.duration / 1e6 - start

    def packets(self) -> Iterator[Packet]:
        """Read every packet of the stream, from the first on.

        Raises:
            av.FFmpegError: the file is damaged.
        """
        self._rewind()
        if self._packets is not None:
            yield from self._packets
            return
        self._touched = True
        kept: list[Packet] | None = []
        size = 0
        for packet in self._container.demux(self._stream):
            size += packet.size
            if size > CACHE_BYTES:
                kept = None
            if kept is not None:
                kept.append(packet)
            yield packet
        self._packets = kept

    def frames(self) -> Iterator[av.VideoFrame]:
        """Decode from the first frame on.

        Raises:
            av.FFmpegError: the file is damaged.
        """
        self._rewind()
        return self._decode(0)

    def frames_near(self, time: float) -> Iterator[av.VideoFrame]:
        """Decode from the last key frame up to `time` on; some containers seek to a later one.

        Raises:
            av.FFmpegError: the file is damaged, or cannot be sought.
        """
        stamp = math.floor(time / self.tick)
        if self._packets is None:
            self._container.seek(stamp, stream=self._stream)
            return self._decode(0)
        # Decoding order, in which a frame that is shown early may come late.
        keys = (n for n, packet in enumerate(self._packets) if _is_key(packet, stamp))
        self._rewind()
        return self._decode(max(keys, default=0))

    def _decode(self, first: int) -> Iterator[av.VideoFrame]:
        """Decode from this kept packet on; if none are kept, from where the file stands."""
        self._touched = True
        if self._packets is None:
            return self._container.decode(self._stream)
        return (frame for packet in self._packets[first:] for frame in packet.decode())

    def _rewind(self) -> None:
        """Go back to the first packet, by opening the file again only if its packets are lost.

        Seeking back there is not exact in every container.
        """
        if self._packets is not None:
            self._stream.codec_context.flush_buffers()
        elif self._touched:
            _log.debug("%s is opened again, to read it from its start", self.name)
            self._container.close()
            self._open()

    def close(self) -> None:
        """Close the file. Calling it twice is allowed."""
        self._packets = None
        self._container.close()


def cause_of(error: Exception) -> str:
    """Return what FFmpeg or the system says of an error, without its number and file name."""
    return str(getattr(error, "strerror", None) or error)


def _is_key(packet: Packet, stamp: int) -> bool:
    """Return whether this is a key frame's packet that is shown no later than `stamp`."""
    return packet.is_keyframe and packet.pts is not None and packet.pts <= stamp
