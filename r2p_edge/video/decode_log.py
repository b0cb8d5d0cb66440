"""A log of one run through the decoder: which frames are good, and when each is shown."""

from __future__ import annotations

import bisect
import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from r2p_edge.video.damage import Mark, unusable
from r2p_edge.video.timestamps import ascending

if TYPE_CHECKING:
    import av

    from r2p_edge.video.container import VideoDecoder
    from r2p_edge.video.decoding import Decoded

_Times = npt.NDArray[np.float64]


class DecodeLog:
    """The packets and frames of one run, each in its order.

    Attributes:
        cause: why the last refused packet was refused; "" if none was.
    """

    def __init__(self, video: VideoDecoder) -> None:
        self._video = video
        self._packets: list[Mark] = []
        self._slots: list[int | None] = []  # numbers of the chunks, where there are no times
        self._numbers: dict[int, int] = {}  # of the packets, by their times
        self._corrupt: set[int] = set()
        self._refused: set[int] = set()
        self._stamps: list[int | None] = []  # of the frames
        self._sources: list[int] = []  # the packet of each frame
        self._bad: set[int] = set()  # frames that the decoder marks
        self.cause = ""

    def add(self, step: Decoded) -> None:
        """Note what the decoder did with one packet."""
        packet = step.packet
        if packet is not None:
            if packet.is_corrupt:
                self._corrupt.add(len(self._packets))
            if packet.pts is not None:
                self._numbers.setdefault(packet.pts, len(self._packets))
            self._packets.append(Mark(packet.pts, packet.is_keyframe))
            self._slots.append(packet.dts)
        newest = len(self._packets) - 1
        if step.refused:
            self.cause = step.refused
            self._refused.add(newest)
        for frame in step.frames:
            self._add_frame(frame, newest)

    def _add_frame(self, frame: av.VideoFrame, newest: int) -> None:
        # A frame without a time is taken for one of the packet that brought it out.
        source = newest if frame.pts is None else self._numbers.get(frame.pts, newest)
        if frame.is_corrupt:
            self._bad.add(len(self._stamps))
            self._corrupt.add(source)
        self._stamps.append(frame.pts)
        self._sources.append(source)

    @property
    def damaged(self) -> bool:
        """True if the decoder refused a packet or marked a frame, or the file a packet."""
        return bool(self._refused or self._corrupt)

    def judge(self) -> tuple[list[int], _Times, _Times]:
        """Return the numbers of the good frames, the times of all, and those of the lost ones.

        Times are float64 seconds on the file's own clock. A refused packet takes only itself along,
        unless it is a key frame's: the decoder says of what follows if it is spoiled.
        """
        refused = self._refused
        keys = {number for number in refused if self._packets[number].key}
        lost = unusable(self._packets, self._corrupt | keys) | refused
        shifts = self._shifts(refused)
        if self._video.timed:
            times = self._stored_times()
        else:
            # Frames come in another order than their packets, but there is one for each.
            order = [number for number in range(len(self._packets)) if number not in refused]
            if len(order) != len(self._sources):
                order = sorted(self._sources)
            slots = [number + shifts[source] for number, source in enumerate(order)]
            times = np.array(slots, np.float64) * self._video.tick
        good, used, gone = [], set(), []
        for number, source in enumerate(self._sources):
            used.add(source)
            if source not in lost and number not in self._bad:
                good.append(number)
            else:
                gone.append(times[number])
        sources = sorted(self._sources)
        for source in lost - used:
            stamp = self._packets[source].stamp
            if not self._video.timed:
                stamp = shifts[source] + bisect.bisect_left(sources, source)
            if stamp is not None:
                gone.append(stamp * self._video.tick)
        return good, times, np.sort(np.array(gone, np.float64))

    def _stored_times(self) -> _Times:
        """Return the time of each frame in a file that has times."""
        stamps = np.array([math.nan if s is None else s for s in self._stamps], np.float64)
        return ascending(stamps * self._video.tick, 1 / self._video.rate)

    def _shifts(self, refused: set[int]) -> list[int]:
        """Return how many pictures are missing before each packet of a file without times.

        A chunk is a moment there: an empty one has no picture, and neither has a refused one. One
        that stands for the second picture of the chunk before it does not count.
        """
        shifts, before = [], 0
        for number, slot in enumerate(self._slots):
            empty = 0 if slot is None else slot - (self._slots[0] or 0) - number
            shifts.append(max(empty, 0) + before)
            before += number in refused
        return shifts
