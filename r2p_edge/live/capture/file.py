"""Files as streams: every frame is read, and the reader waits for its consumer."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np

from r2p_edge.addresses import without_password
from r2p_edge.errors import VideoError
from r2p_edge.frame import Image, Planes
from r2p_edge.live.frame import LiveFrame, decoded
from r2p_edge.prediction import Timing
from r2p_edge.spec import ClipSpec
from r2p_edge.video.sampling import SLACK, ShorterThanDeclaredError, Times, nearest
from r2p_edge.video.source import Source, open_source


class FileCapture:
    """A finite video: the frames nearest to its ticks, as `sampling` picks them from files.

    Args:
        name: path of a file, or of a folder of images.
        clip: how the model wants its frames.
        tick: seconds from one frame that is wanted to the next.
        fps: frames per second of a folder; by default the rate of the training videos.
        clock: returns seconds of a monotonic clock.
        video: the source where it is open already; by default `name` is opened.
    """

    live = lost = False
    timeout = math.inf

    def __init__(
        self,
        name: str,
        clip: ClipSpec,
        tick: float,
        *,
        fps: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        video: Source | None = None,
    ) -> None:
        self.name = without_password(name)
        self._clip, self._tick, self._clock = clip, tick, clock
        self._stopped = False
        # True times, of long files too: all of it is going to be read anyway.
        self._video = video or open_source(name, fps or clip.fps, count="packets", planes=True)

    @property
    def truncated(self) -> bool:
        """True if the file ended before the end that it declares."""
        return self._video.truncated

    def frames(self) -> Iterator[LiveFrame]:
        """Yield the frames that a tick takes; see `Capture`.

        It reads half a clip ahead, so that an answer tells of damage that follows it at once.
        """
        ahead: deque[LiveFrame] = deque()
        told = 0
        for frame in self._decoded():
            ahead.append(frame)
            if len(ahead) > self._clip.frames // 2:
                known = int(np.count_nonzero(self._video.lost < frame.time))
                yield self._ready(ahead.popleft(), known - told)
                told = known
        while ahead:
            yield self._ready(ahead.popleft(), len(self._video.lost) - told)
            told = len(self._video.lost)

    def _ready(self, frame: LiveFrame, dropped: int) -> LiveFrame:
        return frame._replace(captured=self._clock(), dropped=dropped)

    def _decoded(self) -> Iterator[LiveFrame]:
        newest = -math.inf
        # A file that gives other frames than it promised has then been counted: plan again.
        for _ in range(2):
            wanted = self._wanted()
            wanted = wanted[wanted > newest]
            with contextlib.suppress(ShorterThanDeclaredError):
                for moment, (picture, decode_ms) in zip(wanted.tolist(), self._read(wanted)):
                    if self._stopped:
                        return
                    newest = moment
                    yield LiveFrame(
                        time=moment,
                        captured=0.0,
                        size=picture.shape[:2],
                        picture=decoded(picture),
                        decode_ms=decode_ms,
                    )
                return
        raise VideoError(f"{self.name} decodes differently every time; convert the file")

    def _read(self, wanted: Times) -> Iterator[tuple[Image | Planes, float]]:
        """Yield the frame nearest to each moment, and the milliseconds that its decoding took."""
        pictures = self._video.read(wanted)
        while True:
            timing = Timing()
            with timing.stage("decode"):
                picture = next(pictures, None)
            if picture is None:
                return
            yield picture, timing.decode

    def _wanted(self) -> Times:
        """Return the times of the frames nearest to a tick, and of the last, which settles it."""
        times = self._video.times
        last = math.floor((times[-1] + SLACK / self._clip.fps) / self._tick)
        # Those beside a frame are enough, and a damaged file's times may be years apart.
        before = np.floor(times / self._tick)
        ticks = np.union1d(before, before + 1)
        moments: Times = ticks[ticks <= last] * self._tick
        return np.asarray(times[np.union1d(nearest(times, moments), len(times) - 1)])

    def stop(self) -> None:
        """Make `frames` end soon; see `Capture`."""
        self._stopped = True

    def close(self) -> None:
        """Release the file; see `Capture`."""
        self._video.close()
