"""The first bytes of a file: whether weights can begin so, or what a server sent in their place."""

from __future__ import annotations

HEAD = 512
"""Bytes that are enough to tell: no name of a parameter is so long."""

_BEGINNINGS = (
    b"PK\x03\x04",  # a zip archive, as torch.save writes it
    *(bytes((0x80, protocol)) for protocol in range(2, 6)),  # a pickle, as it did before 1.6
    b"\x0a",  # MindSpore's protobuf: field 1, with a length
    b"\x08",  # ONNX's: field 1, a number
)
_FOREIGN = (
    (b"version https://git-lfs", "a Git LFS pointer, a text that stands for the file"),
    (b"<?xml", "a message in XML, such as the error of a storage service"),
    (b"<", "a web page"),
    (b"{", "a message in JSON"),
    (b"[", "a message in JSON"),
)
_GZIP = b"\x1f\x8b"
_CONTROLS = frozenset(range(32)) - frozenset(b"\t\n\f\r")


def unlike_weights(head: bytes) -> str | None:
    """Return in words what begins with these bytes; None if weights may.

    Args:
        head: the first `HEAD` bytes of a file, or all if it has fewer.
    """
    if not head:
        return "nothing at all"
    if _CONTROLS.isdisjoint(head):
        text = head.lstrip(b" \t\r\n\xef\xbb\xbf")
        for beginning, words in _FOREIGN:
            if text.startswith(beginning):
                return words
        return f"text: {head[:32]!r}"
    if head.startswith(_GZIP):
        return "a gzip archive"
    # The header of safetensors is JSON after its length.
    if head[8:9] == b"{" or head.startswith(_BEGINNINGS):
        return None
    return f"bytes that no format begins with: {head[:32]!r}"
