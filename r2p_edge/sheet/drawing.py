"""The drawing of a contact sheet as SVG."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from r2p_edge.addresses import without_password
from r2p_edge.frame import Image
from r2p_edge.pictures.encoding import png_of_pixels
from r2p_edge.pictures.svg_text import FONT, xml_text
from r2p_edge.sheet.heat import STOPS, heat_of
from r2p_edge.sheet.look import ClassActivation, SeenVideo, Tile

_COLUMNS = 8
_TILE = 176  # width of a tile, at least that of its pixels where these are more
_GAP, _MARGIN, _CAPTION = 8, 16, 20
_HEAD = 66  # of lines above the tiles
_LEGEND, _BAR = 48, 200
_INK, _FAINT, _EDGE = "#222222", "#666666", "#ffb000"
_LETTERS = 100  # of a name


def svg_of_look(look: SeenVideo) -> str:
    """Return the contact sheet of a look: a document of its own, without links and scripts."""
    count, tile = len(look.clips[0]), look.clips[0][0]
    columns = _columns(count, look.activation)
    scale = max(_TILE / tile.image.shape[1], 1.0)
    across = scale * max(each.image.shape[1] for clip in look.clips for each in clip) + _GAP
    down = scale * max(each.image.shape[0] for clip in look.clips for each in clip)
    down += _CAPTION + _GAP
    rows = -(-count // columns)
    block = rows * down + (_CAPTION if len(look.clips) > 1 else 0)
    width = max(2 * _MARGIN + columns * across, 640)
    legend = 0 if look.activation is None else _LEGEND
    height = _HEAD + len(look.clips) * (block + legend) + _MARGIN
    parts = list(_heading(look))
    for number, clip in enumerate(look.clips):
        top = _HEAD + number * (block + legend)
        if len(look.clips) > 1:
            parts.append(_words(_MARGIN, top + 12, f"clip {number + 1} of {len(look.clips)}", 13))
            top += _CAPTION
        heats = list(_heats(look, number))
        parts += heats
        for place, each in enumerate(clip):
            x, y = _MARGIN + place % columns * across, top + place // columns * down
            heat = ""
            if look.activation is not None:
                heat = f"heat-{number}-{place * len(heats) // count}"
            parts.append(_tile(each, place, (x, y), scale, look.crop, heat))
        if look.activation is not None:
            parts += _legend(look.activation, number, count, top + rows * down)
    title = f"Frames of {_base(look.video)} as {look.model} sees them"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
            f'width="{width:g}" height="{height:g}" role="img" font-family="{FONT}">',
            f"<title>{xml_text(title)}</title>",
            '<rect width="100%" height="100%" fill="white"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _columns(count: int, activation: ClassActivation | None) -> int:
    """Return the tiles of a row: those of a time position, if they are some that fit."""
    moments = 0 if activation is None else activation.values.shape[1]
    if moments and count % moments == 0 and 4 <= count // moments <= _COLUMNS:
        return count // moments
    return min(count, _COLUMNS)


def _heading(look: SeenVideo) -> Iterator[str]:
    yield _words(_MARGIN, 26, _shortened(_base(look.video)), 17)
    shown = [f"{label} {score_text(look.kind, score)}" for label, score in look.top[:3]]
    first, last = look.clips[0][0].time, look.clips[-1][-1].time
    facts = f"{first:.2f} to {last:.2f} s; {', '.join(map(_shortened, shown))}; {look.model}"
    if look.coverage < 1:
        facts += f"; {look.coverage:.0%} of the frames are real"
    yield _words(_MARGIN, 48, facts, 13, _FAINT)


def score_text(kind: str, score: float) -> str:
    """Return a score as people read it."""
    return f"{score:.4g}" if kind == "values" else f"{score:.1%}"


def _tile(
    tile: Tile,
    place: int,
    corner: tuple[float, float],
    scale: float,
    crop: tuple[int, int],
    heat: str,
) -> str:
    """Return one frame: dark where it is cropped away, with the heat over the rest."""
    (x, y), (height, width) = corner, tile.image.shape[:2]
    rows, columns = crop
    drawn = [
        f'<g transform="translate({x:.1f} {y:.1f})"><g transform="scale({scale:.4f})">',
        _image(tile.image, ""),
        f'<path fill="black" fill-opacity="0.55" fill-rule="evenodd" d="M0 0h{width}v{height}'
        f'h-{width}z M{tile.left} {tile.top}h{columns}v{rows}h-{columns}z"/>',
    ]
    if heat:
        drawn.append(f'<use href="#{heat}" x="{tile.left}" y="{tile.top}"/>')
    drawn += [
        f'<rect x="{tile.left}" y="{tile.top}" width="{columns}" height="{rows}" fill="none" '
        f'stroke="{_EDGE}" stroke-width="{1.5 / scale:.3f}"/></g>',
        _words(0, scale * height + 14, f"{place + 1}", 12),
        _words(scale * width, scale * height + 14, f"{tile.time:.3f} s", 12, _FAINT, "end"),
        "</g>",
    ]
    return "".join(drawn)


def _heats(look: SeenVideo, clip: int) -> Iterator[str]:
    """Yield the definitions of a clip's heat, one for each time position."""
    if look.activation is not None:
        span = _span(look.activation, clip)
        for number, values in enumerate(look.activation.values[clip]):
            heat = _image(heat_of(values, span, *look.crop), f' id="heat-{clip}-{number}"')
            yield f"<defs>{heat}</defs>"


def _legend(activation: ClassActivation, clip: int, frames: int, y: float) -> Iterator[str]:
    """Yield what the colours of a clip mean."""
    low, high = _span(activation, clip)
    gradient = f"scale-{clip}"
    colours = "".join(
        f'<stop offset="{place / (len(STOPS) - 1):g}" stop-color="rgb{colour}"/>'
        for place, colour in enumerate(STOPS)
    )
    yield f'<defs><linearGradient id="{gradient}">{colours}</linearGradient></defs>'
    yield (
        f'<rect x="{_MARGIN}" y="{y + 4:.1f}" width="{_BAR}" height="10" fill="url(#{gradient})"/>'
    )
    yield _words(_MARGIN, y + 28, f"{low:.2f}", 12, _FAINT)
    yield _words(_MARGIN + _BAR, y + 28, f"{high:.2f}", 12, _FAINT, "end")
    _, moments, rows, columns = activation.values.shape
    text = (
        f"for {_shortened(activation.label)}: the mean over all positions is its output, "
        f"{activation.outputs[clip]:.2f}"
    )
    yield _words(_MARGIN + _BAR + 16, y + 13, text, 13)
    text = (
        f"{moments} time position{'s' if moments > 1 else ''} of {frames / moments:g} frames "
        f"each, {rows} x {columns} places"
    )
    yield _words(_MARGIN + _BAR + 16, y + 30, text, 12, _FAINT)


def _span(activation: ClassActivation, clip: int) -> tuple[float, float]:
    values = activation.values[clip]
    return float(values.min()), float(values.max())


def _image(image: Image, attributes: str) -> str:
    content = base64.b64encode(png_of_pixels(image)).decode("ascii")
    return (
        f'<image{attributes} width="{image.shape[1]}" height="{image.shape[0]}" '
        f'href="data:image/png;base64,{content}"/>'
    )


def _words(
    x: float, y: float, text: str, size: int, colour: str = _INK, anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" '
        f'text-anchor="{anchor}">{xml_text(text)}</text>'
    )


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "\u2026"


def _base(video: str) -> str:
    shown = without_password(video)
    return shown.rstrip("/").rsplit("/", 1)[-1] or shown
