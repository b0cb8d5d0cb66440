"""`make_report`: a page about the answers in files of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from r2p_edge.artifact.files import sha256_of_model
from r2p_edge.artifact.open import open_artifact
from r2p_edge.calibration.answered import AnsweredVideo
from r2p_edge.calibration.report.groups import Group, groups_in
from r2p_edge.calibration.report.model_answers import ModelAnswers
from r2p_edge.calibration.report.truth import Truth, truth_of_folders, truth_of_list
from r2p_edge.calibration.report.write import WORST, check_report, write_report
from r2p_edge.errors import ModelError, R2PError, SpecError, UsageError, count_of
from r2p_edge.spec import ModelSpec
from r2p_edge.spec.class_names import class_finder


def make_report(
    results: Sequence[str | Path],
    out: str | Path,
    *,
    truth: str | Path | None = None,
    models: Sequence[str | Path] = (),
    worst: int = WORST,
) -> dict[str, Any]:
    """Write a report about the answers in files of results; see `write_report` for the page.

    Rows of the same model, runtime, device, precision and number of clips belong together, from
    whatever file they are; a video that has several such rows counts once.

    Args:
        results: files that `predict --out` and `eval --out` wrote, .csv, .jsonl or .parquet.
        out: the page, .html.
        truth: list of videos and their classes, in any form that `eval` takes; by default the
            classes are those in the results, and else those of the folders that the videos lie in.
        models: model files, whose contract tells all classes and which frames were seen. Those
            that results of `eval` name are found by themselves, if they have not changed.
        worst: number of videos of each model that are shown, those that are answered wrongly with
            the highest score.

    Returns:
        {"videos", "classes", "truth", "results": [{"path", ...}], "notes": [str]}, with the
        figures of each model as `evaluate` has them; "truth" is where the classes come from, or
        None, and then there are no figures.

    Raises:
        UsageError: no results are given, a suffix is wrong, or `worst` is negative.
        VideoError: results or the list cannot be used, or no video has an answer.
        ModelError, SpecError: a model cannot be used, or the results are of models of different
            classes or of one that gives values.
        OutputError: the page cannot be written.
        MissingDependencyError: Parquet needs pyarrow.
    """
    out = Path(out)
    check_report(out, worst)
    if not results:
        raise UsageError("there are no results to report; give a file of them")
    groups, again = groups_in(results)
    notes = []
    if again:
        rows = count_of(again, "row")
        notes.append(f"{rows} left out, of videos that the same model has answered before")
    specs = _specs(groups, models, notes)
    answers = [group.answers() for group in groups]
    labels = _labels(answers, specs)
    known = any(each is not None for each in specs)
    answers = [_renamed(each, labels) for each in answers]
    judged = _judged(answers, labels, truth, known, notes)
    if not known and judged.source is not None:
        notes.append(
            f"the results do not name all classes of the model: {len(judged.labels)} occur, and "
            "chance is reckoned for these; --model FILE tells the others"
        )
    return write_report(
        [
            ModelAnswers(
                identity=_identity(group),
                views=group.views or 1,
                labels=judged.labels if spec is None else _in_order(spec.labels, judged.labels),
                spec=spec,
                answers=own,
            )
            for group, spec, own in zip(groups, specs, judged.answers)
        ],
        out,
        truth=judged.source,
        notes=notes,
        worst=worst,
    )


def _identity(group: Group) -> dict[str, Any]:
    digest, runtime, device, precision = group.identity
    more = f" and {len(group.further)} more" if group.further else ""
    name = group.column("file") or f"{group.results}{more} ({str(digest)[:12]})"
    named = {"path": name, "runtime": runtime, "device": device, "precision": precision}
    return {**named, "weights": group.column("weights")}


def _specs(
    groups: Sequence[Group], models: Sequence[str | Path], notes: list[str]
) -> list[ModelSpec | None]:
    """Return the contract of the model of each group, None where its file is not known.

    Raises:
        ModelError: a model cannot be opened, or has given none of the answers.
    """
    by_digest: dict[str | None, ModelSpec] = {}
    digests = {group.digest for group in groups}
    for model in models:
        artifact = open_artifact(model)
        digest = sha256_of_model(artifact.path)
        if digest not in digests:
            raise ModelError(
                f"{artifact.path} has the sha256 {digest[:12]}..., and the results are of "
                f"{', '.join(f'{str(each)[:12]}...' for each in sorted(map(str, digests)))}; give "
                "the file that answered"
            )
        by_digest[digest] = artifact.spec
    for group in groups:
        file = group.column("file")
        if group.digest in by_digest or file is None:
            continue
        try:
            artifact = open_artifact(file)
            if sha256_of_model(artifact.path) == group.digest:
                by_digest[group.digest] = artifact.spec
            else:
                notes.append(f"{file} has changed since it answered, and is not looked at")
        except R2PError as error:
            notes.append(f"the model cannot be looked at: {error}")
    return [by_digest.get(group.digest) for group in groups]


def _labels(
    answers: Sequence[Sequence[AnsweredVideo]], specs: Sequence[ModelSpec | None]
) -> tuple[str, ...]:
    """Return the classes of all models in one spelling; see `make_report`.

    Raises:
        SpecError: the models have different classes.
    """
    named = {label for own in answers for each in own for label, _ in each.top}
    named |= {each.truth for own in answers for each in own if each.truth is not None}
    known = [spec.labels for spec in specs if spec is not None]
    if not known:
        return tuple(sorted(named))
    find = class_finder(known[0])
    for other in (*known[1:], sorted(named)):
        strange = next((label for label in other if find(label) is None), None)
        if strange is not None or (other in known and len(other) != len(known[0])):
            raise SpecError(
                f"the results are of models with different classes, such as {strange!r}, which one "
                "of them does not have; make a report of each"
            )
    return known[0]


def _in_order(own: Sequence[str], labels: Sequence[str]) -> tuple[str, ...]:
    """Return classes in the order of one model and the spelling of another."""
    find = class_finder(labels)
    return tuple(labels[index] for label in own if (index := find(label)) is not None)


def _renamed(answers: Sequence[AnsweredVideo], labels: Sequence[str]) -> list[AnsweredVideo]:
    """Return answers with their classes in the spelling of `labels`, which has all of them."""
    find = class_finder(labels)

    def name(label: str) -> str:
        index = find(label)
        assert index is not None
        return labels[index]

    return [
        replace(
            each,
            truth=None if each.truth is None else name(each.truth),
            top=tuple((name(label), score) for label, score in each.top),
        )
        for each in answers
    ]


@dataclass(frozen=True)
class _Judged:
    """Answers to videos whose classes are known, these in one spelling, and who says so."""

    answers: list[list[AnsweredVideo]]
    labels: tuple[str, ...]
    source: str | None


def _judged(
    answers: list[list[AnsweredVideo]],
    labels: tuple[str, ...],
    truth: str | Path | None,
    known: bool,
    notes: list[str],
) -> _Judged:
    """Return the answers with the classes of the videos, by the first of the ways that says any."""
    every = [each for own in answers for each in own]
    videos = list(dict.fromkeys(each.video for each in every))
    said = {(each.video, each.part): each.truth for each in every if each.truth is not None}
    if truth is not None:
        found = truth_of_list(Path(truth), videos, labels, all_known=known)
    elif said:  # by some rows, perhaps not by all
        found = Truth(said, labels, "the results")
    else:
        found = truth_of_folders(videos, labels)
    judged = [[each.with_truth(found.of(each)) for each in own] for own in answers]
    unknown = {each.video for own in judged for each in own if each.truth is None}
    if len(unknown) == len(videos):
        notes.append(
            "nothing says of which class the videos are, so that there is no accuracy; give a list "
            "of videos and classes (--truth FILE), or the results of eval"
        )
        return _Judged(judged, labels, None)
    if unknown:
        notes.append(
            f"{len(unknown)} of {len(videos)} videos count for no accuracy, as their class is not "
            f"known by {found.source}; the first is {min(unknown)}"
        )
    return _Judged(judged, found.labels, found.source)
