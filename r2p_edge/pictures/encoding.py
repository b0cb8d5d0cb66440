"""Pixels as the bytes of a picture file, by the encoders of FFmpeg."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from r2p_edge.frame import Image, Planes

if TYPE_CHECKING:
    import av

_QUANTIZER = 5  # of FFmpeg's JPEG encoder, from 2 (best) to 31


def jpeg_of(image: Image) -> bytes:
    """Return a picture, uint8 (H, W, 3) with even sides, as a JPEG file."""
    return _encoded(_video_frame(image).reformat(format="yuvj420p"), "mjpeg", _QUANTIZER)


def png_of_pixels(image: Image) -> bytes:
    """Return a picture, uint8 (H, W, 3) in RGB or (H, W, 4) in RGBA, as a PNG file."""
    return _encoded(_video_frame(image), "png")


def reduced_jpeg_of(picture: Image | Planes, longest: int) -> bytes:
    """Return a picture, planes or uint8 (H, W, 3) in RGB, as a JPEG file.

    Args:
        picture: the picture; it is never enlarged, and an odd side is stretched by a pixel.
        longest: greatest number of pixels of its longer side.
    """
    from av.video.reformatter import Colorspace, VideoReformatter

    height, width = picture.shape[:2]
    scale = min(1.0, longest / max(height, width))
    frame = picture.frame if isinstance(picture, Planes) else _video_frame(picture)
    # Not the frame's own `reformat`, which keeps a table in the frame: another thread may use it.
    reduced = VideoReformatter().reformat(
        frame,
        width=_even(width * scale),
        height=_even(height * scale),
        format="yuvj420p",
        dst_colorspace=Colorspace.ITU601,  # of every JPEG file, whatever that of the video
    )
    return _encoded(reduced, "mjpeg", _QUANTIZER)


def _even(side: float) -> int:
    return max(2 * round(side / 2), 2)


def _video_frame(image: Image) -> av.VideoFrame:
    import av

    layout = "rgb24" if image.shape[2] == 3 else "rgba"
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format=layout)


def _encoded(frame: av.VideoFrame, codec: str, quantizer: int | None = None) -> bytes:
    import av

    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.height, encoder.width = frame.height, frame.width
    encoder.pix_fmt, encoder.time_base = frame.format.name, Fraction(1)
    if quantizer is not None:
        encoder.qmin = encoder.qmax = quantizer
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
