"""Videos with a display matrix and images with an EXIF orientation."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

# A picture whose corners differ: red, red, green, blue.
CORNERS = np.zeros((48, 64, 3), np.uint8)
CORNERS[:24] = 250, 20, 20
CORNERS[24:, :32] = 20, 250, 20
CORNERS[24:, 32:] = 20, 20, 250


def corners(image: np.ndarray) -> str:
    """Return the colours of an image's corners, in reading order, such as "RRGB"."""
    height, width = image.shape[:2]
    places = [(y, x) for y in (height // 8, -height // 8) for x in (width // 8, -width // 8)]
    return "".join("RGB"[int(image[place].argmax())] for place in places)


def set_matrix(path: Path, a: float, b: float, c: float, d: float) -> Path:
    """Give the only track of an .mp4 a display matrix: x' = ax + cy, y' = bx + dy."""
    data = bytearray(path.read_bytes())
    start = data.find(b"tkhd") + 44  # ISO/IEC 14496-12, 8.3.2, version 0
    numbers = [a, b, 0, c, d, 0, 0, 0, 1 << 14]
    struct.pack_into(">9i", data, start, *(int(number * 65536) for number in numbers))
    path.write_bytes(data)
    return path


def exif(orientation: int, order: str = ">") -> bytes:
    """Return an EXIF block, a small TIFF, with nothing but an orientation."""
    mark = b"MM" if order == ">" else b"II"
    return mark + struct.pack(order + "HIHHHIHHI", 42, 8, 1, 0x112, 3, 1, orientation, 0, 0)


def write_image(path: Path, image: np.ndarray, orientation: int) -> Path:
    """Write an RGB image with an orientation, in the format of the name."""
    cv2.imwrite(str(path), image[:, :, ::-1])
    data, block = path.read_bytes(), exif(orientation)
    if path.suffix == ".jpg":
        body = b"Exif\0\0" + block
        data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    elif path.suffix == ".png":
        chunk = b"eXIf" + block
        ends = struct.pack(">I", len(block)), struct.pack(">I", zlib.crc32(chunk))
        data = data[:33] + ends[0] + chunk + ends[1] + data[33:]
    elif path.suffix == ".webp":
        height, width = image.shape[:2]
        size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
        extended = b"VP8X" + struct.pack("<IB3x", 10, 8) + size
        chunk = b"EXIF" + struct.pack("<I", len(block)) + block
        body = b"WEBP" + extended + data[12:] + chunk
        data = b"RIFF" + struct.pack("<I", len(body)) + body
    else:
        raise ValueError(path)
    path.write_bytes(data)
    return path
