"""Frames counted by decoding a whole file: the slow way, and the certain one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import VideoError
from r2p_edge.video.container import CACHE_BYTES, VideoDecoder
from r2p_edge.video.decode_log import DecodeLog

if TYPE_CHECKING:
    import av


class CountedFrames:
    """Every frame of a file that can be shown as it was filmed, found by decoding it once.

    Attributes:
        first: time of the first of them on the file's own clock, in seconds.
        times: float64 (n,), seconds after the first of them, ascending.
        lost: float64 (m,), such times of the frames that are damaged or build on damage, ascending,
            up to the last frame that the decoder gives at all.
        broken_off: whether an error ended the file.

    Raises:
        VideoError: there is not a single such frame.
    """

    def __init__(self, video: VideoDecoder) -> None:
        self._video = video
        log, cache = self._decode()
        if log.damaged and video.decode_singly():
            log, cache = self._decode()
        self.broken_off = bool(video.broken_off)
        self._numbers, times, lost = log.judge()
        if not self._numbers:
            cause = log.cause or video.broken_off or "it ends at once"
            raise VideoError(
                f"{video.name} has no frame that can be decoded ({cause}); "
                "check or convert the file"
            )
        self._cache = None if cache is None else [cache[number] for number in self._numbers]
        self.first = float(times[self._numbers[0]])
        self.times = times[self._numbers] - self.first
        self.lost = lost[(lost > self.first) & (lost <= times[-1])] - self.first

    def _decode(self) -> tuple[DecodeLog, list[av.VideoFrame] | None]:
        """Decode the file; return what came, and all frames if they are few."""
        cache: list[av.VideoFrame] | None = []
        log, size = DecodeLog(self._video), 0
        for step in self._video.decode(self._video.packets()):
            log.add(step)
            for frame in step.frames:
                size += sum(plane.buffer_size for plane in frame.planes)
                if size > CACHE_BYTES:
                    cache = None
                if cache is not None:
                    cache.append(frame)
        return log, cache

    def read(self, indices: npt.NDArray[np.int64]) -> Iterator[av.VideoFrame]:
        """Give the frames of these numbers, which must ascend.

        Raises:
            VideoError: a frame that was counted cannot be decoded again.
        """
        if self._cache is not None:
            yield from (self._cache[index] for index in indices)
            return
        frames = (
            frame for step in self._video.decode(self._video.packets()) for frame in step.frames
        )
        position, frame = -1, None
        for index in indices:
            while position < self._numbers[index]:
                frame = next(frames, None)
                if frame is None:
                    raise VideoError(
                        f"{self._video.name} decodes differently every time; convert the file"
                    )
                position += 1
            assert frame is not None
            yield frame
