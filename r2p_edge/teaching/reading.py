"""Features of videos, computed by the network of an artifact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import VideoError
from r2p_edge.predictor import Predictor
from r2p_edge.scores import check_finite
from r2p_edge.teaching.classes import LabelledVideo
from r2p_edge.video.clip_reader import ClipReader


class Read(NamedTuple):
    """Features of the videos that could be read.

    Attributes:
        videos: these videos.
        features: float32 (videos, views, C).
        failed: name and error of each of the others.
    """

    videos: list[LabelledVideo]
    features: npt.NDArray[np.float32]
    failed: list[tuple[str, VideoError]]


def read_features(
    predictor: Predictor,
    videos: Sequence[LabelledVideo],
    views: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Read:
    """Compute the features of videos.

    Args:
        predictor: of a model whose answer is the features.
        videos: the videos.
        views: clips of each, as in `Predictor.predict`.
        progress: called after each video with the number done and the number of all.

    Raises:
        VideoError: too many of the videos cannot be read.
        ModelError: the model answers NaN.
        BackendError: the runtime failed.
    """
    from r2p_edge.calibration.ucf101 import check_unreadable

    reader = ClipReader(predictor.spec)
    together = max(1, predictor.batch // views)  # videos that fill a call of the model
    kept: list[LabelledVideo] = []
    failed: list[tuple[str, VideoError]] = []
    waiting: list[npt.NDArray[np.uint8]] = []
    found: list[npt.NDArray[np.float32]] = []

    def answer() -> None:
        if waiting:
            features = predictor.outputs_of(np.concatenate(waiting)).astype(np.float32)
            check_finite(features, predictor.artifact.path, predictor.runtime)
            found.append(features.reshape(len(waiting), views, -1))
            waiting.clear()

    for done, each in enumerate(videos, 1):
        try:
            clips = reader.read(each.video.path, clips=views, part=each.video.part)
        except VideoError as error:
            failed.append((each.video.name, error))
        else:
            kept.append(each)
            waiting.append(clips.pixels)
        if len(waiting) == together:
            answer()
        progress(done, len(videos))
    answer()
    check_unreadable(failed, len(videos))
    return Read(kept, np.concatenate(found), failed)
