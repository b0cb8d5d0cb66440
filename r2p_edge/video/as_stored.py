"""Notices of files whose pictures a player would show otherwise than they are stored.

Pixels are taken as square, and interlaced pictures as they are: the decoders that models are
trained with (OpenCV, decord, torchcodec) do so too, and a model should see what it was trained on.
"""

from __future__ import annotations

import logging
from fractions import Fraction

ALMOST_SQUARE = 0.02
"""Deviation from square pixels that comes from rounding a picture's size."""

_log = logging.getLogger(__name__)
_told: set[str] = set()


def note_aspect(name: str, aspect: Fraction | None) -> None:
    """Log that a file's pixels are not square.

    Args:
        name: name of the file.
        aspect: width of a pixel over its height; None or 0 if the file does not say.
    """
    if aspect and abs(float(aspect) - 1) > ALMOST_SQUARE:
        _note(
            "aspect",
            f"{name} has pixels that are not square ({aspect.numerator}:{aspect.denominator}); "
            "they are taken as square, as OpenCV, decord and torchcodec do",
        )


def note_interlaced(name: str) -> None:
    """Log that a file's pictures are interlaced."""
    _note(
        "interlaced",
        f"{name} is interlaced; its pictures are taken as they are, with the lines of two moments, "
        "as OpenCV, decord and torchcodec do",
    )


def _note(what: str, message: str) -> None:
    """Log a warning the first time in this process, and information from then on."""
    _log.log(logging.INFO if what in _told else logging.WARNING, "%s", message)
    _told.add(what)
