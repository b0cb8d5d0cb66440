"""The picture of a timeline as SVG, which browsers and editors open."""

from __future__ import annotations

import urllib.parse

from r2p_edge.pictures.svg_text import FONT, xml_text
from r2p_edge.segments.picture import WIDTH, Area, Box, Picture, Words


def svg_of(picture: Picture, link: str | None = None) -> bytes:
    """Return a picture as an SVG document, in UTF-8.

    Args:
        link: path of the video from the document's folder, which bars lead to; None for no links.
    """
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {picture.height:g}" '
        f'width="{WIDTH}" height="{picture.height:g}" role="img" font-family="{FONT}">',
        f"<title>{xml_text(picture.title)}</title>",
        '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)">'
        '<rect width="2" height="6" fill="#9a9a9a"/></pattern></defs>',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for shape in picture.shapes:
        if isinstance(shape, Box):
            lines.append(_box(shape, link))
        elif isinstance(shape, Area):
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
            lines.append(f'<polygon points="{points}" fill="{shape.colour}" fill-opacity="0.3"/>')
        else:
            lines.append(_words(shape))
    return "\n".join([*lines, "</svg>\n"]).encode()


def _box(box: Box, link: str | None) -> str:
    fill = "url(#hatch)" if box.hatched else box.colour
    title = f"<title>{xml_text(box.title)}</title>" if box.title else ""
    drawn = (
        f'<rect x="{box.left:.2f}" y="{box.top:.2f}" width="{box.width:.2f}" '
        f'height="{box.height:.2f}" fill="{fill}">{title}</rect>'
    )
    if link is None or box.moment is None:
        return drawn
    target = f"{urllib.parse.quote(link, errors='surrogateescape')}#t={box.moment:.3f}"
    return f'<a href="{target}">{drawn}</a>'


def _words(words: Words) -> str:
    return (
        f'<text x="{words.x:.1f}" y="{words.y:.1f}" font-size="{words.size:g}" '
        f'text-anchor="{words.anchor}" fill="{words.colour}">{xml_text(words.text)}</text>'
    )
