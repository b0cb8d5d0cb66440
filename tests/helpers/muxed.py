"""Files of several video streams, and of codecs that nobody can decode."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.stream import Disposition

RATE = 25


class Track(NamedTuple):
    """A video stream whose frames are a flat grey of its own."""

    level: int
    frames: int = 20
    codec: str = "mpeg4"
    size: tuple[int, int] = (64, 48)
    disposition: Disposition = Disposition(0)


def muxed(path: Path, *tracks: Track, **options) -> Path:
    """Write a file with these video streams, interleaved."""
    with av.open(str(path), "w", **options) as container:
        streams = []
        for track in tracks:
            stream = container.add_stream(track.codec, rate=Fraction(RATE))
            stream.width, stream.height = track.size
            stream.pix_fmt = {"png": "rgb24", "mjpeg": "yuvj420p"}.get(track.codec, "yuv420p")
            stream.disposition = track.disposition.value
            streams.append(stream)
        for number in range(max(track.frames for track in tracks)):
            for track, stream in zip(tracks, streams):
                if number < track.frames:
                    container.mux(stream.encode(_grey(track, number)))
        for stream in streams:
            container.mux(stream.encode())
    return path


def _grey(track: Track, number: int) -> av.VideoFrame:
    width, height = track.size
    image = np.full((height, width, 3), track.level, np.uint8)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
    frame.pts, frame.time_base = number, Fraction(1, RATE)
    return frame


def with_cover_first(path: Path) -> Path:
    """Put the cover picture of an .mp4 before its tracks, as taggers and drones do."""
    data = path.read_bytes()
    start = data.find(b"moov") - 4
    (size,) = struct.unpack(">I", data[start : start + 4])
    boxes, place = [], start + 8
    while place < start + size:
        (length,) = struct.unpack(">I", data[place : place + 4])
        boxes.append(data[place : place + length])
        place += length
    boxes.sort(key=lambda box: {b"mvhd": 0, b"udta": 1}.get(box[4:8], 2))
    path.write_bytes(data[: start + 8] + b"".join(boxes) + data[start + size :])
    return path
