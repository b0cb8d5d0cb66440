"""One pass of several models over a data set, which can be stopped and gone on with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from r2p_edge.archive.journal import Journal
from r2p_edge.archive.results import write_results
from r2p_edge.archive.rows import ArchiveRow, size_of
from r2p_edge.calibration.examined import ExaminedModel, evaluation_columns
from r2p_edge.calibration.matching import Video
from r2p_edge.calibration.ucf101 import Listing
from r2p_edge.errors import BackendError, R2PError, UsageError, VideoError
from r2p_edge.prediction import Timing
from r2p_edge.predictor import Predictor
from r2p_edge.spec import ModelSpec, TwoStreamSpec
from r2p_edge.video.clip_reader import ClipReader, Clips

Examined = Mapping[int, ExaminedModel]
"""Models by their number among all that were named."""

Refused = Mapping[int, R2PError]
"""Reasons why the others cannot be opened."""


def open_models(
    models: Sequence[str | Path],
    stack: ExitStack,
    *,
    runtime: str | None,
    device: str | None,
    threads: int | None,
    precision: Literal["fp32", "fp16", "bf16"] | None,
) -> tuple[Examined, Refused]:
    """Open models of the same classes; one that an option is not for is left out.

    Args:
        models: their files.
        stack: closes them.
        runtime, device, threads, precision: see `Predictor`.

    Raises:
        SpecError: they have different classes.
        R2PError: none can be opened, or one is no model; see `Predictor`.
    """
    predictors: dict[int, Predictor] = {}
    refused: dict[int, R2PError] = {}
    for number, model in enumerate(models):
        try:
            predictor = Predictor(
                model, runtime=runtime, device=device, threads=threads, precision=precision
            )
        except (BackendError, UsageError) as error:  # of an option that is not for this model
            refused[number] = error
        else:
            predictors[number] = stack.enter_context(predictor)
    if not predictors:
        raise refused[0]
    labels = next(iter(predictors.values())).spec.labels
    return {number: ExaminedModel(each, labels) for number, each in predictors.items()}, refused


def answer_videos(
    listing: Listing,
    models: Examined,
    *,
    views: int,
    out: Path | None = None,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[list[ArchiveRow]]:
    """Have all models answer all videos; return the rows of each video, one for each model.

    Args:
        listing: the videos.
        models: the models.
        views: clips of each video.
        out, resume, progress: see `evaluate`.

    Raises:
        UsageError: `out` exists without `resume`, or an earlier run was another.
        OutputError: the rows cannot be written.
        R2PError: a model fails.
    """
    if out is None:
        rows: dict[int, list[ArchiveRow]] = {}
        _answer(listing, models, views, rows, rows.__setitem__, progress)
        return list(rows.values())
    facts = _facts(listing, models, views)
    with Journal(out, facts, resume=resume, keep=_keeps(listing)) as journal:
        begun = len(journal.places)
        _answer(listing, models, views, journal.places, journal.add, progress)
        if begun < len(listing.videos) or not out.exists():
            classes = len(next(iter(models.values())).labels)
            streams = any(each.predictor.of_two_streams for each in models.values())
            columns = evaluation_columns(classes, streams=streams)
            write_results(out, columns, journal.rows())
        together = iter(list(journal.rows()))
        return [[next(together) for _ in models] for _ in listing.videos]


def _answer(
    listing: Listing,
    models: Examined,
    views: int,
    done: Collection[int],
    add: Callable[[int, list[ArchiveRow]], None],
    progress: Callable[[int, int], None] | None,
) -> None:
    """Answer the videos that are not done, and add the rows of each, by its number, to them."""
    readers = {_pixel_contract(each.spec): ClipReader(each.spec) for each in models.values()}
    todo = [(number, video) for number, video in enumerate(listing.videos) if number not in done]
    if progress is not None and len(todo) < len(listing.videos):
        progress(len(done), len(listing.videos))
    for model in models.values() if todo else ():
        model.warmup()
    for number, video in todo:
        try:
            read = {key: _read(reader, video, views) for key, reader in readers.items()}
        except VideoError as error:
            add(number, [each.failed(video, error) for each in models.values()])
        else:
            each_read = ((each, read[_pixel_contract(each.spec)]) for each in models.values())
            add(number, [each.answer(video, *found) for each, found in each_read])
        if progress is not None:
            progress(len(done), len(listing.videos))


def _pixel_contract(spec: ModelSpec) -> tuple[Any, ...]:
    """Return the parts of a spec that decide the pixels that a model sees."""
    if isinstance(spec, TwoStreamSpec):
        return tuple(map(_pixel_contract, spec.streams.values()))
    return spec.clip, spec.resize, spec.crop, spec.input.color, repr(spec.flow)


def _read(reader: ClipReader, video: Video, views: int) -> tuple[Clips, Timing]:
    timing = Timing()
    return reader.read(video.path, clips=views, part=video.part, timing=timing), timing


def _facts(listing: Listing, models: Examined, views: int) -> dict[str, Any]:
    """Return what makes a run what it is, by its names in messages."""
    videos = "".join(f"{json.dumps((v.name, v.label, v.part))}\n" for v in listing.videos)
    digest = hashlib.sha256(videos.encode()).hexdigest()[:16]
    run: dict[str, Any] = {"number of models": len(models), "views": views}
    for number, model in enumerate(models.values(), 1):
        if len(models) == 1:
            run |= model.facts
            continue
        for name, value in model.facts.items():
            run[f"model {number}" if name == "model" else f"{name} of model {number}"] = value
    return {**run, "list": f"{len(listing.videos)} videos, sha256 {digest}"}


def _keeps(listing: Listing) -> Callable[[int, list[ArchiveRow]], bool]:
    """Return what tells whether the rows of a video still hold; those of an error never do."""

    def keep(number: int, rows: list[ArchiveRow]) -> bool:
        if number >= len(listing.videos):  # another list, which the facts of the run tell
            return True
        size = rows[0].get("size")
        unchanged = size is None or size == size_of(str(listing.videos[number].path))
        return rows[0].get("error") is None and unchanged

    return keep
