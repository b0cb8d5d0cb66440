"""Pairs of model files, and the JSON file that names one: what is refused, in one sentence."""

import json
import sys

import pytest
from exit_codes import BACKEND, DATA, MODEL, USAGE
from flows import moving, spec_of_flow, write_frames
from models import brightness_model
from pairs import R2PLUS1D, pair_file, spec_of_colours, two_models

from r2p_edge import Predictor
from r2p_edge.artifact import open_artifact
from r2p_edge.artifact.two_streams import models_of, open_model_or_pair
from r2p_edge.errors import UsageError
from r2p_edge.spec import FUSION_RECIPES, ClipSpec, FlowSpec


@pytest.fixture
def video(tmp_path):
    return write_frames(tmp_path / "moving.mkv", moving(12))


def test_paths_in_a_file_are_of_where_it_lies(tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    rgb, flow = two_models(tmp_path / "deep")
    path = pair_file(tmp_path / "pair.json", "deep/rgb.onnx", flow)
    monkeypatch.chdir(tmp_path / "deep")
    pair = open_model_or_pair(path)
    assert [each.path for each in models_of(pair)] == [rgb, flow]
    assert pair.path == path
    assert pair.size == rgb.stat().st_size + flow.stat().st_size
    assert pair.spec.fusion == FUSION_RECIPES["r2plus1d"]
    assert (
        pair.spec.contract_digest()
        != open_model_or_pair([rgb, flow], fusion="i3d").spec.contract_digest()
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rgb": None}, "rgb is None; it must be of type str"),
        (
            {"fusion": {"of": "logits", "alpha": 1}},
            "unknown field fusion.alpha; fusion has of, rgb",
        ),
        ({"fusion": {"of": "mean"}}, "fusion.of is 'mean'; it must be one of \"logits\""),
        ({"fusion": {**R2PLUS1D, "rgb": -1}}, "fusion.rgb is -1.0; it must be a number from 0 on"),
        ({"fusion": {**R2PLUS1D, "rgb": 0, "flow": 0}}, "one of the streams must count"),
        ({"format": 2}, "has the format 2, and this version of r2p_edge reads 1"),
        ({"third": "x"}, "unknown field third"),
        ({"flow": "absent.onnx"}, "absent.onnx does not exist"),
    ],
)
def test_what_is_wrong_in_a_file(changes, message, tmp_path, video, fails):
    two_models(tmp_path)
    path = pair_file(tmp_path / "pair.json", "rgb.onnx", "flow.onnx")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    fails(MODEL, message, "predict", path, video)
    fails(MODEL, str(path), "eval", path, "--videos", tmp_path)


@pytest.mark.parametrize(
    ("rgb", "flow", "message"),
    [
        ("rgb", "rgb", "both take colours; two streams are a model of colours and then one of"),
        ("flow", "flow", "both take optical flow; two streams"),
        ("flow", "rgb", "are the other way round"),
        ("rgb", "labels", "have other labels, of which number 3 is 'frame 3' and 'jump'"),
        ("rgb", "fewer", "have 4 and 3 labels"),
        ("rgb", "clip", "look at different clips (clip.interval 1 and 2, clip.fps 25.0 and 10.0)"),
    ],
)
def test_models_that_are_no_pair(rgb, flow, message, tmp_path, video, fails):
    spec = spec_of_flow()
    specs = {
        "rgb": spec_of_colours(),
        "flow": spec,
        "labels": spec.replace(labels=(*spec.labels[:3], "jump")),
        "fewer": spec.replace(labels=spec.labels[:3]),
        "clip": spec.replace(clip=ClipSpec(frames=4, interval=2, fps=10.0)),
    }
    for name in {rgb, flow}:
        outputs = len(specs[name].labels)
        brightness_model(tmp_path / f"{name}.onnx", specs[name], outputs=max(outputs, 4))
    first, second = (tmp_path / f"{name}.onnx" for name in (rgb, flow))
    fails(MODEL, message, "predict", first, video, "--flow", second, "--fusion", "i3d")
    fails(MODEL, message, "stream", pair_file(tmp_path / "pair.json", first, second), video)


def test_arguments_that_do_not_belong_together(tmp_path, video, fails):
    rgb, flow = two_models(tmp_path)
    pair = pair_file(tmp_path / "pair.json", rgb, flow)
    fails(USAGE, "--flow and --fusion belong together", "predict", rgb, video, "--flow", flow)
    fails(USAGE, "--flow and --fusion belong", "stream", rgb, video, "--fusion", "i3d")
    told = ["--flow", flow, "--fusion", "i3d"]
    fails(USAGE, "--out keeps the answers of one", "predict", rgb, video, *told, "--out", "a.csv")
    spec = tmp_path / "spec.json"
    spec.write_text(spec_of_colours().to_json())
    fails(USAGE, "spec is the contract of one model", "predict", pair, video, "--spec", spec)
    for path, fusion, message in (
        ([rgb], "i3d", "there are 1 models"),
        ([rgb, flow], None, "fusion is missing"),
        ([rgb, flow], "sum", "must be i3d or r2plus1d"),
        (rgb, "i3d", "fusion is of two models"),
        (pair, "i3d", "says itself how its models are fused"),
    ):
        with pytest.raises(UsageError, match=message):
            Predictor(path, fusion=fusion)


def test_one_model_is_needed(tmp_path, video, fails):
    pair = pair_file(tmp_path / "pair.json", *two_models(tmp_path))
    with pytest.raises(UsageError, match=r"pair.json names two models, and one is needed here"):
        open_artifact(pair)
    fails(USAGE, "names two models", "predict", pair, video, "--out", tmp_path / "out.csv")
    pair_of_pair = pair_file(tmp_path / "other.json", pair, "flow.onnx")
    fails(USAGE, f"{pair_of_pair}: {pair} names two models", "predict", pair_of_pair, video)


def test_one_frame_and_a_missing_library(tmp_path, video, fails, monkeypatch):
    pair = pair_file(tmp_path / "pair.json", *two_models(tmp_path))
    said = "has one frame, and optical flow goes from a frame to the next"
    fails(DATA, said, "predict", pair, write_frames(tmp_path / "one.mkv", moving(1)))
    monkeypatch.setitem(sys.modules, "cv2", None)
    fails(BACKEND, "optical flow is computed with it: ", "predict", pair, video)
    fails(BACKEND, "optical flow is computed with it: ", "stream", pair, video)


def test_tvl1_without_its_build_of_opencv(tmp_path, video, fails, monkeypatch):
    monkeypatch.setattr("r2p_edge.preprocess.flow.has_method", lambda *_: False)
    tvl1 = FlowSpec("tvl1", "resized", bound=20.0, levels="uint8")
    pair = pair_file(tmp_path / "pair.json", *two_models(tmp_path, tvl1))
    fails(BACKEND, "the flow method tvl1 needs the contrib build", "predict", pair, video)
