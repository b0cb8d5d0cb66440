"""Any source of frames behind one small interface.

PyAV reads files because it shows presentation times, rotation and broken metadata as they are;
OpenCV's reader hides all three. Frames are converted to RGB only when a clip needs them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import VideoError, VideoNotFoundError
from r2p_edge.sampling import nearest

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

Image = npt.NDArray[np.uint8]
Times = npt.NDArray[np.float64]

SCAN_SECONDS = 60.0
"""Files declared longer than this are trusted to be as long as they say; of shorter ones the
packets are listed (microseconds each), because containers lie about their length."""

BLIND_SEEK_SECONDS = 10.0
"""Gap between two wanted frames from which seeking pays where the key frames are not known."""

CACHE_BYTES = 64 << 20
"""Decoded frames kept while a video is counted by decoding, so that it is decoded once."""

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_LIVE = ("rtsp", "rtsps", "rtmp", "rtp", "udp", "srt", "tcp")
_IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"}


class Source(Protocol):
    """A finite video.

    Attributes:
        name: for messages.
        times: float64 (n,), presentation times of the frames in seconds from the first one.
        truncated: decoding stopped before the end that the file declares.
    """

    name: str
    times: Times
    truncated: bool

    def read(self, times: Times) -> Iterator[Image]:
        """For each of the ascending moments, the nearest frame: uint8 (H, W, 3).

        The very same array comes again where one frame is nearest to several moments.

        Raises:
            ShorterThanDeclaredError: decoding ended early; `times` is now true, so plan again.
            VideoError: nothing can be decoded.
        """
        ...

    def close(self) -> None:
        """Releases files and decoders."""
        ...


class ShorterThanDeclaredError(Exception):
    """A source turned out shorter than it declared; its `times` have been corrected."""


def open_source(source: Any, fps: float, *, exact: bool = False) -> Source:
    """The source behind a path, a URL, a folder of images, or an array of frames.

    Args:
        source: path or URL (str or Path), or uint8 array (n, H, W, 3).
        fps: frames per second of a folder or an array.
        exact: count a file's frames by decoding all of it; its container may lie.

    Raises:
        VideoNotFoundError: there is no such file or folder.
        VideoError: it holds no frames that can be used.
    """
    if not isinstance(source, (str, os.PathLike)):
        return ArraySource(frames_from_array(source), fps)
    name = os.fspath(source)
    if _URL.match(name):
        if name.split(":", 1)[0].lower() in _LIVE:
            raise VideoError(
                f"{name} is a live stream, which has no end to predict to; record it to a file"
            )
        return VideoFile(name, name, exact=exact)
    path = Path(name)
    if path.is_dir():
        return ImageFolder(path, fps)
    if not path.exists():
        raise VideoNotFoundError(f"there is no video {name}; check the path")
    if path.stat().st_size == 0:
        raise VideoError(f"{name} is an empty file; copy or record it again")
    return VideoFile(
        name, f"file:{name}", exact=exact
    )  # or FFmpeg would read a colon as a protocol


def frames_from_array(frames: Any) -> Image:
    """`frames` as an array, checked to be uint8 (n, H, W, 3) with at least one pixel.

    Raises:
        VideoError: it is not; the message says what was found.
    """
    array = np.asarray(frames)
    if array.ndim != 4 or array.shape[-1] != 3:
        raise VideoError(
            f"frames have shape {array.shape}; expected (T, H, W, 3): frame, row, column, channel"
        )
    if array.dtype != np.uint8:
        raise VideoError(
            f"frames have dtype {array.dtype}; expected uint8 with values from 0 to 255"
        )
    if array.size == 0:
        raise VideoError(f"frames have shape {array.shape}; expected at least one frame and pixel")
    return array


class ArraySource:
    """Frames in memory, uint8 (n, H, W, 3), `fps` of them a second."""

    truncated = False

    def __init__(self, frames: Image, fps: float) -> None:
        self.name = "the array"
        self.times = np.arange(len(frames)) / fps
        self._frames = frames

    def read(self, times: Times) -> Iterator[Image]:
        yield from _repeating(nearest(self.times, times), lambda index: self._frames[index])

    def close(self) -> None:
        pass


class ImageFolder:
    """A folder of images, in the order of the numbers in their names, `fps` of them a second."""

    truncated = False

    def __init__(self, folder: Path, fps: float) -> None:
        self.name = str(folder)
        images = (path for path in folder.iterdir() if path.suffix.lower() in _IMAGES)
        self._paths = sorted(images, key=_natural)
        if not self._paths:
            raise VideoError(
                f"{folder} has no images ({', '.join(sorted(_IMAGES))}); "
                "give a video file or a folder of frames"
            )
        self.times = np.arange(len(self._paths)) / fps

    def read(self, times: Times) -> Iterator[Image]:
        def image(index: int) -> Image:
            path = self._paths[index]
            file = VideoFile(str(path), f"file:{path}")
            try:
                return next(file.read(np.zeros(1)))
            finally:
                file.close()

        yield from _repeating(nearest(self.times, times), image)

    def close(self) -> None:
        pass


class VideoFile:
    """A video file or URL, decoded by FFmpeg through PyAV."""

    def __init__(self, name: str, url: str, *, exact: bool = False) -> None:
        import av

        self.name = name
        self.truncated = False
        self._counted = False
        self._cache: list[av.VideoFrame] | None = None
        self._keyframes: Times | None = None
        try:
            self._container: InputContainer = av.open(url)
        except (av.FFmpegError, OSError) as error:
            raise VideoError(
                f"{name} cannot be read as a video ({_cause(error)}); check the file"
            ) from error
        try:
            self._stream = self._video_stream()
            self._index(exact)
        except BaseException:
            self.close()
            raise

    def _video_stream(self) -> VideoStream:
        # FFmpeg renders text files as video, and a song's cover picture as a stream.
        streams = [] if self._container.format.name == "tty" else self._container.streams.video
        for stream in streams:
            if "attached_pic" not in str(stream.disposition):
                # Slices cost no delay; whole frames in parallel pay only where frames are large.
                large = stream.width * stream.height > 640 * 480
                stream.thread_type = "AUTO" if large else "SLICE"
                return stream
        raise VideoError(f"{self.name} has no video stream; give a video file")

    def _index(self, exact: bool) -> None:
        """Finds the frames' times in the cheapest way that can be trusted."""
        stream, container = self._stream, self._container
        rate = stream.average_rate or stream.guessed_rate
        self._rate = float(rate) if rate else 25.0
        self._tick = float(stream.time_base or Fraction(1, 90000))
        # AVI and raw streams hold no presentation times: what FFmpeg makes up has gaps and
        # changes after a seek, so there the frames are counted.
        self._timed = container.format.name != "avi" and stream.codec_context.name != "rawvideo"
        self._first = 0.0 if stream.start_time is None else stream.start_time * self._tick
        declared = self._declared_seconds()
        if exact:
            self._count_by_decoding()
        elif declared is not None and declared > SCAN_SECONDS:
            self.times = np.arange(max(int(declared * self._rate + 0.5), 1)) / self._rate
        elif not (self._timed and self._list_packets()):
            self._count_by_decoding()

    def _declared_seconds(self) -> float | None:
        if self._stream.duration is not None:
            return self._stream.duration * self._tick
        if self._container.duration is not None:
            return self._container.duration / 1e6
        return None

    def _list_packets(self) -> bool:
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
        self._first = times[0]
        self.times = times - self._first
        self._keyframes = np.sort(np.array(keys, np.float64)) * self._tick - self._first
        return True

    def _count_by_decoding(self) -> None:
        """The slow, certain way: decodes everything, converts nothing."""
        import av

        self._rewind()
        cache: list[av.VideoFrame] | None = []
        held, stamps, cause = 0, [], ""
        try:
            for frame in self._container.decode(self._stream):
                stamps.append(frame.pts)
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
        missing = self._stream.frames - len(stamps)
        self.truncated = self.truncated or bool(cause) or missing > max(2, len(stamps) // 50)
        times = np.array([np.nan if pts is None else pts for pts in stamps]) * self._tick
        if not self._timed or not bool(np.all(np.diff(times) > 0)):
            times = np.arange(len(stamps)) / self._rate
        elif not np.isnan(times[0]):
            self._first = times[0]
        self.times = times - times[0]
        self._cache = cache
        self._counted = True

    def read(self, times: Times) -> Iterator[Image]:
        if self._counted:
            yield from self._read_counted(nearest(self.times, times))
        else:
            yield from self._read_seeking(times)

    def _read_counted(self, indices: npt.NDArray[np.int64]) -> Iterator[Image]:
        if self._cache is None:
            self._rewind()
        frames = iter(
            self._cache if self._cache is not None else self._container.decode(self._stream)
        )
        position, image = -1, None
        for index in indices:
            if index > position:
                while position < index:
                    frame = next(frames)
                    position += 1
                image = _rgb(frame)
            assert image is not None
            yield image

    def _read_seeking(self, times: Times) -> Iterator[Image]:
        reader = _SeekingReader(self)
        shown: Any = None
        image: Image | None = None
        for time in times:
            frame = reader.nearest(float(time))
            if frame is None:
                self.truncated = True
                self._count_by_decoding()
                raise ShorterThanDeclaredError
            if frame is not shown:
                shown, image = frame, _rgb(frame)
            assert image is not None
            yield image

    def _rewind(self) -> None:
        import av

        try:
            self._container.seek(self._stream.start_time or 0, stream=self._stream)
        except av.FFmpegError as error:
            raise VideoError(
                f"{self.name} cannot be read from its start again ({_cause(error)}); "
                "download it first"
            ) from error

    def close(self) -> None:
        self._cache = None
        self._container.close()


class _SeekingReader:
    """Ascending moments of a file with true presentation times, decoding as little as it can."""

    def __init__(self, file: VideoFile) -> None:
        self._file = file
        self._frames: Iterator[av.VideoFrame] | None = None
        self._before: av.VideoFrame | None = None  # newest frame at or before the last moment
        self._after: av.VideoFrame | None = None  # the one behind it

    def nearest(self, time: float) -> av.VideoFrame | None:
        """The frame nearest to `time`, None if decoding ends before it."""
        import av

        try:
            if self._frames is None or self._seeking_pays(time):
                self._seek(time)
            while self._after is None or self._time(self._after) < time:
                assert self._frames is not None
                frame = next(self._frames, None)
                if frame is None:
                    return self._last(time)
                if frame.pts is not None:
                    self._before, self._after = self._after, frame
        except av.FFmpegError:
            return None
        if self._before is None:
            return self._after
        choice = nearest(
            np.array([self._time(self._before), self._time(self._after)]), np.array([time])
        )
        return self._after if choice[0] else self._before

    def _last(self, time: float) -> av.VideoFrame | None:
        # At the end of the file the newest frame is the last one; it stands for its own span.
        newest = self._after
        if newest is not None and time - self._time(newest) < 1.5 / self._file._rate:
            return newest
        return None

    def _time(self, frame: av.VideoFrame) -> float:
        assert frame.pts is not None  # nearest() drops frames without a time
        return frame.pts * self._file._tick - self._file._first

    def _seeking_pays(self, time: float) -> bool:
        now = self._time(self._after) if self._after is not None else 0.0
        keyframes = self._file._keyframes
        if keyframes is None:
            return time - now > BLIND_SEEK_SECONDS
        return bool(np.any((keyframes > now) & (keyframes <= time)))

    def _seek(self, time: float) -> None:
        """Stands before the first frame at or after `time`, going further back if need be."""
        file = self._file
        back = 0.0
        while True:
            target = max(time - back, 0.0) + file._first
            file._container.seek(int(target / file._tick), stream=file._stream)
            self._frames = file._container.decode(file._stream)
            self._before, self._after = None, next(self._frames, None)
            early = self._after is not None and (
                self._after.pts is not None and self._time(self._after) <= time
            )
            if early or target <= file._first:
                return
            back = 2 * back + 1.0


def _rgb(frame: av.VideoFrame) -> Image:
    """The frame as uint8 RGB (H, W, 3), upright.

    One thread: swscale's slice threads cost three times what they save at these sizes.
    """
    image: Image = frame.to_ndarray(format="rgb24", threads=1)  # type: ignore[assignment]
    turns = round(frame.rotation / 90) % 4  # counter-clockwise, as the container asks
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _repeating(indices: Iterable[int], image: Any) -> Iterator[Image]:
    """`image(index)` for each index, made once for a run of the same index."""
    shown, current = None, None
    for index in indices:
        if index != shown:
            shown, current = index, image(index)
        assert current is not None
        yield current


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort key that puts frame 10 after frame 9."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _cause(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
