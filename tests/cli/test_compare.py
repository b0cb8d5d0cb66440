"""`r2p-edge compare`: its figures and exit codes."""

import json
import sys

import onnx
import pytest
from exit_codes import BACKEND, DATA, MODEL, USAGE
from onnx import numpy_helper
from requirements import needs

from r2p_edge.compare import spread_videos
from r2p_edge.errors import UsageError
from r2p_edge.runtimes.openvino import OpenVino

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("openvino")]


@pytest.mark.long
def test_compare_on_real_clips(run, exported, data):
    reference = exported["motion-fp32.onnx"]
    others = [path for name, path in exported.items() if path != reference]
    code, output, errors = run("compare", reference, *others, "--videos", data / "ucf101", "--json")
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


@pytest.mark.slow
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
    assert "NOT CLOSE ENOUGH: a difference of 0.0001 of the largest or less is allowed" in output
    assert "the first tensor that differs is layer2.0.conv1.bn1, by 0.5" in output
    assert "openvino on cpu, fp32" in output
    assert "  close enough: a difference of 0.0001 of" in output
    code, output, _ = run("compare", reference, tmp_path / "absent.onnx", "--num-clips", 1)
    assert code == MODEL
    assert "absent.onnx does not exist" in output


@pytest.mark.slow
def test_compare_where_onnx_is_not_installed(run, exported, tmp_path, monkeypatch):

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
    assert "NOT CLOSE ENOUGH" in output


@pytest.mark.slow
def test_a_bad_clip_among_good_ones(run, exported, clip, tmp_path):
    (tmp_path / "bad.avi").write_bytes(b"no video")
    code, output, _ = run(
        "compare", exported["motion-fp32.onnx"], exported["motion-fp32.xml"], "--videos", tmp_path
    )
    assert code == DATA
    assert "left out: " in output
    assert "1 clip, against" in output
    assert "close enough: a difference of" in output


@pytest.mark.slow
def test_compare_refuses(fails, exported, tmp_path):
    reference = exported["motion-fp32.onnx"]
    (tmp_path / "empty").mkdir()
    fails(USAGE, "num-clips is 0", "compare", reference, reference, "--num-clips", 0)
    fails(DATA, "there is no folder", "compare", reference, reference, "--videos", tmp_path / "no")
    fails(DATA, "has no videos", "compare", reference, reference, "--videos", tmp_path / "empty")
    fails(MODEL, "does not exist", "compare", tmp_path / "no.onnx", reference, "--num-clips", 1)


@pytest.mark.slow
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


def test_videos_are_spread_over_the_folder(tmp_path):
    names = [f"{label}/{number}.avi" for label in "abc" for number in range(3)]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for count, expected in (
        (1, ["a/0.avi"]),
        (3, ["a/0.avi", "b/1.avi", "c/2.avi"]),
        (9, names),
        (100, names),
        (None, names),
    ):
        assert spread_videos(tmp_path, count) == [tmp_path / name for name in expected]
    with pytest.raises(UsageError, match="count is 0"):
        spread_videos(tmp_path, 0)
