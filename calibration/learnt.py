"""The videos that a model was trained on, as its contract records them.

A model answers these better than others, so that they say little of its accuracy.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from r2p_edge.calibration.manifest import sha256_of_video
from r2p_edge.calibration.matching import Video
from r2p_edge.errors import VideoError, count_of

_DIGITS = 16  # of a sha256, which tell a billion videos apart
_FIELD = "video_digests"
_LESSONS = ("head", "training")  # records of a contract's source: of `teach`, of a training


def learnt_record(sha256s: Iterable[str], before: Mapping[str, Any] | None) -> dict[str, list[str]]:
    """Return what a record of a training has of its videos: the beginnings of their sha256.

    It is empty where none are known.

    Args:
        sha256s: of the videos.
        before: source of the contract of the model that was trained further, whose videos count.
    """
    digests = {each[:_DIGITS] for each in sha256s} | learnt_digests(before)
    return {_FIELD: sorted(digests)} if digests else {}


def learnt_digests(source: Mapping[str, Any] | None) -> frozenset[str]:
    """Return the beginnings of the sha256 of the videos that a model was trained on.

    Args:
        source: of its contract; one that was written before these were recorded has none.
    """
    found: set[str] = set()
    for name in _LESSONS:
        record = (source or {}).get(name)
        listed = record.get(_FIELD) if isinstance(record, Mapping) else None
        if isinstance(listed, list):
            found.update(each for each in listed if isinstance(each, str))
    return frozenset(found)


class LearntVideos:
    """The videos that a model was trained on.

    Args:
        source: of the model's contract.
    """

    def __init__(self, source: Mapping[str, Any] | None) -> None:
        self._digests = learnt_digests(source)

    def __bool__(self) -> bool:
        """Return whether any are known."""
        return bool(self._digests)

    def __contains__(self, video: Video) -> bool:
        """Return whether a video is one of them; a file that cannot be read is none."""
        if self._digests:
            with contextlib.suppress(VideoError):
                return sha256_of_video(video.path)[:_DIGITS] in self._digests
        return False

    def doubt_of(self, videos: Sequence[Video]) -> str | None:
        """Return why figures of some videos are doubtful, in a sentence; None if they are not."""
        known = sum(video in self for video in videos)
        if not known:
            return None
        return (
            f"the model was trained on {known} of the {count_of(len(videos), 'video')}, so that "
            "others may come out worse; measure on other videos"
        )
