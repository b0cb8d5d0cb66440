"""The command line: what it prints, and the exit code and sentence of each kind of error."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from models import brightness_model, spec_of_brightness
from requirements import needs

from r2p_edge import _frames_py, cli, preprocess
from r2p_edge._files import write_sidecar
from r2p_edge.calibration import motion

USAGE, DATA, MODEL, BACKEND = 2, 3, 4, 5


@pytest.fixture
def run(capsys):
    """Runs one command; returns its exit code, its output and its errors."""

    def run(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def fails(run):
    """Asserts that a command fails with this code and one sentence that says this."""

    def fails(code, message, *arguments):
        found, _, errors = run(*arguments)
        assert found == code, errors
        lines = [line for line in errors.splitlines() if "warning" not in line]
        (line,) = lines
        assert line.startswith("r2p-edge: error: ")
        assert message in line
        assert "Traceback" not in errors

    return fails


@pytest.fixture
def model(tmp_path):
    return brightness_model(tmp_path / "model.onnx")


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    motion.write_video(motion.scene("test", 0), path)
    return path


def test_predict_json(run, model, clip):
    code, output, errors = run("predict", model, clip, clip, "--json", "--clips", 2, "--top", 3)
    assert (code, errors) == (0, "")
    one, two = map(json.loads, output.splitlines())
    assert set(one) == {
        "video", "label", "score", "top", "clips", "coverage", "truncated", "runtime", "device",
        "timing_ms",
    }  # fmt: skip
    assert set(one["timing_ms"]) == {"decode", "preprocess", "inference", "total"}
    assert one["video"] == str(clip)
    assert one["top"] == two["top"]
    assert len(one["top"]) == 3
    assert one["top"][0] == {"label": one["label"], "score": one["score"]}
    assert (one["clips"], one["coverage"], one["truncated"]) == (2, 1.0, False)


def test_predict_every_real_file(run, motion_model, data):
    files = sorted(str(path) for path in data.rglob("*") if path.suffix in (".avi", ".mp4", ".mov"))
    code, output, _ = run("predict", motion_model, *files, "--json")
    assert code == 0
    answers = {answer["video"]: answer for answer in map(json.loads, output.splitlines())}
    assert list(answers) == files
    truncated = [Path(file).name for file in files if answers[file]["truncated"]]
    assert truncated == ["decord_corrupted.mp4"]


def test_predict_for_people(run, motion_model, clip, data):
    code, output, errors = run("predict", motion_model, clip, data / "odd/decord_corrupted.mp4")
    assert code == 0
    assert "slide left" in output
    assert "onnxruntime on cpu" in output
    assert "truncated" in output
    assert errors.count("warning") == 1  # it has 10 frames a second


def test_one_bad_file_among_good_ones(run, model, clip, tmp_path):
    bad = tmp_path / "bad.avi"
    bad.write_text("no video")
    code, output, errors = run("predict", model, clip, bad, clip, "--json")
    assert code == DATA
    good, failed, again = map(json.loads, output.splitlines())
    assert set(failed) == {"video", "error"}
    assert "bad.avi cannot be read as a video" in failed["error"]
    assert good["top"] == again["top"]
    assert errors.count("r2p-edge: error:") == 1


def test_bad_videos(fails, model, tmp_path, data):
    empty = tmp_path / "empty.avi"
    empty.touch()
    folder = tmp_path / "folder"
    folder.mkdir()
    text = tmp_path / "text.avi"
    text.write_text("hello " * 500)
    fails(DATA, "there is no video", "predict", model, tmp_path / "absent.avi")
    fails(DATA, "is an empty file", "predict", model, empty)
    fails(DATA, "cannot be read as a video", "predict", model, text)
    fails(DATA, "has no images", "predict", model, folder)
    # The index of a real file over pictures that are noise.
    noise = bytearray((data / "odd/torchcodec_h265_video.mp4").read_bytes())
    start = noise.index(b"mdat") + 4
    size = int.from_bytes(noise[start - 8 : start - 4], "big") - 8
    noise[start : start + size] = np.random.default_rng(0).bytes(size)
    (tmp_path / "noise.mp4").write_bytes(noise)
    fails(DATA, "has no frame that can be decoded", "predict", model, tmp_path / "noise.mp4")


def test_bad_models(fails, clip, tmp_path):
    bare = brightness_model(tmp_path / "bare.onnx", embed=False)
    fails(MODEL, "carries no r2p_edge spec", "predict", bare, clip)
    fails(MODEL, "does not exist", "predict", tmp_path / "absent.onnx", clip)

    wide = brightness_model(tmp_path / "wide.onnx", outputs=6)
    fails(MODEL, "its spec has 4 labels", "predict", wide, clip)

    nan = brightness_model(tmp_path / "nan.onnx", factor=float("nan"))
    fails(MODEL, "answers nan", "predict", nan, clip)

    changed = brightness_model(tmp_path / "changed.onnx")
    write_sidecar(changed, spec_of_brightness())
    data = bytearray(changed.read_bytes())
    data[-1] ^= 1
    changed.write_bytes(data)
    fails(MODEL, "its sidecar says", "predict", changed, clip)
    fails(MODEL, "its sidecar says", "info", changed)


def test_bad_specs(fails, clip, tmp_path):
    bare = brightness_model(tmp_path / "bare.onnx", embed=False)
    spec = tmp_path / "spec.json"
    for change, message in (
        ({"colour": "RGB"}, "unknown field colour"),
        ({"std": [0.2, float("nan"), 0.2]}, "every number must be finite"),
        ({"labels": ["a", "b"]}, "its spec has 2 labels"),
    ):
        spec.write_text(json.dumps(spec_of_brightness().to_dict() | change))
        fails(MODEL, message, "predict", bare, clip, "--spec", spec)


def test_bad_options(fails, model, clip):
    fails(USAGE, "there is onnxruntime", "predict", model, clip, "--runtime", "tflite")
    fails(BACKEND, "it has", "predict", model, clip, "--device", "npu")
    fails(USAGE, "clips is 0", "predict", model, clip, "--clips", 0)
    fails(USAGE, "top is 0", "predict", model, clip, "--top", 0)
    fails(USAGE, "clips is 0", "demo", "--clips", 0)


def test_argparse_errors_are_usage_errors(capsys):
    for arguments in ([], ["predict"], ["fly"], ["export", "motion"]):
        with pytest.raises(SystemExit) as caught:
            cli.main(arguments)
        assert caught.value.code == USAGE
    capsys.readouterr()


def test_export_and_info(run, tmp_path):
    out = tmp_path / "new" / "folder"
    code, output, _ = run("export", "motion", "--out", out, "--json")
    assert code == 0
    (artifact,) = json.loads(output)["artifacts"]
    assert artifact["target"] == "onnx"
    assert (artifact["precision"], artifact["graph"]) == ("fp32", "conv3d")
    assert (artifact["status"], artifact["path"]) == ("built", str(out / "motion-fp32.onnx"))
    assert artifact["parity"]["max_rel"] <= 1e-4
    onnx.checker.check_model(artifact["path"], full_check=True)

    for path in (out, artifact["path"]):
        code, output, _ = run("info", path, "--json")
        assert code == 0
        shown = json.loads(output)
        assert shown["verified"] is True
        assert shown["spec"]["labels"] == list(motion.CLASSES)
        assert shown["digest"]
    code, output, _ = run("info", out)
    assert code == 0
    assert "r2plus1d_18" in output
    code, output, _ = run("export", "motion", "--out", out)
    assert code == 0
    assert "top-1 agreement 100%" in output


def test_export_with_changed_settings(run, tmp_path):
    changes = ["--frames", 8, "--interval", 3, "--fps", 30, "--size", 56, "--name", "tiny"]
    code, _, errors = run("export", "motion", "--out", tmp_path, *changes, "--batch", 2)
    assert code == 0, errors
    shown = json.loads(run("info", tmp_path / "tiny-fp32.onnx", "--json")[1])["spec"]
    assert shown["clip"]["frames"] == 8
    assert (shown["clip"]["interval"], shown["clip"]["fps"]) == (3, 30.0)
    assert shown["crop"]["height"] == shown["crop"]["width"] == 56
    assert shown["resize"]["size"] == 64
    inputs = onnx.load(tmp_path / "tiny-fp32.onnx").graph.input[0].type.tensor_type.shape.dim
    assert [axis.dim_value for axis in inputs] == [2, 8, 56, 56, 3]


def test_bad_exports(fails, tmp_path):
    out = tmp_path / "out"
    weights = tmp_path / "weights.safetensors"
    from importlib import resources

    asset = resources.files("r2p_edge") / "assets" / "motion.safetensors"
    weights.write_bytes(asset.read_bytes())
    fails(MODEL, "there is no model", "export", tmp_path / "absent.ckpt", "--out", out)
    fails(
        USAGE, "no target tflite; there is onnx", "export", "motion", "--to", "tflite", "--out", out
    )
    fails(USAGE, "kinetics400-torchvision", "export", weights, "--out", out, "--preset", "ucf")
    # Without a preset, those that fit are listed.
    fails(USAGE, "12 classes but does not say how it was trained", "export", weights, "--out", out)
    fails(USAGE, "(motion fit)", "export", weights, "--out", out)
    fails(MODEL, "labels", "export", weights, "--out", out, "--preset", "kinetics400-torchvision")
    fails(USAGE, "batch is 0", "export", "motion", "--out", out, "--batch", 0)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(weights.read_bytes()[:-1000])
    fails(MODEL, "cut.safetensors", "export", cut, "--out", out, "--preset", "motion")
    assert not out.exists() or not list(out.iterdir())


def test_bad_parameters_are_named(fails, tmp_path):
    from importlib import resources

    from safetensors.numpy import load, save_file

    asset = resources.files("r2p_edge") / "assets" / "motion.safetensors"
    whole = load(asset.read_bytes())
    path = tmp_path / "weights.safetensors"

    def check(message, parameters):
        save_file(parameters, path)
        arguments = ("export", path, "--preset", "motion", "--out", tmp_path / "out")
        fails(MODEL, message, *arguments)

    name = "layer2.0.conv1.0.0.weight"
    canonical = "layer2.0.conv1.conv1.weight"
    check(canonical, {key: value for key, value in whole.items() if key != name})
    check("layer9.extra", {**whole, "layer9.extra": np.zeros(3, np.float16)})
    check(canonical, {**whole, name: whole[name][:, :, :, :2].copy()})


class Attack:
    def __reduce__(self):
        return os.system, ("touch pwned",)


@needs("torch")
def test_a_pickle_is_refused_not_run(fails, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps({"conv1.weight": Attack()}))
    fails(MODEL, "weights.pth", "export", path, "--preset", "motion", "--out", tmp_path / "out")
    assert not (tmp_path / "pwned").exists()


def test_an_output_folder_that_cannot_be_written(fails, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    fails(DATA, "cannot be made", "export", "motion", "--out", blocked)
    fails(DATA, "cannot be made", "export", "motion", "--out", blocked / "below")
    assert blocked.read_text() == "in the way"


def test_a_full_disk_leaves_nothing(run, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, _, errors = run("export", "motion", "--out", tmp_path / "out")
    assert code == DATA
    assert "No space left on device" in errors
    assert list((tmp_path / "out").iterdir()) == []


def test_ctrl_c(run, model, clip, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.Predictor, "predict", interrupted)
    code, _, errors = run("predict", model, clip)
    assert (code, errors) == (130, "r2p-edge: interrupted\n")


def test_as_a_module_and_into_a_closed_pipe(model, clip):
    command = [sys.executable, "-m", "r2p_edge", "predict", str(model), *[str(clip)] * 40, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        json.loads(process.stdout.readline())
        process.stdout.close()
        errors = process.stderr.read()
    assert b"Traceback" not in errors, errors.decode()
    assert process.returncode == 1


def test_missing_packages(fails, model, clip, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    fails(BACKEND, 'pip install "r2p_edge[demo]"', "demo", "--out", tmp_path / "demo")
    monkeypatch.setattr(preprocess, "kernel", _frames_py)
    fails(BACKEND, 'pip install "r2p_edge[opencv]"', "predict", model, clip)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    fails(BACKEND, 'pip install "r2p_edge[onnxruntime]"', "predict", model, clip)


def test_demo(run, tmp_path):
    code, output, _ = run("demo", "--clips", 24, "--out", tmp_path / "demo", "--json")
    assert code == 0
    report = json.loads(output)
    assert (report["clips"], report["classes"]) == (24, len(motion.CLASSES))
    result = next(r for r in report["results"] if r["runtime"] == "onnxruntime")
    assert result["precision"] == "fp32"
    assert result["top1"] >= 0.9
    assert result["agreement"] == 1
    assert 0 < result["latency_ms"]["p50"] <= result["latency_ms"]["p90"]
    videos = tmp_path / "demo" / "videos"
    assert len(list(videos.iterdir())) == len(motion.CLASSES)  # one of each class, to play with
    code, output, _ = run("demo", "--clips", 12, "--out", tmp_path / "demo")
    assert code == 0
    assert "onnxruntime" in output
