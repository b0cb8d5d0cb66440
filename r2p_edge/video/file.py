"""A video file as presentation times and upright frames, decoding as little as it can.

There are three kinds of file. Most containers store presentation times: their frames are sought.
AVI and raw streams store none: their frames are counted, by decoding. And a file may turn out to
be shorter than it declares: it is then counted too, whatever it is.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from r2p_edge.frame import Image, Planes, picture_of, rgb_of
from r2p_edge.video.as_stored import note_interlaced
from r2p_edge.video.container import VideoDecoder
from r2p_edge.video.counting import CountedFrames
from r2p_edge.video.sampling import nearest

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

Times = npt.NDArray[np.float64]
Count = Literal["trust", "packets", "frames"]

SCAN_SECONDS = 60.0
"""Files declared longer than this are trusted to be as long as they declare; of shorter ones the
packets are listed (microseconds each), because containers often declare a wrong length."""

COUNT_SECONDS = 600.0
"""Files without presentation times declared longer than this are not decoded whole to count their
frames, which are then found by the times that FFmpeg guesses, some frames off."""

BLIND_SEEK_SECONDS = 10.0
"""Gap between two wanted frames from which seeking pays where the key frames are not known."""

_MOST_FRAMES = 10_000_000  # more than that is a broken header, not a video

_log = logging.getLogger(__name__)


class ShorterThanDeclaredError(Exception):
    """A file turned out shorter than it declares; its `times` have been corrected: plan again."""


class VideoFile:
    """A video file or URL, decoded by FFmpeg through PyAV; a `Source`.

    Args:
        name: name of the file in messages.
        url: the file as FFmpeg takes it.
        count: how sure the number of frames must be: "trust" what a long file declares, list
            the "packets" of any file, or decode all "frames".
        planes: whether frames in YUV 4:2:0 are given as `Planes`.
        container: the file where it is open already; by default it is opened.

    Raises:
        VideoError: the file is not a video, or none of its frames can be decoded.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        count: Count = "trust",
        planes: bool = False,
        container: InputContainer | None = None,
    ) -> None:
        self.name = name
        self.truncated = False
        self._picture = functools.partial(picture_of if planes else rgb_of, name=name)
        self._keyframes: Times | None = None
        self._counted: CountedFrames | None = None
        self._video = VideoDecoder(name, url, container)
        self._first = self._video.start
        try:
            self._index(count)
        except BaseException:
            self.close()
            raise

    def _index(self, count: Count) -> None:
        """Find the frames' times in the cheapest way that can be trusted."""
        video = self._video
        declared = video.declared_seconds(of_stream=False) or 0.0
        longest = SCAN_SECONDS if video.timed else COUNT_SECONDS
        if count == "trust" and longest < declared and declared * video.rate < _MOST_FRAMES:
            self.times: Times = np.arange(max(round(declared * video.rate), 1)) / video.rate
        elif count == "frames" or not (video.timed and self._list_packets()):
            self._count_by_decoding()

    def _list_packets(self) -> bool:
        """Take the times from the packets' headers; return False where some are missing."""
        import av

        stamps, keys = [], []
        try:
            for packet in self._video.packets():
                if packet.size == 0 or packet.is_discard:
                    continue
                stamps.append(packet.pts)
                if packet.is_keyframe:
                    keys.append(packet.pts)
        except av.FFmpegError:
            return False
        if not stamps or None in stamps or len(set(stamps)) < len(stamps):
            return False
        times = np.sort(np.array(stamps, np.float64)) * self._video.tick
        self._first = float(times[0])
        self.times = times - self._first
        self._keyframes = np.sort(np.array(keys, np.float64)) * self._video.tick - self._first
        self._note_truncation()
        return True

    def _count_by_decoding(self) -> None:
        _log.info("%s is decoded to its end, to count its frames", self.name)
        self._counted = CountedFrames(self._video)
        self.times = self._counted.times
        self._note_truncation()

    def _note_truncation(self) -> None:
        """Set `truncated` if decoding failed or the frames end well before the declared end.

        Headers are often wrong by a frame or two, which is no damage.
        """
        declared = self._video.declared_seconds(of_stream=True)
        found = float(self.times[-1]) + 1 / self._video.rate
        early = declared is not None and found < declared - max(0.5, 0.05 * declared)
        self.truncated = early or (self._counted is not None and self._counted.damaged)
        if self.truncated:
            end = "more" if declared is None else f"{declared:.2f} s"
            _log.warning("%s is damaged: %.2f s of %s can be decoded", self.name, found, end)

    def read(self, times: Times) -> Iterator[Image | Planes]:
        """Give the frame nearest to each of the ascending moments; see `Source.read`."""
        if self._counted is not None:
            frames = self._counted.read(nearest(self.times, times))
        else:
            frames = self._seek(times)
        shown: av.VideoFrame | None = None
        picture: Image | Planes = np.empty(0, np.uint8)
        for frame in frames:
            if frame is not shown:
                if shown is None and frame.interlaced_frame:
                    note_interlaced(self.name)
                shown, picture = frame, self._picture(frame)
            yield picture

    def _seek(self, times: Times) -> Iterator[av.VideoFrame]:
        reader = _SeekingReader(self._video, self._first, self._keyframes)
        for time in times:
            frame = reader.nearest(float(time))
            if frame is None:
                _log.info("%s ends before %.2f s, which it declares to have", self.name, time)
                self._count_by_decoding()
                raise ShorterThanDeclaredError
            yield frame

    def close(self) -> None:
        """Close the file. Calling it twice is allowed."""
        self._counted = None
        self._video.close()


class _SeekingReader:
    """Frames of a file with presentation times, at ascending moments, decoding as few as it can.

    Args:
        first: time of the first frame on the file's own clock, in seconds.
        keyframes: ascending seconds after the first frame; None if they are not known.
    """

    def __init__(self, video: VideoDecoder, first: float, keyframes: Times | None) -> None:
        self._video, self._first, self._keyframes = video, first, keyframes
        self._frames: Iterator[av.VideoFrame] | None = None
        self._before: av.VideoFrame | None = None  # newest frame at or before the last moment
        self._after: av.VideoFrame | None = None  # the one behind it

    def nearest(self, time: float) -> av.VideoFrame | None:
        """Return the frame nearest to `time`, or None if decoding ends before it."""
        import av

        try:
            if self._frames is None or self._seeking_pays(time):
                self._seek(time)
            while self._after is None or self._time(self._after) < time:
                frame = self._next()
                if frame is None:
                    return self._last(time)
                self._before, self._after = self._after, frame
        except av.FFmpegError:
            return None
        if self._before is None:
            return self._after
        pair = np.array([self._time(self._before), self._time(self._after)])
        return self._after if nearest(pair, np.array([time]))[0] else self._before

    def _next(self) -> av.VideoFrame | None:
        """Return the next frame that has a time."""
        assert self._frames is not None
        return next((frame for frame in self._frames if frame.pts is not None), None)

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
        if self._keyframes is None:
            return time - now > BLIND_SEEK_SECONDS
        return bool(np.any((self._keyframes > now) & (self._keyframes <= time)))

    def _seek(self, time: float) -> None:
        """Go to a frame at or before `time`, further back until one is found."""
        back = 0.0
        while time - back > 0:
            self._start_at(self._video.frames_near(time - back + self._first))
            if self._after is not None and self._time(self._after) <= time:
                return
            back = 2 * back + 1.0
        self._start_at(self._video.frames())

    def _start_at(self, frames: Iterator[av.VideoFrame]) -> None:
        self._frames = frames
        self._before, self._after = None, self._next()
