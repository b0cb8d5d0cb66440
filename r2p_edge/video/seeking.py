"""Frames of a file at ascending moments, decoding as few as it can."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from typing import TYPE_CHECKING

from r2p_edge.video.container import DamageFoundError, VideoDecoder
from r2p_edge.video.listing import PacketList
from r2p_edge.video.sampling import TIE

if TYPE_CHECKING:
    import av

BLIND_SEEK_SECONDS = 10.0
"""Gap between two wanted frames from which seeking pays where the key frames are not known."""


class SeekingReader:
    """Frames of a file with presentation times, at ascending moments.

    Args:
        first: time of the first frame on the file's own clock, in seconds.
        promised: the frames that the file's packets promise; None if they are not listed.
    """

    def __init__(self, video: VideoDecoder, first: float, promised: PacketList | None) -> None:
        self._video, self._first, self._promised = video, first, promised
        keys = () if promised is None else promised.keys
        self._keys = [key * video.tick - first for key in keys]
        self._frames: Iterator[av.VideoFrame] | None = None
        self._before: av.VideoFrame | None = None  # newest frame at or before the last moment
        self._after: av.VideoFrame | None = None  # the one behind it
        self._next_number: int | None = None  # of the frame that has to come next

    def nearest(self, time: float) -> av.VideoFrame | None:
        """Return the frame nearest to `time`, or None if decoding does not give what it should."""
        import av

        try:
            if self._frames is None or self._seeking_pays(time):
                self._seek(time)
            while self._after is None or self._time(self._after) < time:
                frame = self._next()
                if frame is None:
                    return self._last(time)
                self._before, self._after = self._after, frame
        except (av.FFmpegError, DamageFoundError, _OtherFrameError):
            return None
        if self._before is None:
            return self._after
        # The rule of `sampling.nearest`, in plain Python: faster than NumPy for two frames.
        later = self._time(self._after) - time < time - self._time(self._before) - TIE
        return self._after if later else self._before

    @property
    def around(self) -> tuple[float, float]:
        """The times of the two frames around the last moment; of one twice at an end."""
        frames = [frame for frame in (self._before, self._after) if frame is not None]
        return self._time(frames[0]), self._time(frames[-1])

    def _next(self) -> av.VideoFrame | None:
        """Return the next frame that has a time."""
        assert self._frames is not None
        frame = next((frame for frame in self._frames if frame.pts is not None), None)
        if self._promised is not None:
            self._check(frame, self._promised.stamps)
        return frame

    def _check(self, frame: av.VideoFrame | None, stamps: list[int]) -> None:
        """Compare a frame with the one that the packets promise after the one before."""
        if frame is None:
            if self._next_number is not None and self._next_number < len(stamps):
                raise _OtherFrameError
            return
        assert frame.pts is not None
        number = self._next_number
        if number is None:
            number = bisect.bisect_left(stamps, frame.pts)
        if number >= len(stamps) or stamps[number] != frame.pts:
            raise _OtherFrameError
        self._next_number = number + 1

    def _last(self, time: float) -> av.VideoFrame | None:
        """Return the last frame of the file if `time` is within the span that it is shown."""
        newest = self._after
        if newest is not None and time - self._time(newest) < 1.5 / self._video.rate:
            return newest
        return None

    def _time(self, frame: av.VideoFrame) -> float:
        """Return the seconds from the first frame to this one."""
        assert frame.pts is not None
        return frame.pts * self._video.tick - self._first

    def _seeking_pays(self, time: float) -> bool:
        now = self._time(self._after) if self._after is not None else 0.0
        if self._promised is None:
            return time - now > BLIND_SEEK_SECONDS
        return bisect.bisect_right(self._keys, time) > bisect.bisect_right(self._keys, now)

    def _seek(self, time: float) -> None:
        """Go to a frame at or before `time`, further back until one is found."""
        import av

        back = 0.0
        while time - back >= 0:
            try:
                frames = self._video.frames_near(time - back + self._first)
            except av.FFmpegError:  # as where a server gives whole files only
                break
            self._start_at(frames)
            if self._after is not None and self._time(self._after) <= time + TIE:
                return
            back = 2 * back + 1.0
        self._start_at(self._video.frames())

    def _start_at(self, frames: Iterator[av.VideoFrame]) -> None:
        self._frames, self._next_number = frames, None
        self._before, self._after = None, self._next()


class _OtherFrameError(Exception):
    """A frame came that the packets do not promise, or one that they promise did not come."""
