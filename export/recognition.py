"""The recognition of formats that no model is made from, by content and name.

The content goes before the name: people call PyTorch's files by the names of other frameworks, and
web pages by those of models. A few names decide alone, unless the file is text, as their files are
archives or pickles as PyTorch's are.
"""

from __future__ import annotations

import re
from pathlib import Path

from r2p_edge.artifact.onnx_metadata import looks_like_onnx
from r2p_edge.export.foreign_formats import FORMATS, ForeignFormat

HEAD = 512
"""Bytes at the beginning of a file that are enough to tell its format."""

_SAFETENSORS_HEADER = 100_000_000  # bytes; the safetensors package refuses longer ones too
_CONTROLS = frozenset(range(32)) - frozenset(b"\t\n\f\r")  # characters that no text has
_SHOWN = 40  # characters of a text, in an error
_PACKED = re.compile(rb"PK\x03\x04|\x80[\x02-\x05]")  # as torch.save writes it
# The first parameter of MindSpore's protobuf: field 1 with its length, and in it the name.
_MINDSPORE = re.compile(rb"\n[\x80-\xff]{0,9}[\x00-\x7f]\n", re.DOTALL)
_COMPILED = [
    (row, re.compile(row.content, re.DOTALL), re.compile(row.names, re.IGNORECASE))
    for row in FORMATS
]


def foreign_format(head: bytes, name: str = "") -> ForeignFormat | None:
    """Return the format of a file that no model is made from; None if it may be a checkpoint.

    Text and bytes that begin as no format does are None too, see `described`.

    Args:
        head: its first `HEAD` bytes, or all if it has fewer.
        name: its name; "" if that says nothing.
    """
    if not head:
        return None
    named = _named(name)
    sure = [row for row in named if row.sure]
    text = _is_text(head)
    if sure and not text:
        return sure[0]
    # The lengths that these begin with may look like the first bytes of any other format.
    if is_safetensors(head) or (not text and _MINDSPORE.match(head)):
        return None
    start = head.removeprefix(b"\xef\xbb\xbf")
    for row, content, _ in _COMPILED:
        if row.content and content.match(start):
            return row
    return named[0] if named and not is_packed(head) else None


def format_of_name(name: str) -> ForeignFormat | None:
    """Return the format that the name of a file speaks of; None if it says nothing."""
    return next(iter(_named(name)), None)


def is_onnx_model(path: Path) -> bool:
    """Return whether a file is an ONNX model: by its content, or by its name if it is damaged.

    A checkpoint that is called `.onnx` is none.
    """
    if looks_like_onnx(path):
        return True
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        head = b""  # who reads the model says it
    return path.suffix.lower() == ".onnx" and not (is_packed(head) or is_safetensors(head))


def is_safetensors(head: bytes) -> bool:
    """Return whether a file begins as a safetensors file: JSON after its length."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _SAFETENSORS_HEADER


def is_packed(head: bytes) -> bool:
    """Return whether a file begins as `torch.save` writes it: a zip archive, or a pickle."""
    return _PACKED.match(head) is not None


def described(head: bytes) -> str:
    """Return in words what begins as no format does: its first line if it is text, or its bytes."""
    if not _is_text(head):
        return f"of no known format (it begins with the bytes {head[:8].hex(' ')})"
    text = head.decode("utf-8", "replace").lstrip("\ufeff")
    line = next((line for line in map(str.strip, text.splitlines()) if line), "")
    shown = "".join(letter if letter.isprintable() else " " for letter in line)
    return f'text that begins with "{shown[:_SHOWN]}"'


def _named(name: str) -> list[ForeignFormat]:
    return [row for row, _, names in _COMPILED if row.names and names.fullmatch(name)]


def _is_text(head: bytes) -> bool:
    return _CONTROLS.isdisjoint(head)
