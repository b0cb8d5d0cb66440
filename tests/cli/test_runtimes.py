"""The command line over several runtimes: export, compare, demo, doctor."""

import json

import numpy as np
import onnx
import pytest
from models import brightness_model, spec_of_brightness
from onnx import numpy_helper
from requirements import needs

from r2p_edge.calibration import motion
from r2p_edge.runtimes.openvino import OpenVino

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("openvino")]

USAGE, DATA, MODEL, BACKEND = 2, 3, 4, 5


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The bundled model as every artifact, and what the export said of them."""
    from r2p_edge.export.build import build

    out = tmp_path_factory.mktemp("exported")
    built = build("motion", targets=["onnx", "openvino"], out=out).built
    built += build("motion", targets=["openvino"], out=out, precision="fp16").built
    built += build("motion", targets=["onnx", "openvino"], out=out, graph="conv2d").built
    return {each.path.name: each.path for each in built}


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


def test_export_in_the_form_without_3d_convolutions(run, exported):
    assert set(exported) >= {"motion-fp32-conv2d.onnx", "motion-fp32-conv2d.xml"}
    code, output, _ = run("info", exported["motion-fp32-conv2d.xml"], "--json")
    assert (code, json.loads(output)["spec"]["graph"]) == (0, "conv2d")
    weights = onnx.load(exported["motion-fp32-conv2d.onnx"]).graph.initializer
    assert max(len(tensor.dims) for tensor in weights) <= 4


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


def test_compare_on_real_clips(run, exported, data):
    reference = exported["motion-fp32.onnx"]
    others = [path for name, path in exported.items() if path != reference]
    code, output, errors = run("compare", reference, *others, "--clips", data / "ucf101", "--json")
    assert (code, errors) == (0, "")
    report = json.loads(output)
    assert report["clips"] == len(list((data / "ucf101").rglob("*.avi")))
    assert report["reference"]["runtime"] == "onnxruntime"
    results = {result["path"]: result for result in report["results"]}
    assert set(results) == {str(path) for path in others}
    for path, result in results.items():
        assert (result["top1"], result["within"], result["differs"]) == (1.0, True, [])
        if "fp16" in path:
            assert result["cosine"] >= 0.999
            assert result["tolerance"] == {"cosine": 0.999}
        else:
            assert result["max_rel"] <= 1e-4
            assert result["tolerance"] == {"max_rel": 1e-4}


def test_compare_for_people_and_its_exit_code(run, exported, tmp_path):
    reference = exported["motion-fp32.onnx"]
    model = onnx.load(reference)
    weight = next(t for t in model.graph.initializer if t.name == "layer2.0.conv1.conv1.weight")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 1.5, weight.name))
    onnx.save(model, tmp_path / "wrong.onnx")
    code, output, _ = run(
        "compare", reference, tmp_path / "wrong.onnx", exported["motion-fp32.xml"],
        "--num-clips", 2,
    )  # fmt: skip
    assert code == MODEL
    assert "BEYOND max_rel 0.0001" in output
    assert "the first tensor that differs is layer2.0.conv1.bn1, by 0.5" in output
    assert "openvino on cpu, fp32" in output
    assert "within max_rel 0.0001" in output
    code, output, _ = run("compare", reference, tmp_path / "absent.onnx", "--num-clips", 1)
    assert code == MODEL
    assert "absent.onnx does not exist" in output


def test_compare_where_onnx_is_not_installed(run, exported, tmp_path, monkeypatch):
    import sys

    other = tmp_path / "other.xml"
    other.write_bytes(exported["motion-fp32-conv2d.xml"].read_bytes())
    weights = exported["motion-fp32-conv2d.xml"].with_suffix(".bin").read_bytes()
    # The bias of the classifier lies at the end; the exponents of its numbers become others.
    other.with_suffix(".bin").write_bytes(weights[:-48] + bytes(b ^ 1 for b in weights[-48:]))
    for name in [name for name in sys.modules if name.split(".")[0] == "onnx"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    code, output, errors = run("compare", exported["motion-fp32.xml"], other, "--num-clips", 1)
    assert (code, errors) == (MODEL, "")
    assert "BEYOND" in output


def test_a_bad_clip_among_good_ones(run, exported, clip, tmp_path):
    (tmp_path / "bad.avi").write_bytes(b"no video")
    code, output, _ = run(
        "compare", exported["motion-fp32.onnx"], exported["motion-fp32.xml"], "--clips", tmp_path
    )
    assert code == DATA
    assert "left out: " in output
    assert "1 clips, against" in output
    assert "within max_rel" in output


def test_compare_refuses(fails, exported, tmp_path):
    reference = exported["motion-fp32.onnx"]
    (tmp_path / "empty").mkdir()
    fails(USAGE, "num-clips is 0", "compare", reference, reference, "--num-clips", 0)
    fails(DATA, "there is no folder", "compare", reference, reference, "--clips", tmp_path / "no")
    fails(DATA, "holds no videos", "compare", reference, reference, "--clips", tmp_path / "empty")
    fails(MODEL, "does not exist", "compare", tmp_path / "no.onnx", reference, "--num-clips", 1)


def test_compare_asks_for_another_precision(run, exported):
    has = OpenVino.library().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    code, output, _ = run(
        "compare", exported["motion-fp32.onnx"], exported["motion-fp32.xml"],
        "--precision", "bf16", "--num-clips", 2, "--json",
    )  # fmt: skip
    (result,) = json.loads(output)["results"]
    if "BF16" in has:
        assert (code, result["precision"], result["tolerance"]) == (0, "bf16", {"cosine": 0.999})
        assert result["max_rel"] > 1e-4  # it did compute in bf16
    else:
        assert (code, result["exit_code"]) == (BACKEND, BACKEND)


def test_demo_has_a_row_for_each_runtime(demo):
    rows = {(row["runtime"], row["precision"]): row for row in demo[0]["results"]}
    both = [(name, how) for name in ("onnxruntime", "openvino") for how in ("fp32", "int8")]
    assert set(rows) >= set(both)
    assert max(rows[row]["top1"] for row in both) - min(rows[row]["top1"] for row in both) <= 0.01
    assert rows["openvino", "fp32"]["path"].endswith("motion-fp32.xml")
    assert rows["openvino", "int8"]["path"].endswith("motion-int8.xml")
    assert rows["openvino", "fp32"]["agreement"] == 1.0
    assert min(rows[row]["agreement"] for row in both) >= 0.98


def test_demo_without_openvino(run, tmp_path, monkeypatch):
    import sys

    for name in ("openvino", "mindspore"):
        monkeypatch.setitem(sys.modules, name, None)
    for clips in ("_CALIBRATED", "_JUDGED"):  # int8 is measured elsewhere
        monkeypatch.setattr(f"r2p_edge.demo.{clips}", 2)
    code, output, _ = run("demo", "--clips", 12, "--out", tmp_path, "--json")
    assert code == 0
    report = json.loads(output)
    rows = [(row["runtime"], row["precision"]) for row in report["results"]]
    assert rows == [("onnxruntime", "fp32"), ("onnxruntime", "int8")]
    reasons = {left["runtime"]: left["reason"] for left in report["left_out"]}
    assert 'pip install "r2p_edge[openvino]"' in reasons["openvino"]


def test_doctor(run):
    code, output, errors = run("doctor", "--json")
    assert (code, errors) == (0, "")
    runtimes = json.loads(output)["runtimes"]
    assert runtimes["openvino"]["status"] == "ok"
    code, output, _ = run("doctor")
    assert code == 0
    assert "openvino" in output


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    motion.write_video(motion.scene("test", 0), path)
    return path


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


def test_what_openvino_cannot_have(fails, exported, clip, tmp_path, monkeypatch):
    model = exported["motion-fp32.xml"]
    fails(BACKEND, "has no device 'npu' here", "predict", model, clip, "--device", "npu")
    fails(USAGE, "there is no runtime", "predict", model, clip, "--runtime", "openvivo")
    fails(MODEL, "onnxruntime runs .onnx", "predict", model, clip, "--runtime", "onnxruntime")
    fails(USAGE, "there is no folder", "predict", model, clip, "--cache", tmp_path / "absent")
    fails(USAGE, "choose the runtime openvino", "predict", exported["motion-fp32.onnx"], clip,
          "--precision", "bf16")  # fmt: skip

    def fail(*_):
        raise RuntimeError("clBuildProgram failed")

    monkeypatch.setattr(OpenVino.library().Core, "compile_model", fail)
    fails(BACKEND, "clBuildProgram failed", "predict", model, clip)


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
