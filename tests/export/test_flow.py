"""Networks of optical flow: exported, asked, compared, calibrated, or refused in a sentence."""

import json

import cv2
import numpy as np
import pytest
from flows import moving, spec_of_flow, write_frames
from networks import SMALL, random_parameters

from r2p_edge import Predictor
from r2p_edge.errors import SpecError
from r2p_edge.export.build import build
from r2p_edge.export.presets import PRESETS, preset
from r2p_edge.export.verify.synthetic_clips import verification_clips
from r2p_edge.spec import FlowSpec

LEVELS = FlowSpec("farneback", bound=20.0, levels="uint8")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Weights of a small R(2+1)D whose first layer takes two channels."""
    from safetensors.numpy import save_file

    parameters = random_parameters(**SMALL)
    parameters["conv1.weight"] = np.ascontiguousarray(parameters["conv1.weight"][:, :2])
    path = tmp_path_factory.mktemp("flow") / "flow.safetensors"
    save_file(parameters, path)
    return path


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    """The contract of flow in pixels, in a file."""
    labels = tuple(f"class {number}" for number in range(SMALL["classes"]))
    spec = spec_of_flow(labels=labels, mean=(0.01, 0.02), std=(0.9, 0.8))
    path = tmp_path_factory.mktemp("spec") / "spec.json"
    path.write_text(spec.to_json())
    return path


@pytest.fixture(scope="module")
def model(checkpoint, spec, tmp_path_factory):
    """The ONNX model of that network."""
    out = tmp_path_factory.mktemp("model")
    report = build(checkpoint, out=out, targets=["onnx"], spec=spec)
    assert not report.failed
    return report.built[0].path


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A folder of three videos of each of the first two classes."""
    folder = tmp_path_factory.mktemp("videos")
    for number, name in enumerate(("class 0", "class 1")):
        (folder / name).mkdir()
        for seed in range(3):
            frames = moving(12, 3 - 6 * number, seed)
            write_frames(folder / name / f"{seed}.mkv", frames)
    return folder


def test_a_network_of_flow_answers_as_its_weights_say(model):
    with Predictor(model) as predictor:
        spec = predictor.spec
        assert spec.input_shape == (1, 2, 4, 48, 48)
        assert spec.parity["max_rel"] < 1e-4
        answer = predictor.predict(moving(12), fps=25)
        assert answer.coverage == 1
        predictor.warmup()


def test_levels_go_into_the_graph_as_they_are(checkpoint, spec, tmp_path):
    from r2p_edge.spec import ModelSpec

    pixels = ModelSpec.from_file(spec)
    levels = spec_of_flow(LEVELS, labels=pixels.labels, scale=2 / 255, mean=(1.0, 1.0))
    report = build(checkpoint, out=tmp_path, targets=["onnx"], spec=levels)
    with Predictor(report.built[0].path) as predictor:
        assert predictor.spec.input.dtype == "uint8"
        assert predictor.pixels(moving(12), fps=25).dtype == np.uint8
        assert predictor.spec.parity["max_rel"] < 1e-4
        clips = verification_clips(levels, 1)
        assert clips.dtype == np.uint8
        predictor.scores(clips)


def test_weights_and_contract_have_as_many_channels(checkpoint, small_checkpoint, spec, tmp_path):
    with pytest.raises(SpecError, match=r"takes colours \(3 channels\) and the contract"):
        build(small_checkpoint, out=tmp_path, targets=["onnx"], spec=spec)
    with pytest.raises(SpecError, match=r"takes optical flow \(2 channels\) and"):
        build(checkpoint, out=tmp_path, targets=["onnx"], preset="ucf101-mindspore")


def test_the_papers_preset():
    spec = preset("kinetics400-vmz-flow").spec(name="flow")
    assert spec.input_shape == (1, 2, 32, 112, 112)
    assert spec.pictures.frames == 33
    # pytorch/pytorch caffe2/video/optical_flow.h, of the first two of seven channels.
    assert (spec.mean, spec.std) == ((0.0046635, 0.0046261), (0.972347, 0.755146))
    flows = [name for name, each in PRESETS.items() if each.flow is not None]
    assert flows == ["kinetics400-vmz-flow", "kinetics400-i3d-flow"]


def test_the_verbs_work_on_flow(model, videos, run, tmp_path):
    video = videos / "class 0/0.mkv"
    code, printed, _ = run("predict", model, video, "--json")
    assert code == 0
    scores = {each["label"]: each["score"] for each in json.loads(printed)["top"]}
    assert len(scores) > 1
    code, printed, _ = run("stream", model, video, "--stride", 2, "--json")
    assert code == 0
    answers = [json.loads(line) for line in printed.splitlines()]
    assert len([each for each in answers if "label" in each]) == 4
    code, printed, _ = run("compare", model, model, "--videos", videos)
    assert code == 0
    code, _, errors = run("compare", model, model)  # on clips of flow that are drawn
    assert code == 0, errors
    code, printed, _ = run("eval", model, "--videos", videos, "--json")
    assert code == 0
    code, printed, _ = run("info", model)
    assert code == 0
    assert (
        "flow  farneback on the crop, no bound, in pixels; 4 frames of it are made of 5" in printed
    )
    assert "(1, 2, 4, 48, 48) optical flow (x, y)" in printed


@pytest.mark.filterwarnings("ignore::r2p_edge.errors.CalibrationWarning")
def test_int8_is_calibrated_on_flow(model, videos, run, tmp_path):
    out = tmp_path / "int8.onnx"
    code, _, errors = run("calibrate", model, "--videos", videos, "--num-clips", 4, "--out", out)
    assert code == 0, errors
    with Predictor(out) as predictor:
        assert predictor.precision == "int8"
        predictor.predict(moving(12), fps=25)


@pytest.mark.filterwarnings("ignore::r2p_edge.errors.CalibrationWarning")
def test_videos_without_motion_are_nothing_to_calibrate_on(model, run, tmp_path):
    folder = tmp_path / "still"
    (folder / "class 0").mkdir(parents=True)
    for seed in range(3):
        frames = np.repeat(cv2.GaussianBlur(moving(1, seed=seed)[0], (0, 0), 5)[None], 12, axis=0)
        write_frames(folder / f"class 0/{seed}.mkv", frames)
    code, _, errors = run(
        "calibrate", model, "--videos", folder, "--num-clips", 3, "--out", tmp_path / "int8.onnx"
    )
    assert code == 3
    assert "show nothing" in errors


@pytest.mark.parametrize(
    ("code", "message", "arguments"),
    [
        (
            2,
            "takes optical flow, and a sheet shows the colours",
            ("sheet", "MODEL", "VIDEO", "--out", "OUT.svg"),
        ),
        (
            2,
            "takes optical flow, and what is written for other servers makes frames of colours",
            ("serve-export", "MODEL", "--to", "triton", "--out", "OUT"),
        ),
    ],
)
def test_what_shows_colours_is_refused(code, message, arguments, model, videos, fails, tmp_path):
    places = {"MODEL": model, "VIDEO": videos / "class 0/0.mkv", "OUT": tmp_path / "out"}
    places["OUT.svg"] = tmp_path / "sheet.svg"
    fails(code, message, *(places.get(each, each) for each in arguments))
