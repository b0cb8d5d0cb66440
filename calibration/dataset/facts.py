"""The facts of one video, found by decoding every frame of it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from r2p_edge.calibration.dataset.groups import group_of
from r2p_edge.calibration.matching import Video
from r2p_edge.errors import VideoError
from r2p_edge.video.flow_folder import FlowFolder, is_flow
from r2p_edge.video.sampling import Times, duration_of
from r2p_edge.video.source import ImageFolder, Source, open_source
from r2p_edge.video.video_folder import looking_up

_ANY_RATE = 25.0  # of a folder of frames, which has none


@dataclass(frozen=True)
class VideoFacts:
    """A video of a data set.

    Attributes:
        name: `<class>/<video>`, relative to the data set's folder.
        label: its class.
        group: its recording; see `group_of`.
        frames: number of frames that can be decoded.
        lost: number of frames that are damaged, or build on damage.
        seconds: length; None for a folder of frames or of flow.
        fps: frames per second on average; None for such a folder and for a single frame.
        width, height: of the first frame in pixels, upright.
        cut_off: whether the video ends before the end that the file declares.
        error: why no frame can be decoded, or an image of the folder cannot; "" if all is well.
    """

    name: str
    label: str
    group: str
    frames: int = 0
    lost: int = 0
    seconds: float | None = None
    fps: float | None = None
    width: int = 0
    height: int = 0
    cut_off: bool = False
    error: str = ""

    @property
    def damaged(self) -> bool:
        """True if some of its frames can be decoded and others cannot."""
        return not self.error and (self.lost > 0 or self.cut_off)


def facts_of_video(video: Video) -> VideoFacts:
    """Decode a video to its end; return what it is, with the error if it cannot be decoded."""
    group = group_of(video.name)
    try:
        source = _opened(video.path)
        with contextlib.closing(source):
            timed = not isinstance(source, (ImageFolder, FlowFolder))
            # Of a folder each image is a file, which may be the broken one.
            moments = source.times[:1] if timed else source.times
            shapes = [image.shape for image in source.read(moments)]
            every = np.union1d(source.times, source.lost)
            seconds = duration_of(source.times, source.lost) if timed else None
            return VideoFacts(
                video.name,
                video.label,
                group,
                frames=len(source.times),
                lost=len(source.lost),
                seconds=None if seconds is None else round(seconds, 6),
                fps=_rate(every) if timed and len(every) > 1 else None,
                width=shapes[0][1],
                height=shapes[0][0],
                cut_off=source.truncated,
            )
    except VideoError as error:
        return VideoFacts(video.name, video.label, group, error=str(error))


def _opened(path: Path) -> Source:
    """Open a video, or the flow in a folder that has no frames.

    Raises:
        VideoError: see `open_source` and `FlowFolder`.
    """
    with looking_up(path):
        if path.is_dir() and is_flow(path):
            return FlowFolder(path, _ANY_RATE)
    return open_source(path, _ANY_RATE, count="frames", planes=True)


def _rate(times: Times) -> float:
    return round(float((len(times) - 1) / (times[-1] - times[0])), 6)
