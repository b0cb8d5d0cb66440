"""A sender of live video, `python mpegts_sender.py URL FIRST COUNT CODEC`: MPEG-TS, 25 fps.

Frame k is a flat grey of level 20 + 2 * (k % 100). The sender dies without a word after the last.
"""

import os
import sys
import time
from fractions import Fraction

import av
import numpy as np


def connected(url, codec):
    """Return a container and its stream once somebody listens."""
    while True:
        container = av.open(url, "w", format="mpegts")
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.gop_size = 10
        if codec == "libx264":
            stream.options = {"tune": "zerolatency", "qp": "4", "sc_threshold": "0"}
        else:
            stream.codec_context.qmin = stream.codec_context.qmax = 2
        try:
            container.start_encoding()  # which connects
        except ConnectionRefusedError:
            time.sleep(0.01)
        else:
            return container, stream


def send(url, first, count, codec):
    """Send frames, and die."""
    container, stream = connected(url, codec)
    for k in range(first, first + count):
        level = np.full((48, 64, 3), 20 + 2 * (k % 100), np.uint8)
        frame = av.VideoFrame.from_ndarray(level, format="rgb24")
        frame.pts, frame.time_base = k - first, Fraction(1, 25)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())
    # What was written is sent; nothing says that this was the end.
    os._exit(0)


if __name__ == "__main__":
    send(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
