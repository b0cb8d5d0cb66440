"""The reliability of scores: a curve of calibration, and its numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from r2p_edge.calibration.evaluation_text import interval_text, share_text
from r2p_edge.calibration.report.markup import Html, details, joined, table, words
from r2p_edge.calibration.tally import ScoreBin, wilson_interval

_SIDE, _LEFT, _TOP, _BELOW, _BARS = 280, 48, 12, 44, 60  # of the picture, in pixels
_DOT = 5


def reliability_of(bins: Sequence[ScoreBin], error: float) -> Html:
    """Return the curve of calibration with its table.

    Args:
        bins: the answers by their score.
        error: expected calibration error.
    """
    told = (
        f"Of answers with a score of 90 %, 90 % should be right. The expected calibration error "
        f"(ECE), the mean distance from that in {len(bins)} bins of equal width, is "
        f"{100 * error:.1f} percentage points."
    )
    rows = [
        [
            words(f"{each.low:.1%} to {each.high:.1%}"),
            words(each.videos),
            words(share_text(each.score)),
            words(share_text(each.right / each.videos)),
            words(interval_text(wilson_interval(each.right, each.videos))),
        ]
        for each in _filled(bins)
    ]
    names = ["score", "videos", "mean score", "right", "95 % interval"]
    numbers = table(words("Answers by the score of their class"), names, rows)
    return joined(Html(f"<p>{words(told)}</p>"), _curve(bins), details(words("Numbers"), numbers))


def _curve(bins: Sequence[ScoreBin]) -> Html:
    most = max(each.videos for each in bins)
    bottom = _TOP + _SIDE
    lines = [
        f'<svg width="{_LEFT + _SIDE + 20}" height="{bottom + _BELOW + _BARS}" font-size="12" '
        'role="img" aria-label="Share of right answers over their score; the numbers are below">',
    ]
    for tick in range(0, 101, 20):
        x, y = _LEFT + _SIDE * tick / 100, bottom - _SIDE * tick / 100
        lines += [
            f'<path class="grid" d="M{_LEFT} {y:g}h{_SIDE}M{x:g} {_TOP}v{_SIDE}"/>',
            f'<text x="{_LEFT - 6}" y="{y + 4:g}" text-anchor="end">{tick}</text>',
            f'<text x="{x:g}" y="{bottom + 16}" text-anchor="middle">{tick}</text>',
        ]
    lines.append(
        f'<path class="ideal" stroke-dasharray="4" d="M{_LEFT} {bottom}l{_SIDE} {-_SIDE}"/>'
    )
    floor = bottom + _BELOW + _BARS - 4
    for each in _filled(bins):
        low, high = wilson_interval(each.right, each.videos)
        x, y = _LEFT + _SIDE * each.score, bottom - _SIDE * each.right / each.videos
        radius = _DOT * max(0.5, math.sqrt(each.videos / most))
        title = f"score {each.low:.1%} to {each.high:.1%}: {each.right} of {each.videos} right"
        height = (_BARS - 8) * each.videos / most
        left, width = _LEFT + _SIDE * each.low + 1, _SIDE / len(bins) - 2
        lines += [
            f'<path class="mark" stroke-width="2" d="M{x:.1f} {bottom - _SIDE * low:.1f}'
            f'V{bottom - _SIDE * high:.1f}"/>',
            f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">'
            f"<title>{title}</title></circle>",
            f'<rect class="bar" x="{left:.1f}" y="{floor - height:.1f}" width="{width:.1f}" '
            f'height="{height:.1f}"><title>{title}</title></rect>',
        ]
    middle = _TOP + _SIDE / 2
    lines += [
        f'<text transform="translate(14 {middle:g}) rotate(-90)" text-anchor="middle">'
        "right, in %</text>",
        f'<text x="{_LEFT + _SIDE / 2:g}" y="{bottom + 34}" text-anchor="middle">score, in %; '
        "bars: videos</text>",
        "</svg>",
    ]
    return Html("\n".join(lines))


def _filled(bins: Sequence[ScoreBin]) -> list[ScoreBin]:
    return [each for each in bins if each.videos]
