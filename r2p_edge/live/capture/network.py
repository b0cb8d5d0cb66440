"""Network streams, through FFmpeg, with the times that their senders gave the frames."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from r2p_edge.errors import VideoError
from r2p_edge.frame import picture_of
from r2p_edge.live.buffer import Shot
from r2p_edge.live.capture.reconnecting import LiveCapture
from r2p_edge.video.container import open_container

if TYPE_CHECKING:
    from av import Packet, VideoStream

_NO_TIMESTAMPS = 0x80  # AVFMT_NOTIMESTAMPS of libavformat/avformat.h


class AddressCapture(LiveCapture):
    """A network stream, through FFmpeg.

    Args:
        timeout: seconds to wait for the connection, and for each next frame.
        transport: of RTSP.
        patience: seconds by which reading may be late before frames are dropped.
    """

    advice = "check the address and that its sender is on"

    def __init__(
        self,
        name: str,
        *,
        timeout: float,
        reconnect: float,
        transport: Literal["tcp", "udp"],
        patience: float,
        clock: Callable[[], float],
    ) -> None:
        self.timeout, self._patience = timeout, patience
        rtsp = name.lower().startswith(("rtsp:", "rtsps:"))
        self._options: dict[str, str] = {"rtsp_transport": transport} if rtsp else {}
        super().__init__(name, reconnect=reconnect, clock=clock)
        # A server of files says how long they are.
        self.live = self._container.duration is None or not name.lower().startswith("http")

    def _open(self) -> None:
        import av

        try:
            self._container = open_container(self.name, self.timeout, self._options)
        except (av.FFmpegError, OSError) as error:
            raise VideoError(
                f"{self.name} cannot be opened ({self._cause(error)}); {self.advice}"
            ) from error
        if not self._container.streams.video:
            self._container.close()
            raise VideoError(f"{self.name} has no video stream; give one that has")

    def _play(self) -> Iterator[Shot]:
        import av

        try:
            yield from self._frames()
        except (av.FFmpegError, OSError) as error:
            raise VideoError(self._cause(error)) from error

    def _frames(self) -> Iterator[Shot]:
        import av

        stream = self._container.streams.video[0]
        stream.thread_type = "SLICE"  # whole frames in parallel would come later
        # Of these FFmpeg makes up the times, from a frame rate that it guesses.
        made_up = bool(self._container.format.flags & _NO_TIMESTAMPS)
        unit = float(stream.time_base or 0)
        pace = Pace(self._patience)
        # Nothing before a key frame can be shown as it was: at the start, and after a loss.
        whole, losing, dropped = False, False, 0
        for packet, asked, now in self._packets(stream):
            if packet.pts is not None and not made_up:
                pace.read(packet.pts * unit, asked, now)
            # What builds on a damaged frame is damaged too, though the decoder does not say so.
            lost = pace.behind or packet.is_corrupt
            if lost:
                whole, losing = False, True
            if not whole and (lost or not packet.is_keyframe):
                dropped += losing
                continue
            try:
                if not whole:
                    stream.codec_context.flush_buffers()
                frames = packet.decode()
            except av.InvalidDataError:
                whole, losing, dropped = False, True, dropped + 1
                continue
            whole = True
            for frame in frames:
                moment, captured = now, now
                if frame.is_corrupt:
                    whole, losing, dropped = False, True, dropped + 1
                    break
                if frame.pts is None and not made_up:
                    dropped += 1
                    continue
                if frame.pts is not None and not made_up:
                    moment = frame.pts * unit
                    captured = min(moment + pace.offset, now)
                yield Shot(
                    time=moment,
                    captured=captured,
                    size=(frame.height, frame.width),
                    picture=functools.partial(picture_of, frame),
                    joined=not losing,
                    dropped=dropped,
                )
                losing, dropped = False, 0

    def _packets(self, stream: VideoStream) -> Iterator[tuple[Packet[Any], float, float]]:
        """A stream's packets, each with the moments when it was asked for and when it was there."""
        asked = self._clock()
        for packet in self._container.demux():
            now = self._clock()
            if self._stopped.is_set():
                return
            if packet.stream is stream:
                yield packet, asked, now
                asked = self._clock()
            elif now - asked > self.timeout:  # which FFmpeg's own does not count while sound comes
                raise VideoError(f"no picture came for {self.timeout:g} s, though sound did")

    def close(self) -> None:
        """See `Capture`."""
        self._container.close()

    def _cause(self, error: Exception) -> str:
        import av

        # Which is how FFmpeg says that it was told to give up.
        if isinstance(error, av.ExitError):
            return f"nothing came for {self.timeout:g} s"
        return str(getattr(error, "strerror", None) or error)


class Pace:
    """How late the frames of a stream are read, and whether that is the reader's own fault.

    The packets that came quickest had no delay; the others are late by what they took longer.

    Args:
        patience: seconds by which they may be late.
    """

    OVERRUN = 2.0
    """Seconds through which the reader has to be busy and late before it counts as too slow."""

    _IDLE = 0.25  # share of the time; a reader that waits for more of it is not too slow
    _CATCH_UP = 1.0  # seconds over which a backlog shows by running faster than it was filmed
    _FASTER = 1.2
    _DRIFT = 1e-3  # of a second each second, by which two clocks may differ
    _JUMP = 1.0  # seconds back that no reordering of frames explains

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self.offset = math.inf
        self.behind = False
        self._time, self._now = -math.inf, 0.0
        self._judge_from(0.0, 0.0)

    def _judge_from(self, time: float, now: float) -> None:
        """From this packet on it is watched whether the reader keeps up."""
        self._start, self._since, self._waited = time, now, 0.0

    def read(self, time: float, asked: float, now: float) -> None:
        """A packet of this time was asked for at `asked` and there at `now`."""
        if time < self._time - self._JUMP or math.isinf(self.offset):
            self.offset, self.behind = now - time, False
            self._judge_from(time, now)
        self.offset = min(now - time, self.offset + (now - self._now) * self._DRIFT)
        self._time, self._now = time, now
        late = now - time - self.offset
        self._waited += now - asked
        watched = now - self._since
        if late <= (self._patience / 2 if self.behind else self._patience):
            self.behind = False
        elif watched <= (self._CATCH_UP if self.behind else self.OVERRUN):
            return
        elif self.behind:
            # Once there is no backlog left, it is the sender or the network that is late.
            self.behind = time - self._start > self._FASTER * watched
        else:
            self.behind = self._waited < self._IDLE * watched
        self._judge_from(time, now)
