"""Rows of a table of answers: one for each video, or for each of several windows of it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from r2p_edge.addresses import without_password
from r2p_edge.archive.listed import Listed
from r2p_edge.prediction import best_of, score_kind
from r2p_edge.predictor import Predictor
from r2p_edge.video.clip_reader import Clips
from r2p_edge.video.frame_folder import images_in
from r2p_edge.video.source import is_folder, is_url, path_of_uri

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
        columns[_ranked("label", rank)] = "text"
        columns[_ranked("score", rank)] = "number"
    if views > 1:
        columns |= {"video_label": "text", "video_score": "number"}
    columns |= {"coverage": "number", "truncated": "truth", "kind": "text"}
    columns |= {"model": "text", "runtime": "text", "device": "text", "precision": "text"}
    return {**columns, "error": "text"}


def _ranked(name: str, rank: int) -> str:
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
    kind = score_kind(predictor.spec.output.kind)

    def best(scores: npt.NDArray[np.float64]) -> list[tuple[str, float]]:
        """Return the classes that `Predictor.predict` would name first."""
        mean = scores.mean(axis=0).astype(np.float32)
        return best_of(predictor.spec.labels, mean, kind, top)

    whole: ArchiveRow = {**_begun(listed), "duration": round(clips.duration, _DIGITS)}
    whole |= {"truncated": clips.truncated, "kind": kind, **identity}
    if len(scores) > 1:
        whole["video_label"], whole["video_score"] = best(scores)[0]
    rows = []
    for number, plan in enumerate(clips.plans):
        row = {**whole, "window": number, "coverage": plan.coverage}
        row["span_start"] = round(float(plan.times.min()) + clips.offset, _DIGITS)
        row["span_end"] = round(float(plan.times.max()) + clips.offset, _DIGITS)
        for rank, (label, score) in enumerate(best(scores[number : number + 1]), 1):
            row[_ranked("label", rank)] = label
            row[_ranked("score", rank)] = score
        rows.append(row)
    return rows


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
    """Return the bytes of a video file, or of a folder's images; None if they cannot be told."""
    name = path_of_uri(video)
    with contextlib.suppress(OSError, ValueError):  # an address, or gone
        if is_folder(name):
            return sum(image.stat().st_size for image in images_in(Path(name)))
        return Path(name).stat().st_size
    return None
