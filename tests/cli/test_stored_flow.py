"""Folders of videos that are stored flow: each verb finds them in every layout that is read."""

import json

import cv2
import numpy as np
import pytest
from exit_codes import DATA
from flows import PIXELS, spec_of_flow
from models import brightness_model
from pairs import FILTERS, pair_file, spec_of_colours, write_network

from r2p_edge.spec import FlowSpec

CLASSES = ("left", "right")
LEVELS = FlowSpec("farneback", bound=20.0, levels="uint8")
LAYOUTS = [
    ("flow_x_{:05}.png", "flow_y_{:05}.png"),
    ("x_{:05}.png", "y_{:05}.png"),
    ("flow_x/{:05}.png", "flow_y/{:05}.png"),
    ("x/{:05}.png", "y/{:05}.png"),
    ("u/frame{:06}.png", "v/frame{:06}.png"),
]
BESIDE, IN_FOLDERS = LAYOUTS[0], LAYOUTS[-1]


def store(folder, names):
    """Write six videos of 6 frames of flow of two classes, which move to the left or the right."""
    rng = np.random.default_rng(0)
    for label, middle in zip(CLASSES, (90, 170)):
        for number in range(3):
            across = rng.integers(middle - 30, middle + 30, (6, 48, 48), np.uint8)
            for place, level in enumerate(across, 1):
                for name, picture in zip(names, (level, np.full_like(level, 128))):
                    path = folder / label / f"video{number}" / name.format(place)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    cv2.imwrite(str(path), picture)
    return folder


@pytest.fixture
def network(tmp_path):
    """A network with a head of its own that knows nothing yet."""
    of_levels = {"mean": (128.0, 128.0), "std": (20.0, 20.0), "input": PIXELS}
    spec = spec_of_flow(LEVELS, labels=CLASSES, **of_levels)
    weights = np.zeros((FILTERS, len(CLASSES)))
    return write_network(tmp_path / "flow.onnx", spec, weights, np.zeros(len(CLASSES)))


@pytest.mark.parametrize("names", LAYOUTS, ids=lambda names: names[0].split("{")[0])
def test_every_layout_is_six_videos(names, run, network, tmp_path):
    videos = store(tmp_path / "videos", names)
    six = [str(videos / label / f"video{number}") for label in CLASSES for number in range(3)]
    code, output, errors = run("predict", network, videos, "--fps", 25, "--json")
    assert code == 0, errors
    assert [json.loads(line)["video"] for line in output.splitlines()] == six
    assert "left out" not in errors
    code, output, errors = run("eval", network, "--videos", videos, "--json")
    assert code == 0, errors
    assert json.loads(output)["videos"] == 6
    code, output, errors = run("dataset", videos, "--json")
    assert code == 0, errors
    found = json.loads(output)["videos"]
    assert [(each["frames"], each["width"], each["error"]) for each in found] == [(6, 48, "")] * 6


@pytest.mark.slow
@pytest.mark.parametrize("names", [BESIDE, IN_FOLDERS], ids=["beside", "folders"])
def test_classes_are_taught_and_calibrated_by_stored_flow(names, run, network, tmp_path):
    videos = store(tmp_path / "videos", names)
    taught, int8 = tmp_path / "taught.onnx", tmp_path / "int8.onnx"
    code, _, errors = run("teach", network, "--videos", videos, "--out", taught)
    assert code == 0, errors
    code, _, errors = run("calibrate", taught, "--videos", videos, "--out", int8)
    assert code == 0, errors
    code, output, _ = run("eval", taught, int8, "--videos", videos, "--json")
    assert code == 0
    assert [each["top1"] for each in json.loads(output)["results"]] == [1, 1]


def test_a_copy_of_a_video_is_found_in_folders_of_flow(run, tmp_path):
    videos = store(tmp_path / "videos", IN_FOLDERS)
    one, other = videos / "left" / "video0", videos / "right" / "video0"
    for direction in "uv":
        for picture in (one / direction).iterdir():
            (other / direction / picture.name).write_bytes(picture.read_bytes())
    code, output, _ = run("dataset", videos, "--json")
    assert code == DATA
    (error,) = json.loads(output)["errors"]
    assert "left/video0" in error
    assert "right/video0" in error


def test_colours_are_not_made_of_flow(fails, tmp_path):
    flow = store(tmp_path / "videos", IN_FOLDERS) / "left" / "video0"
    spec = spec_of_flow(LEVELS)
    rgb = brightness_model(tmp_path / "rgb.onnx", spec_of_colours(spec))
    brightness_model(tmp_path / "flow.onnx", spec)
    pair = pair_file(tmp_path / "pair.json", "rgb.onnx", "flow.onnx")
    message = "has optical flow in its folders u and v and no frames; give the video itself"
    for model in (rgb, pair):
        fails(DATA, message, "predict", model, flow, "--fps", 25)
    fails(DATA, message, "stream", tmp_path / "flow.onnx", flow, "--fps", 25)
