"""Lines of text on pixels, drawn by OpenCV: with its TrueType fonts from 5.0 on, else in ASCII."""

from __future__ import annotations

import functools
import logging
import types
import unicodedata
from typing import Any

from r2p_edge._optional import OPENCV, import_library
from r2p_edge.frame import Image

_WEIGHT = 400  # of the letters, where 700 is bold
_CAPITAL = 0.72  # height of a capital letter, in sizes
_HERSHEY = 21.0  # pixels of a capital letter of Hershey's font at scale 1

_log = logging.getLogger(__name__)


def import_opencv(what: str) -> types.ModuleType:
    """Return the module cv2.

    Args:
        what: noun of what is drawn with it, for the message.

    Raises:
        MissingDependencyError: it is not installed.
    """
    return import_library("cv2", f"{what} is drawn with it: {OPENCV}")


def text_width(text: str, size: float) -> int:
    """Return the width of a line of text in pixels."""
    import cv2

    text, face = _writable(text), _face()
    if face is not None:
        return int(cv2.getTextSize((1, 1), text, (0, 0), face, round(size), _WEIGHT)[2])
    return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, _scale(size), _stroke(size))[0][0])


def put_text(
    image: Image, text: str, x: float, y: float, size: float, colour: tuple[int, int, int]
) -> None:
    """Write a line of text into an image, from x on, on a base line at y.

    Args:
        image: uint8 (H, W, 3), contiguous; it is changed.
        size: pixels from one line to the next, about.
        colour: in the order of the image's channels.
    """
    import cv2

    text, face, place = _writable(text), _face(), (round(x), round(y))
    if face is not None:
        cv2.putText(image, text, place, colour, face, round(size), _WEIGHT)
    else:
        font, line = cv2.FONT_HERSHEY_SIMPLEX, cv2.LINE_AA
        cv2.putText(image, text, place, font, _scale(size), colour, _stroke(size), line)


def _scale(size: float) -> float:
    return size * _CAPITAL / _HERSHEY


def _stroke(size: float) -> int:
    return max(round(size / 14), 1)


@functools.cache
def _face() -> Any:
    """Return OpenCV's sans-serif font; None before 5.0, which has lines for ASCII alone."""
    import cv2

    return cv2.FontFace("sans") if hasattr(cv2, "FontFace") else None


@functools.cache
def _writable(text: str) -> str:
    """Return a text in letters that can be drawn: accents go, and what is left becomes `?`."""
    if _face() is not None:
        return text
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(each for each in plain if not unicodedata.combining(each))
    plain = plain.replace("\u2026", "...").encode("ascii", "replace").decode()
    if "?" in plain and "?" not in text:
        _log.warning(
            "%r has letters that this OpenCV cannot draw, in whose place ? stands; OpenCV 5 can "
            "(pip install --upgrade opencv-python-headless)",
            text,
        )
    return plain
