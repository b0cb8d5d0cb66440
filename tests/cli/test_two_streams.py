"""Two models on the command line: each verb that takes them, and each stream's answer."""

import csv
import json

import numpy as np
import pytest
from exit_codes import MODEL, USAGE
from flows import moving, spec_of_flow, write_frames
from models import brightness_model
from pairs import CLASSES, pair_file, spec_of_colours, taught_models, two_models, write_scenes

from r2p_edge import Predictor, timeline
from r2p_edge.cli.parser import build_parser
from r2p_edge.spec import OutputSpec

WITHOUT_MODEL = {"demo", "report", "doctor", "dataset", "weights"}
TAKE_BOTH = {
    "predict": ["video.mkv"],
    "timeline": ["video.mkv"],
    "annotate": ["video.mkv", "--out", "annotated.mp4"],
    "stream": ["video.mkv"],
    "watch": ["door=video.mkv", "--event", "frame 0>0.2", "--events-file", "events.jsonl"],
    "eval": ["--videos", "videos"],
    "benchmark": ["--runtimes", "onnxruntime", "--num-clips", 1],
}
TAKE_ONE = {
    "sheet": ["video.mkv", "--out", "sheet.svg"],
    "serve": ["--listen", "127.0.0.1:0"],
    "compare": ["rgb.onnx", "--videos", "videos"],
    "info": [],
    "export": ["--out", "exported"],
    "calibrate": ["--out", "int8.onnx"],
    "adapt": ["--videos", "videos", "--out", "weights.npz"],
    "serve-export": ["--to", "triton", "--out", "repository"],
    "teach": ["--videos", "videos", "--out", "taught.onnx"],
}


@pytest.fixture
def models(tmp_path):
    return two_models(tmp_path)


@pytest.fixture
def video(tmp_path):
    return write_frames(tmp_path / "moving.mkv", moving(24))


@pytest.fixture
def beside_pair(tmp_path, monkeypatch):
    """A folder to work in, with a pair, its models, and a video, alone and as that of a class."""
    monkeypatch.chdir(tmp_path)
    two_models(tmp_path)
    pair_file(tmp_path / "pair.json", "rgb.onnx", "flow.onnx")
    (tmp_path / "videos" / "frame 0").mkdir(parents=True)
    for name in ("video.mkv", "videos/frame 0/video.mkv"):
        write_frames(tmp_path / name, moving(12))
    return tmp_path


def test_each_verb_either_takes_a_pair_or_refuses_it():
    actions = build_parser()._subparsers._group_actions
    assert {*TAKE_BOTH, *TAKE_ONE, *WITHOUT_MODEL} == set(actions[0].choices)


@pytest.mark.slow
@pytest.mark.parametrize("verb", TAKE_BOTH)
def test_verbs_that_take_a_pair(verb, run, beside_pair):
    code, _, errors = run(verb, "pair.json", *TAKE_BOTH[verb])
    assert code == 0, errors


@pytest.mark.parametrize("verb", TAKE_ONE)
def test_verbs_that_take_one_model(verb, fails, beside_pair):
    before = sorted(beside_pair.iterdir())
    message = "give one of its models" if verb in ("sheet", "serve") else "give rgb.onnx or flow."
    fails(USAGE, message, verb, "pair.json", *TAKE_ONE[verb])
    assert sorted(beside_pair.iterdir()) == before


def test_a_pair_is_compared_with_nothing(fails, beside_pair):
    fails(USAGE, "give rgb.onnx or flow.onnx", "compare", "rgb.onnx", "pair.json")


def test_models_of_features_are_no_pair(fails, beside_pair):
    features = {"labels": (), "output": OutputSpec(kind="features", features=4)}
    brightness_model(beside_pair / "rgb.onnx", spec_of_colours(**features))
    brightness_model(beside_pair / "flow.onnx", spec_of_flow().replace(**features))
    message = "give features and features; two streams are fused by the scores of classes"
    for verb in TAKE_BOTH:
        fails(MODEL, message, verb, "pair.json", *TAKE_BOTH[verb])
    two = ["rgb.onnx", "video.mkv", "--flow", "flow.onnx", "--fusion", "i3d"]
    for verb in ("predict", "stream"):
        fails(MODEL, message, verb, *two)


def test_predict(run, models, video, tmp_path):
    rgb, flow = models
    pair = pair_file(tmp_path / "pair.json", "rgb.onnx", "flow.onnx")
    ways = [[rgb, video, "--flow", flow, "--fusion", "r2plus1d"], [pair, video]]
    with Predictor(pair) as predictor:
        wanted = predictor.predict(video)
    for words in ways:
        code, output, _ = run("predict", *words, "--json")
        assert code == 0
        answer = json.loads(output)
        assert answer["label"] == wanted.label
        assert answer["score"] == pytest.approx(wanted.score)
        assert answer["streams"]["flow"]["score"] == pytest.approx(wanted.streams["flow"].score)
        code, output, _ = run("predict", *words, "--runtime", "onnxruntime+openvino")
        assert code == 0
        assert f"  rgb alone: {wanted.streams['rgb'].score:.2%} " in output
        assert "(onnxruntime+openvino on cpu" in output


def test_stream(run, models, video):
    rgb, flow = models
    words = ["stream", rgb, video, "--flow", flow, "--fusion", "i3d", "--stride", 8]
    code, output, errors = run(*words)
    assert (code, errors) == (0, "")
    first, *more = output.splitlines()
    assert "  (rgb alone " in first
    assert ", flow alone " in first
    code, output, _ = run(*words, "--json")
    assert code == 0
    answers = [json.loads(line) for line in output.splitlines()]
    assert len(answers) == len(more) + 1
    assert answers[0]["streams"].keys() == {"rgb", "flow"}


def test_a_timeline_of_a_pair(models, video, tmp_path):
    with Predictor(models, fusion="i3d") as predictor:
        found = timeline(predictor, video, every=0.08, min_length=0, min_score=0)
        wanted = predictor.predict(moving(24)[:5])
    assert found.windows.scores.shape[1] == len(wanted.labels)
    assert len(found.windows.scores) > 5


@pytest.mark.slow
def test_eval_tells_each_stream_beside_the_two(run, tmp_path):
    taught_models(tmp_path, range(100, 112))
    videos, out = write_scenes(tmp_path / "videos", range(4)), tmp_path / "out.csv"
    pair = pair_file(tmp_path / "pair.json", "rgb.onnx", "flow.onnx")
    given = ["eval", pair, *(tmp_path / f"{name}.onnx" for name in ("rgb", "flow"))]
    code, output, _ = run(*given, "--videos", videos, "--json", "--out", out)
    assert code == 0
    both, rgb, flow = json.loads(output)["results"]
    assert both["top1"] > max(rgb["top1"], flow["top1"])
    assert both["streams"]["rgb"]["top1"] == rgb["top1"]
    assert both["streams"]["flow"]["top1"] == flow["top1"]
    assert both["streams"]["flow"]["top1_interval"] == flow["top1_interval"]
    assert "streams" not in rgb
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 4 * len(CLASSES)
    first = rows[:3]
    assert first[0]["stream_ranks"].split() == [first[1]["rank"], first[2]["rank"]]
    assert first[1]["stream_ranks"] == ""
    report = tmp_path / "report.html"
    code, output, _ = run(*given, "--videos", videos, "--out", out, "--resume", "--report", report)
    assert code == 0
    assert f"pair.json, rgb alone: top-1 {rgb['top1']:.1%} (" in output
    assert "data:image/" in report.read_text()  # frames of wrong answers


@pytest.mark.long
@pytest.mark.parametrize("with_videos", [False, True])
def test_benchmark_runs_each_pair_of_runtimes(with_videos, run, models, video, tmp_path):
    pair = pair_file(tmp_path / "pair.json", "rgb.onnx", "flow.onnx")
    (tmp_path / "videos").mkdir()
    video.rename(tmp_path / "videos" / video.name)
    more = ["--videos", tmp_path / "videos"] if with_videos else []
    both = ["--runtimes", "onnxruntime,openvino", "--num-clips", 2, "--json"]
    code, output, _ = run("benchmark", pair, *both, *more)
    assert code == 0
    report = json.loads(output)
    assert {row["runtime"] for row in report["results"]} == {
        "onnxruntime",
        "onnxruntime+openvino",
        "openvino+onnxruntime",
        "openvino",
    }
    assert all(row["max_rel"] < 1e-4 for row in report["results"])
    if with_videos:
        scores = np.array([row["agreement"] for row in report["results"]])
        assert (scores == 1).all()


def test_benchmark_has_nothing_to_export(fails, models, tmp_path):
    pair = pair_file(tmp_path / "pair.json", "rgb.onnx", "flow.onnx")
    fails(USAGE, "is measured as it is", "benchmark", pair, "--keep", tmp_path / "kept")
