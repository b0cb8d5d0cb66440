"""Network streams, through FFmpeg, with the times that their senders gave the frames."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from r2p_edge.addresses import hide_password, without_password
from r2p_edge.errors import VideoError
from r2p_edge.frame import picture_of
from r2p_edge.live.capture.pace import Pace
from r2p_edge.live.capture.reconnecting import LiveCapture, Wait
from r2p_edge.live.frame import LiveFrame
from r2p_edge.prediction import Timing
from r2p_edge.video.container import open_container
from r2p_edge.video.decoding import cause_of, refusal_of, set_up_decoder
from r2p_edge.video.streams import video_stream

if TYPE_CHECKING:
    from av import Packet, VideoStream

_NO_TIMESTAMPS = 0x80  # AVFMT_NOTIMESTAMPS of libavformat/avformat.h


class AddressCapture(LiveCapture):
    """A network stream, through FFmpeg.

    Args:
        url: address of the stream.
        timeout: seconds to wait for the connection, and for each next frame.
        transport: transport of RTSP.
        patience: seconds by which reading may be late before frames are dropped.
        reconnect, clock, wait: see `LiveCapture`.

    Attributes:
        live: False if a server has a file at this address.
        container: the open stream.
    """

    advice = "check the address and that its sender is on"

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        reconnect: float,
        transport: Literal["tcp", "udp"],
        patience: float,
        clock: Callable[[], float] = time.monotonic,
        wait: Wait = threading.Event.wait,
    ) -> None:
        self._url, self.timeout, self._patience = url, timeout, patience
        rtsp = url.lower().startswith(("rtsp:", "rtsps:"))
        self._options: dict[str, str] = {"rtsp_transport": transport} if rtsp else {}
        super().__init__(without_password(url), reconnect=reconnect, clock=clock, wait=wait)
        if url.lower().startswith("http"):
            with contextlib.suppress(*([VideoError] if self.patient else [])):
                self._begin()
                # A server of files says how long they are.
                self.live = self.container.duration is None

    def _open(self) -> None:
        import av

        try:
            self.container = open_container(self._url, self.timeout, self._options)
        except (av.FFmpegError, OSError) as error:
            raise VideoError(
                f"{self.name} cannot be opened ({self._cause(error)}); {self.advice}"
            ) from error
        try:
            self._stream = video_stream(self.container, self.name)
        except VideoError:
            self.container.close()
            raise

    def _play(self) -> Iterator[LiveFrame]:
        import av

        try:
            yield from self._frames()
        except (av.FFmpegError, OSError) as error:
            hide_password(error)
            raise VideoError(self._cause(error)) from error

    def _frames(self) -> Iterator[LiveFrame]:
        """Yield what can be shown as it was filmed: from a key frame to the next loss."""
        import av

        stream = self._stream
        set_up_decoder(stream)
        # FFmpeg makes up the times of these formats, from a frame rate that it guesses.
        made_up = bool(self.container.format.flags & _NO_TIMESTAMPS)
        unit = float(stream.time_base or 0)
        # Where each picture stands by itself, one that is lost interrupts nothing.
        alone = stream.codec_context.codec.intra_only
        pace = Pace(self._patience)
        # Nothing before a key frame can be shown as it was: at the start, and after a loss.
        begun, whole, losing, dropped, timing = False, False, False, 0, Timing()
        for packet, asked, now in self._packets(stream):
            if packet.pts is not None and not made_up:
                pace.read(packet.pts * unit, asked, now)
            # Frames that build on a damaged one are damaged too, though no decoder says so.
            lost = pace.behind or packet.is_corrupt
            if lost:
                whole, losing = False, True
            if not whole and (lost or not packet.is_keyframe):
                dropped += losing
                continue
            try:
                if not whole:
                    stream.codec_context.flush_buffers()
                with timing.stage("decode"):
                    frames = packet.decode()
            except av.InvalidDataError:
                whole, losing, dropped = False, True, dropped + 1
                continue
            except av.ArgumentError as error:
                raise VideoError(refusal_of(error, stream)) from error
            whole = True
            for frame in frames:
                moment, captured = now, now
                if frame.is_corrupt:
                    whole, losing, dropped = False, True, dropped + 1
                    break
                if frame.pts is None and not made_up:
                    dropped += begun  # of RTSP's first, FFmpeg does not know the time yet
                    continue
                if frame.pts is not None and not made_up:
                    moment = frame.pts * unit
                    captured = min(moment + pace.offset, now)
                yield LiveFrame(
                    time=moment,
                    captured=captured,
                    size=(frame.height, frame.width),
                    picture=functools.partial(picture_of, frame, self.name),
                    joined=alone or not losing,
                    dropped=dropped,
                    decode_ms=timing.decode,
                )
                begun, losing, dropped, timing = True, False, 0, Timing()

    def _packets(self, stream: VideoStream) -> Iterator[tuple[Packet[Any], float, float]]:
        """Yield a stream's packets, and the moments when each was asked for and when it came."""
        asked = self._clock()
        for packet in self.container.demux():
            now = self._clock()
            if self._stopped.is_set():
                return
            if packet.stream is stream:
                yield packet, asked, now
                asked = self._clock()
            elif now - asked > self.timeout:  # FFmpeg's own ends at any packet, also of sound
                raise VideoError(f"no picture came for {self.timeout:g} s, though sound did")

    def _release(self) -> None:
        self.container.close()

    def _cause(self, error: Exception) -> str:
        """Return FFmpeg's reason in words."""
        import av

        if isinstance(error, av.ExitError):
            return f"nothing came for {self.timeout:g} s"  # FFmpeg was made to give up
        return cause_of(error)
