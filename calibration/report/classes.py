"""The accuracy of each class, worst first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean

from r2p_edge.calibration.answered import AnsweredVideo
from r2p_edge.calibration.evaluation_text import interval_text, share_text
from r2p_edge.calibration.report.markup import Html, table, text, words
from r2p_edge.calibration.tally import ClassShare, wilson_interval

_WIDTH, _HEIGHT = 120, 14  # of the bar of an interval, in pixels


def classes_table(classes: Sequence[ClassShare]) -> Html:
    """Return the table of the classes that videos have."""
    rows = []
    for each in sorted(classes, key=lambda each: (each.share, -each.videos)):
        low, high = wilson_interval(each.right, each.videos)
        instead = (
            Html("")
            if each.instead is None
            else Html(f"{text(each.instead[0])} ({each.instead[1]})")
        )
        rows.append(
            [
                text(each.label),
                instead,
                words(each.videos),
                words(each.right),
                words(share_text(each.share)),
                words(interval_text((low, high))),
                _bar(each.share, low, high),
            ]
        )
    names = ["class", "most often instead", "videos", "right", "top-1", "95 % interval", "0 to 1"]
    return table(words("Accuracy of each class, worst first"), names, rows, texts=2)


def _bar(share: float, low: float, high: float) -> Html:
    """Return a dot at a share on the line of its interval; the cells beside it have the numbers."""
    middle, width = _HEIGHT / 2, _WIDTH - 8
    x, left, right = (4 + width * value for value in (share, low, high))
    return Html(
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" aria-hidden="true">'
        f'<path class="grid" d="M4 {middle:g}h{width}"/>'
        f'<path class="mark" stroke-width="3" d="M{left:.1f} {middle:g}H{right:.1f}"/>'
        f'<circle class="dot" cx="{x:.1f}" cy="{middle:g}" r="4"/></svg>'
    )


def answers_table(answers: Iterable[AnsweredVideo]) -> Html:
    """Return the table of the classes that were answered, where those of the videos are unknown."""
    scores: dict[str, list[float]] = {}
    for each in answers:
        scores.setdefault(each.label, []).append(each.score)
    rows = [
        [text(label), words(len(own)), words(share_text(fmean(own)))]
        for label, own in sorted(scores.items(), key=lambda each: -len(each[1]))
    ]
    return table(words("Answers, the most frequent first"), ["class", "videos", "mean score"], rows)
