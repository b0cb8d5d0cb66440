"""Optical flow of two pictures: OpenCV's own, bit for bit, and the levels that it becomes."""

import cv2
import numpy as np
import pytest
from flows import FARNEBACK, cropped_grey, moving, of_frames, spec_of_flow
from models import brightness_model
from requirements import require

from r2p_edge.errors import MissingDependencyError, VideoError
from r2p_edge.frame import picture_of
from r2p_edge.preprocess.flow import FlowPreprocessor, displacements_of, levels_of
from r2p_edge.spec import FlowSpec, ResizeSpec


def frame_of(spec, before, after, color="RGB"):
    maker = FlowPreprocessor(spec)
    out = np.empty((spec.crop.height, spec.crop.width, 2), spec.frame_dtype)
    maker.frame(maker.picture(before, color), maker.picture(after, color), out)
    return out


def test_farneback_is_opencvs_with_the_papers_parameters():
    first, second = moving(2)
    expected = cv2.calcOpticalFlowFarneback(
        cropped_grey(first), cropped_grey(second), None, *FARNEBACK
    )
    np.testing.assert_array_equal(frame_of(spec_of_flow(), first, second), expected)
    given = FlowSpec("farneback", parameters={"levels": 2, "winsize": 15, "flags": 0})
    other = cv2.calcOpticalFlowFarneback(
        *map(cropped_grey, (first, second)), None, 2**0.5 / 2, 2, 15, 2, 7, 1.5, 0
    )
    np.testing.assert_array_equal(frame_of(spec_of_flow(given), first, second), other)


def test_dis_is_opencvs():
    first, second = moving(2)
    for preset in (0, 2):
        algorithm = cv2.DISOpticalFlow_create(preset)
        expected = algorithm.calc(cropped_grey(first), cropped_grey(second), None)
        spec = spec_of_flow(FlowSpec("dis", parameters={"preset": preset}))
        np.testing.assert_array_equal(frame_of(spec, first, second), expected)


def test_tvl1_is_the_contrib_builds():
    require("opencv_contrib")
    first, second = moving(2)
    algorithm = cv2.optflow.DualTVL1OpticalFlow_create()
    expected = algorithm.calc(cropped_grey(first), cropped_grey(second), None)
    np.testing.assert_array_equal(frame_of(spec_of_flow(FlowSpec("tvl1")), first, second), expected)
    algorithm.setLambda(0.3)
    algorithm.setScalesNumber(2)
    other = algorithm.calc(cropped_grey(first), cropped_grey(second), None)
    given = FlowSpec("tvl1", parameters={"lambda": 0.3, "nscales": 2})
    np.testing.assert_array_equal(frame_of(spec_of_flow(given), first, second), other)


@pytest.mark.parametrize("method", ["farneback", "dis", "tvl1"])
@pytest.mark.parametrize("right", [3, -3])
def test_what_moves_three_pixels_reads_as_that(method, right):
    if method == "tvl1":
        require("opencv_contrib")
    found = frame_of(spec_of_flow(FlowSpec(method)), *moving(2, right))
    across, down = np.median(found.reshape(-1, 2), axis=0)
    assert across == pytest.approx(right, abs=0.1)
    assert down == pytest.approx(0, abs=0.1)


def published_levels(flow, bound):
    """Return the levels of yjxiong/dense_flow, one number after the other."""
    levels = []
    for value in flow.ravel().tolist():
        if value > bound:
            levels.append(255)
        elif value < -bound:
            levels.append(0)
        else:
            levels.append(round(255 * (value + bound) / (2 * bound)))
    return np.array(levels, np.uint8).reshape(flow.shape)


def test_levels_are_the_published_ones():
    flow = np.random.default_rng(0).normal(0, 12, (40, 50, 2)).astype(np.float32)
    flow[0, :3] = [[20, -20], [21, -21], [0, 0]]
    spec = FlowSpec("dis", bound=20.0, levels="uint8")
    levels = levels_of(flow, spec)
    np.testing.assert_array_equal(levels, published_levels(flow, 20.0))
    assert levels[0, :3].tolist() == [[255, 0], [255, 0], [128, 128]]
    pixels = FlowSpec("dis", bound=20.0)
    np.testing.assert_array_equal(levels_of(flow, pixels), np.clip(flow, -20, 20))
    back = displacements_of(levels, pixels)
    assert np.abs(back - np.clip(flow, -20, 20)).max() <= 20 / 255 + 1e-5
    assert displacements_of(levels, spec) is levels


def test_flow_of_the_resized_frame_is_cropped():
    frames = np.stack([cv2.resize(frame, (160, 120)) for frame in moving(2)])
    spec = spec_of_flow(FlowSpec("farneback", "resized", bound=20.0, levels="uint8"))
    small = [cv2.cvtColor(cv2.resize(each, (80, 60)), cv2.COLOR_RGB2GRAY) for each in frames]
    flow = cv2.calcOpticalFlowFarneback(*small, None, *FARNEBACK)
    expected = published_levels(flow[6:54, 16:64], 20.0)
    found = frame_of(spec, *frames).astype(int)
    assert np.abs(found - expected).max() <= 1


def test_flow_of_the_full_frame_is_resized_with_its_displacements_as_they_are():
    frames = np.stack([cv2.resize(frame, (160, 120)) for frame in moving(2, right=1)])
    spec = spec_of_flow(FlowSpec("dis", "full"))
    greys = [cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in frames]
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*greys, None)
    expected = cv2.resize(flow, (80, 60))[6:54, 16:64]
    np.testing.assert_array_equal(frame_of(spec, *frames), expected)
    assert np.median(expected[..., 0]) == pytest.approx(2, abs=0.2)
    # A resize of the short side: 60x80 here too, but of a portrait frame 107x80.
    short = spec.replace(resize=ResizeSpec("short_side", size=60))
    np.testing.assert_array_equal(frame_of(short, *frames), expected)


def test_colours_are_read_in_their_order():
    first, second = moving(2).copy()
    first[..., 0] //= 3
    second[..., 0] //= 3
    for picture in ("crop", "resized", "full"):
        spec = spec_of_flow(FlowSpec("dis", picture))
        swapped = frame_of(spec, first[..., ::-1], second[..., ::-1], "BGR")
        np.testing.assert_array_equal(swapped, frame_of(spec, first, second))


def test_planes_of_a_video_are_its_pictures():
    import av

    spec, (first, _) = spec_of_flow(FlowSpec("dis", "full")), moving(2)
    frame = av.VideoFrame.from_ndarray(first, format="rgb24").reformat(format="yuv420p")
    planes = picture_of(frame)
    found = FlowPreprocessor(spec).picture(planes)
    np.testing.assert_array_equal(found, cv2.cvtColor(planes.rgb(), cv2.COLOR_RGB2GRAY))


def test_pictures_of_two_sizes_have_no_flow():
    maker = FlowPreprocessor(spec_of_flow(FlowSpec("dis", "full")))
    with pytest.raises(VideoError, match="change from 80x60 to 40x60 pixels, and flow goes"):
        maker.displacements(np.zeros((60, 80), np.uint8), np.zeros((60, 40), np.uint8))


def test_a_build_without_tvl1_is_told_before_a_video_is_opened(monkeypatch, tmp_path, fails):
    monkeypatch.delattr(cv2, "optflow", raising=False)
    spec = spec_of_flow(FlowSpec("tvl1", "resized", bound=20.0, levels="uint8"))
    model = brightness_model(tmp_path / "flow.onnx", spec)
    said = "the flow method tvl1 needs the contrib build of OpenCV, and this one is not it: pip "
    fails(5, said, "predict", model, tmp_path / "absent.mp4")
    fails(5, "opencv-contrib-python-headless", "stream", model, tmp_path / "absent.mp4")
    with pytest.raises(MissingDependencyError):
        FlowPreprocessor(of_frames(spec, 8))
