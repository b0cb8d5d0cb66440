"""A reader of tensors stored as raw bytes, which hashes the file in the same pass.

Only the requested tensors are kept in memory; the rest of the file passes through a small buffer
into the hash.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import CheckpointError

_CHUNK = 1 << 18  # bytes


@dataclass(frozen=True)
class StoredTensor:
    """The place of one tensor's bytes in a file.

    Attributes:
        dtype: a NumPy dtype name, or "bfloat16"; little-endian, C order.
        spans: (start, length) of the tensor's pieces in bytes, in file order.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        itemsize = _numpy_dtype(self.dtype).itemsize
        found = sum(length for _, length in self.spans)
        if min(self.shape, default=0) < 0 or math.prod(self.shape) * itemsize != found:
            raise CheckpointError(
                f"tensor {self.name} is {self.dtype} of shape {self.shape} but has {found} bytes; "
                "the file is damaged, download it again"
            )


@dataclass(frozen=True)
class ReadResult:
    """Tensors and checksums of a file.

    Attributes:
        arrays: by name.
        sha256: of the whole file, in hexadecimal.
        crc32: of the first `crc_end` bytes, see `read_tensors`.
    """

    arrays: dict[str, npt.NDArray[np.generic]]
    sha256: str
    crc32: int


def read_tensors(
    file: BinaryIO, tensors: Sequence[StoredTensor] = (), crc_end: int = 0
) -> ReadResult:
    """Read the whole file once and keep the given tensors.

    Floating-point tensors are returned as float32, whatever they are stored as; others as stored.

    Args:
        file: opened for reading in binary mode.
        tensors: to keep; the others are only hashed.
        crc_end: number of bytes that the CRC-32 covers.

    Raises:
        CheckpointError: the file is shorter than its tensors, or two of them share bytes.
    """
    buffers = {t.name: bytearray(sum(length for _, length in t.spans)) for t in tensors}
    pieces: list[tuple[int, memoryview]] = []
    for tensor in tensors:
        view = memoryview(buffers[tensor.name])
        for start, length in filter(lambda span: span[1], tensor.spans):
            pieces.append((start, view[:length]))
            view = view[length:]
    reader = _Reader(file, crc_end)
    scratch = memoryview(bytearray(_CHUNK))
    for start, piece in sorted(pieces, key=lambda item: item[0]):
        if start < reader.position:
            raise CheckpointError(
                "two tensors share the same bytes; the file is damaged, download it again"
            )
        while (gap := start - reader.position) > 0:
            reader.fill(scratch[: min(gap, _CHUNK)])
        for offset in range(0, len(piece), _CHUNK):
            reader.fill(piece[offset : offset + _CHUNK])
    reader.rest(scratch)
    arrays = {}
    for tensor in tensors:
        arrays[tensor.name] = decode(buffers.pop(tensor.name), tensor)
    return ReadResult(arrays, reader.sha256.hexdigest(), reader.crc32)


def as_float32(array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Return floating-point arrays as float32, and others unchanged.

    A double beyond float32's range becomes infinite, as in any cast, without a warning.
    """
    if not np.issubdtype(array.dtype, np.floating):
        return array
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


class _Reader:
    """A file read from its start, with a running hash of all bytes read."""

    def __init__(self, file: BinaryIO, crc_end: int) -> None:
        file.seek(0)
        self._file = file
        self._crc_end = crc_end
        self.position = 0
        self.sha256 = hashlib.sha256()
        self.crc32 = 0

    def fill(self, view: memoryview) -> None:
        """Read bytes until `view` is full."""
        done = 0
        while done < len(view):
            # A raw file may return fewer bytes than requested.
            count = self._file.readinto(view[done:])  # type: ignore[attr-defined]
            if not count:
                raise CheckpointError("the file ends in the middle of a tensor; download it again")
            self._account(view[done : done + count])
            done += count

    def rest(self, scratch: memoryview) -> None:
        """Read the rest of the file for its hash, through `scratch`."""
        while count := self._file.readinto(scratch):  # type: ignore[attr-defined]
            self._account(scratch[:count])

    def _account(self, data: memoryview) -> None:
        self.sha256.update(data)
        if self.position < self._crc_end:
            self.crc32 = zlib.crc32(data[: self._crc_end - self.position], self.crc32)
        self.position += len(data)


def _numpy_dtype(name: str) -> np.dtype[np.generic]:
    dtype = np.dtype("<u2" if name == "bfloat16" else name)
    little: np.dtype[np.generic] = dtype.newbyteorder("<")
    return little


def decode(data: bytearray | memoryview, tensor: StoredTensor) -> npt.NDArray[np.generic]:
    """Return the array of a tensor's bytes, which shares their memory where it can.

    Floating-point tensors are returned as float32, others as stored.

    Raises:
        CheckpointError: the tensor's shape is impossible.
    """
    array = np.frombuffer(data, _numpy_dtype(tensor.dtype))
    if tensor.dtype == "bfloat16":
        # A bfloat16 is the upper half of a float32.
        array = (array.astype("<u4") << 16).view("<f4")
    try:
        array = array.reshape(tensor.shape)
    except ValueError as error:  # an empty tensor with impossible dimensions beside the zero
        raise CheckpointError(
            f"tensor {tensor.name} has the impossible shape {tensor.shape}; the file is damaged, "
            "download it again"
        ) from error
    return as_float32(array)
