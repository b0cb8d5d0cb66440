"""Text in pictures that are written as SVG."""

from __future__ import annotations

import html
import re

FONT = "system-ui, 'DejaVu Sans', Arial, sans-serif"
"""Fonts of a picture, the first of which that is there is taken."""

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xml_text(text: str) -> str:
    """Return a text as XML has it, without the characters that it cannot have."""
    return html.escape(_NOT_XML.sub("\ufffd", text))
