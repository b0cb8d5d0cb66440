"""The picture of a timeline as PNG, for whatever does not show SVG."""

from __future__ import annotations

import numpy as np

from r2p_edge.frame import Image
from r2p_edge.segments.lettering import import_opencv, put_text, text_width
from r2p_edge.segments.picture import WIDTH, Area, Box, Picture, Words

_SCALE = 2  # pixels per unit of the picture, so that it is sharp on dense displays too
_PALE = 0.3
_HATCH = 8  # pixels from one line to the next
_SHIFT = 4  # bits of a pixel's fraction in OpenCV's coordinates


def png_of(picture: Picture) -> bytes:
    """Return a picture as a PNG file.

    Raises:
        MissingDependencyError: OpenCV is not installed.
    """
    cv2 = import_opencv("a timeline in .png")
    height = round(picture.height * _SCALE)
    sheet = np.full((height, WIDTH * _SCALE, 3), 255, np.uint8)
    for shape in picture.shapes:
        if isinstance(shape, Box):
            _draw_box(sheet, shape)
        elif isinstance(shape, Area):
            corners = np.array(shape.points) * _SCALE * (1 << _SHIFT)
            over = sheet.copy()
            colour = _rgb(shape.colour)
            cv2.fillPoly(over, [corners.round().astype(np.int32)], colour, cv2.LINE_AA, _SHIFT)
            cv2.addWeighted(over, _PALE, sheet, 1 - _PALE, 0, dst=sheet)
        else:
            _draw_words(sheet, shape)
    good, data = cv2.imencode(".png", sheet[:, :, ::-1])
    assert good
    return bytes(data)


def _draw_box(sheet: Image, box: Box) -> None:
    top, bottom = round(box.top * _SCALE), round((box.top + box.height) * _SCALE)
    left, right = round(box.left * _SCALE), round((box.left + box.width) * _SCALE)
    part = sheet[top : max(bottom, top + 1), left : max(right, left + 1)]
    if not box.hatched:
        part[...] = _rgb(box.colour)
        return
    rows, columns = np.indices(part.shape[:2])
    part[(rows + columns + top + left) % _HATCH < _HATCH // 3] = _rgb(box.colour)


def _draw_words(sheet: Image, words: Words) -> None:
    size = words.size * _SCALE
    back = {"start": 0.0, "middle": 0.5, "end": 1.0}[words.anchor]
    x = words.x * _SCALE - (back * text_width(words.text, size) if back else 0)
    put_text(sheet, words.text, x, words.y * _SCALE, size, _rgb(words.colour))


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
