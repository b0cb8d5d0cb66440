"""The command line: what it prints, and the exit code and sentence of each kind of error."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import onnx
import pytest
from models import brightness_model, spec_of_brightness
from networks import random_parameters
from requirements import needs

from r2p_edge.artifact.files import write_sidecar
from r2p_edge.calibration import motion
from r2p_edge.cli import entry as cli
from r2p_edge.preprocess import _frames_py, preprocessor

USAGE, DATA, MODEL, BACKEND = 2, 3, 4, 5


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
        "precision", "timing_ms",
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


def test_what_is_no_model_at_all(fails, clip, tmp_path):
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"weights")
    fails(MODEL, "export a checkpoint first", "predict", weights, clip)
    fails(MODEL, "is neither an ONNX nor an OpenVINO file", "predict", clip, clip)


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


def test_a_full_disk_behind_stdout(model, clip):
    command = [sys.executable, "-m", "r2p_edge", "predict", str(model), str(clip)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == DATA
    assert done.stderr.splitlines()[-1].startswith("r2p-edge: error: the output cannot be written")
    assert "Traceback" not in done.stderr


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
        shown = json.loads(output.splitlines()[0])
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
    unknown = ("export", "motion", "--to", "tflite", "--out", out)
    fails(USAGE, "no target tflite; choose from onnx", *unknown)
    fails(USAGE, "kinetics400-torchvision", "export", weights, "--out", out, "--preset", "ucf")
    # Without a preset, those that fit are listed.
    fails(USAGE, "12 classes but does not say how it was trained", "export", weights, "--out", out)
    fails(USAGE, "(motion fit)", "export", weights, "--out", out)
    fails(MODEL, "labels", "export", weights, "--out", out, "--preset", "kinetics400-torchvision")
    fails(USAGE, "batch is 0", "export", "motion", "--out", out, "--batch", 0)
    for option, value, message in (
        ("--frames", 0, "clip.frames is 0"),
        ("--interval", -1, "clip.interval is -1"),
        ("--fps", "nan", "clip.fps is nan"),
        ("--fps", 1e9, "clip.fps is 1000000000.0"),
        ("--size", 0, "crop.height is 0"),
        ("--size", 10**400, "crop.height is 1000"),
        ("--order", "lexicographic", "clip.sampling is time"),
        ("--spec", tmp_path / "absent.json", "absent.json for --spec"),
        ("--labels", tmp_path / ("n" * 300), "for --labels"),
        ("--name", "../escaped", "'../escaped', which cannot be part of a file name"),
        ("--name", "a\\b", "cannot be part of a file name"),
        ("--name", "a\0b", "cannot be part of a file name"),
        ("--name", "n" * 300, "at most 100 printable characters"),
        ("--name", " ", "cannot be part of a file name"),
    ):
        fails(USAGE, message, "export", "motion", "--out", out, option, value)
    # In letters of four bytes, a name of 100 is too long for the file system.
    fails(DATA, "cannot be written", "export", "motion", "--out", out, "--name", "\U0001d48f" * 100)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(weights.read_bytes()[:-1000])
    fails(MODEL, "cut.safetensors", "export", cut, "--out", out, "--preset", "motion")
    assert not out.exists()


@pytest.fixture
def pictures(tmp_path):
    """An ONNX model of someone else: (N, 3, 16, 112, 112) to 400 numbers, with an open batch."""
    return mean_model(tmp_path / "theirs.onnx", ("N", 3, 16, 112, 112), 400)


def mean_model(path, shape, classes):
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = np.random.default_rng(0).normal(size=(3, classes)).astype(np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["means"], axes=[2, 3, 4], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["y"]),
    ]
    ends = [
        [helper.make_tensor_value_info(name, kind, axes)]
        for name, axes in (("x", shape), ("y", ("N", classes)))
    ]
    weights = [onnx.numpy_helper.from_array(weights, "weights")]
    graph = helper.make_graph(nodes, "theirs", *ends, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.save(model, path)
    return path


def batch_of(path):
    return onnx.load(path).graph.input[0].type.tensor_type.shape.dim[0].dim_value


def test_the_batch_of_an_onnx_source(run, fails, pictures, tmp_path):
    arguments = ["--preset", "kinetics400-torchvision", "--out", tmp_path]
    code, _, errors = run("export", pictures, *arguments, "--batch", 2)
    assert code == 0, errors
    artifact = tmp_path / "theirs-fp32.onnx"
    assert batch_of(artifact) == 2
    fails(USAGE, "has a batch axis of 2", "export", artifact, "--out", tmp_path / "b", "--batch", 3)
    code, _, errors = run("export", artifact, "--out", tmp_path / "again")
    assert code == 0, errors
    assert batch_of(tmp_path / "again" / "theirs-fp32.onnx") == 2


def test_an_artifact_exported_again(run, fails, tmp_path):
    small = ("--frames", 4, "--size", 32)
    code, _, errors = run("export", "motion", "--out", tmp_path, "--name", "d", *small)
    assert code == 0, errors
    artifact, out = tmp_path / "d-fp32.onnx", tmp_path / "again"
    code, _, errors = run("export", artifact, "--out", out, "--interval", 3)
    assert code == 0, errors
    one, two = (
        json.loads(run("info", path, "--json")[1])["spec"]
        for path in (artifact, out / artifact.name)
    )
    assert (two["name"], two["source"]) == ("d", one["source"])
    assert one["source"]["file"] == "motion.safetensors"
    assert two["clip"] == {**one["clip"], "interval": 3}
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps({**one, "mean": [0.5, 0.5, 0.5]}))
    fails(MODEL, "mean of the spec differ", "export", artifact, "--out", out, "--spec", changed)
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(motion.CLASSES))
    preset = ("--preset", "ucf101-mindspore", "--labels", labels)
    fails(MODEL, "mean, std of the spec differ", "export", artifact, "--out", out, *preset)


def test_presets_that_fit_an_onnx_source(fails, pictures, tmp_path):
    def listed(message, path):
        fails(USAGE, message, "export", path, "--out", tmp_path / "out")

    listed("has 400 classes", pictures)
    listed("(kinetics400-torchvision, kinetics400-gluoncv fit)", pictures)
    path = tmp_path / "other.onnx"
    listed("(ucf101-mindspore fit)", mean_model(path, (1, 3, "T", "H", "W"), 101))
    listed("--labels or --spec", mean_model(path, (1, 3, 32, 112, 112), 400))
    listed("--labels or --spec", mean_model(path, (1, 3, 16, 224, 224), 400))
    path.write_bytes(b"\x08\x07\x3a\x05")
    fails(MODEL, "not a whole ONNX file", "export", path, "--out", tmp_path / "out")


def field(number, payload):
    """A length-delimited field of a protobuf message."""
    return bytes([number << 3 | 2]) + varint(len(payload)) + payload


def varint(number):
    head = bytearray()
    while number > 0x7F:
        head.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*head, number])


def checkpoint_of_mindspore(path, parameters):
    """Writes arrays as MindSpore's save_checkpoint does."""
    content = bytearray()
    for name, array in parameters.items():
        dims = b"".join(b"\x08" + varint(size) for size in array.shape)
        tensor = dims + field(2, b"Float32") + field(3, array.astype("<f4").tobytes())
        content += field(1, field(1, name.encode()) + field(2, tensor))
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def mindspore_parameters():
    """Those of a small network, under MindSpore's names."""
    names = {
        "weight": "gamma", "bias": "beta",
        "running_mean": "moving_mean", "running_var": "moving_variance",
    }  # fmt: skip
    found = {}
    for name, array in random_parameters((1, 1, 1, 1), (8, 12, 16, 24), 101).items():
        module, leaf = name.rsplit(".", 1)
        norm = array.ndim == 1 and module != "fc"
        found[f"{module}.bn2d.{names[leaf]}" if norm else name] = array
    return found


@pytest.fixture
def ckpt_arguments(tmp_path):
    preset = ["--preset", "ucf101-mindspore", "--frames", 4, "--size", 32]
    return ["export", tmp_path / "m.ckpt", *preset, "--out", tmp_path / "out"]


def test_a_ckpt_that_is_cut_off(fails, tmp_path, mindspore_parameters, ckpt_arguments):
    path = checkpoint_of_mindspore(tmp_path / "m.ckpt", mindspore_parameters)
    path.write_bytes(path.read_bytes()[:-1000])
    fails(MODEL, "checkpoint m.ckpt: the file cannot be read as a MindSpore", *ckpt_arguments)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_ckpt_without_one_parameter(fails, tmp_path, mindspore_parameters, ckpt_arguments):
    name = "layer3.0.conv2.bn1.bn2d.moving_variance"
    left = {key: value for key, value in mindspore_parameters.items() if key != name}
    assert len(left) == len(mindspore_parameters) - 1
    checkpoint_of_mindspore(tmp_path / "m.ckpt", left)
    fails(MODEL, "layer3.0.conv2.bn1.running_var is missing", *ckpt_arguments)


def test_optimiser_state_in_a_ckpt_is_dropped(run, tmp_path, mindspore_parameters, ckpt_arguments):
    state = {f"moments.{name}": value for name, value in mindspore_parameters.items()}
    counters = {"global_step": np.array([7.0]), "learning_rate": np.array(0.1)}
    everything = {**mindspore_parameters, **state, **counters}
    checkpoint_of_mindspore(tmp_path / "m.ckpt", everything)
    code, _, errors = run(*ckpt_arguments)
    assert code == 0, errors
    model = onnx.load(tmp_path / "out" / "m-fp32.onnx")
    assert not [w.name for w in model.graph.initializer if "moments" in w.name]
    weights = {w.name: onnx.numpy_helper.to_array(w) for w in model.graph.initializer}
    np.testing.assert_array_equal(weights["fc.weight"], mindspore_parameters["fc.weight"])


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
    assert not (tmp_path / "out").exists()


def test_info_goes_on_after_a_file_that_it_cannot_read(run, model, tmp_path):
    (tmp_path / "a-project.xml").write_text("<project/>")
    code, output, errors = run("info", tmp_path, "--json")
    assert code == MODEL
    assert "its outermost element is <project>" in errors
    first, second = map(json.loads, output.splitlines())
    assert first["path"].endswith("a-project.xml")
    assert "not a whole OpenVINO file" in first["error"]
    assert second["path"] == str(model)


def test_info_of_a_few_labels(run, model, motion_model):
    assert "classes  4: frame 0, frame 1, frame 2, frame 3\n" in run("info", model)[1]
    shown = ", ".join(motion.CLASSES[:4])
    assert f"classes  {len(motion.CLASSES)}: {shown}, ...\n" in run("info", motion_model)[1]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_file_names_that_are_no_text(model, clip, tmp_path, encoding):
    named = os.fsencode(tmp_path) + b"/\xff\xc3\xa9.mp4"
    clip.rename(os.fsdecode(named))
    command = [sys.executable, "-m", "r2p_edge", "predict", str(model), named, b"\xff.avi"]
    for extra in ([], ["--json"]):
        done = subprocess.run(
            [*command, *extra],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        )
        assert done.returncode == DATA, done.stderr  # of the second, which does not exist
        assert b"Traceback" not in done.stderr
        assert b"\\udcff.avi" in done.stderr
        if extra:
            first, _ = map(json.loads, done.stdout.decode(encoding).splitlines())
            assert os.fsencode(first["video"]) == named


def test_a_spinner_on_a_terminal_only(model, tmp_path):
    pty = pytest.importorskip("pty")
    for extra, expected in ([], True), (["--json"], False):
        reader, writer = pty.openpty()
        command = [sys.executable, "-m", "r2p_edge", "export", str(model), "--out", str(tmp_path)]
        # All that is shown in so short a time fits into the terminal's buffer.
        done = subprocess.run([*command, *extra], stdout=subprocess.PIPE, stderr=writer)
        os.close(writer)
        shown = b""
        while chunk := _read(reader):
            shown += chunk
        os.close(reader)
        assert done.returncode == 0, shown
        assert (b"exporting" in shown) is expected
        assert b"exporting" not in done.stdout


def _read(terminal):
    try:
        return os.read(terminal, 4096)
    except OSError:  # what Linux says when the other end is closed
        return b""


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
    monkeypatch.setattr(preprocessor, "kernel", _frames_py)
    picture = tmp_path / "frames" / "0.png"
    picture.parent.mkdir()
    picture.write_bytes(cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1])
    fails(BACKEND, 'pip install "r2p_edge[opencv]"', "predict", model, picture.parent)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(sys.modules, "openvino", None)
    fails(BACKEND, 'pip install "r2p_edge[onnxruntime]"', "predict", model, clip)


def test_demo(demo):
    report, folder = demo
    assert (report["clips"], report["classes"]) == (24, len(motion.CLASSES))
    result = next(r for r in report["results"] if r["runtime"] == "onnxruntime")
    assert result["precision"] == "fp32"
    assert result["top1"] >= 0.9
    assert result["agreement"] == 1
    assert 0 < result["latency_ms"]["p50"] <= result["latency_ms"]["p90"]
    videos = folder / "videos"
    assert len(list(videos.iterdir())) == len(motion.CLASSES)  # one of each class, to play with


def test_the_demo_on_the_command_line(run, demo, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("r2p_edge.demo.run_demo", lambda *how: asked.append(how) or demo[0])
    code, output, _ = run("demo", "--clips", 24, "--out", tmp_path, "--json")
    assert (code, json.loads(output)) == (0, json.loads(json.dumps(demo[0])))
    assert asked == [(tmp_path, 24)]
    code, output, _ = run("demo")
    assert code == 0
    for result in demo[0]["results"]:
        assert f"{result['latency_ms']['p50']:.1f}" in output
