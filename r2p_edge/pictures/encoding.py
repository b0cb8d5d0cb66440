"""Pixels as the bytes of a picture file, by the encoders of FFmpeg."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from r2p_edge.frame import Image

_QUANTIZER = 5  # of FFmpeg's JPEG encoder, from 2 (best) to 31


def jpeg_of(image: Image) -> bytes:
    """Return a picture, uint8 (H, W, 3) with even sides, as a JPEG file."""
    return _encoded(image, "mjpeg", "yuvj420p", _QUANTIZER)


def png_of_pixels(image: Image) -> bytes:
    """Return a picture, uint8 (H, W, 3) in RGB or (H, W, 4) in RGBA, as a PNG file."""
    return _encoded(image, "png", "rgb24" if image.shape[2] == 3 else "rgba")


def _encoded(image: Image, codec: str, pix_fmt: str, quantizer: int | None = None) -> bytes:
    import av

    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.height, encoder.width = image.shape[:2]
    encoder.pix_fmt, encoder.time_base = pix_fmt, Fraction(1)
    if quantizer is not None:
        encoder.qmin = encoder.qmax = quantizer
    layout = "rgb24" if image.shape[2] == 3 else "rgba"
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format=layout)
    if pix_fmt != layout:
        frame = frame.reformat(format=pix_fmt)
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
