"""First bytes of a TensorRT engine (a "plan"), read without TensorRT.

Facts of the layout: NVIDIA/TensorRT, samples/common/sampleEngines.cpp, `printPlanVersion`, which
knows plans of 8.6 and later. Ultralytics' header: ultralytics/utils/export/engine.py.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import BinaryIO, NamedTuple

from r2p_edge.errors import ModelError

_TAG, _VERSION, _HEADER = b"ftrt", 24, 28
_LAYOUT = bytes(4)  # at byte 4: the one layout in which the place of the version is known

_LOOKED_AT = 512
"""Most bytes that are read of a file, whatever lengths it claims."""

# ModelProto's first field is ir_version, from 3 on, and another of its fields follows.
_ONNX = re.compile(rb"\x08[\x03-\x1f][\x12\x1a\x22\x28\x32\x3a\x42\x72]")
_OTHERS = (
    (_ONNX, "an ONNX file", "build an engine of it with r2p-edge export --to tensorrt"),
    (re.compile(rb"version https://git-lfs"), "a git-lfs pointer", "fetch it with git lfs pull"),
    (
        re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype|html)", re.IGNORECASE),
        "an HTML page",
        "download the file itself, which may need a login",
    ),
    (re.compile(rb"PK(\x03\x04|\x05\x06)"), "a zip archive", "unpack it, or export the checkpoint"),
)


class Plan(NamedTuple):
    """Header of an engine.

    Attributes:
        version: of the TensorRT that built it: major, minor, patch, build; None in a layout that
            does not give it.
        recognised: it begins as plans of 8.6 and later do; older or newer ones may not.
    """

    version: tuple[int, int, int, int] | None
    recognised: bool


def read_plan(path: Path) -> Plan:
    """Read the header of the file at `path`.

    Raises:
        OSError: it cannot be read.
        ModelError: it is recognisably another kind of file, or cut off.
    """
    with path.open("rb") as file:
        head = file.read(_LOOKED_AT)
        if head[4:6] == b'{"':
            _refuse_ultralytics(path, file, int.from_bytes(head[:4], "little", signed=True))
    if not head.startswith(_TAG):
        _refuse_others(path, head)
        return Plan(None, False)
    if len(head) < _HEADER:
        raise ModelError(
            f"{path} ends after {len(head)} bytes, within the header of an engine; copy it again"
        )
    if head[4:8] != _LAYOUT:
        return Plan(None, True)
    major, minor, patch, build = head[_VERSION:_HEADER]
    return Plan((major, minor, patch, build), True)


def _refuse_ultralytics(path: Path, file: BinaryIO, length: int) -> None:
    """Raise ModelError if a JSON text of `length` bytes lies between byte 4 and a plan."""
    if length < 2:
        return
    start = 4 + length
    file.seek(start)
    if not file.read(1):
        raise ModelError(
            f"{path} begins with a header of {start} bytes, as ultralytics writes it, and ends "
            "before the engine does; copy it again"
        )
    bare = path.with_name(f"bare-{path.name}")
    raise ModelError(
        f"{path} begins with a header of {start} bytes, as ultralytics writes it; trtexec and "
        "this package need the bare plan after it, so cut them off with tail -c "
        f"+{start + 1} {shlex.quote(str(path))} > {shlex.quote(str(bare))}, and give it a spec "
        "(spec=, --spec), which that header does not replace"
    )


def _refuse_others(path: Path, head: bytes) -> None:
    """Raise ModelError if a file begins as another kind of file does."""
    if not head:
        raise ModelError(f"{path} is empty; copy or build the engine again")
    for pattern, what, advice in _OTHERS:
        if pattern.match(head):
            raise ModelError(f"{path} is {what}, not a TensorRT engine; {advice}")
    if _is_text(head):
        raise ModelError(
            f"{path} is a text file, not a TensorRT engine; give the engine, which is a binary file"
        )


def _is_text(head: bytes) -> bool:
    """Return whether these first bytes of a file are printable UTF-8."""
    # The last letter may be cut in two.
    text = head.decode(errors="ignore")
    whole = len(head) - len(text.encode()) < 4
    return whole and all(letter.isprintable() or letter.isspace() for letter in text)
