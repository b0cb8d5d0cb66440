"""A video file as presentation times and upright frames, decoding as little as it can.

Only what decodes is a frame. A file that looks sound is taken at the word of its packets, or of the
first and the last of them where it is long, and every frame that is then decoded is held against
that. Whatever does not look sound, or gives other frames than it promised, is decoded to its end
and counted.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np

from r2p_edge.frame import Image, Planes, picture_of, rgb_of
from r2p_edge.video.as_stored import note_interlaced
from r2p_edge.video.container import VideoDecoder
from r2p_edge.video.counting import CountedFrames
from r2p_edge.video.ends import first_and_last
from r2p_edge.video.listing import PacketList, list_packets
from r2p_edge.video.sampling import ShorterThanDeclaredError, Times, nearest
from r2p_edge.video.seeking import SeekingReader

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

Count = Literal["trust", "packets", "frames"]

SCAN_SECONDS = 60.0
"""Files declared longer than this are trusted to be as long as they declare; of shorter ones the
packets are listed (microseconds each). Of longer ones the first and the last frame are looked up,
because what a container declares is often wrong, or the length of its sound."""

COUNT_SECONDS = 600.0
"""Files without presentation times declared longer than this are not decoded whole to count their
frames, which are then found by the times that FFmpeg guesses, some frames off."""

_MOST_FRAMES = 10_000_000  # more than that is a broken header, not a video

_log = logging.getLogger(__name__)


class VideoFile:
    """A video file or URL, decoded by FFmpeg through PyAV; a `Source`.

    Args:
        name: name of the file in messages.
        url: the file as `open_container` takes it.
        count: how sure the number of frames must be: "trust" what a long file declares, list
            the "packets" of any file, or decode all "frames".
        planes: whether frames in YUV 4:2:0 are given as `Planes`.
        container: the file where it is open already; by default it is opened.

    Attributes:
        url: the file as FFmpeg takes it.
        first: time of the first frame on the file's own clock, in seconds.

    Raises:
        VideoError: the file is not a video, or none of its frames can be decoded.
    """

    def __init__(
        self,
        name: str,
        url: str | BinaryIO,
        *,
        count: Count = "trust",
        planes: bool = False,
        container: InputContainer | None = None,
    ) -> None:
        self.name, self.url = name, url
        self.truncated = False
        self._picture = functools.partial(picture_of if planes else rgb_of, name=name)
        self.lost: Times = np.empty(0)
        self._promised: PacketList | None = None
        self._counted: CountedFrames | None = None
        self._video = VideoDecoder(name, url, container)
        self.first = self._video.start
        try:
            self._index(count)
        except BaseException:
            self.close()
            raise

    def _index(self, count: Count) -> None:
        """Find the frames' times in the cheapest way that can be trusted."""
        if count == "trust" and self._trust():
            return
        if count == "frames" or not self._list():
            self._count_by_decoding()

    def _trust(self) -> bool:
        """Take the times of a long file from its two ends; return False if it is not long."""
        video = self._video
        declared = video.declared_seconds(of_stream=False) or 0.0
        if declared <= (SCAN_SECONDS if video.timed else COUNT_SECONDS):
            return False
        if not video.timed:
            self.times = np.arange(max(round(declared * video.rate), 1)) / video.rate
            return len(self.times) < _MOST_FRAMES
        ends = first_and_last(video)
        if ends is None or not SCAN_SECONDS < ends[1] - ends[0] < _MOST_FRAMES / video.rate:
            return False
        self.first, last = ends[0], ends[1] - ends[0]
        self.times = np.linspace(0, last, round(last * video.rate) + 1)
        return True

    def _list(self) -> bool:
        """Take the times from the packets' headers; return False where they may not be true."""
        self._promised = list_packets(self._video)
        if self._promised is None:
            return False
        times = np.array(self._promised.stamps, np.float64) * self._video.tick
        self.first = float(times[0])
        self.times = times - self.first
        self._note_truncation()
        return True

    def _count_by_decoding(self) -> None:
        _log.info("%s is decoded to its end, to count its frames", self.name)
        self._counted = CountedFrames(self._video)
        self.first = self._counted.first
        self.times, self.lost = self._counted.times, self._counted.lost
        if len(self.lost):
            _log.warning(
                "%s is damaged: %d of its frames can be used, %d cannot",
                self.name,
                len(self.times),
                len(self.lost),
            )
        self._note_truncation()

    def _note_truncation(self) -> None:
        """Set `truncated` if decoding failed or the frames end well before the declared end.

        Headers are often wrong by a frame or two, which is no damage.
        """
        declared = self._video.declared_seconds(of_stream=True)
        found = float(self.times[-1]) + 1 / self._video.rate
        # The picture may begin later than the sound, and end earlier.
        late = max(self.first - self._video.start, 0.0)
        early = declared is not None and found + late < declared - max(0.5, 0.05 * declared)
        early = early and not self._video.others_go_on()
        broken = self._counted is not None and self._counted.broken_off
        self.truncated = early or (declared is None and broken)
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
        reader = SeekingReader(self._video, self.first, self._promised)
        for time in times:
            frame = reader.nearest(float(time))
            if frame is None:
                _log.info("%s gives other frames at %.2f s than it promises", self.name, time)
                self._count_by_decoding()
                raise ShorterThanDeclaredError
            if self._promised is None:
                self._note_hole(*reader.around)
            yield frame

    def _note_hole(self, before: float, after: float) -> None:
        """Take moments at which a long file has no frame out of its times."""
        if after - before > 1.5 / self._video.rate and after < self.times[-1]:
            outside = (self.times < before) | (self.times > after)
            self.times = np.union1d(self.times[outside], [before, after])

    def close(self) -> None:
        """Close the file. Calling it twice is allowed."""
        self._counted = None
        self._video.close()
