"""Clips of optical flow: of frames, of files, and of flow stored as pictures."""

import itertools

import cv2
import numpy as np
import pytest
from flows import moving, of_frames, pair_by_pair, spec_of_flow, write_frames
from models import brightness_model

from r2p_edge import Predictor
from r2p_edge.errors import VideoError
from r2p_edge.preprocess.flow import FlowPreprocessor
from r2p_edge.spec import FlowSpec
from r2p_edge.video.clip_reader import ClipReader

LEVELS = FlowSpec("farneback", bound=20.0, levels="uint8")


def test_a_clip_of_flow_is_made_of_one_picture_more():
    frames = moving(20)
    clips = ClipReader(spec_of_flow()).read(frames, clips=3, fps=25)
    flow = pair_by_pair(frames)
    # Clips of five pictures: from the first, from the middle, and to the last.
    for clip, first in zip(clips.pixels, (0, 7, 15), strict=True):
        np.testing.assert_array_equal(clip, flow[first : first + 4])
    assert clips.pixels.dtype == np.float32
    assert clips.coverage == 1
    assert clips.span == (0, 19 / 25)
    assert np.median(clips.pixels[..., 0]) == pytest.approx(3, abs=0.1)


def test_as_many_pictures_as_a_clip_needs_are_the_clip():
    frames = moving(5)
    clips = ClipReader(of_frames(spec_of_flow(), 4, fps=10.0)).read(frames)
    np.testing.assert_array_equal(clips.pixels[0], pair_by_pair(frames))
    listed = ClipReader(spec_of_flow()).read(list(frames))
    np.testing.assert_array_equal(listed.pixels, clips.pixels)


def test_each_pair_is_computed_once(monkeypatch):
    computed, displacements = [], FlowPreprocessor.displacements
    monkeypatch.setattr(
        FlowPreprocessor,
        "displacements",
        lambda self, *pair: computed.append(pair) or displacements(self, *pair),
    )
    reader = ClipReader(of_frames(spec_of_flow(), 6, interval=2))
    clips = reader.read(moving(16, right=1), clips=4, fps=25)
    wanted = {tuple(np.rint(np.array(pair) * 25).astype(int).tolist()) for plan in clips.plans
              for pair in itertools.pairwise(plan.times)}  # fmt: skip
    assert len(computed) == len(wanted) < 24
    # Pairs of even and of odd starts lie inside each other.
    frames = moving(16, right=1)
    for plan, clip in zip(clips.plans, clips.pixels, strict=True):
        shown = frames[np.rint(plan.times * 25).astype(int)]
        np.testing.assert_array_equal(clip, pair_by_pair(shown))


def test_coverage_counts_pairs():
    reader = ClipReader(of_frames(spec_of_flow(), 8))
    clips = reader.read(moving(5), fps=25)  # four pairs of eight
    assert clips.coverage == 0.5
    assert clips.span == (0, 4 / 25)
    assert clips.pixels.shape == (1, 8, 48, 48, 2)


@pytest.mark.parametrize("form", ["array", "list", "file"])
def test_one_frame_has_no_flow(form, tmp_path, fails):
    model = brightness_model(tmp_path / "flow.onnx", spec_of_flow())
    said = "has one frame, and optical flow goes from a frame to the next; give a video of at least"
    if form == "file":
        path = tmp_path / "one.png"
        cv2.imwrite(str(path), moving(1)[0])
        fails(3, said, "predict", model, path)
        return
    frames = moving(1)
    with Predictor(model) as predictor, pytest.raises(VideoError, match=said):
        predictor.predict(frames if form == "array" else list(frames))


def test_a_file_gives_the_flow_of_its_frames(tmp_path):
    path = write_frames(tmp_path / "moving.mkv", moving(12))
    with Predictor(brightness_model(tmp_path / "flow.onnx", spec_of_flow())) as predictor:
        clips = predictor.pixels(path)
        answer = predictor.predict(path)
    assert np.median(clips[..., 0]) == pytest.approx(3, abs=0.15)
    assert answer.coverage == 1
    np.testing.assert_array_equal(answer.frames(), clips)


def store(folder, levels, names):
    for number, pair in enumerate(levels, 1):
        for channel, name in enumerate(names):
            path = folder / name.format(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), pair[..., channel])


@pytest.mark.parametrize(
    "names",
    [
        ("flow_x_{:05}.png", "flow_y_{:05}.png"),
        ("x_{:05}.png", "y_{:05}.png"),
        ("flow_x/{:05}.png", "flow_y/{:05}.png"),
        ("u/frame{:06}.png", "v/frame{:06}.png"),
    ],
)
def test_stored_flow_is_a_source(names, tmp_path):
    frames = moving(10)
    expected = ClipReader(spec_of_flow(LEVELS)).read(frames, clips=2, fps=25).pixels
    maker, levels = FlowPreprocessor(spec_of_flow(LEVELS)), np.empty((9, 48, 48, 2), np.uint8)
    pictures = [maker.picture(frame) for frame in frames]
    for pair, out in zip(itertools.pairwise(pictures), levels, strict=True):
        maker.frame(*pair, out)
    store(tmp_path, levels, names)
    cv2.imwrite(str(tmp_path / "img_00001.png"), frames[0])  # as tools leave beside them
    clips = ClipReader(spec_of_flow(LEVELS)).read(tmp_path, clips=2, fps=25)
    np.testing.assert_array_equal(clips.pixels, expected)
    assert (clips.coverage, clips.span) == (1, (0, 8 / 25))
    in_pixels = ClipReader(spec_of_flow(FlowSpec("farneback", bound=20.0))).read(tmp_path, fps=25)
    assert in_pixels.pixels.dtype == np.float32
    assert np.median(in_pixels.pixels[..., 0]) == pytest.approx(3, abs=0.15)


def test_stored_flow_of_another_size_is_resized_and_cropped(tmp_path):
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 256, (6, 30, 40, 2), np.uint8)
    store(tmp_path, levels, ("flow_x_{}.png", "flow_y_{}.png"))
    clips = ClipReader(spec_of_flow(LEVELS)).read(tmp_path, fps=25)
    resized = np.stack([cv2.resize(each, (80, 60))[6:54, 16:64] for each in levels])
    np.testing.assert_array_equal(clips.pixels[0], resized[1:5])


def test_jpegs_are_within_a_level_of_what_opencv_reads(tmp_path):
    levels = np.stack([moving(9, seed=seed)[..., 0][:, 6:54, 16:64] for seed in (1, 2)], axis=-1)
    store(tmp_path, levels, ("flow_x_{:05}.jpg", "flow_y_{:05}.jpg"))
    clips = ClipReader(spec_of_flow(LEVELS)).read(tmp_path, fps=25)
    read = [cv2.imread(str(tmp_path / f"flow_{axis}_00003.jpg"), 0) for axis in "xy"]
    assert np.abs(clips.pixels[0, 0].astype(int) - np.stack(read, axis=-1)).max() <= 1


@pytest.mark.parametrize(
    ("spoil", "flow", "interval", "message"),
    [
        (None, FlowSpec("farneback"), 1, "takes flow in pixels without a bound"),
        (None, LEVELS, 2, "the pairs of flow are 2 frames apart"),
        ("remove", LEVELS, 1, "has flow picture 3 of direction x and none of y"),
        ("spoil", LEVELS, 1, "flow_y_00003.png cannot be decoded"),
        ("empty", LEVELS, 1, "flow_y_00003.png cannot be decoded"),
        ("size", LEVELS, 1, "are 48x48 and 20x10 pixels; the two pictures of a pair have one size"),
        ("twice", LEVELS, 1, "has two flow pictures 3: "),
    ],
)
def test_stored_flow_that_cannot_be_read_is_told(spoil, flow, interval, message, tmp_path, fails):
    store(tmp_path, np.zeros((5, 48, 48, 2), np.uint8), ("flow_x_{:05}.png", "flow_y_{:05}.png"))
    path = tmp_path / "flow_y_00003.png"
    if spoil == "remove":
        path.unlink()
    elif spoil == "size":
        cv2.imwrite(str(path), np.zeros((10, 20), np.uint8))
    elif spoil == "twice":
        path.with_suffix(".jpg").write_bytes(path.read_bytes())
    elif spoil:
        path.write_bytes(b"no picture" if spoil == "spoil" else b"")
    model = brightness_model(
        tmp_path / "flow.onnx", of_frames(spec_of_flow(flow), 4, interval=interval)
    )
    fails(3, message, "predict", model, tmp_path, "--fps", 25)


def test_a_part_of_stored_flow_is_read(tmp_path):
    levels = np.arange(20, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 48, 48, 2), np.uint8)
    store(tmp_path, levels, ("flow_x_{:05}.png", "flow_y_{:05}.png"))
    clips = ClipReader(spec_of_flow(LEVELS)).read(tmp_path, fps=25, part=(0.4, 0.56))
    assert clips.pixels[0, :, 0, 0, 0].tolist() == [10, 11, 12, 13]
