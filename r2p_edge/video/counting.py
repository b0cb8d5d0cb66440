"""Frames counted by decoding a whole file: the slow way, and the certain one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import VideoError
from r2p_edge.video.container import CACHE_BYTES, VideoDecoder, cause_of

if TYPE_CHECKING:
    import av


class CountedFrames:
    """Every frame that can be decoded of a file, found by decoding it once.

    Attributes:
        times: float64 (n,), seconds after the first frame, ascending.
        damaged: whether decoding ended in an error.

    Raises:
        VideoError: not a single frame can be decoded.
    """

    def __init__(self, video: VideoDecoder) -> None:
        import av

        self._video = video
        self._cache: list[av.VideoFrame] | None = []
        size, stamps, cause = 0, [], ""
        try:
            for packet in video.packets():
                for frame in packet.decode():
                    stamps.append(math.nan if frame.pts is None else frame.pts)
                    size += sum(plane.buffer_size for plane in frame.planes)
                    if size > CACHE_BYTES:
                        self._cache = None
                    if self._cache is not None:
                        self._cache.append(frame)
        except av.FFmpegError as error:
            cause = cause_of(error)
        if not stamps:
            raise VideoError(
                f"{video.name} has no frame that can be decoded ({cause or 'it ends at once'}); "
                "check or convert the file"
            )
        self.times = _even_times(np.array(stamps, np.float64) * video.tick, video)
        self.damaged = bool(cause)

    def read(self, indices: npt.NDArray[np.int64]) -> Iterator[av.VideoFrame]:
        """Give the frames of these numbers, which must ascend.

        Raises:
            VideoError: a frame that was counted cannot be decoded again.
        """
        import av

        frames = self._video.frames() if self._cache is None else iter(self._cache)
        position, frame = -1, None
        for index in indices:
            while position < index:
                try:
                    frame = next(frames, None)
                except av.FFmpegError:
                    frame = None
                if frame is None:
                    raise VideoError(
                        f"{self._video.name} decodes differently every time; convert the file"
                    )
                position += 1
            assert frame is not None
            yield frame


def _even_times(times: npt.NDArray[np.float64], video: VideoDecoder) -> npt.NDArray[np.float64]:
    """Return the frames' times from 0 on: as decoded if they are credible, else evenly spaced."""
    steps = np.diff(times)
    # False for NaN too: where a frame has no time all are counted, at the rate of the others.
    if not video.timed or not bool(np.all(steps > 0)) or math.isnan(times[0]):
        step = 1 / video.rate
        if video.timed and np.any(steps > 0):
            step = float(np.median(steps[steps > 0]))
        return np.arange(len(times), dtype=np.float64) * step
    return np.asarray(times - times[0])
