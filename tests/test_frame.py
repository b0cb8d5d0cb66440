"""Frames that stay in YUV until they are resized, compared with FFmpeg's own conversion."""

from __future__ import annotations

import contextlib
import platform

import cv2
import numpy as np
import pytest
from networks import spec_for
from orientation import CORNERS, corners, set_matrix, write_image

from r2p_edge import Predictor
from r2p_edge.errors import VideoError
from r2p_edge.frame import Planes, picture_of, rgb_of
from r2p_edge.preprocess.preprocessor import Preprocessor
from r2p_edge.spec import InputSpec
from r2p_edge.video.source import open_source

av = pytest.importorskip("av")

# FFmpeg for aarch64 converts colours otherwise than for x86-64, by up to 3 levels.
X86 = platform.machine() in ("x86_64", "AMD64")
LEVEL = 1 if X86 else 1.5


def frame(form="yuv420p", height=240, width=320, colorspace=2, color_range=0):
    """Make a PyAV frame of a smooth picture with little colour, which stays inside RGB."""
    rows, columns = np.mgrid[:height, :width]
    gray = 120 + 50 * np.sin(rows / 17) * np.cos(columns / 23)
    image = np.stack([gray + 12, gray, gray + 8 * np.sin(columns / 31)], -1).astype(np.uint8)
    made = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=form)
    made.colorspace, made.color_range = colorspace, color_range
    return made


def pixels(picture, **options):
    preprocessor = Preprocessor(spec_for(3, **options))
    out = np.empty(preprocessor.frame_shape, np.uint8)
    preprocessor.frame(picture, out)
    return out.astype(int)


def difference(made, **options):
    return pixels(picture_of(made), **options) - pixels(rgb_of(made), **options)


@pytest.mark.parametrize("color_range", [0, 1, 2])
@pytest.mark.parametrize("colorspace", [1, 2, 5, 6, 9])
@pytest.mark.parametrize("form", ["yuv420p", "yuvj420p", "nv12"])
def test_planes_give_the_pixels_of_the_frame(form, colorspace, color_range):
    made = frame(form, colorspace=colorspace, color_range=color_range)
    assert isinstance(picture_of(made), Planes)
    assert np.abs(difference(made)).max() <= 3
    # Of NV12, FFmpeg's conversion is another one, which rounds otherwise.
    assert np.abs(difference(made).mean(axis=(0, 1))).max() < (2.5 if form == "nv12" else LEVEL)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (7, 5), (241, 321), (96, 1280)])
def test_any_size(height, width):
    if not X86 and width % 2 and height % 2 == 0:
        pytest.skip("FFmpeg for aarch64 leaves the last column of such frames unwritten")
    made = frame(height=height, width=width)
    picture = picture_of(made)
    assert picture.shape == rgb_of(made).shape == (height, width, 3)
    # FFmpeg interpolates the colours of frames of odd height.
    assert np.abs(difference(made)).max() <= (3 if height % 2 == 0 else 8)


def test_bgr_models():
    made = frame()
    assert np.abs(difference(made, input=InputSpec(color="BGR"))).max() <= 3
    np.testing.assert_array_equal(
        pixels(picture_of(made), input=InputSpec(color="BGR"))[..., ::-1], pixels(picture_of(made))
    )


@pytest.mark.parametrize(
    "options",
    [
        *({"form": form} for form in ("yuv422p", "yuv444p", "yuv420p10le", "gray", "rgb24")),
        *({"colorspace": number} for number in (0, 4, 7)),
    ],
    ids=str,
)
def test_what_is_not_known_goes_through_rgb(options):
    made = frame(**options)
    picture = picture_of(made)
    assert isinstance(picture, np.ndarray)
    np.testing.assert_array_equal(picture, rgb_of(made))


# x' = ax + cy, y' = bx + dy, and the corners of `CORNERS` that libavutil/display.h means by it.
MATRICES = {
    (1, 0, 0, 1): "RRGB",
    (-1, 0, 0, 1): "RRBG",
    (1, 0, 0, -1): "GBRR",
    (-1, 0, 0, -1): "BGRR",
    (0, 1, 1, 0): "RGRB",
    (0, 1, -1, 0): "GRBR",
    (0, -1, 1, 0): "RBRG",
    (0, -1, -1, 0): "BRGR",
    (0.9, 0.1, -0.1, 0.9): "RRGB",
    (0, 0, 0, 0): "RRGB",
}


@pytest.mark.parametrize("matrix", MATRICES, ids=str)
def test_videos_are_shown_by_their_matrix(tmp_path, matrix):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "1"})
        stream.height, stream.width, stream.pix_fmt = *CORNERS.shape[:2], "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(CORNERS, format="rgb24")))
        container.mux(stream.encode())
    set_matrix(path, *matrix)
    for planes in (False, True):
        with contextlib.closing(open_source(path, 25.0, planes=planes)) as source:
            (picture,) = source.read(source.times[:1])
        assert isinstance(picture, Planes) == (planes and MATRICES[matrix] == "RRGB")
        shown = picture.rgb() if isinstance(picture, Planes) else picture
        assert corners(shown) == MATRICES[matrix]
        assert shown.flags.c_contiguous


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", range(9))
def test_images_are_shown_by_their_exif(tmp_path, suffix, orientation):
    if suffix != ".jpg" and av.library_versions["libavcodec"] < (62, 28):
        pytest.skip("FFmpeg reads the EXIF of PNG and WebP from 8.1 on")
    path = write_image(tmp_path / f"1{suffix}", CORNERS, orientation)
    expected = cv2.imread(str(path))[:, :, ::-1]
    for planes in (False, True):
        (picture,) = open_source(tmp_path, 25.0, planes=planes).read(np.zeros(1))
        shown = picture.rgb() if isinstance(picture, Planes) else picture
        assert shown.shape == expected.shape
        assert corners(shown) == corners(expected)


@pytest.mark.parametrize("colorspace", [8, 10, 14])
def test_colours_that_cannot_be_converted(colorspace):
    with pytest.raises(VideoError, match=r"x.mp4 cannot be converted to RGB: .* yuv420p, matrix"):
        picture_of(frame(colorspace=colorspace), "x.mp4")


def files(data):
    kinds = (".avi", ".mp4", ".mov")
    return sorted(path for path in data.rglob("*") if path.suffix in kinds)


@pytest.mark.slow
def test_real_files(data):
    """Compare each: the mean colours are equal, and hardly any pixel differs visibly."""
    seen = 0
    for path in files(data):
        pictures = []
        for planes in (True, False):
            with contextlib.closing(open_source(path, 25.0, planes=planes)) as source:
                pictures.append(list(source.read(source.times[:30:6])))
        for yuv, rgb in zip(*pictures):
            seen += isinstance(yuv, Planes)
            found = pixels(yuv) - pixels(rgb)
            assert np.abs(found.mean(axis=(0, 1))).max() < LEVEL, path
            assert np.abs(found).mean() < 1, path
            assert np.mean(np.abs(found) > 8) < 0.02, path  # a test picture has the most
            if isinstance(yuv, Planes):
                np.testing.assert_array_equal(yuv.rgb(), rgb)
    assert seen > 200


@pytest.mark.slow
def test_a_file_is_answered_as_its_frames_are(motion_model, data):
    with Predictor(motion_model) as predictor:
        for path in files(data)[::6]:
            with contextlib.closing(open_source(path, 25.0)) as source:
                images = np.stack(list(source.read(source.times)))
                rate = 1 / float(np.median(np.diff(source.times)))
            one, other = predictor.predict(path), predictor.predict(images, fps=rate)
            assert np.abs(one.scores - other.scores).max() < 0.05, path
