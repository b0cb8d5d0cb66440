"""Frames for two streams: as each stream would make them, also where they share a resize."""

import cv2
import numpy as np
import pytest
from flows import moving, spec_of_flow
from pairs import spec_of_colours

from r2p_edge.preprocess.flow import FlowPreprocessor
from r2p_edge.preprocess.frame_maker import FrameMaker
from r2p_edge.preprocess.preprocessor import Preprocessor
from r2p_edge.spec import (
    FUSION_RECIPES,
    CropSpec,
    FlowSpec,
    InputSpec,
    ResizeSpec,
    TwoStreamSpec,
)  # fmt: skip


@pytest.mark.parametrize("picture", ["crop", "resized", "full"])
@pytest.mark.parametrize("color", ["RGB", "BGR"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"input": InputSpec(color="BGR")},
        {"crop": CropSpec(40, 32)},
        {"resize": ResizeSpec("short_side", size=53)},
    ],
    ids=["alike", "BGR", "crop", "resize"],
)
def test_both_are_as_alone(picture, color, changes):
    flow = spec_of_flow(FlowSpec("farneback", picture))
    rgb = spec_of_colours(flow, **changes)
    maker = FrameMaker(TwoStreamSpec.of_streams(rgb, flow, FUSION_RECIPES["i3d"], ("a", "b")))
    grey = moving(1)[0]
    image = cv2.applyColorMap(cv2.resize(grey[..., 0], (101, 75)), cv2.COLORMAP_JET)
    made = maker.make(image, color)
    colours = np.empty((rgb.crop.height, rgb.crop.width, 3), np.uint8)
    Preprocessor(rgb).frame(image, colours, color)
    np.testing.assert_array_equal(made.colours, colours)
    np.testing.assert_array_equal(made.grey, FlowPreprocessor(flow).picture(image, color))


@pytest.mark.parametrize("side", [7, 48])
def test_a_frame_of_two_streams_is_a_record(side):
    flow = spec_of_flow(crop=CropSpec(side, side))
    rgb = spec_of_colours(flow)
    maker = FrameMaker(TwoStreamSpec.of_streams(rgb, flow, FUSION_RECIPES["i3d"], ("a", "b")))
    frames = np.zeros((3, *maker.frame_shape), maker.frame_dtype)
    colours, flows = maker.colours_of(frames), maker.flow_of(frames)
    assert (colours.shape, colours.dtype) == ((3, side, side, 3), np.uint8)
    assert (flows.shape, flows.dtype) == ((3, side, side, 2), np.float32)
    assert flows.flags.aligned
    colours[1], flows[2] = 7, 0.5
    assert (frames["rgb"][1] == 7).all()
    assert (frames["flow"][2] == 0.5).all()
