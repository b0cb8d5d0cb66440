"""The parts of a report: all models beside each other, and each model by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from r2p_edge.calibration.answered import AnsweredVideo
from r2p_edge.calibration.evaluation_text import interval_text, runs_on, share_text
from r2p_edge.calibration.report.classes import answers_table, classes_table
from r2p_edge.calibration.report.curve import reliability_of
from r2p_edge.calibration.report.markup import (
    Html,
    details,
    element,
    heading,
    joined,
    paragraph,
    table,
    text,
    words,
)
from r2p_edge.calibration.report.matrix import matrix_of
from r2p_edge.calibration.report.model_answers import ModelAnswers
from r2p_edge.calibration.report.worst import figure_of, worst_of
from r2p_edge.calibration.tally import PERCENTILES
from r2p_edge.errors import count_of

_LISTED = 500  # wrong answers, and errors, in a table


def overview(names: Sequence[str], results: Sequence[Mapping[str, Any]]) -> Html:
    """Return the figures of all models beside each other, and the way to each one's part."""
    if not any("top1" in result for result in results):
        return Html("")
    columns = ["model", "runs on", "top-1", "95 % interval", "top-5", "95 % interval", "ECE"]
    if len(names) > 1:
        columns.append("agrees with the first")
    rows = []
    for number, (name, result) in enumerate(zip(names, results), 1):
        link = Html(f'<a href="#model-{number}">{text(name)}</a>')
        row = [link, text(runs_on(result))]
        if "top1" not in result:
            rows.append([*row, *[words("-")] * (len(columns) - 2)])
            continue
        for depth in ("top1", "top5"):
            row += [
                words(share_text(result[depth])),
                words(interval_text(result[f"{depth}_interval"])),
            ]
        row.append(words(share_text(result["ece"])))
        if len(names) > 1:
            row.append(words("-" if number == 1 else share_text(result["agreement"])))
        rows.append(row)
    told = (
        "Share of the videos that were answered rightly, and the expected calibration error (ECE): "
        "how far scores are from the share of right answers, at best 0 %"
    )
    return table(words(told), columns, rows, texts=2)


def model_section(number: int, name: str, model: ModelAnswers, worst: int) -> Html:
    """Return the part of one model.

    Args:
        number: of the model, from 1 on.
        name: of the model, for people.
        model: its answers.
        worst: number of videos to show.
    """
    clips = f", {model.views} clips of each" if model.views > 1 else ""
    told = f"{count_of(len(model.answered), 'video')} answered{clips}, {runs_on(model.identity)}"
    parts = [
        Html(f'<h2 id="model-{number}">{text(name)}</h2>'),
        paragraph(text(told)),
        paragraph(text(model.identity["path"]), "faint"),
    ]
    if model.tally.counted:
        labels, counts = model.tally.confusion()
        parts += [
            heading(3, words("Classes")),
            classes_table(model.tally.classes),
            heading(3, words("Confusion matrix")),
            matrix_of(labels, counts),
            heading(3, words("Reliability of the scores")),
            reliability_of(model.tally.reliability, model.tally.calibration_error),
        ]
    else:
        parts += [heading(3, words("Answers")), answers_table(model.answered)]
    parts += [heading(3, words("Speed")), _speed(model), _worst(model, worst), _failed(model)]
    return joined(Html("<section>"), *parts, Html("</section>"))


def _speed(model: ModelAnswers) -> Html:
    latency = model.tally.latency_ms()
    if latency is None:
        told = "These results have no times; those of eval have (eval --out, eval --report)."
        return paragraph(words(told))
    titles = {"inference": "the model", "total": "with decoding and preprocessing"}
    rows = [
        [words(title), *(words(f"{latency[key][f'p{q}']:.1f}") for q in PERCENTILES)]
        for key, title in titles.items()
    ]
    names = ["milliseconds a video", "median", *(f"{q} % below" for q in PERCENTILES[1:])]
    return table(words("Time for each video"), names, rows)


def _worst(model: ModelAnswers, most: int) -> Html:
    judged = bool(model.tally.counted)
    title = heading(3, words("Worst videos" if judged else "Least sure videos"))
    shown = worst_of(model.answered, most)
    wrong = worst_of(model.answered, len(model.answered)) if judged else []
    if judged and not wrong:
        return joined(title, paragraph(words("No video was answered wrongly.")))
    told = "The lowest scores."
    if judged:
        told = (
            "One video was answered wrongly."
            if len(wrong) == 1
            else f"{len(wrong)} videos were answered wrongly; these are those with the highest "
            "score."
        )
    if shown and model.spec is None:
        told += " The model's file is not known, and so not which frames it saw (report --model)."
    elif shown:
        told += " The pictures are the frames that the model saw, resized and cropped as it does."
    figures = joined(*(figure_of(each, model.spec) for each in shown))
    listed = Html("")
    if wrong:
        which = f"the first {_LISTED} of {len(wrong)}" if len(wrong) > _LISTED else f"{len(wrong)}"
        listed = details(words(f"All wrong answers ({which})"), _wrong_table(wrong[:_LISTED]))
    return joined(
        title, paragraph(words(told)), element("div", figures, ' class="figures"'), listed
    )


def _wrong_table(wrong: Sequence[AnsweredVideo]) -> Html:
    rows = [
        [text(each.video), text(each.truth), text(each.label), words(share_text(each.score))]
        for each in wrong
    ]
    names = ["video", "class", "answered as", "score"]
    return table(words("Wrong answers, the highest score first"), names, rows, texts=3)


def _failed(model: ModelAnswers) -> Html:
    failed = model.failed
    if not failed:
        return Html("")
    rows = [[text(each.video), text(each.error, 500)] for each in failed[:_LISTED]]
    more = f"; the first {_LISTED} are listed" if len(failed) > _LISTED else ""
    return joined(
        heading(3, words("Videos without an answer")),
        paragraph(
            words(
                "One video has none, and counts for nothing above."
                if len(failed) == 1
                else f"{len(failed)} videos have none, and count for nothing above{more}."
            )
        ),
        table(words("Videos that could not be answered"), ["video", "error"], rows, texts=2),
    )
