"""`r2p-edge predict`: its answers, and the exit code and sentence of each error."""

import json

import av
import cv2
import numpy as np
import pytest
from exit_codes import BACKEND, DATA, MODEL, USAGE
from models import brightness_model, spec_of_brightness
from requirements import needs
from videos import written

from r2p_edge.artifact.sidecar import write_sidecar
from r2p_edge.calibration import motion
from r2p_edge.runtimes.openvino import OpenVino
from r2p_edge.spec import OutputSpec


def test_predict_json(run, model, clip):
    code, output, errors = run("predict", model, clip, clip, "--json", "--views", 2, "--top", 3)
    assert (code, errors) == (0, "")
    one, two = map(json.loads, output.splitlines())
    assert set(one) == {
        "video", "label", "score", "top", "clips", "span", "duration", "coverage", "truncated",
        "runtime", "device", "precision", "timing_ms",
    }  # fmt: skip
    assert set(one["timing_ms"]) == {"decode", "preprocess", "inference", "total"}
    assert one["video"] == str(clip)
    assert one["top"] == two["top"]
    assert len(one["top"]) == 3
    assert one["top"][0] == {"label": one["label"], "score": one["score"]}
    assert (one["clips"], one["coverage"], one["truncated"]) == (2, 1.0, False)


@pytest.mark.slow
def test_predict_every_real_file(run, motion_model, data):
    files = sorted(str(path) for path in data.rglob("*") if path.suffix in (".avi", ".mp4", ".mov"))
    code, output, _ = run("predict", motion_model, *files, "--json")
    assert code == 0
    answers = {answer["video"]: answer for answer in map(json.loads, output.splitlines())}
    assert list(answers) == files
    assert not any(answers[file]["truncated"] for file in files)


@pytest.mark.slow
def test_predict_for_people(run, motion_model, clip, data, tmp_path):
    whole = (data / "ucf101/YoYo/v_YoYo_g01_c01.avi").read_bytes()
    half = tmp_path / "half.avi"
    half.write_bytes(whole[: len(whole) // 2])
    code, output, _ = run("predict", motion_model, half)
    assert (code, "s; truncated)" in output) == (0, True)
    code, output, errors = run("predict", motion_model, clip, data / "odd/decord_corrupted.mp4")
    assert code == 0
    assert "slide left" in output
    assert "onnxruntime on cpu" in output
    slow, damaged = errors.splitlines()
    assert "warning" in slow
    assert "10 frames a second" in slow
    assert damaged.startswith("r2p-edge: warning: ")
    assert "decord_corrupted.mp4 is damaged" in damaged


def test_what_was_looked_at_is_told(run, model, tmp_path):
    short = written(tmp_path / "short.mp4", np.arange(12) / 25)
    long = written(tmp_path / "long.mp4", np.arange(60) / 25)
    code, output, _ = run("predict", model, short, long)
    assert code == 0
    titles = [line for line in output.splitlines() if line.startswith(str(tmp_path))]
    assert titles == [
        f"{short}  (looked at 0.2 of 0.5 s)",
        f"{long}  (looked at 0.2 of 2.4 s; r2p-edge timeline looks at all of it)",
    ]
    _, output, _ = run("predict", model, long, "--views", 3)
    assert f"{long}  (looked at 3 clips from 0.0 to 2.4 of 2.4 s)" in output
    answer = json.loads(run("predict", model, long, "--json")[1])
    assert answer["duration"] == pytest.approx(2.4)
    assert answer["span"] == pytest.approx([1.04, 1.28])


def test_a_model_and_a_video_that_are_exchanged(run, fails, model, clip, tmp_path):
    other = tmp_path / "a b.mp4"
    other.write_bytes(clip.read_bytes())
    expected = f"the model is first: {model} {clip} '{other}'"
    fails(USAGE, expected, "predict", clip, other, model)
    for verb, *more in (
        ["stream"],
        ["timeline"],
        ["annotate", "--out", tmp_path / "film.mp4"],
        ["sheet", "--out", tmp_path / "sheet.svg"],
    ):
        fails(USAGE, f"the model is first: {model} {clip}", verb, clip, model, *more)
    assert run("predict", model, clip)[0] == 0


def test_a_folder_with_one_model_is_that_model(run, fails, clip, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    fails(MODEL, "models is a folder without a model", "predict", folder, clip)
    model = brightness_model(folder / "one.onnx")
    (folder / "manifest.json").write_text("{}")
    alone = json.loads(run("predict", model, clip, "--json")[1])
    assert json.loads(run("predict", folder, clip, "--json")[1])["top"] == alone["top"]
    brightness_model(folder / "two.onnx")
    fails(MODEL, "models has 2 models (one.onnx, two.onnx); give one", "predict", folder, clip)


def test_a_kit_is_not_the_model_that_it_is_built_from(run, fails, clip, tmp_path):
    kit = tmp_path / "kit"
    kit.mkdir()
    (kit / "kit.json").write_text("{}")
    model = brightness_model(kit / "model.onnx")
    fails(MODEL, f"not built yet; run python {kit}/build.py on its dev", "predict", kit, clip)
    assert run("predict", model, clip)[0] == 0
    built = brightness_model(kit / "built.onnx", spec_of_brightness(labels=tuple("abcd")))
    write_sidecar(built, spec_of_brightness(labels=tuple("abcd")))
    answer = json.loads(run("predict", kit, clip, "--json")[1])
    assert answer["label"] in "abcd"


def test_a_folder_without_its_rate_is_warned_of_once(run, model, tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        for number in range(8):
            cv2.imwrite(str(tmp_path / folder / f"{number}.png"), np.zeros((8, 8, 3), np.uint8))
    folders = tmp_path / "one", tmp_path / "two"
    code, _, errors = run("predict", model, *folders)
    assert code == 0
    (line,) = errors.splitlines()
    assert line.startswith("r2p-edge: warning: a folder of images is taken at 25 frames a second")
    assert run("predict", model, *folders, "--fps", 25)[2] == ""


def test_values_for_people(run, clip, tmp_path):
    spec = spec_of_brightness(output=OutputSpec(kind="values"), labels=("EF",))
    model = brightness_model(tmp_path / "ef.onnx", spec, outputs=1)
    code, output, _ = run("predict", model, clip)
    assert code == 0
    line = output.splitlines()[1]
    assert line.endswith("  EF")
    assert "%" not in line
    info = run("info", model)[1]
    assert "values  1: EF\n" in info
    assert "output  values, which are no classes\n" in info
    assert "EF" in run("stream", model, clip, "--every", 1)[1].splitlines()[0]


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
    fails(DATA, "and no images; give a folder with videos", "predict", model, folder)
    # The index of a real file over pictures that are noise.
    noise = bytearray((data / "odd/torchcodec_h265_video.mp4").read_bytes())
    start = noise.index(b"mdat") + 4
    size = int.from_bytes(noise[start - 8 : start - 4], "big") - 8
    noise[start : start + size] = np.random.default_rng(0).bytes(size)
    (tmp_path / "noise.mp4").write_bytes(noise)
    fails(DATA, "has no frame that can be decoded", "predict", model, tmp_path / "noise.mp4")


def test_what_is_no_model_at_all(fails, clip, tmp_path):
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"weights")
    fails(MODEL, "turn a checkpoint into a model first", "predict", weights, clip)
    fails(USAGE, "is a video; give the model before it", "predict", clip, clip)


@pytest.mark.slow
def test_a_folder_of_frames_has_the_rate_that_is_given(run, fails, model, clip, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    with av.open(str(clip)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            cv2.imwrite(str(folder / f"{number}.png"), frame.to_ndarray(format="bgr24"))
    answers = [
        json.loads(run("predict", model, source, "--json", *options)[1])["top"]
        for source, options in ((clip, ()), (folder, ("--fps", 25)), (folder, ("--fps", 50)))
    ]
    first, same, other = ({each["label"]: each["score"] for each in top} for top in answers)
    # Pictures are in RGB, and the file's frames are not.
    assert same == pytest.approx(first, abs=0.02)
    assert other != pytest.approx(first, abs=0.02)
    fails(USAGE, "a file knows its own rate", "predict", model, clip, "--fps", 5)


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


def test_bad_options(fails, model, clip, tmp_path):
    absent = tmp_path / "absent.json"
    fails(USAGE, "absent.json for --spec", "predict", model, clip, "--spec", absent)
    fails(USAGE, "choose one of onnxruntime", "predict", model, clip, "--runtime", "tflite")
    fails(USAGE, "did you mean openvino? choose", "predict", model, clip, "--runtime", "openvivo")
    fails(BACKEND, "it has", "predict", model, clip, "--device", "npu")
    fails(USAGE, "views is 0", "predict", model, clip, "--views", 0)
    fails(USAGE, "top is 0", "predict", model, clip, "--top", 0)
    fails(USAGE, "num_clips is 0", "demo", "--num-clips", 0)


@pytest.mark.slow
@needs("openvino")
def test_predict_on_openvino(run, exported, clip, tmp_path):
    (tmp_path / "cache").mkdir()
    for arguments in (
        [exported["motion-fp32.xml"]],
        [exported["motion-fp32.onnx"], "--runtime", "openvino", "--cache", tmp_path / "cache"],
    ):
        code, output, _ = run("predict", *arguments, clip, "--json")
        answer = json.loads(output)
        assert (code, answer["label"]) == (0, motion.CLASSES[0])
        assert (answer["runtime"], answer["precision"]) == ("openvino", "fp32")
    code, output, _ = run("predict", exported["motion-fp32.xml"], clip)
    assert "openvino on cpu, fp32" in output


@pytest.mark.slow
@needs("openvino")
def test_what_openvino_cannot_have(fails, exported, clip, tmp_path, monkeypatch):
    model = exported["motion-fp32.xml"]
    fails(BACKEND, "has no device 'npu' here", "predict", model, clip, "--device", "npu")
    fails(USAGE, "unknown runtime", "predict", model, clip, "--runtime", "openvivo")
    fails(MODEL, "onnxruntime runs .onnx", "predict", model, clip, "--runtime", "onnxruntime")
    fails(USAGE, "the cache folder", "predict", model, clip, "--cache", tmp_path / "absent")
    fails(USAGE, "choose the runtime openvino", "predict", exported["motion-fp32.onnx"], clip,
          "--precision", "bf16")  # fmt: skip

    def fail(*_):
        raise RuntimeError("clBuildProgram failed")

    monkeypatch.setattr(OpenVino.library().Core, "compile_model", fail)
    fails(BACKEND, "clBuildProgram failed", "predict", model, clip)


@pytest.mark.slow
@needs("openvino")
def test_damaged_openvino_files(fails, exported, clip, tmp_path):
    model = tmp_path / "model.xml"
    text = exported["motion-fp32.xml"].read_bytes()
    weights = exported["motion-fp32.xml"].with_suffix(".bin").read_bytes()
    model.write_bytes(text)
    fails(MODEL, "there is no model.bin beside it", "predict", model, clip)
    model.with_suffix(".bin").write_bytes(weights[:1000])
    fails(MODEL, "model.bin has 1000 bytes but model.xml needs", "predict", model, clip)
    model.with_suffix(".bin").write_bytes(weights)
    model.write_bytes(text[:5000])
    fails(MODEL, "not a whole OpenVINO file", "predict", model, clip)
    start = text.index(b"<r2p_edge>")
    model.write_bytes(text[:start] + text[text.index(b"</r2p_edge>") + len(b"</r2p_edge>") :])
    fails(MODEL, "carries no r2p_edge spec", "predict", model, clip)


@needs("openvino")
def test_predictions_of_the_two_runtimes_agree_on_a_foreign_model(tmp_path):
    from r2p_edge import Predictor

    path = brightness_model(tmp_path / "model.onnx", embed=False)
    spec = spec_of_brightness()
    frames = np.random.default_rng(0).integers(0, 256, (9, 20, 30, 3), np.uint8)
    answers = []
    for runtime in ("onnxruntime", "openvino"):
        with Predictor(path, runtime=runtime, spec=spec) as predictor:
            answers.append(predictor.outputs(frames, clips=2))
    np.testing.assert_allclose(answers[0], answers[1], rtol=1e-5)
