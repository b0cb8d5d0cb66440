"""The confusion matrix: a table of numbers, or a picture where there are too many classes."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from r2p_edge.calibration.report.markup import Html, joined, paragraph, table, text, words
from r2p_edge.frame import Image
from r2p_edge.pictures.encoding import png_of_pixels

_MOST = 30  # classes of a table of numbers
_SHADES = 10
_FAINTEST, _DEEPER = 0.1, 0.05  # opacity of a cell, through which text is read, and of a shade
_RIGHT, _WRONG = (0, 114, 178), (213, 94, 0)  # M. Okabe and K. Ito's blue and vermilion
_CELL, _NAME, _LETTERS = 9, 160, 32  # in pixels: a cell of a picture, the room for names
_PAIRS = 30

MATRIX_STYLE = "".join(
    f".{kind}{shade} {{ background: rgba{(*colour, round(_FAINTEST + _DEEPER * shade, 2))} }}\n"
    for kind, colour in (("r", _RIGHT), ("w", _WRONG))
    for shade in range(1, _SHADES + 1)
)
"""Colours of the cells, the stronger the larger their share of a class's videos."""


def matrix_of(labels: Sequence[str], counts: npt.NDArray[np.int64]) -> Html:
    """Return the confusion matrix, and below it the classes that are confused most.

    Args:
        labels: the classes that occur.
        counts: int64 (labels, labels), the true classes in rows.
    """
    drawn = _numbers(labels, counts) if len(labels) <= _MOST else _picture(labels, counts)
    return joined(drawn, _pairs(labels, counts))


def _numbers(labels: Sequence[str], counts: npt.NDArray[np.int64]) -> Html:
    columns = "".join(f'<th scope="col">{text(label, _LETTERS)}</th>' for label in labels)
    lines = [
        '<div class="wide"><table class="matrix">'
        "<caption>Videos by their class (rows) and by the answer (columns); the stronger "
        "the colour, the larger a share of the class.</caption>",
        f'<thead><tr><td></td>{columns}<th scope="col">videos</th></tr></thead>',
        "<tbody>",
    ]
    for place, label in enumerate(labels):
        cells = "".join(_cells(counts[place], place))
        total = int(counts[place].sum())
        lines.append(
            f'<tr><th scope="row">{text(label, 60)}</th>{cells}<td class="faint">{total}</td></tr>'
        )
    return Html("\n".join([*lines, "</tbody></table></div>"]))


def _cells(row: npt.NDArray[np.int64], place: int) -> Iterator[str]:
    total = max(int(row.sum()), 1)
    for column, count in enumerate(row.tolist()):
        shade = -(-_SHADES * count // total)
        kind = f' class="{"r" if column == place else "w"}{shade}"' if shade else ""
        yield f"<td{kind}>{count or ''}</td>"


def _picture(labels: Sequence[str], counts: npt.NDArray[np.int64]) -> Html:
    """Return an SVG with a pixel for each cell, and the names of the classes beside them."""
    side = len(labels) * _CELL
    content = base64.b64encode(png_of_pixels(_pixels(counts))).decode("ascii")
    lines = [
        f'<div class="wide" tabindex="0" role="region" aria-label="confusion matrix">'
        f'<svg viewBox="0 0 {_NAME + side} {_NAME + side}" '
        f'width="{_NAME + side}" height="{_NAME + side}" font-size="{_CELL - 1}" role="img" '
        f'aria-label="Confusion matrix of {len(labels)} classes; the tables have its numbers">',
        f'<image x="{_NAME}" y="{_NAME}" width="{side}" height="{side}" '
        f'style="image-rendering:pixelated" href="data:image/png;base64,{content}"/>',
        f'<rect class="grid" x="{_NAME}" y="{_NAME}" width="{side}" height="{side}"/>',
    ]
    for place, label in enumerate(labels):
        middle = _NAME + place * _CELL + _CELL - 2
        name = words(_shortened(label))
        lines.append(f'<text x="{_NAME - 4}" y="{middle}" text-anchor="end">{name}</text>')
        lines.append(f'<text transform="translate({middle} {_NAME - 4}) rotate(-90)">{name}</text>')
    told = (
        "Videos by their class (rows) and by the answer (columns): blue where it is right, orange "
        "where it is wrong; the stronger, the larger a share of the class."
    )
    return joined(paragraph(words(told), "faint"), Html("\n".join([*lines, "</svg></div>"])))


def _shortened(label: str) -> str:
    label = " ".join(label.split())
    return label if len(label) <= _LETTERS else f"{label[: _LETTERS - 1]}\u2026"


def _pixels(counts: npt.NDArray[np.int64]) -> Image:
    """Return the cells as pixels, uint8 (labels, labels, 4), RGBA; those of no video are clear."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    pixels: Image = np.zeros((*counts.shape, 4), np.uint8)
    pixels[..., :3] = _WRONG
    pixels[range(len(counts)), range(len(counts)), :3] = _RIGHT
    visible = 0.25 + 0.75 * share  # one video of many is seen too
    pixels[..., 3] = np.where(counts > 0, 255 * visible, 0).round().astype(np.uint8)
    return pixels


def _pairs(labels: Sequence[str], counts: npt.NDArray[np.int64]) -> Html:
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    totals = counts.sum(axis=1)
    # A pair of one class and another; the most videos first, in the order of the classes.
    order = np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]
    rows = []
    for place in order.tolist():
        truth, answer = divmod(place, len(labels))
        if count := int(wrong[truth, answer]):
            share = words(f"{count / totals[truth]:.1%}")
            rows.append([text(labels[truth]), text(labels[answer]), words(count), share])
    if not rows:
        return Html("")
    pairs = int((wrong > 0).sum())
    which = f"the first {_PAIRS} of {pairs} pairs" if pairs > _PAIRS else "all pairs"
    return table(
        words(f"Classes that are taken for others, {which}"),
        ["class", "answered as", "videos", "share of the class"],
        rows,
        texts=2,
    )
