"""Pieces of HTML: text that is escaped, tables, and the style of the page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NewType

from r2p_edge.addresses import without_password
from r2p_edge.pictures.svg_text import xml_text

Html = NewType("Html", str)
"""A text that is HTML, in which everything from elsewhere is escaped."""

_OVERRIDES = re.compile("[\u202a-\u202e\u2066-\u2069]")  # would show letters in another order
_LONGEST = 300  # letters of a text from elsewhere

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --faint: #595959; --line: #d0d0d0;
  --paper: #fff; --box: #f3f3f3; --mark: #0072b2; --alarm: #d55e00 }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #ececec; --faint: #b0b0b0;
  --line: #484848; --paper: #161616; --box: #242424; --mark: #56b4e9 } }
* { print-color-adjust: exact; -webkit-print-color-adjust: exact }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.45 system-ui, "DejaVu Sans", Arial, sans-serif }
h1, h2, h3 { line-height: 1.2 } h1, h2, p, li, summary { overflow-wrap: anywhere }
h2 { margin-top: 2.5rem; border-top: 2px solid var(--line); padding-top: 1rem }
.faint, figcaption small { color: var(--faint) }
.warning { border-left: .5rem solid var(--alarm); background: var(--box); padding: .7rem 1rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; margin: .7rem 0; font-variant-numeric: tabular-nums }
caption { text-align: left; color: var(--faint); padding: .2rem 0 }
th, td { padding: .15rem .6rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap }
thead th { font-weight: 600; vertical-align: bottom }
td.text, th.text, tbody th { text-align: left }
td.text, tbody th { font-weight: 400; white-space: normal; overflow-wrap: anywhere;
  min-width: 8rem }
.matrix td, .matrix th { border: 1px solid var(--line); padding: .1rem .35rem }
.matrix thead th[scope=col] { writing-mode: vertical-rl; transform: rotate(180deg);
  text-align: left; font-weight: 400 }
.matrix tbody th { max-width: 20rem }
svg text { fill: var(--ink); font-family: system-ui, "DejaVu Sans", Arial, sans-serif }
svg .grid { stroke: var(--line); fill: none } svg .mark { stroke: var(--mark) }
svg .dot, svg .bar { fill: var(--mark) } svg .ideal { stroke: var(--faint) }
figure { margin: 1.2rem 0; break-inside: avoid } img { max-width: 100%; height: auto }
.figures { display: grid; gap: 0 1.5rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 34rem), 1fr)) }
figcaption { overflow-wrap: anywhere } tr { break-inside: avoid }
footer { margin-top: 3rem; border-top: 1px solid var(--line); color: var(--faint) }
@media print { :root { font-size: 68% } body { max-width: none } .wide { overflow: visible }
  svg { max-width: 100%; height: auto } th, td { padding: .1rem .4rem } }
"""


def text(value: object, longest: int = _LONGEST) -> Html:
    """Return a text from elsewhere as HTML on one line, without passwords of addresses.

    Whatever direction its letters are written in, the text around it keeps its own.
    """
    shown = without_password(str(value)).replace("\r\n", "\n").replace("\n", "\N{RETURN SYMBOL}")
    shown = _OVERRIDES.sub("\ufffd", shown)
    if len(shown) > longest:
        shown = shown[: longest - 1] + "\u2026"
    return Html(f"<bdi>{xml_text(shown)}</bdi>")


def words(value: object) -> Html:
    """Return a text of this package, or a number, as HTML."""
    return Html(xml_text(str(value)))


def joined(*parts: Html) -> Html:
    """Return pieces of HTML one after the other, each on lines of its own."""
    return Html("\n".join(part for part in parts if part))


def element(name: str, content: Html, attributes: str = "") -> Html:
    """Return an element; `attributes` begin with a space."""
    return Html(f"<{name}{attributes}>{content}</{name}>")


def heading(level: int, content: Html) -> Html:
    """Return a heading."""
    return element(f"h{level}", content)


def paragraph(content: Html, kind: str = "") -> Html:
    """Return a paragraph, of a class if wanted."""
    return element("p", content, f' class="{kind}"' if kind else "")


def table(
    caption: Html, names: Sequence[str], rows: Iterable[Sequence[Html]], *, texts: int = 1
) -> Html:
    """Return a table that scrolls where it is too wide.

    Args:
        caption: says what it shows.
        names: of the columns.
        rows: cells; the first one of each names the row.
        texts: number of the first columns that are text, and aligned to the left.
    """
    head = "".join(
        f'<th scope="col"{_text_class(place, texts)}>{words(name)}</th>'
        for place, name in enumerate(names)
    )
    lines = [
        f'<div class="wide"><table><caption>{caption}</caption>',
        f"<thead><tr>{head}</tr></thead>",
        "<tbody>",
    ]
    for first, *others in rows:
        cells = "".join(
            f"<td{_text_class(place, texts)}>{cell}</td>" for place, cell in enumerate(others, 1)
        )
        lines.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    return Html("\n".join([*lines, "</tbody></table></div>"]))


def _text_class(place: int, texts: int) -> str:
    return ' class="text"' if place < texts else ""


def details(summary: Html, content: Html) -> Html:
    """Return what is shown once its summary is clicked."""
    return Html(f"<details><summary>{summary}</summary>\n{content}\n</details>")
