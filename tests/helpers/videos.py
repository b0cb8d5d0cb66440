"""Video files: made for a test, or real ones, and their frames as OpenCV decodes them."""

from __future__ import annotations

import contextlib
from fractions import Fraction

import av
import cv2
import numpy as np
from av.codec.context import Flags

from r2p_edge.video.sampling import ShorterThanDeclaredError
from r2p_edge.video.source import open_source


def decoded_by_opencv(path):
    """Return all frames of a file as RGB, upright, in the order in which they are shown."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        good, image = capture.read()
        if not good:
            return frames
        frames.append(image[:, :, ::-1])


def assert_same(image, reference, name):
    """Assert equal bytes, or as near as the colour conversions of two versions of FFmpeg are."""
    difference = np.abs(image.astype(int) - reference)
    allowed = 0 if int(cv2.__version__.split(".")[0]) >= 5 else 3
    assert difference.max() <= allowed, name


def real_files(data):
    """Return every real clip, in order."""
    files = [*data.glob("ucf101/*/*.avi"), *data.glob("kinetics/*.mp4"), *data.glob("odd/*.*")]
    assert len(files) > 40
    return sorted(files)


def read_by_index(path, indices, **options):
    """Return frames by number, and the numbers; of a file that turns out shorter, those it has."""
    with contextlib.closing(open_source(path, 25.0, **options)) as source:
        for _ in range(2):
            wanted = [i for i in indices if i < len(source.times)]
            with contextlib.suppress(ShorterThanDeclaredError):
                return wanted, list(source.read(source.times[wanted]))
    raise AssertionError(f"{path} never gave its frames")


def written(path, times, gop=12, codec="mpeg4", b_frames=0, rate=1000, **options):
    """Write a file whose frame k is a flat grey of level 10 + k % 200 at times[k] seconds."""
    width, height = 64, 48
    with av.open(str(path), "w", **options) as container:
        stream = container.add_stream(codec, rate=Fraction(rate))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, rate)
        stream.codec_context.max_b_frames = b_frames
        stream.codec_context.gop_size = gop
        if codec.startswith("mpeg"):
            stream.codec_context.qmin = stream.codec_context.qmax = 2
        for number, time in enumerate(times):
            level = np.full((height, width, 3), 10 + number % 200, np.uint8)
            frame = av.VideoFrame.from_ndarray(level, format="rgb24")
            frame.pts, frame.time_base = round(time * rate), Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def headless(path):
    """Write an MPEG-4 stream whose headers were kept out of it, as for a container that has them.

    MPEG-TS has no place for them, so that no decoder knows how large its pictures are.
    """
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.flags |= Flags.global_header
        for number in range(20):
            picture = np.full((48, 64, 3), 10 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def detailed(path, b_frames=0):
    """Write 30 frames with so much detail that none is as small as one that is not coded."""
    random = np.random.default_rng(0)
    scene = random.integers(0, 200, (48, 64, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = 12, b_frames
        stream.codec_context.qmin = stream.codec_context.qmax = 2
        stream.codec_context.options = {"sc_threshold": "1000000000"}
        for _ in range(30):
            image = scene + random.integers(0, 50, scene.shape, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def file_levels(path, indices, **options):
    """Return the levels, less 10, of the frames of these numbers of a `written` file."""
    return [level(image) for image in read_by_index(path, indices, **options)[1]]


def level(image):
    """Return the level, less 10, of a frame of a `written` file."""
    return round(float(image.mean())) - 10
