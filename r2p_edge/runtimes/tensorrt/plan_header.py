"""First bytes of an engine (a "plan") of TensorRT or TensorRT for RTX, read without either.

Facts of the layout: NVIDIA/TensorRT, samples/common/sampleEngines.cpp, `printPlanVersion`, which
knows plans of 8.6 and later. Those of TensorRT for RTX: the plans that 1.7.1 builds, for each chip
alone and for several. Ultralytics' header: ultralytics/utils/export/engine.py.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import BinaryIO, NamedTuple

from r2p_edge.errors import ModelError

TITLES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT for RTX"}
"""Names of the libraries for people, by that of their module."""

_TAGS = {b"ftrt": "tensorrt", b"vtrt": "tensorrt_rtx"}
_VERSION, _HEADER = 24, 28
_LAYOUT = bytes(4)  # at byte 4: the one layout in which the place of the version is known

RTX_CHIPS = {
    "sm75": "7.5",
    "sm80": "8.0",
    "sm86": "8.6",
    "sm89": "8.9",
    "sm120": "12.0",
    "sm121": "12.1",
}
"""Chips that TensorRT for RTX builds for, with their compute capabilities: Turing, Ampere (A100,
and RTX 30), Ada (RTX 40) and Blackwell (RTX 50, and GB10). In this order each has a bit in the
header of a plan, from the lowest on. Data-centre Hopper and Blackwell are not among them."""

_RTX_SIZE, _RTX_BITS, _RTX_HEADER = slice(16, 24), slice(32, 40), 64

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
        library: name of the module that it is for; None if it does not begin as a plan of
            TensorRT 8.6 or later, or of TensorRT for RTX; older or newer ones may not.
        chips: compute capabilities that a plan of TensorRT for RTX was built for.
    """

    version: tuple[int, int, int, int] | None
    library: str | None
    chips: tuple[str, ...] = ()


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
    library = _TAGS.get(head[:4])
    if library is None:
        _refuse_others(path, head)
        return Plan(None, None)
    if len(head) < (_HEADER if library == "tensorrt" else _RTX_HEADER):
        raise ModelError(
            f"{path} ends after {len(head)} bytes, within the header of an engine; copy it again"
        )
    if head[4:8] != _LAYOUT:
        return Plan(None, library)
    major, minor, patch, build = head[_VERSION:_HEADER]
    chips: tuple[str, ...] = ()
    if library == "tensorrt_rtx":
        chips = _rtx_chips(path, head)
    return Plan((major, minor, patch, build), library, chips)


def _rtx_chips(path: Path, head: bytes) -> tuple[str, ...]:
    """Return the chips of a plan of TensorRT for RTX, if the file is whole."""
    size, found = int.from_bytes(head[_RTX_SIZE], "little"), path.stat().st_size
    if found < size:
        raise ModelError(f"{path} has {found} bytes of an engine of {size}; copy it again")
    bits = int.from_bytes(head[_RTX_BITS], "little")
    return tuple(chip for bit, chip in enumerate(RTX_CHIPS.values()) if bits >> bit & 1)


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
