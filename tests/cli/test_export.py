"""`r2p-edge export`: its artifacts, and the exit code and sentence of each error."""

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import onnx
import pytest
from checkpoints import mindspore_names, write_mindspore_ckpt
from exit_codes import DATA, MODEL, USAGE
from models import brightness_model
from networks import SMALL, random_parameters, spec_for
from requirements import needs

from r2p_edge.calibration import motion


@pytest.mark.parametrize("name", ["model.onnx", "model.engine", "Model.XML"])
def test_the_name_of_a_file_as_the_folder(fails, tmp_path, name):
    out = tmp_path / name
    message = f"--out is a folder, and {out} the name of a file; give --out {tmp_path} --name"
    fails(USAGE, message, "export", "motion", "--out", out)
    assert not out.exists()


def test_the_names_of_classes_in_place_of_their_file(fails, tmp_path):
    message = "--labels takes a file and not the names; write them into one: printf '%s\\n' "
    message += "walk 'stand up' > labels.txt"
    options = ("--labels", "walk,stand up", "--out", tmp_path)
    fails(USAGE, message, "export", "motion", *options)


@pytest.mark.slow
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
    assert "best class equal on 100% of" in output


@pytest.mark.slow
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


@pytest.mark.slow
def test_bad_exports(fails, tmp_path):
    out = tmp_path / "out"
    weights = tmp_path / "weights.safetensors"
    from importlib import resources

    asset = resources.files("r2p_edge") / "assets" / "motion.safetensors"
    weights.write_bytes(asset.read_bytes())
    fails(MODEL, "there is no model", "export", tmp_path / "absent.ckpt", "--out", out)
    unknown = ("export", "motion", "--to", "tflite", "--out", out)
    fails(USAGE, "no target tflite; choose from onnx", *unknown)
    fails(USAGE, "such as ucf101", "export", weights, "--out", out, "--preset", "ucf")
    # Without a preset, those that fit are listed.
    untold = "12 classes and the names of torchvision's networks, but does not say how it was"
    fails(USAGE, untold, "export", weights, "--out", out)
    fails(USAGE, "give --preset motion, or --spec", "export", weights, "--out", out)
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
    """Write a foreign ONNX model, (N, 3, 16, 112, 112) to 400 numbers, with an open batch."""
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


@pytest.mark.slow
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


def test_the_ends_of_an_onnx_source(run, fails, pictures, tmp_path):
    model = onnx.load(pictures)
    kind = onnx.TensorProto.FLOAT
    model.graph.output.append(onnx.helper.make_tensor_value_info("means", kind, ("N", 3)))
    model.graph.node.insert(0, onnx.helper.make_node("Div", ["x", "most"], ["part"]))
    model.graph.node[1].input[0] = "part"
    most = onnx.numpy_helper.from_array(np.float32(200), "most")
    model.graph.initializer.append(most)
    onnx.save(model, pictures)
    export = ["export", pictures, "--preset", "kinetics400-torchvision", "--out", tmp_path / "out"]
    fails(MODEL, "2 outputs (y (?, 400), means (?, 3)), expected 1; choose one with", *export)
    export += ["--output", "y"]
    fails(USAGE, "begins with (x - 0) / 200, as if it normalised by itself", *export)
    with pytest.raises(SystemExit):
        run(*export, "--batch", "many")
    said = ["--pixels", "raw", "--output-kind", "values", "--batch", "dynamic"]
    code, _, errors = run(*export, *said)
    assert code == 0, errors
    artifact = tmp_path / "out" / "theirs-fp32.onnx"
    spec = json.loads(run("info", artifact, "--json")[1])["spec"]
    assert (spec["scale"], spec["mean"], spec["std"]) == (1.0, [0.0] * 3, [1.0] * 3)
    assert (spec["output"]["kind"], spec["source"]["output"]) == ("values", "y")
    assert batch_of(artifact) == 0  # open


@pytest.mark.slow
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

    listed("has 400 outputs and does not say how it was trained", pictures)
    listed("give --preset kinetics400-torchvision or kinetics400-gluoncv, or --spec", pictures)
    path = tmp_path / "other.onnx"
    open_sizes = mean_model(path, (1, 3, "T", "H", "W"), 101)
    listed("--preset ucf101-mindspore or ucf101-jfzhang95 or ucf101-leftthomas or", open_sizes)
    longer = mean_model(path, (1, 3, 32, 112, 112), 400)
    listed("--preset kinetics400-vmz or kinetics400-ig65m or kinetics400-gluoncv-v2, or", longer)
    larger = mean_model(path, (1, 3, 16, 224, 224), 400)
    listed("give --preset kinetics400-pytorchvideo, or --spec FILE", larger)
    shorter = mean_model(path, (1, 3, 4, 112, 112), 400)
    listed("give --preset NAME (r2p-edge export --help lists them) with --labels FILE", shorter)
    path.write_bytes(b"\x08\x07\x3a\x05")
    fails(MODEL, "not a whole ONNX file", "export", path, "--out", tmp_path / "out")


@pytest.fixture(scope="module")
def mindspore_parameters():
    """Return the parameters of a small network, under MindSpore's names."""
    return mindspore_names(random_parameters((1, 1, 1, 1), (8, 12, 16, 24), 101))


@pytest.fixture
def ckpt_arguments(tmp_path):
    preset = ["--preset", "ucf101-mindspore", "--frames", 4, "--size", 32]
    return ["export", tmp_path / "m.ckpt", *preset, "--out", tmp_path / "out"]


def test_a_ckpt_that_is_cut_off(fails, tmp_path, mindspore_parameters, ckpt_arguments):
    path = write_mindspore_ckpt(tmp_path / "m.ckpt", mindspore_parameters)
    path.write_bytes(path.read_bytes()[:-1000])
    fails(MODEL, "checkpoint m.ckpt: the file cannot be read as a MindSpore", *ckpt_arguments)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_ckpt_without_one_parameter(fails, tmp_path, mindspore_parameters, ckpt_arguments):
    name = "layer3.0.conv2.bn1.bn2d.moving_variance"
    left = {key: value for key, value in mindspore_parameters.items() if key != name}
    assert len(left) == len(mindspore_parameters) - 1
    write_mindspore_ckpt(tmp_path / "m.ckpt", left)
    fails(MODEL, f"tensors: {name}; save the whole network again", *ckpt_arguments)


def test_optimiser_state_in_a_ckpt_is_dropped(run, tmp_path, mindspore_parameters, ckpt_arguments):
    state = {f"moments.{name}": value for name, value in mindspore_parameters.items()}
    counters = {"global_step": np.array([7.0]), "learning_rate": np.array(0.1)}
    everything = {**mindspore_parameters, **state, **counters}
    write_mindspore_ckpt(tmp_path / "m.ckpt", everything)
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
    check(f"tensors: {name}", {key: value for key, value in whole.items() if key != name})
    check("layer9.extra", {**whole, "layer9.extra": np.zeros(3, np.float16)})
    check(f"{name} is (", {**whole, name: whole[name][:, :, :, :2].copy()})


class Attack:
    def __reduce__(self):
        return os.system, ("touch pwned",)


@needs("torch")
def test_a_pickle_is_not_run(fails, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps({"conv1.weight": Attack()}))
    fails(MODEL, "weights.pth", "export", path, "--preset", "motion", "--out", tmp_path / "out")
    assert not (tmp_path / "pwned").exists()


@needs("torch")
@pytest.mark.slow
def test_one_of_several_sets_of_weights_is_chosen(run, fails, tmp_path):
    import torch

    def tensors(seed):
        parameters = random_parameters(**SMALL, seed=seed)
        return {name: torch.from_numpy(array) for name, array in parameters.items()}

    torch.save({"model": tensors(1), "model_ema": tensors(2)}, tmp_path / "net.pth")
    torch.save(tensors(2), tmp_path / "alone.pth")
    (tmp_path / "net.json").write_text(spec_for(SMALL["classes"], name="net").to_json())
    rest = ["--spec", tmp_path / "net.json", "--out", tmp_path / "out"]
    both = "choose one of model (107 tensors), model_ema (107 tensors) with --weights-key"
    fails(MODEL, both, "export", tmp_path / "net.pth", *rest)
    fails(
        MODEL,
        "no weights under the key ema",
        "export",
        tmp_path / "net.pth",
        *rest,
        "--weights-key",
        "ema",
    )
    for name, key in (("net", ["--weights-key", "model_ema"]), ("alone", [])):
        code, _, errors = run("export", tmp_path / f"{name}.pth", *rest, "--name", name, *key)
        assert code == 0, errors
    one, other = (onnx.load(tmp_path / "out" / f"{name}-fp32.onnx") for name in ("net", "alone"))
    assert one.graph.initializer == other.graph.initializer
    shown = json.loads(run("info", tmp_path / "out" / "net-fp32.onnx", "--json")[1])
    assert shown["spec"]["source"]["weights_key"] == "model_ema"
    model = brightness_model(tmp_path / "model.onnx")
    fails(USAGE, "has one set of weights", "export", model, "--out", tmp_path, "--weights-key", "a")


@pytest.mark.slow
def test_what_weights_do_not_hold_is_said(run, fails, tmp_path):
    parameters = random_parameters(**SMALL)
    parameters["other.weight"] = parameters["fc.weight"][:3]
    write_mindspore_ckpt(tmp_path / "net.ckpt", mindspore_names(parameters))
    (tmp_path / "net.json").write_text(spec_for(3, name="net").to_json())
    command = ["export", tmp_path / "net.ckpt", "--spec", tmp_path / "net.json"]
    command += ["--out", tmp_path / "out"]
    fails(MODEL, "choose one with --head NAME", *command)
    fails(USAGE, "bn_eps is 2.0; it must be between 0 and 1", *command, "--bn-eps", 2)
    code, _, errors = run(*command, "--head", "other", "--bn-eps", 0.001)
    assert code == 0, errors
    source = json.loads(run("info", tmp_path / "out" / "net-fp32.onnx", "--json")[1])
    source = source["spec"]["source"]
    assert (source["bn_eps"], source["head"], source["left_out"]) == (0.001, ["other"], ["fc"])
    model = brightness_model(tmp_path / "model.onnx")
    for option in (["--head", "fc"], ["--bn-eps", 0.001], ["--head-activation", "relu"]):
        fails(USAGE, "leave weights_key,", "export", model, "--out", tmp_path, *option)


def test_an_output_folder_that_cannot_be_written(fails, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    fails(DATA, "cannot be made", "export", "motion", "--out", blocked)
    fails(DATA, "cannot be made", "export", "motion", "--out", blocked / "below")
    assert blocked.read_text() == "in the way"


@pytest.mark.slow
def test_a_full_disk_leaves_nothing(run, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, _, errors = run("export", "motion", "--out", tmp_path / "out")
    assert code == DATA
    assert "No space left on device" in errors
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
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


@pytest.mark.slow
@needs("openvino")
def test_export_to_every_target(run, tmp_path):
    code, output, errors = run(
        "export", "motion", "--to", "onnx,openvino", "--out", tmp_path, "--json"
    )
    assert (code, errors) == (0, "")
    onnx_record, openvino_record = json.loads(output)["artifacts"]
    assert onnx_record["target"] == "onnx"
    assert openvino_record["target"] == "openvino"
    for record in (onnx_record, openvino_record):
        assert (record["status"], record["precision"], record["graph"]) == (
            "built", "fp32", "conv3d",
        )  # fmt: skip
        assert record["parity"]["max_rel"] <= 1e-4
        assert record["parity"]["top1"] == 1
    assert openvino_record["path"].endswith("motion-fp32.xml")
    code, output, _ = run("info", tmp_path, "--json")
    assert code == 0
    *infos, folder = [json.loads(line) for line in output.splitlines()]
    assert [info["verified"] for info in infos] == [True, True]
    assert folder["files"] == 5  # weights and two sidecars among them
    assert len({info["digest"] for info in infos}) == 1


@pytest.mark.long
@needs("openvino")
def test_export_in_the_form_without_3d_convolutions(run, exported):
    assert set(exported) >= {"motion-fp32-conv2d.onnx", "motion-fp32-conv2d.xml"}
    code, output, _ = run("info", exported["motion-fp32-conv2d.xml"], "--json")
    assert (code, json.loads(output)["spec"]["graph"]) == (0, "conv2d")
    weights = onnx.load(exported["motion-fp32-conv2d.onnx"]).graph.initializer
    assert max(len(tensor.dims) for tensor in weights) <= 4


@pytest.mark.slow
@needs("openvino")
def test_a_form_that_the_source_has_lost(run, fails, exported, tmp_path):
    lowered = exported["motion-fp32-conv2d.onnx"]
    fails(
        USAGE, "has no 3-D convolutions and cannot get them back",
        "export", lowered, "--graph", "conv3d", "--out", tmp_path / "back",
    )  # fmt: skip
    assert not (tmp_path / "back").exists()
    # Exported again it stays what it is, and says so in its name.
    code, output, _ = run("export", lowered, "--to", "openvino", "--out", tmp_path, "--json")
    assert code == 0
    (record,) = json.loads(output)["artifacts"]
    assert record["graph"] == "conv2d"
    assert record["path"].endswith("motion-fp32-conv2d.xml")


@needs("openvino")
def test_an_operator_that_a_target_lacks(fails, tmp_path):
    model = onnx.load(brightness_model(tmp_path / "model.onnx"))
    model.graph.node[0].op_type = "Wobble"
    model.graph.node[0].domain = "com.example"
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    onnx.save(model, tmp_path / "odd.onnx")
    for graph in ("auto", "conv2d"):
        fails(
            MODEL, "Wobble",
            "export", tmp_path / "odd.onnx", "--to", "openvino", "--graph", graph,
            "--out", tmp_path / "out",
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--stages", "1"), "--stages is for a per-frame form; add --form per-frame"),
        (("--min-agreement", "0.9"), "--min-agreement is for a per-frame form"),
        (("--form-weights", "a.npz"), "--form-weights is for a per-frame form"),
        (("--form", "semi-causal", "--stages", "0"), "choose one of 1, 2 for the semi-causal"),
        (("--form", "semi-causal", "--to", "tensorrt"), "cannot have a semi-causal form"),
        (("--form", "per-frame", "--min-agreement", "1.5"), "least agreement is 1.5"),
        (("--form", "per-frame", "--complete"), "--complete is for int8"),
        (("--form", "per-frame", "--to", "mindspore"), "cannot have a per-frame form"),
    ],
)
def test_options_of_a_per_frame_form(fails, tmp_path, options, message):
    fails(USAGE, message, "export", "motion", "--out", tmp_path, *options)


@pytest.mark.slow
def test_a_per_frame_form_and_what_info_says_of_it(run, tmp_path, monkeypatch):
    from r2p_edge.calibration import form_agreement

    judge = form_agreement.AgreementJudge
    monkeypatch.setattr(
        form_agreement, "AgreementJudge", lambda folder, **more: judge(folder, windows=3, **more)
    )
    code, output, _ = run(
        "export", "motion", "--form", "per-frame", "--stages", "1", "--out", tmp_path
    )
    assert code == 0
    assert "form  per-frame, stages to 1" in output
    code, output, _ = run("info", tmp_path)
    assert code == 0
    assert "motion-fp32-head.onnx, motion-fp32-tail.onnx, motion-fp32-flush.onnx" in output
    assert "agrees  flush 3 of 3 windows" in output
    assert "5 files as exported" in output
    (tmp_path / "motion-fp32-tail.onnx").unlink()
    for path in (tmp_path, tmp_path / "motion-fp32.onnx"):
        code, _, errors = run("info", path)
        assert code == MODEL
        assert "is not beside it" in errors
