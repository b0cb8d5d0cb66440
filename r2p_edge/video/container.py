"""Files and streams opened through PyAV, and the one video stream of a file."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from r2p_edge.addresses import hide_password
from r2p_edge.errors import VideoError
from r2p_edge.video.as_stored import note_aspect
from r2p_edge.video.damage import earlier
from r2p_edge.video.decoding import Decoded, cause_of, decode_packets, set_up_decoder
from r2p_edge.video.streams import duration_of_tag, video_stream

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

    Packet = av.Packet[VideoStream]

CACHE_BYTES = 64 << 20
"""Packets kept of a file that was read to its end, so that it is not read or connected again; and
decoded frames kept of a file that was counted by decoding."""

_NETWORK_SECONDS = (10.0, 30.0)  # to connect, and for each read

_LATE = ("mpeg", "flv")
"""Containers that name no streams at their start: each comes to light with its first packet."""

_log = logging.getLogger(__name__)


def open_container(
    url: str | BinaryIO,
    timeout: float | tuple[float, float] | None,
    options: dict[str, str] | None = None,
) -> InputContainer:
    """Open a file or stream for reading, with any supported version of PyAV.

    Args:
        url: the file as FFmpeg takes it, or a file that is open already, which is read from its
            start on. What such a file refers to, as playlists do, is not opened.
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
    if not isinstance(url, str):
        url.seek(0)
        options = {**(options or {}), "protocol_whitelist": ""}
    try:
        container: InputContainer = av.open(url, "r", timeout=timeout, options=options, **arguments)
    except (av.FFmpegError, OSError) as error:
        hide_password(error)
        raise
    return container


def seconds_to_wait(url: str | BinaryIO) -> tuple[float, float] | None:
    """Return the time to wait for an address, as `open_container` takes it; None for a file."""
    return _NETWORK_SECONDS if isinstance(url, str) and not url.startswith("file:") else None


def _open_probed(url: str | BinaryIO, timeout: tuple[float, float] | None) -> InputContainer:
    """Open a file with the picture that it has, however late that begins."""
    container = open_container(url, timeout)
    if container.streams.video or container.format.name not in _LATE:
        return container
    container.close()
    return open_container(url, timeout, {"probesize": "1G", "analyzeduration": "2147483647"})


class DamageFoundError(Exception):
    """A packet or frame of a file that looked sound is damaged; find out what decodes."""


class VideoDecoder:
    """The video stream of a file or URL, decoded from any moment on.

    Times are seconds on the file's own clock, which need not start at 0.

    Attributes:
        name: name of the file in messages.
        rate: frames per second, as the file declares it or FFmpeg guesses it.
        tick: seconds per unit of the frames' timestamps; where there are none, per frame.
        start: declared time of the first frame.
        timed: whether the file stores presentation times. AVI stores none, and those that FFmpeg
            makes up have gaps and change after a seek.
        codec: the decoder.
        broken_off: what ended the packets that were read last; "" if the file did.

    Raises:
        VideoError: the file cannot be opened, or has no video stream.
    """

    def __init__(
        self, name: str, url: str | BinaryIO, container: InputContainer | None = None
    ) -> None:
        self.name = name
        self._url = url
        self._packets: list[Packet] | None = None
        self._parallel = True  # where it pays
        self.broken_off = ""
        self._open(container)
        stream = self._stream
        rate = stream.average_rate or stream.guessed_rate
        self.rate = float(rate) if rate else 25.0
        self.timed = self._container.format.name != "avi"
        self.tick = float(stream.time_base) if stream.time_base else 1 / 90000
        if not self.timed:
            self.tick = 1 / self.rate
        self.start = 0.0 if stream.start_time is None else stream.start_time * self.tick
        self.codec = stream.codec_context.codec
        note_aspect(name, stream.sample_aspect_ratio)

    def _open(self, container: InputContainer | None = None) -> None:
        import av

        try:
            self._container = container or _open_probed(self._url, seconds_to_wait(self._url))
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
        # Whole frames in parallel pay only where frames are large.
        large = stream.width * stream.height > 640 * 480
        self._parallel = large and self._parallel
        set_up_decoder(stream, parallel=self._parallel)
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
        """Read the stream's packets that are not empty, from the first on.

        An error of the file ends them, and is told by `broken_off`.
        """
        self._rewind()
        return iter(self._packets) if self._packets is not None else self._kept()

    def _kept(self) -> Iterator[Packet]:
        """Read the packets, and keep them if they are few."""
        kept: list[Packet] | None = []
        size = 0
        for packet in self._read():
            size += packet.size
            if size > CACHE_BYTES:
                kept = None
            if kept is not None:
                kept.append(packet)
            yield packet
        self._packets = kept

    def packets_near(self, time: float) -> Iterator[Packet]:
        """Read the packets from about this time on, which may be none of a key frame.

        Raises:
            av.FFmpegError: the file cannot be sought.
        """
        self._container.seek(self._stamp(time), stream=self._stream)
        return self._read()

    def _stamp(self, time: float) -> int:
        """Return the last timestamp up to a time, which may be off by a rounding."""
        return math.floor(time / self.tick + 1e-3)

    def _read(self) -> Iterator[Packet]:
        import av

        self._touched, self.broken_off = True, ""
        try:
            yield from (packet for packet in self._container.demux(self._stream) if packet.size)
        except av.FFmpegError as error:
            # Where a server does not say how long a file is, FFmpeg takes its end for an error.
            size: int | None = self._container.size  # of PyAV 19 None there, of others negative
            if size is not None and size > 0:
                self.broken_off = cause_of(error)

    def declared_end(self) -> float | None:
        """Return when the whole file ends, on its own clock; None if it does not say so."""
        container = self._container
        if container.duration is None:
            return None
        return (container.duration + (container.start_time or 0)) / 1e6

    def others_go_on(self) -> bool:
        """Return whether sound, or whatever else is in the file, goes on to its declared end."""
        import av

        end = self.declared_end()
        if end is None or len(self._container.streams) < 2:
            return False
        self._touched = True
        try:
            self._container.seek(round((end - 1.0) * 1e6))
            for packet in self._container.demux():
                if packet.stream is self._stream or packet.pts is None:
                    continue
                if float(packet.pts * packet.time_base) >= end - 1.0:
                    return True
        except av.FFmpegError as error:
            _log.debug("%s cannot be sought (%s)", self.name, cause_of(error))
        return False

    def decode_singly(self) -> bool:
        """Decode one frame at a time from now on: in parallel, errors are told of other frames.

        A file that was decoded in parallel is opened again, for another decoder; otherwise False is
        returned.
        """
        if not self._parallel:
            return False
        self._parallel = False
        self._container.close()
        self._open()
        return True

    def decode(self, packets: Iterable[Packet]) -> Iterator[Decoded]:
        """Decode packets of this stream, the last of which empties the decoder."""
        return decode_packets(self._stream, packets)

    def frames(self) -> Iterator[av.VideoFrame]:
        """Decode from the first key frame on.

        Raises:
            DamageFoundError: a packet or a frame is damaged.
        """
        return self._whole_frames(self.packets())

    def frames_near(self, time: float) -> Iterator[av.VideoFrame]:
        """Decode from the last key frame up to `time` on; some containers seek to a later one.

        Raises:
            av.FFmpegError: the file cannot be sought.
            DamageFoundError: a packet or a frame is damaged.
        """
        if self._packets is None:
            return self._whole_frames(self.packets_near(time))
        # Decoding order, in which a frame that is shown early may come late.
        stamp = self._stamp(time)
        keys = (n for n, packet in enumerate(self._packets) if _is_key(packet, stamp))
        self._rewind()
        return self._whole_frames(self._packets[max(keys, default=0) :])

    def _whole_frames(self, packets: Iterable[Packet]) -> Iterator[av.VideoFrame]:
        """Decode the first key frame among these packets, and what is shown after it."""
        shown_from: int | None = None
        begun = False
        for packet, frames, refused in self.decode(_from_key(packets)):
            if packet is not None and not begun:
                begun, shown_from = True, packet.pts
            # What is decoded after a key frame but shown before it may build on others.
            if (refused or (packet is not None and packet.is_corrupt)) and not (
                packet is not None and earlier(packet.pts, shown_from)
            ):
                raise DamageFoundError
            for frame in frames:
                if not earlier(frame.pts, shown_from):
                    if frame.is_corrupt:
                        raise DamageFoundError
                    yield frame

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

    @property
    def keeps_packets(self) -> bool:
        """True if all packets are in memory, so that decoding can begin at any of them."""
        return self._packets is not None

    def close(self) -> None:
        """Close the file. Calling it twice is allowed."""
        self._packets = None
        self._container.close()


def _from_key(packets: Iterable[Packet]) -> Iterator[Packet]:
    """Leave out the packets before the first of a key frame."""
    return itertools.dropwhile(lambda packet: not packet.is_keyframe, packets)


def _is_key(packet: Packet, stamp: int) -> bool:
    """Return whether this is a key frame's packet that is shown no later than `stamp`."""
    return packet.is_keyframe and packet.pts is not None and packet.pts <= stamp
