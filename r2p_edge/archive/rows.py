"""Rows of a table of answers: one for each video, or for each of several windows of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from r2p_edge.addresses import without_password
from r2p_edge.archive.listed import Listed
from r2p_edge.prediction import best_of, score_kind
from r2p_edge.predictor import Predictor
from r2p_edge.video.clip_reader import Clips
from r2p_edge.video.flow_names import size_in_bytes
from r2p_edge.video.source import is_url, path_of_uri

ArchiveRow: TypeAlias = "dict[str, str | int | float | bool | None]"
"""A row by the names of its columns; those that it lacks are empty."""

ColumnType = Literal["text", "whole", "number", "truth"]

_DIGITS = 6  # of seconds, as in the JSON of predict


def columns_of(top: int, views: int) -> dict[str, ColumnType]:
    """Return the columns of a table by name, in their order, with what they hold.

    Args:
        top: classes in each row.
        views: windows of each video.
    """
    columns: dict[str, ColumnType] = {"video": "text", "start": "number", "end": "number"}
    columns |= {"size": "whole", "duration": "number", "window": "whole"}
    columns |= {"span_start": "number", "span_end": "number"}
    for rank in range(1, top + 1):
        columns[ranked_column("label", rank)] = "text"
        columns[ranked_column("score", rank)] = "number"
    if views > 1:
        columns |= {"video_label": "text", "video_score": "number"}
    columns |= {"coverage": "number", "truncated": "truth", "kind": "text"}
    columns |= {"model": "text", "runtime": "text", "device": "text", "precision": "text"}
    return {**columns, "error": "text"}


def ranked_column(name: str, rank: int) -> str:
    """Return the name of a column for the class of this rank, from 1 on."""
    return name if rank == 1 else f"{name}_{rank}"


def identity_of(predictor: Predictor, digest: str) -> dict[str, str]:
    """Return the columns that are the same in all rows of a model whose file has this digest."""
    return {
        "model": digest,
        "runtime": predictor.runtime,
        "device": predictor.device,
        "precision": predictor.precision,
    }


def failed_row(listed: Listed, error: object, identity: Mapping[str, str]) -> ArchiveRow:
    """Return the row of a video that has no answer."""
    return {**_begun(listed), **identity, "error": str(error)}


def answered_rows(
    listed: Listed,
    clips: Clips,
    scores: npt.NDArray[np.float64],
    predictor: Predictor,
    top: int,
    identity: Mapping[str, str],
) -> list[ArchiveRow]:
    """Return a row for each window of a video.

    Args:
        listed: the video.
        clips: its windows.
        scores: (windows, classes).
        predictor: the model that gave them.
        top: classes in each row.
        identity: see `identity_of`.
    """
    whole = _answered(listed, clips, predictor, identity)
    if len(scores) > 1:
        whole["video_label"], whole["video_score"] = _best(scores, predictor, 1)[0]
    rows = []
    for number, plan in enumerate(clips.plans):
        row = {**whole, "window": number, "coverage": plan.coverage}
        span = float(plan.times.min()), float(plan.times.max())
        row |= _span_columns(span, clips.offset)
        row |= _top_columns(_best(scores[number : number + 1], predictor, top))
        rows.append(row)
    return rows


def video_row(
    listed: Listed,
    clips: Clips,
    scores: npt.NDArray[np.float64],
    predictor: Predictor,
    top: int,
    identity: Mapping[str, str],
) -> ArchiveRow:
    """Return one row for all windows of a video, with the classes that `predict` says of it.

    Args:
        listed, clips, scores, predictor, top, identity: see `answered_rows`.
    """
    row = {**_answered(listed, clips, predictor, identity), "coverage": clips.coverage}
    row |= _span_columns(clips.span, clips.offset)
    return row | _top_columns(_best(scores, predictor, top))


def _answered(
    listed: Listed, clips: Clips, predictor: Predictor, identity: Mapping[str, str]
) -> ArchiveRow:
    return {
        **_begun(listed),
        "duration": round(clips.duration, _DIGITS),
        "truncated": clips.truncated,
        "kind": score_kind(predictor.spec.output.kind),
        **identity,
    }


def _span_columns(span: tuple[float, float], offset: float) -> ArchiveRow:
    first, last = (round(moment + offset, _DIGITS) for moment in span)
    return {"span_start": first, "span_end": last}


def _top_columns(best: Iterable[tuple[str, float]]) -> ArchiveRow:
    row: ArchiveRow = {}
    for rank, (label, score) in enumerate(best, 1):
        row[ranked_column("label", rank)] = label
        row[ranked_column("score", rank)] = score
    return row


def _best(
    scores: npt.NDArray[np.float64], predictor: Predictor, top: int
) -> list[tuple[str, float]]:
    """Return the classes that `Predictor.predict` would name first for some windows."""
    mean = scores.mean(axis=0).astype(np.float32)
    return best_of(predictor.spec.labels, mean, score_kind(predictor.spec.output.kind), top)


def _begun(listed: Listed) -> ArchiveRow:
    return {
        "video": written_name(listed.video),
        "start": listed.start,
        "end": listed.end,
        "size": size_of(listed.video),
    }


def written_name(video: str) -> str:
    """Return the path of a video, or its address without a password, as rows have it."""
    return without_password(video) if is_url(video) else video


def size_of(video: str) -> int | None:
    """Return the bytes of a video file, or of a folder's pictures; None if they cannot be told."""
    with contextlib.suppress(OSError, ValueError):  # an address, or gone
        return size_in_bytes(Path(path_of_uri(video)))
    return None
