"""Text files that people write: in UTF-8, or as Windows' programs save them."""

from __future__ import annotations

import codecs
import shlex
from pathlib import Path

# UTF-32's mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text_file(path: Path) -> str:
    """Return the text of a file in UTF-8, or in UTF-8, UTF-16 or UTF-32 with a byte order mark.

    Raises:
        OSError: it cannot be read.
        ValueError: it is in another encoding, or no text; the message says which and what to do.
    """
    content = path.read_bytes()
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise ValueError(f"it is damaged text in {encoding.upper()}; save it again") from error
        if b"\0" in content:
            raise _of_zeros(content, path) from error
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"it is no text in UTF-8 (byte 0x{content[error.start]:02x} in line {line}), but as of "
            f"Windows-1252; write it anew: {_anew('CP1252', path)}"
        ) from error
    if "\0" in text:
        raise _of_zeros(content, path)
    return text


def _of_zeros(content: bytes, path: Path) -> ValueError:
    """Return the error about bytes of zero, which are half of a text in UTF-16 without a mark."""
    first, second = (content[start::2].count(0) for start in (0, 1))
    if 4 * max(first, second) < len(content) or 8 * min(first, second) > max(first, second):
        return ValueError("it has bytes of zero, as no text has; give a text file in UTF-8")
    name = "UTF-16BE" if first > second else "UTF-16LE"
    return ValueError(f"it is text in {name}; write it anew: {_anew(name, path)}")


def _anew(encoding: str, path: Path) -> str:
    made = f"{path.stem}-utf8{path.suffix}"
    return f"iconv -f {encoding} -t UTF-8 {shlex.quote(str(path))} > {shlex.quote(made)}"
