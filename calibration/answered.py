"""A model's answer to one video, as the rows of a table of results have it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from r2p_edge.archive.rows import ArchiveRow, ranked_column
from r2p_edge.calibration.lists.entries import Part


@dataclass(frozen=True)
class AnsweredVideo:
    """An answer to a video, or why there is none.

    Attributes:
        video: path or address.
        part: seconds that were looked at; None for all of it.
        size: bytes of the file then, or of a folder's images; None if they are not known.
        span: seconds of the first and the last frame that the model saw.
        coverage: share of the frames that are real.
        views: clips that the answer is the mean of.
        top: classes and scores, the best first.
        truth: the video's class; None if it is not known.
        rank: place of the true class among all, from 1 on; None if it is not known.
        clip_ranks: that of each clip, where they are known.
        stream_ranks: that by each stream of a model of two, colours first; empty for one model.
        inference_ms, total_ms: milliseconds of the model, and with decoding; None if not known.
        error: why there is no answer.
    """

    video: str
    part: Part | None = None
    size: int | None = None
    span: tuple[float, float] | None = None
    coverage: float | None = None
    views: int = 1
    top: tuple[tuple[str, float], ...] = ()
    truth: str | None = None
    rank: int | None = None
    clip_ranks: tuple[int, ...] = ()
    stream_ranks: tuple[int, ...] = ()
    inference_ms: float | None = None
    total_ms: float | None = None
    error: str | None = None

    @property
    def label(self) -> str:
        """The class that was answered."""
        return self.top[0][0]

    @property
    def score(self) -> float:
        """The score of that class."""
        return self.top[0][1]

    @property
    def right(self) -> bool:
        """Tells whether the class that was answered is the true one."""
        return self.label == self.truth

    def with_truth(self, truth: str | None) -> AnsweredVideo:
        """Return the same answer to a video of this class, whose rank is known if `top` has it."""
        if truth == self.truth:
            return self
        labels = [label for label, _ in self.top]
        rank = labels.index(truth) + 1 if truth in labels else None
        return replace(self, truth=truth, rank=rank, clip_ranks=(), stream_ranks=())


def answered_video(rows: Sequence[ArchiveRow]) -> AnsweredVideo:
    """Return the answer that the rows of one video and one model hold.

    Args:
        rows: one row, or one for each of several windows.

    Raises:
        KeyError, TypeError, ValueError: a column is not there or has another kind of value.
    """
    first: dict[str, Any] = dict(rows[0])
    start, end = first.get("start"), first.get("end")
    listed = AnsweredVideo(
        video=first["video"],
        part=None if start is end is None else (start or 0.0, math.inf if end is None else end),
        size=first.get("size"),
        truth=first.get("truth"),
        error=first.get("error"),
    )
    if listed.error is not None:
        return listed
    spans = _numbers(rows, "span_start", "span_end")
    top = _top(first)
    if first.get("video_label") is not None:
        top = ((first["video_label"], first["video_score"]),)
    covered = _numbers(rows, "coverage")
    return replace(
        listed,
        span=(min(spans), max(spans)) if spans else None,
        coverage=sum(covered) / len(covered) if covered else None,
        views=first.get("views") or len(rows),
        top=top,
        rank=first.get("rank"),
        clip_ranks=_ranks(first, "clip_ranks"),
        stream_ranks=_ranks(first, "stream_ranks"),
        inference_ms=first.get("inference_ms"),
        total_ms=first.get("total_ms"),
    )


def _ranks(row: dict[str, Any], name: str) -> tuple[int, ...]:
    """Return the whole numbers in a column of text."""
    return tuple(map(int, (row.get(name) or "").split()))


def _numbers(rows: Sequence[ArchiveRow], *names: str) -> list[float]:
    """Return the numbers that some columns have."""
    found = (row.get(name) for row in rows for name in names)
    return [float(value) for value in found if value is not None]


def _top(row: dict[str, Any]) -> tuple[tuple[str, float], ...]:
    top: list[tuple[str, float]] = []
    while (label := row.get(ranked_column("label", len(top) + 1))) is not None:
        top.append((label, float(row[ranked_column("score", len(top) + 1)])))
    return tuple(top)
