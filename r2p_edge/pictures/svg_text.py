"""Text in pictures that are written as SVG."""

from __future__ import annotations

import html
import re

FONT = "system-ui, 'DejaVu Sans', Arial, sans-serif"
"""Fonts of a picture, the first of which that is there is taken."""

# Without the control characters and noncharacters that XML has and HTML does not.
_NOT_XML = re.compile(
    "[^\t\n\r\u0020-\u007e\u00a0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff]|"
    f"[{''.join(chr(plane << 16 | last) for plane in range(1, 17) for last in (0xFFFE, 0xFFFF))}]"
)


def xml_text(text: str) -> str:
    """Return a text as XML and HTML have it, without the characters that they cannot have."""
    return html.escape(_NOT_XML.sub("\ufffd", text))
