"""Geometry and tensors, against torchvision's published preprocessing; the choice of kernel."""

import dataclasses
import gc
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import EXTENSION_SUFFIXES

import cv2
import numpy as np
import pytest
from models import spec_of_brightness
from requirements import needs

from r2p_edge.errors import VideoError
from r2p_edge.preprocess import preprocessor
from r2p_edge.preprocess.preprocessor import Preprocessor
from r2p_edge.spec import CropSpec, ResizeSpec


def spec_with(resize, crop, **changes):
    return spec_of_brightness(resize=resize, crop=crop, **changes)


STRETCH = spec_with(ResizeSpec("stretch", height=128, width=171), CropSpec(112, 112))
SHORT = spec_with(ResizeSpec("short_side", size=128), CropSpec(112, 112))


def test_geometry():
    assert Preprocessor(STRETCH).geometry(240, 320) == (128, 171, 8, 30)  # round(29.5) is 30
    floor = dataclasses.replace(STRETCH.crop, rounding="floor")
    assert Preprocessor(STRETCH.replace(crop=floor)).geometry(240, 320) == (128, 171, 8, 29)
    assert Preprocessor(SHORT).geometry(240, 320)[:2] == (128, 170)
    assert Preprocessor(SHORT).geometry(320, 240)[:2] == (170, 128)
    assert Preprocessor(SHORT).geometry(128, 128) == (128, 128, 8, 8)
    assert Preprocessor(SHORT).geometry(1, 3) == (128, 384, 8, 136)


def test_frames_too_long_to_resize():
    with pytest.raises(VideoError, match="1x300 pixels would be resized to 128x38400"):
        Preprocessor(SHORT).geometry(1, 300)
    with pytest.raises(VideoError, match="longer than 32767"):
        Preprocessor(STRETCH).geometry(40000, 10)


@needs("torchvision")
@pytest.mark.parametrize("size", [(240, 320), (256, 340), (1080, 1920), (131, 97), (112, 500)])
def test_short_side_is_torchvisions(torchvision, size):
    import torch
    from torchvision.transforms import functional

    resized = functional.resize(torch.zeros(3, *size, dtype=torch.uint8), 128, antialias=False)
    assert Preprocessor(SHORT).geometry(*size)[:2] == tuple(resized.shape[1:])


@pytest.mark.parametrize("spec", [STRETCH, SHORT], ids=["stretch", "short side"])
@pytest.mark.parametrize("color", ["RGB", "BGR"])
@pytest.mark.parametrize("wanted", ["RGB", "BGR"])
def test_pixels_are_opencvs(spec, color, wanted):
    spec = spec.replace(input=dataclasses.replace(spec.input, color=wanted))
    image = np.random.default_rng(0).integers(0, 256, (241, 319, 3), np.uint8)
    preprocessor = Preprocessor(spec)
    out = np.empty(preprocessor.frame_shape, np.uint8)
    preprocessor.frame(image, out, color)
    height, width, top, left = preprocessor.geometry(241, 319)
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    expected = resized[top : top + 112, left : left + 112]
    expected = expected if color == wanted else expected[:, :, ::-1]
    difference = np.abs(out.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 1e-3


def test_views_are_accepted():
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    preprocessor = Preprocessor(STRETCH)

    def frame(view, color="RGB"):
        out = np.empty(preprocessor.frame_shape, np.uint8)
        preprocessor.frame(view, out, color)
        return out

    np.testing.assert_array_equal(frame(image[:, :, ::-1], "BGR"), frame(image))
    np.testing.assert_array_equal(frame(image[::-1]), frame(image[::-1].copy()))
    np.testing.assert_array_equal(frame(image[:, ::2]), frame(image[:, ::2].copy()))


@pytest.mark.parametrize("layout", ["NTHWC", "NCTHW"])
@pytest.mark.parametrize(
    ("dtype", "normalized"), [("uint8", True), ("float32", False), ("float32", True)]
)
def test_tensor(layout, dtype, normalized):
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    wanted = dataclasses.replace(
        STRETCH.input, dtype=dtype, layout=layout, normalized_in_graph=normalized
    )
    spec = STRETCH.replace(input=wanted, mean=mean, std=std)
    clip = np.random.default_rng(0).integers(0, 256, (4, 112, 112, 3), np.uint8)
    tensor = Preprocessor(spec).tensor(clip)
    assert tensor.dtype == dtype
    assert tensor.shape == spec.input_shape
    assert tensor.flags.c_contiguous
    expected = clip.astype(np.float64)
    if not normalized:
        expected = (expected / 255 - mean) / std
    planes = tensor[0] if layout == "NTHWC" else tensor[0].transpose(1, 2, 3, 0)
    np.testing.assert_allclose(planes, expected, rtol=0, atol=2e-6)


def pixels_of(preprocessor, image):
    out = np.empty(preprocessor.frame_shape, np.uint8)
    preprocessor.frame(image, out)
    return out


@pytest.fixture
def made(monkeypatch):
    """The arguments of every Resizer that is made."""
    arguments = []
    resizer = preprocessor.kernel.Resizer

    def recorded(*values):
        arguments.append(values)
        return resizer(*values)

    monkeypatch.setattr(preprocessor.kernel, "Resizer", recorded)
    return arguments


def test_the_tables_of_a_size_are_made_once(made):
    preprocessor = Preprocessor(STRETCH)
    for height, width in [(240, 320), (240, 320), (120, 160), (240, 320)]:
        pixels_of(preprocessor, np.zeros((height, width, 3), np.uint8))
    assert made == [
        (240, 320, 128, 171, 8, 30, 112, 112),
        (120, 160, 128, 171, 8, 30, 112, 112),
    ]


def test_a_stream_of_ever_new_sizes_does_not_fill_the_memory(monkeypatch):
    resizer = preprocessor.kernel.Resizer
    made = []

    class Watched:
        def __init__(self, *values):
            self.resize = resizer(*values).resize
            made.append(weakref.ref(self))

    monkeypatch.setattr(preprocessor.kernel, "Resizer", Watched)
    mine = Preprocessor(STRETCH)
    for height in range(100, 150):
        pixels_of(mine, np.zeros((height, 160, 3), np.uint8))
    assert len(made) == 50
    assert sum(ref() is not None for ref in made) == 16


def test_threads_share_a_preprocessor():
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (100 + 20 * (k % 3), 160, 3), np.uint8) for k in range(24)]
    expected = [pixels_of(Preprocessor(STRETCH), image) for image in images]
    shared = Preprocessor(STRETCH)
    with ThreadPoolExecutor(8) as pool:
        actual = list(pool.map(lambda image: pixels_of(shared, image), images))
    np.testing.assert_array_equal(actual, expected)


def test_a_preprocessor_goes_with_its_last_user():
    """Nothing that it owns refers back to it, so that nobody has to wait for the collector."""
    preprocessor = Preprocessor(SHORT)
    pixels_of(preprocessor, np.zeros((120, 160, 3), np.uint8))
    assert preprocessor.geometry(120, 160) == (128, 170, 8, 29)
    user = weakref.ref(preprocessor)
    gc.disable()
    try:
        del preprocessor
        assert user() is None
    finally:
        gc.enable()


# For a fresh process: print whether the extension is at work, and log what preprocessors say.
TWO_PREPROCESSORS = """
import logging, sys
EXTENSION = "r2p_edge.preprocess._frames"
{without_extension}
from r2p_edge.preprocess import preprocessor
from r2p_edge.spec import ModelSpec
logging.basicConfig(format="%(name)s %(levelname)s %(message)s")
print(preprocessor.compiled)
spec = ModelSpec.from_json(sys.argv[1])
preprocessor.Preprocessor(spec)
preprocessor.Preprocessor(spec)
"""
ABSENT = "sys.modules[EXTENSION] = None"
BROKEN = """
from importlib.util import spec_from_file_location
class Finder:
    def find_spec(name, path=None, target=None):
        return spec_from_file_location(name, sys.argv[2]) if name == EXTENSION else None
sys.meta_path.insert(0, Finder)
"""


def compiled_and_log(without_extension, *arguments):
    """Return what TWO_PREPROCESSORS prints and logs."""
    code = TWO_PREPROCESSORS.format(without_extension=without_extension)
    command = [sys.executable, "-c", code, STRETCH.to_json(), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.strip(), done.stderr.splitlines()


def test_an_absent_extension_is_warned_of_once():
    compiled, log = compiled_and_log(ABSENT)
    assert compiled == "False"
    (line,) = log
    assert line.startswith("r2p_edge.preprocess.preprocessor WARNING the compiled extension ")
    assert "is not installed; frames are resized by OpenCV and NumPy" in line
    assert "reinstall r2p_edge where there is a C++ compiler" in line


def test_an_extension_that_cannot_be_imported_is_warned_of_with_the_reason(tmp_path):
    library = tmp_path / f"_frames{EXTENSION_SUFFIXES[0]}"
    library.write_bytes(b"not a library")
    compiled, log = compiled_and_log(BROKEN, str(library))
    assert compiled == "False"
    (line,) = log
    assert "WARNING the compiled extension r2p_edge.preprocess._frames cannot be imported" in line
    assert str(library) in line


@pytest.mark.skipif(not preprocessor.compiled, reason="the compiled extension is not installed")
def test_the_extension_is_used_without_a_word():
    assert compiled_and_log("") == ("True", [])
