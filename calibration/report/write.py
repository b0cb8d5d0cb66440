"""The page of a report: its head, a part for each model, and the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r2p_edge._version import __version__
from r2p_edge.addresses import without_password
from r2p_edge.artifact.atomic import atomic_write, check_folder
from r2p_edge.calibration.evaluation_text import short_names
from r2p_edge.calibration.report.markup import (
    STYLE,
    Html,
    heading,
    joined,
    paragraph,
    text,
    words,
)
from r2p_edge.calibration.report.matrix import MATRIX_STYLE
from r2p_edge.calibration.report.model_answers import ModelAnswers
from r2p_edge.calibration.report.sections import model_section, overview
from r2p_edge.errors import UsageError, count_of

WORST = 12
"""Number of videos of each model that a report shows by default."""

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def check_report(path: Path, worst: int) -> None:
    """Make sure, before any work, that a report can be written.

    Args:
        path: the page.
        worst: number of videos of each model that are shown.

    Raises:
        UsageError: the suffix is another than .html, or the number is negative.
        OutputError: it cannot be written there.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(
            f"{path} ends in {path.suffix or 'no suffix'}; a report is an .html file, which every "
            "browser opens and prints"
        )
    if worst < 0:
        raise UsageError(f"there are {worst} videos to show; give 0 or more (worst, --worst)")
    check_folder(path)


def write_report(
    models: Sequence[ModelAnswers],
    path: Path,
    *,
    truth: str | None,
    notes: Sequence[str] = (),
    worst: int = WORST,
) -> dict[str, Any]:
    """Write the page about the answers of models, whole or not at all.

    It is one file that needs neither scripts nor a network, in UTF-8. For each model it has the
    accuracy of each class, the confusion matrix, the reliability of the scores, the times, and
    the worst videos with the frames that the model saw, where its contract is known and the videos
    are what they were. A warning is at its top where the answers are no better than chance.

    Args:
        models: of the same classes in the same spelling; the first is the one that others are
            compared with.
        path: the page.
        truth: where the classes of the videos come from, for people; None if they are not known.
        notes: sentences about the results.
        worst: number of videos of each model that are shown.

    Returns:
        Figures; see `make_report`.

    Raises:
        OutputError: the page cannot be written.
    """
    results = [each.figures(models[0]) for each in models]
    paths = [without_password(str(each.identity["path"])) for each in models]
    names = [_name(name, paths, number) for number, name in enumerate(short_names(paths))]
    videos = len({(each.video, each.part) for model in models for each in model.answers})
    warnings = [
        (name, doubt) for name, each in zip(names, results) for doubt in each.get("warnings", ())
    ]
    title = names[0] if len(names) == 1 else f"{len(names)} models"
    told = f"{count_of(videos, 'video')}, {count_of(len(models[0].labels), 'class')}"
    told += f"; the class of a video is that of {truth}" if truth else ""
    body = joined(
        heading(1, Html(f"Report: {text(title)}")),
        paragraph(text(told)),
        *(
            paragraph(
                Html(f"<strong>Warning:</strong> {text(name)}: {text(doubt, 2000)}"), "warning"
            )
            for name, doubt in warnings
        ),
        *(paragraph(Html(f"Note: {text(note, 1000)}"), "faint") for note in notes),
        overview(names, results),
        *(
            model_section(number, name, model, worst)
            for number, (name, model) in enumerate(zip(names, models), 1)
        ),
        Html(f"<footer><p>{words(f'Made by r2p_edge {__version__}.')}</p></footer>"),
    )
    # Names of files may have bytes that are no letters.
    atomic_write(path, _page(text(title), body).encode("utf-8", "replace"))
    return {
        "videos": videos,
        "classes": len(models[0].labels),
        "truth": truth,
        "results": results,
        "notes": list(notes),
    }


def _name(name: str, paths: Sequence[str], number: int) -> str:
    """Return the name of a model; with a number if its file was run in several ways."""
    return f"{name} [{number + 1}]" if paths.count(paths[number]) > 1 else name


def _page(title: Html, body: Html) -> str:
    plain_title = title.removeprefix("<bdi>").removesuffix("</bdi>")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Report: {plain_title}</title>\n"
        f"<style>{STYLE}{MATRIX_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
