"""The two implementations of the frame kernel, `_frames` (C++) and `_frames_py`, against cv2."""

from __future__ import annotations

import importlib
import os
import platform
import re
import subprocess
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

cv2 = pytest.importorskip("cv2")

# Wheels for x86-64 resize in OpenCV's own fixed-point code, which the C++ kernel repeats exactly
# (4.8, 4.14 and 5.0 tried). The one of 5.0 for aarch64 rounds otherwise where it reduces to no less
# than half; and FFmpeg for aarch64 converts colours otherwise, by up to 3 levels.
EXACT = platform.machine() in ("x86_64", "AMD64")


def load(name):
    try:
        return importlib.import_module(f"r2p_edge.preprocess.{name}")
    except ImportError as error:
        if name == "_frames" and os.environ.get("R2P_REQUIRE_EXT") != "1":
            pytest.skip(f"the compiled extension is not installed: {error}")
        raise


@pytest.fixture(params=["_frames", "_frames_py"], scope="module")
def kernel(request):
    return load(request.param)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def resized_crop(kernel, image, size, top, left, shape, swap=False):
    out = np.empty((*shape, 3), np.uint8)
    kernel.Resizer(*image.shape[:2], *size, top, left, *shape).resize(image, out, swap)
    return out


def opencv_crop(image, size, top, left, shape, swap=False):
    resized = cv2.resize(np.ascontiguousarray(image), size[::-1], interpolation=cv2.INTER_LINEAR)
    crop = resized[top : top + shape[0], left : left + shape[1]]
    return crop[..., ::-1] if swap else crop


def assert_same_pixels(actual, expected):
    if EXACT:
        np.testing.assert_array_equal(actual, expected)
    assert np.abs(actual.astype(int) - expected).max() <= 2


SIZES = [
    pytest.param((240, 320), (128, 171), id="ucf101"),
    pytest.param((256, 340), (128, 171), id="kinetics"),
    pytest.param((1080, 1920), (128, 171), id="strong-reduction"),
    pytest.param((61, 37), (128, 171), id="enlargement"),
    pytest.param((719, 1279), (113, 201), id="odd"),
    pytest.param((128, 171), (128, 171), id="identity"),
    pytest.param((256, 342), (128, 171), id="half"),
    pytest.param((128, 342), (128, 171), id="same-height"),
    pytest.param((300, 171), (128, 171), id="same-width"),
    pytest.param((384, 513), (128, 171), id="third"),
    pytest.param((1, 1), (5, 7), id="one-pixel"),
    pytest.param((1, 9), (3, 4), id="one-row"),
    pytest.param((9, 1), (4, 3), id="one-column"),
    pytest.param((5, 2), (3, 9), id="two-columns"),
    pytest.param((40, 60), (1, 1), id="to-one-pixel"),
]


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize(("source", "size"), SIZES)
def test_resize_equals_opencv(kernel, source, size, swap):
    image = noise(*source, 3)
    actual = resized_crop(kernel, image, size, 0, 0, size, swap)
    assert_same_pixels(actual, opencv_crop(image, size, 0, 0, size, swap))


def test_every_processor_gives_the_same_bytes():
    """They are OpenCV's for x86-64, see above."""
    digest = 0
    for source, size in (case.values for case in SIZES):
        for swap in (False, True):
            resized = resized_crop(load("_frames"), noise(*source, 3), size, 0, 0, size, swap)
            digest = zlib.crc32(resized, digest)
    assert digest == 0xE08D56A7


@pytest.mark.parametrize(("top", "left"), [(8, 30), (0, 0), (16, 59), (16, 0), (0, 59)], ids=str)
def test_crop_is_a_part_of_the_resized_frame(kernel, top, left):
    image = noise(240, 320, 3)
    actual = resized_crop(kernel, image, (128, 171), top, left, (112, 112))
    assert_same_pixels(actual, opencv_crop(image, (128, 171), top, left, (112, 112)))


@st.composite
def resizes(draw):
    side = st.one_of(st.integers(1, 6), st.integers(1, 200))
    source = draw(side), draw(side)
    size = draw(side), draw(side)
    shape = draw(st.integers(1, size[0])), draw(st.integers(1, size[1]))
    top = draw(st.integers(0, size[0] - shape[0]))
    left = draw(st.integers(0, size[1] - shape[1]))
    return source, size, top, left, shape


@pytest.mark.slow
@settings(max_examples=300, deadline=None, derandomize=True)
@given(resizes(), st.booleans())
@example(((2, 2), (1, 1), 0, 0, (1, 1)), False)
@example(((3, 3), (200, 199), 100, 198, (100, 1)), True)
def test_any_crop_of_any_resize_equals_opencv(kernel, resize, swap):
    source, *crop = resize
    image = noise(*source, 3)
    actual = resized_crop(kernel, image, *crop, swap)
    assert_same_pixels(actual, opencv_crop(image, *crop, swap))


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(lambda frame: frame[5:95, 7:107], id="part"),
        pytest.param(lambda frame: frame[::2], id="every-second-row"),
        pytest.param(lambda frame: frame[::-1], id="upside-down"),
        pytest.param(lambda frame: np.broadcast_to(frame[:1], frame.shape), id="one-row-repeated"),
        pytest.param(lambda frame: frame[:, -1:], id="last-column"),
        pytest.param(
            lambda frame: np.lib.stride_tricks.as_strided(frame, (20, 30, 3), (12, 3, 1)),
            id="overlapping-rows",
        ),
    ],
)
def test_rows_may_lie_at_any_distance(kernel, view):
    image = view(noise(100, 120, 3))
    actual = resized_crop(kernel, image, (64, 50), 3, 5, (60, 40))
    assert_same_pixels(actual, opencv_crop(image, (64, 50), 3, 5, (60, 40)))


def test_writes_into_a_slot_and_nowhere_else(kernel):
    ring = np.full((3, 11, 13, 3), 77, np.uint8)
    image = noise(50, 60, 3)
    kernel.Resizer(50, 60, 20, 30, 2, 3, 11, 13).resize(image, ring[1], False)
    assert (ring[[0, 2]] == 77).all()
    assert_same_pixels(ring[1], opencv_crop(image, (20, 30), 2, 3, (11, 13)))


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 1, 5), (2, 2, 3), (3, 7, 5), (2, 4, 4), (16, 112, 112)], ids=str
)
def test_stack_normalises_into_planes(kernel, shape):
    frames = noise(*shape, 3)
    mean = np.array([0.43216, 0.394666, 0.37645])
    std = np.array([0.22803, 0.22145, 0.216989])
    scale, bias = (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)
    out = np.full((3, *shape), np.nan, np.float32)
    kernel.stack(frames, out, scale, bias)
    exact = frames * scale.astype(np.float64) + bias.astype(np.float64)
    # Two roundings, of a product and a sum below 8: half a unit in the last place is 2**-22.
    np.testing.assert_allclose(out, exact.transpose(3, 0, 1, 2), rtol=0, atol=2.0**-21)


def test_both_stack_alike():
    frames = noise(3, 13, 17, 3)
    scale, bias = [0.017, 0.018, 0.019], [-1.9, -1.8, -1.7]
    outs = []
    for name in ("_frames", "_frames_py"):
        out = np.empty((3, 3, 13, 17), np.float32)
        load(name).stack(frames, out, scale, bias)
        outs.append(out)
    np.testing.assert_array_equal(*outs)


def test_many_threads_give_the_answer_of_one(kernel):
    images = [noise(90, 120, 3, seed=i) for i in range(8)]
    resizer = kernel.Resizer(90, 120, 48, 64, 4, 7, 40, 50)
    scale, bias = [0.1, 0.2, 0.3], [1.0, 2.0, 3.0]

    def run(image):
        frames = np.empty((2, 40, 50, 3), np.uint8)
        for slot in frames:
            resizer.resize(image, slot, True)
        planes = np.empty((3, 2, 40, 50), np.float32)
        kernel.stack(frames, planes, scale, bias)
        return planes

    expected = [run(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(10):
            for actual, wanted in zip(pool.map(run, images), expected):
                np.testing.assert_array_equal(actual, wanted)


def test_the_gil_is_released():
    resizer = load("_frames").Resizer(400, 600, 1000, 1000, 0, 0, 1000, 1000)
    image, out = noise(400, 600, 3), np.empty((1000, 1000, 3), np.uint8)
    heard, exhausted = threading.Event(), threading.Event()

    def call():
        for _ in range(500):
            if heard.is_set():
                return
            resizer.resize(image, out, False)
        exhausted.set()

    # With an interval this long, this thread runs during the calls only if they give the GIL up.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(100)
    try:
        thread = threading.Thread(target=call)
        thread.start()
        heard.set()
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not exhausted.is_set()


# Frames in YUV 4:2:0


BT601 = 16, 9539, 13075, -3209, -6660, 16525
GEOMETRY = {
    "height": 20, "width": 30, "resized_height": 16, "resized_width": 18,
    "top": 1, "left": 2, "crop_height": 8, "crop_width": 9,
}  # fmt: skip


def planes_of(height, width, *, pairs=False, seed=0):
    """y, u and v; `pairs`: u and v take turns in memory, as in NV12."""
    half = (height + 1) // 2, (width + 1) // 2
    y, uv = noise(height, width + 3, seed=seed)[:, :width], noise(*half, 2, seed=seed + 1)
    u, v = (uv[..., i] if pairs else np.ascontiguousarray(uv[..., i]) for i in (0, 1))
    return y, u, v


def yuv_crop(kernel, planes, size, top, left, shape, matrix=BT601, swap=False):
    out = np.empty((*shape, 3), np.uint8)
    resizer = kernel.Resizer(*planes[0].shape, *size, top, left, *shape)
    resizer.resize_yuv(*planes, out, matrix, swap)
    return out


@pytest.mark.slow
@settings(max_examples=300, deadline=None, derandomize=True)
@given(resizes(), st.booleans(), st.booleans())
@example(((240, 320), (128, 171), 8, 30, (112, 112)), False, False)
@example(((1080, 1920), (128, 171), 8, 30, (112, 112)), False, True)
@example(((121, 161), (128, 171), 8, 30, (112, 112)), True, False)
@example(((1, 1), (5, 7), 0, 0, (5, 7)), False, False)
def test_both_take_planes_alike(resize, pairs, swap):
    source, *crop = resize
    planes = planes_of(*source, pairs=pairs)
    compiled, twin = (
        yuv_crop(load(name), planes, *crop, swap=swap) for name in ("_frames", "_frames_py")
    )
    np.testing.assert_array_equal(compiled, twin)


def converted(planes, colorspace=5, color_range=1):
    """The planes as FFmpeg converts them, in RGB."""
    av = pytest.importorskip("av")
    y, u, v = planes
    frame = av.VideoFrame(y.shape[1], y.shape[0], "yuv420p")
    for plane, samples in zip(frame.planes, (y, u, v)):
        rows = np.zeros((plane.height, plane.line_size), np.uint8)
        rows[:, : samples.shape[1]] = samples
        plane.update(rows.tobytes())
    frame.colorspace, frame.color_range = colorspace, color_range
    return frame.to_ndarray(format="rgb24", threads=1)


@pytest.mark.parametrize("color_range", [1, 2])
@pytest.mark.parametrize("colorspace", [1, 5, 9])
@pytest.mark.parametrize(
    ("source", "size"),
    [((240, 320), (128, 171)), ((480, 854), (128, 171)), ((64, 50), (128, 171))],
    ids=str,
)
def test_planes_become_what_ffmpeg_and_opencv_make_of_them(
    kernel, source, size, colorspace, color_range
):
    """Compare on colours that RGB has; each sample of u and v is for four pixels in both."""
    from r2p_edge.frame import _SHARES, _matrix

    y, u, v = planes_of(*source)
    planes = 64 + y // 2, 116 + u // 10, 116 + v // 10
    matrix = _matrix(*_SHARES[colorspace], full=color_range == 2)
    crop = size, 8, 30, (112, 112)
    actual = yuv_crop(kernel, planes, *crop, matrix)
    expected = opencv_crop(converted(planes, colorspace, color_range), *crop)
    difference = actual.astype(int) - expected
    assert np.abs(difference).max() <= (2 if EXACT else 4)
    assert np.abs(difference).mean() < (0.7 if EXACT else 1.5)
    assert abs(difference.mean()) < (0.7 if EXACT else 1.5)  # no brighter and no darker


def test_planes_are_cut_off_where_rgb_ends(kernel):
    for y, u, v, color in [(255, 128, 128, (255,) * 3), (0, 128, 128, (0,) * 3)]:
        planes = [np.full(s, n, np.uint8) for s, n in (((4, 6), y), ((2, 3), u), ((2, 3), v))]
        assert (yuv_crop(kernel, planes, (8, 8), 0, 0, (8, 8)) == color).all()
    for u, v, shown, swap in [(90, 240, 0, False), (90, 240, 2, True), (240, 90, 2, False)]:
        planes = [np.full(s, n, np.uint8) for s, n in (((4, 6), 81), ((2, 3), u), ((2, 3), v))]
        color = yuv_crop(kernel, planes, (8, 8), 0, 0, (8, 8), swap=swap)[0, 0]
        assert color.argmax() == shown
        assert color.max() > 240


Y, U, V = planes_of(20, 30)
OUT_OF_PLANES = np.zeros((8, 9, 3), np.uint8)
WIDE = np.zeros((20, 60), np.uint8)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"y": None}, TypeError, r"y must be a uint8 array of shape \(20, 30\), got None"),
        ({"y": Y.astype(float)}, TypeError, "y must be .*, got float64 array"),
        ({"y": Y[np.newaxis]}, ValueError, r"y must be .* \(1, 20, 30\)"),
        ({"y": Y[:0]}, ValueError, "y must be"),
        ({"y": WIDE[:, ::2]}, ValueError, "y must have its samples 1 byte apart"),
        ({"y": Y[:, ::-1]}, ValueError, "y must have its samples 1 byte apart"),
        ({"y": np.zeros((20, 31), np.uint8)}, ValueError, r"y must be .* got .* \(20, 31\)"),
        ({"u": U[:9]}, ValueError, r"u must be a uint8 array of shape \(10, 15\), got .*\(9, 15\)"),
        ({"u": U[:, :14]}, ValueError, r"u must be .* \(10, 14\)"),
        ({"v": Y}, ValueError, r"v must be .* \(10, 15\), got .* \(20, 30\)"),
        ({"v": V.tolist()}, TypeError, r"v must be .* \(10, 15\), got list"),
        ({"v": WIDE[:10, :45:3]}, ValueError, "v must have its samples 1 or 2 bytes apart"),
        ({"out": OUT_OF_PLANES[0]}, ValueError, r"out must .* \(9, 3\)"),
        ({"u": OUT_OF_PLANES.reshape(-1)[:150].reshape(10, 15)}, ValueError, "memory with u"),
        ({"v": OUT_OF_PLANES.reshape(-1)[:150].reshape(10, 15)}, ValueError, "memory with v"),
        ({"matrix": None}, TypeError, "matrix must be 6 integers .*, got NoneType"),
        ({"matrix": (1, 2, 3)}, TypeError, "matrix must be 6 integers .*, got tuple"),
        ({"matrix": (0, 0, 0, 0, 0, 32768)}, ValueError, "matrix must be 6 .*, got 32768"),
        ({"matrix": (-(2**90), 0, 0, 0, 0, 0)}, ValueError, "matrix must be 6 integers"),
        ({"matrix": (0, 0, 0, 0, 0, 1.5)}, TypeError, "each number of matrix must be an integer"),
        ({"swap": None}, TypeError, "swap must be a bool, got NoneType"),
    ],
)
def test_resize_yuv_refuses(kernel, changed, error, message):
    arguments = {"y": Y, "u": U, "v": V, "out": OUT_OF_PLANES, "matrix": BT601, "swap": False}
    resizer = kernel.Resizer(**GEOMETRY)
    resizer.resize_yuv(**arguments)
    before = OUT_OF_PLANES.copy()
    with pytest.raises(error, match=message):
        resizer.resize_yuv(**(arguments | changed))
    np.testing.assert_array_equal(OUT_OF_PLANES, before)


IMAGE = noise(20, 30, 3)
FRAMES = noise(2, 4, 5, 3)


def bytes_like(shape, *, dtype=np.uint8, writable=True):
    array = np.zeros(shape, dtype)
    array.flags.writeable = writable
    return array


def misaligned(shape):
    size = 4 * int(np.prod(shape))
    return np.zeros(size + 1, np.uint8)[1:].view(np.float32).reshape(shape)


OUT = bytes_like((8, 9, 3))
MEETING_OUT = np.lib.stride_tricks.as_strided(OUT, IMAGE.shape, (6, 3, 1))


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"image": IMAGE.tolist()}, TypeError, "image must be a uint8 array .*, got list"),
        ({"image": None}, TypeError, "image must be a uint8 array .*, got NoneType"),
        ({"image": IMAGE.astype(np.int8)}, TypeError, "image must be a uint8 .*, got int8 array"),
        (
            {"image": IMAGE[..., 0]},
            ValueError,
            r"image must .*, got uint8 array of shape \(20, 30\)",
        ),
        ({"image": noise(20, 30, 4)}, ValueError, r"image must .* \(20, 30, 4\)"),
        ({"image": IMAGE[:0]}, ValueError, r"image must .* \(0, 30, 3\)"),
        ({"image": IMAGE[:, :0]}, ValueError, r"image must .* \(20, 0, 3\)"),
        ({"image": noise(20, 60, 3)[:, ::2]}, ValueError, r"\(any, 3, 1\), got \(180, 6, 1\)"),
        ({"image": IMAGE[..., ::-1]}, ValueError, r"strides \(any, 3, 1\), got \(90, 3, -1\)"),
        ({"image": IMAGE[:, ::-1]}, ValueError, r"strides \(any, 3, 1\), got \(90, -3, 1\)"),
        ({"image": noise(20, 31, 3)}, ValueError, r"\(20, 30, 3\), got .*\(20, 31, 3\)"),
        ({"image": noise(30, 20, 3)}, ValueError, r"\(20, 30, 3\), got .*\(30, 20, 3\)"),
        ({"out": bytearray(8 * 9 * 3)}, TypeError, "out must be a uint8 array .*, got bytearray"),
        ({"out": OUT.astype(np.float32)}, TypeError, "out must be a uint8 .*, got float32 array"),
        ({"out": OUT[0]}, ValueError, r"out must .* \(9, 3\)"),
        ({"out": OUT[:0]}, ValueError, r"out must .* \(0, 9, 3\)"),
        ({"out": OUT[:7]}, ValueError, r"out must .* \(8, 9, 3\), got .* \(7, 9, 3\)"),
        ({"out": np.zeros((8, 10, 3), np.uint8)[:, 1:]}, ValueError, "out must be C-contiguous"),
        ({"out": OUT[::-1]}, ValueError, "out must be C-contiguous"),
        ({"out": np.asfortranarray(OUT)}, ValueError, "out must be C-contiguous"),
        ({"out": bytes_like((8, 9, 3), writable=False)}, ValueError, "out must be writable"),
        ({"image": MEETING_OUT}, ValueError, "out must not share memory with image"),
        ({"image": MEETING_OUT[::-1]}, ValueError, "out must not share memory with image"),
        ({"swap": 1}, TypeError, "swap must be a bool, got int"),
    ],
)
def test_resize_refuses(kernel, changed, error, message):
    arguments = {"image": IMAGE, "out": OUT, "swap": False}
    resizer = kernel.Resizer(**GEOMETRY)
    resizer.resize(**arguments)
    before = OUT.copy()
    with pytest.raises(error, match=message):
        resizer.resize(**(arguments | changed))
    np.testing.assert_array_equal(OUT, before)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"height": 32768}, ValueError, "height must be from 1 to 32767, got 32768"),
        ({"width": 32768}, ValueError, "width must be from 1 to 32767, got 32768"),
        ({"height": 0}, ValueError, "height must be from 1 to 32767, got 0"),
        ({"width": None}, TypeError, "width must be an integer, got NoneType"),
        ({"resized_height": 0}, ValueError, "resized_height must be from 1 to 32767, got 0"),
        ({"resized_width": -3}, ValueError, "resized_width must be from 1 to 32767, got -3"),
        ({"resized_width": 32768}, ValueError, "resized_width must be from 1 to 32767, got 32768"),
        ({"resized_width": 2**80}, ValueError, "resized_width must be from 1 to 32767"),
        ({"resized_height": 16.0}, TypeError, "resized_height must be an integer, got float"),
        ({"top": "1"}, TypeError, "top must be an integer, got str"),
        ({"left": None}, TypeError, "left must be an integer, got NoneType"),
        ({"top": -1}, ValueError, "crop of 8x9 at top -1, left 2 is not inside .* 16x18"),
        ({"left": -1}, ValueError, "at top 1, left -1"),
        ({"top": 9}, ValueError, "at top 9, left 2"),
        ({"left": 10}, ValueError, "at top 1, left 10"),
        ({"top": 2**63 - 1}, ValueError, "is not inside the resized frame"),
        ({"left": -(2**70)}, ValueError, "is not inside the resized frame"),
        ({"resized_height": 7}, ValueError, "is not inside the resized frame of 7x18"),
        ({"crop_height": 0}, ValueError, "crop_height must be from 1 to 32767, got 0"),
        ({"crop_width": -1}, ValueError, "crop_width must be from 1 to 32767, got -1"),
        ({"crop_width": 17}, ValueError, "crop of 8x17 at top 1, left 2 is not inside .* 16x18"),
        ({"crop_height": 8.0}, TypeError, "crop_height must be an integer, got float"),
    ],
)
def test_a_resizer_refuses(kernel, changed, error, message):
    kernel.Resizer(**GEOMETRY)
    with pytest.raises(error, match=message):
        kernel.Resizer(**(GEOMETRY | changed))


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"frames": FRAMES.tolist()}, TypeError, "frames must be a uint8 array .*, got list"),
        ({"frames": FRAMES.astype(float)}, TypeError, "frames must be a uint8 .*, got float64"),
        ({"frames": FRAMES[0]}, ValueError, r"frames must .* \(4, 5, 3\)"),
        ({"frames": FRAMES[..., :2]}, ValueError, r"frames must .* \(2, 4, 5, 2\)"),
        ({"frames": FRAMES[:0]}, ValueError, r"frames must .* \(0, 4, 5, 3\)"),
        ({"frames": FRAMES[:, ::2]}, ValueError, "frames must be C-contiguous"),
        (
            {"out": None},
            TypeError,
            r"out must be a float32 array of shape \(3, 2, 4, 5\), got None",
        ),
        ({"out": np.zeros((3, 2, 4, 5))}, TypeError, "out must be a float32 .*, got float64 array"),
        ({"out": np.zeros((3, 2, 4, 5), ">f4")}, TypeError, "out must be a float32 .*, got >f4"),
        ({"out": np.zeros((2, 3, 4, 5), np.float32)}, ValueError, r"out must .* \(2, 3, 4, 5\)"),
        ({"out": np.zeros((3, 2, 4, 6), np.float32)}, ValueError, r"out must .* \(3, 2, 4, 6\)"),
        ({"out": np.zeros((120,), np.float32)}, ValueError, r"out must .* \(120,\)"),
        ({"out": np.zeros((3, 2, 4, 10), np.float32)[..., ::2]}, ValueError, "C-contiguous"),
        ({"out": misaligned((3, 2, 4, 5))}, ValueError, "out must be C-contiguous and aligned"),
        (
            {"out": bytes_like((3, 2, 4, 5), dtype=np.float32, writable=False)},
            ValueError,
            "out must be writable",
        ),
        ({"scale": 1.0}, ValueError, "scale must be 3 finite numbers"),
        ({"scale": [1.0, 2.0]}, ValueError, r"scale must be 3 finite .* \(2,\)"),
        ({"scale": ["a", "b", "c"]}, TypeError, "scale must be 3 finite numbers, got list"),
        ({"scale": None}, (TypeError, ValueError), "scale must be 3 finite numbers"),
        ({"bias": [0.0, np.nan, 0.0]}, ValueError, "bias must be 3 finite numbers, got nan"),
        ({"bias": [0.0, 0.0, np.inf]}, ValueError, "bias must be 3 finite numbers, got inf"),
    ],
)
def test_stack_refuses(kernel, changed, error, message):
    out = np.zeros((3, 2, 4, 5), np.float32)
    arguments = {"frames": FRAMES, "out": out, "scale": [1, 2, 3], "bias": [0, 0, 0]}
    kernel.stack(**arguments)
    out[...] = 0
    with pytest.raises(error, match=message):
        kernel.stack(**(arguments | changed))
    assert not out.any()


def test_one_shared_byte_is_refused_and_a_neighbour_is_not(kernel):
    memory = np.zeros(8 * 9 * 3 + 1800, np.uint8)
    out, image = memory[:216].reshape(8, 9, 3), memory[216:].reshape(20, 30, 3)
    resizer = kernel.Resizer(**GEOMETRY)
    resizer.resize(image, out, False)
    image = memory[215:-1].reshape(20, 30, 3)
    with pytest.raises(ValueError, match="out must not share memory with image"):
        resizer.resize(image, out, False)


def test_stack_refuses_shared_memory(kernel):
    out = np.zeros((3, 2, 4, 5), np.float32)
    frames = out.view(np.uint8).reshape(-1)[: 2 * 4 * 5 * 3].reshape(2, 4, 5, 3)
    with pytest.raises(ValueError, match="out must not share memory with frames"):
        kernel.stack(frames, out, [1, 1, 1], [0, 0, 0])


def test_an_index_that_reshapes_a_plane_cannot_escape_the_checks(kernel):
    y = Y.copy()

    class Reshaping:
        def __index__(self):
            y.resize((600,), refcheck=False)  # in place, unlike reshape
            return 16

    with pytest.raises(ValueError, match=r"got uint8 array of shape \(600,\)"):
        kernel.Resizer(**GEOMETRY).resize_yuv(y, U, V, OUT, [Reshaping(), *BT601[1:]], False)


def test_the_twin_names_what_is_missing(monkeypatch):
    resizer = load("_frames_py").Resizer(**GEOMETRY)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match="pip install opencv-python-headless"):
        resizer.resize(IMAGE, np.empty((8, 9, 3), np.uint8), False)


# Instruction sets


def digest_of_everything():
    """Return a checksum of what the extension computes, over sizes that take every path of it."""
    kernel = load("_frames")
    generator = np.random.default_rng(0)
    digest = 0
    for case in range(300):
        source = [int(side) for side in generator.integers(1, (20, 300)[case % 2], 2)]
        size = [int(side) for side in generator.integers(1, 200, 2)]
        top, left = (int(generator.integers(0, side)) for side in size)
        crop = size, top, left, (size[0] - top, size[1] - left)
        swap, pairs = case % 3 == 0, case % 5 == 0
        image, planes = noise(*source, 3, seed=case), planes_of(*source, pairs=pairs, seed=case)
        digest = zlib.crc32(resized_crop(kernel, image, *crop, swap), digest)
        digest = zlib.crc32(yuv_crop(kernel, planes, *crop, swap=swap), digest)
        frames = noise(2, *(int(side) for side in generator.integers(1, 12, 2)), 3, seed=case)
        offset = case % 9  # of floats, from an address that suits every register
        memory = np.zeros(frames.size + offset + 16, np.float32)
        offset += -(memory.ctypes.data // 4) % 16
        out = memory[offset : offset + frames.size].reshape(3, *frames.shape[:3])
        kernel.stack(frames, out, [0.017, 0.018, 0.019], [-1.9, -1.8, -1.7])
        digest = zlib.crc32(memory[offset : offset + frames.size + 1], digest)
    return digest


def in_a_process_with(instruction_set, expression):
    """Evaluate an expression of this file's names where the extension uses `instruction_set`."""
    code = f"import runpy, sys\nprint(eval({expression!r}, runpy.run_path(sys.argv[1])))"
    environment = os.environ | {"R2P_INSTRUCTION_SET": instruction_set, "R2P_REQUIRE_EXT": "1"}
    command = [sys.executable, "-c", code, __file__]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize("instruction_set", ["scalar", *(["ssse3", "avx2"] if EXACT else ["neon"])])
def test_every_instruction_set_gives_the_same_bytes(instruction_set):
    load("_frames")
    expression = "load('_frames').instruction_set, digest_of_everything()"
    done = in_a_process_with(instruction_set, expression)
    if f"R2P_INSTRUCTION_SET is {instruction_set}; this processor has" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.stdout.strip() == str((instruction_set, digest_of_everything())), done.stderr


@pytest.mark.slow
def test_an_instruction_set_that_nobody_has_is_refused():
    load("_frames")
    done = in_a_process_with("mmx", "load('_frames')")
    message = r"ImportError: R2P_INSTRUCTION_SET is mmx; this processor has .*scalar; name one of"
    assert re.search(message, done.stderr)
