"""The first bytes of a file: whether weights can begin so, or what a server sent in their place."""

from __future__ import annotations

from r2p_edge.export.recognition import described, foreign_format, is_safetensors

_BEGINNINGS = (
    b"PK\x03\x04",  # a zip archive, as torch.save writes it
    *(bytes((0x80, protocol)) for protocol in range(2, 6)),  # a pickle, as it did before 1.6
    b"\x0a",  # MindSpore's protobuf: field 1, with a length
    b"\x08",  # ONNX's: field 1, a number
)


def unlike_weights(head: bytes) -> str | None:
    """Return in words what begins with these bytes; None if weights may.

    Args:
        head: the first `HEAD` bytes of a file, or all if it has fewer.
    """
    if not head:
        return "nothing at all"
    if found := foreign_format(head):
        return found.what
    if is_safetensors(head) or head.startswith(_BEGINNINGS):
        return None
    return described(head)
