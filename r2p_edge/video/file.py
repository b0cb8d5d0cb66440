"""A video file as presentation times and upright frames, decoding as little as it can.

Three kinds of file are told apart. Most containers hold presentation times: their frames are
sought. AVI and raw streams hold none, and what FFmpeg makes up for them has gaps and changes after
a seek: their frames are counted, by decoding. And a file may turn out to be shorter than it says:
it is then counted too, whatever it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import VideoError
from r2p_edge.frame import Image, Planes, picture_of, rgb_of
from r2p_edge.video.container import open_container
from r2p_edge.video.sampling import nearest

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

Times = npt.NDArray[np.float64]
Count = Literal["trust", "packets", "frames"]

SCAN_SECONDS = 60.0
"""Files declared longer than this are trusted to be as long as they say; of shorter ones the
packets are listed (microseconds each), because containers lie about their length."""

COUNT_SECONDS = 600.0
"""Files without presentation times declared longer than this are not decoded whole to count their
frames; theirs are then found by FFmpeg's guess of the times, which is some frames off."""

BLIND_SEEK_SECONDS = 10.0
"""Gap between two wanted frames from which seeking pays where the key frames are not known."""

CACHE_BYTES = 64 << 20
"""Decoded frames kept while a video is counted by decoding, so that it is decoded once."""

NETWORK_SECONDS = (10.0, 30.0)
"""Patience with a URL: to open it, and to read on."""

_MOST_FRAMES = 10_000_000  # more than that is a broken header, not a video


class ShorterThanDeclaredError(Exception):
    """A file turned out shorter than it declared; its `times` have been corrected: plan again."""


class VideoFile:
    """A video file or URL, decoded by FFmpeg through PyAV; see `video.Source`.

    Args:
        name: of the file, for messages.
        url: of the file, for FFmpeg.
        count: how sure the number of frames must be: "trust" what a long file declares, list
            the "packets" of any file, or decode all "frames".
        planes: frames in YUV 4:2:0 are read as they are.
        container: the file, open already; by default it is opened.

    Raises:
        VideoError: it is no video, or no frame of it can be decoded.
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
        self._picture = picture_of if planes else rgb_of
        self.truncated = False
        self._url = url
        self._cache: list[av.VideoFrame] | None = None
        self._keyframes: Times | None = None
        self._counted = False
        self._open(container)
        try:
            self._index(count)
        except BaseException:
            self.close()
            raise

    def _open(self, container: InputContainer | None = None) -> None:
        """Opens the file at its start, or again: seeking back there is not exact everywhere."""
        import av

        timeout = None if self._url.startswith("file:") else NETWORK_SECONDS
        try:
            self._container = container or open_container(self._url, timeout)
        except (av.FFmpegError, OSError) as error:
            raise VideoError(
                f"{self.name} cannot be read as a video ({_cause(error)}); check the file"
            ) from error
        try:
            self._stream = self._video_stream()
        except BaseException:
            self.close()
            raise
        self._frames = self._container.decode(self._stream)

    def _restart(self) -> None:
        self._container.close()
        self._open()

    def _video_stream(self) -> VideoStream:
        container = self._container
        if container.format.name == "hls" and container.duration is None:
            raise VideoError(
                f"{self.name} is a live playlist, which has no end; record it to a file"
            )
        # FFmpeg renders text files as video, and a song's cover picture as a stream.
        streams = () if container.format.name == "tty" else container.streams.video
        for stream in streams:
            if "attached_pic" not in str(stream.disposition):
                # Slices cost no delay; whole frames in parallel pay only where frames are large.
                large = stream.width * stream.height > 640 * 480
                stream.thread_type = "AUTO" if large else "SLICE"
                return stream
        raise VideoError(f"{self.name} has no video stream; give a video file")

    def _index(self, count: Count) -> None:
        """Finds the frames' times in the cheapest way that can be trusted."""
        stream = self._stream
        rate = stream.average_rate or stream.guessed_rate
        self._rate = float(rate) if rate else 25.0
        self._tick = float(stream.time_base) if stream.time_base else 1 / 90000
        self._timed = self._container.format.name != "avi"
        self._first = 0.0 if stream.start_time is None else stream.start_time * self._tick
        declared = self._declared_seconds(of_stream=False) or 0.0
        longest = SCAN_SECONDS if self._timed else COUNT_SECONDS
        if count == "trust" and longest < declared and declared * self._rate < _MOST_FRAMES:
            self.times = np.arange(max(round(declared * self._rate), 1)) / self._rate
        elif count == "frames" or not (self._timed and self._list_packets()):
            self._count_by_decoding()

    def _declared_seconds(self, *, of_stream: bool) -> float | None:
        """How long the file says it is; of all its streams the longest, unless `of_stream`."""
        stream, container = self._stream, self._container
        if not self._timed and stream.frames:
            return stream.frames / self._rate
        if stream.duration is not None:
            return stream.duration * self._tick
        # What Matroska calls a duration is the time of the end, also in the tag that some of
        # its writers add for each stream (hours:minutes:seconds).
        start = self._first if container.format.name.startswith("matroska") else 0.0
        tag = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))
        if tag:
            hours, minutes, seconds = (float(part) for part in tag.groups())
            return 3600 * hours + 60 * minutes + seconds - start
        if container.duration is None or (of_stream and len(container.streams) > 1):
            return None
        return container.duration / 1e6 - start

    def _list_packets(self) -> bool:
        """Takes the times from the packets' headers; False where they are not all there."""
        import av

        stamps, keys = [], []
        try:
            for packet in self._container.demux(self._stream):
                if packet.size == 0 or packet.is_discard:
                    continue
                if packet.pts is None:
                    return False
                stamps.append(packet.pts)
                if packet.is_keyframe:
                    keys.append(packet.pts)
        except av.FFmpegError:
            return False
        if not stamps or len(set(stamps)) < len(stamps):
            return False
        times = np.sort(np.array(stamps, np.float64)) * self._tick
        self._first = float(times[0])
        self.times = times - self._first
        self._keyframes = np.sort(np.array(keys, np.float64)) * self._tick - self._first
        self.truncated = self._ends_early()
        return True

    def _count_by_decoding(self) -> None:
        """The slow, certain way: decodes everything, converts nothing."""
        import av

        self._restart()
        cache: list[av.VideoFrame] | None = []
        held, stamps, cause = 0, [], ""
        try:
            for frame in self._frames:
                stamps.append(math.nan if frame.pts is None else frame.pts)
                held += sum(plane.buffer_size for plane in frame.planes)
                if held > CACHE_BYTES:
                    cache = None
                if cache is not None:
                    cache.append(frame)
        except av.FFmpegError as error:
            cause = _cause(error)
        if not stamps:
            raise VideoError(
                f"{self.name} has no frame that can be decoded ({cause or 'it ends at once'}); "
                "check or convert the file"
            )
        times: Times = np.array(stamps, np.float64) * self._tick
        steps = np.diff(times)
        # False for NaN too: where a frame has no time all are counted, at the rate of the others.
        if not self._timed or not bool(np.all(steps > 0)) or math.isnan(times[0]):
            step = 1 / self._rate
            if self._timed and np.any(steps > 0):
                step = float(np.median(steps[steps > 0]))
            times = np.arange(len(stamps), dtype=np.float64) * step
        self.times = times - times[0]
        self._cache, self._counted = cache, True
        self.truncated = bool(cause) or self._ends_early()

    def _ends_early(self) -> bool:
        """Whether the known frames end well before the stream says that it does.

        Headers are often wrong by a frame or two, which is no damage.
        """
        declared = self._declared_seconds(of_stream=True)
        found = float(self.times[-1]) + 1 / self._rate
        return declared is not None and found < declared - max(0.5, 0.05 * declared)

    def read(self, times: Times) -> Iterator[Image | Planes]:
        """See `video.Source.read`."""
        frames = self._read_counted(times) if self._counted else self._read_seeking(times)
        shown: av.VideoFrame | None = None
        picture: Image | Planes = np.empty(0, np.uint8)
        for frame in frames:
            if frame is not shown:
                shown, picture = frame, self._picture(frame)
            yield picture

    def _read_counted(self, times: Times) -> Iterator[av.VideoFrame]:
        import av

        if self._cache is None:
            self._restart()
        frames = iter(self._cache) if self._cache is not None else self._frames
        position, frame = -1, None
        for index in nearest(self.times, times):
            while position < index:
                try:
                    frame = next(frames, None)
                except av.FFmpegError:
                    frame = None
                if frame is None:
                    raise VideoError(
                        f"{self.name} decodes differently every time; convert the file"
                    )
                position += 1
            assert frame is not None
            yield frame

    def _read_seeking(self, times: Times) -> Iterator[av.VideoFrame]:
        reader = _SeekingReader(self)
        for time in times:
            frame = reader.nearest(float(time))
            if frame is None:
                self._count_by_decoding()
                raise ShorterThanDeclaredError
            yield frame

    def close(self) -> None:
        """Closes the file. Calling it twice is allowed."""
        self._cache = None
        self._container.close()


class _SeekingReader:
    """Ascending moments of a file with true presentation times, decoding as little as it can."""

    def __init__(self, file: VideoFile) -> None:
        self._file = file
        self._started = False
        self._before: av.VideoFrame | None = None  # newest frame at or before the last moment
        self._after: av.VideoFrame | None = None  # the one behind it

    def nearest(self, time: float) -> av.VideoFrame | None:
        """The frame nearest to `time`, None if decoding ends before it."""
        import av

        try:
            if not self._started or self._seeking_pays(time):
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
        """The next frame that has a time."""
        return next((frame for frame in self._file._frames if frame.pts is not None), None)

    def _last(self, time: float) -> av.VideoFrame | None:
        # At the end of the file the newest frame is the last one; it stands for its own span.
        newest = self._after
        if newest is not None and time - self._time(newest) < 1.5 / self._file._rate:
            return newest
        return None

    def _time(self, frame: av.VideoFrame) -> float:
        assert frame.pts is not None
        return frame.pts * self._file._tick - self._file._first

    def _seeking_pays(self, time: float) -> bool:
        now = self._time(self._after) if self._after is not None else 0.0
        keyframes = self._file._keyframes
        if keyframes is None:
            return time - now > BLIND_SEEK_SECONDS
        return bool(np.any((keyframes > now) & (keyframes <= time)))

    def _seek(self, time: float) -> None:
        """Stands at a frame at or before `time`, going further back until there is one."""
        file, back = self._file, 0.0
        self._started = True
        while time - back > 0:
            stamp = math.floor((time - back + file._first) / file._tick)
            file._container.seek(stamp, stream=file._stream)
            file._frames = file._container.decode(file._stream)
            self._before, self._after = None, self._next()
            if self._after is not None and self._time(self._after) <= time:
                return
            back = 2 * back + 1.0
        file._restart()
        self._before, self._after = None, self._next()


def _cause(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
