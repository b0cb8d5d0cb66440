"""Geometry and tensors, held against torchvision's published preprocessing."""

import dataclasses

import cv2
import numpy as np
import pytest
from models import spec_of_brightness
from requirements import needs

from r2p_edge.errors import VideoError
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
