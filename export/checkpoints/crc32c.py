"""CRC-32C, the checksum of TensorFlow's files, at the speed of NumPy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, reflected
_LANES = 4096
_MASK_DELTA = 0xA282EAD8


def _table() -> npt.NDArray[np.uint32]:
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = np.where(values & 1, values >> 1 ^ np.uint32(_POLYNOMIAL), values >> 1)
    return values


_TABLE = _table()


def crc32c(data: bytes | bytearray | memoryview) -> int:
    """Return the CRC-32C of bytes.

    Long data is cut into lanes whose registers go through it side by side, and are then joined.
    """
    array = np.frombuffer(data, np.uint8)
    length = len(array) // _LANES
    register = 0xFFFFFFFF
    if length:
        lanes = np.zeros(_LANES, np.uint32)
        lanes[0] = register
        for column in np.ascontiguousarray(array[: _LANES * length].reshape(_LANES, length).T):
            lanes = _TABLE[(lanes ^ column) & 0xFF] ^ lanes >> 8
        register = _joined(lanes, length)
    for byte in array[_LANES * length :].tolist():
        register = int(_TABLE[(register ^ byte) & 0xFF]) ^ register >> 8
    return register ^ 0xFFFFFFFF


def unmasked(crc: int) -> int:
    """Return a checksum as it was before TensorFlow masked it.

    It adds a number to what it has rotated (tensorflow/core/lib/hash/crc32c.h), so that checksums
    of data that hold checksums are no odd ones.
    """
    rotated = (crc - _MASK_DELTA) & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF


def _joined(lanes: npt.NDArray[np.uint32], length: int) -> int:
    """Return the register after all lanes: that of each goes through the bytes of the later ones.

    Zero bytes change a register linearly, so `length` of them are a matrix: its columns are what
    becomes of each bit.
    """
    columns = np.uint32(1) << np.arange(32, dtype=np.uint32)
    while len(lanes) > 1:
        if len(lanes) == _LANES:
            columns = _through_zeros(columns, length)
        else:
            columns = _applied(columns, columns)  # twice as many bytes
        lanes = _applied(columns, lanes[::2]) ^ lanes[1::2]
    return int(lanes[0])


def _through_zeros(registers: npt.NDArray[np.uint32], count: int) -> npt.NDArray[np.uint32]:
    for _ in range(count):
        registers = _TABLE[registers & 0xFF] ^ registers >> 8
    return registers


def _applied(
    columns: npt.NDArray[np.uint32], registers: npt.NDArray[np.uint32]
) -> npt.NDArray[np.uint32]:
    """Return the product of a matrix, by its columns, and each register."""
    result = np.zeros_like(registers)
    for bit, column in enumerate(columns):
        result ^= np.where(registers >> np.uint32(bit) & 1, column, np.uint32(0))
    return result
