"""The model files of a benchmark."""

from __future__ import annotations

import json
import shutil

import pytest
from benchmark_rows import artifact
from models import brightness_model, spec_of_brightness
from networks import SMALL, spec_for
from requirements import needs
from videos import detailed

from r2p_edge import _isolated
from r2p_edge.artifact.sidecar import write_sidecar
from r2p_edge.benchmark import forms
from r2p_edge.benchmark.candidates import Abilities
from r2p_edge.benchmark.clips import ClipSource
from r2p_edge.benchmark.forms import FormMaker, forms_there
from r2p_edge.errors import BackendError, ModelError, ModelNotFoundError
from r2p_edge.info import inspect_folder
from r2p_edge.runtimes import RUNTIMES

EVERYTHING = {name: Abilities("1.0", {"cpu": []}) for name in RUNTIMES}


@pytest.fixture
def exporter(tmp_path, monkeypatch):
    """An exporter whose exports are noted, and leave a model; returns it with the notes."""
    asked = []
    monkeypatch.setattr(forms, "open_artifact", lambda path: artifact(str(path), graph="conv3d"))

    def call(function, arguments):
        asked.append((arguments["source"], arguments["options"]))
        precision = arguments["options"].get("precision") or "fp32"
        graph = "-conv2d" if arguments["options"].get("graph") == "conv2d" else ""
        built = [
            {"target": target, "status": "built", "path": f"{target}-{precision}{graph}.onnx"}
            for target in arguments["options"]["targets"]
        ]
        return {"built": built, "failed": [], "warnings": ["a doubt"]}

    monkeypatch.setattr(_isolated, "call", call)
    return FormMaker("m.pth", {"preset": "p"}, tmp_path / "out", tmp_path), asked


def others(exporter, here, *, calibrated=7, progress=lambda *_: None):
    clips = ClipSource(spec_of_brightness(), 9, calibrated > 0, "videos", calibrated)
    exporter.export_others(here, clips, "videos", progress)


def test_a_checkpoint_in_every_form_for_what_is_here(exporter):
    exporter, asked = exporter
    model = exporter.export_onnx()
    assert asked.pop() == ("m.pth", {"targets": ["onnx"], "preset": "p"})
    seen = []
    others(exporter, {name: EVERYTHING[name] for name in ("onnxruntime", "openvino", "mindspore")},
           progress=lambda *step: seen.append(step))  # fmt: skip
    assert {source for source, _ in asked} == {str(model.path)}
    assert [(o["targets"], o["precision"], o["graph"]) for _, o in asked] == [
        (["openvino"], None, "auto"),
        (["onnx", "openvino"], None, "conv2d"),
        (["openvino"], "fp16", "auto"),
        (["onnx", "openvino"], "int8", "auto"),
        (["mindspore"], None, "auto"),
    ]
    assert [o["calibration"] for _, o in asked if o["calibration"]] == [
        {"folder": "videos", "num_clips": 7, "judged": 12}
    ]
    assert seen == [(number, 5) for number in range(1, 6)]
    assert len(exporter.forms.artifacts) == 8
    assert (exporter.forms.warnings, exporter.forms.left_out) == (["a doubt"], [])


def test_every_runtime_has_its_targets(exporter):
    exporter, asked = exporter
    exporter.export_onnx()
    npu = {"openvino": Abilities("1.0", {"cpu": [], "npu": []})}
    others(exporter, {**EVERYTHING, **npu})
    targets = {target for _, options in asked for target in options["targets"]}
    assert targets == {
        "onnx", "openvino", "openvino-npu", "tensorrt", "tensorrt-rtx", "mindspore",
        "mindspore-lite",
    }  # fmt: skip


def test_nothing_else_is_made_of_an_int8_model(exporter, monkeypatch):
    exporter, asked = exporter
    monkeypatch.setattr(
        forms, "open_artifact", lambda path: artifact(str(path), precision="int8", graph="conv3d")
    )
    exporter.export_onnx()
    others(exporter, {"openvino": EVERYTHING["openvino"]})
    assert [options.get("precision") for _, options in asked] == [None, None]


def test_forms_that_cannot_be_made_are_left_out(exporter, monkeypatch):
    exporter, _ = exporter
    exporter.export_onnx()
    here = {name: EVERYTHING[name] for name in ("onnxruntime", "tensorrt", "mindspore")}

    def call(function, arguments):
        if arguments["options"]["targets"] == ["tensorrt"]:
            return {"built": [{"target": "tensorrt", "status": "kit"}], "failed": [],
                    "warnings": []}  # fmt: skip
        if arguments["options"]["targets"] == ["mindspore"]:
            raise _isolated.ProcessFailedError("it ended Python")
        return {"built": [], "failed": [["onnx", "it has no room"]], "warnings": []}

    monkeypatch.setattr(_isolated, "call", call)
    others(exporter, here, calibrated=0)
    assert exporter.forms.left_out == [
        ("onnx int8", "it is calibrated on videos; give --videos, with a folder for each class"),
        ("tensorrt int8", "it is calibrated on videos; give --videos, with a folder for each "
         "class"),
        ("onnx conv2d", "it has no room"),
        ("tensorrt", "its converter is not here"),
        ("tensorrt fp16", "its converter is not here"),
        ("mindspore", "m.pth could not be exported: it ended Python"),
    ]  # fmt: skip


def test_what_is_measured_as_it_is(tmp_path, monkeypatch):
    assert forms_there("motion", None) is None
    (tmp_path / "motion").mkdir()
    monkeypatch.chdir(tmp_path)
    assert forms_there("motion", None) is None
    assert forms_there("a.pth", None) is None
    model = brightness_model(tmp_path / "a.onnx")
    assert forms_there(model, None) is None
    monkeypatch.setattr(forms.importlib.util, "find_spec", lambda name: None)
    found = forms_there(model, None)
    assert [each.path for each in found.artifacts] == [model]
    assert found.left_out[0].reason.endswith("pip install onnx")


def test_an_artifact_of_another_format(tmp_path):
    path = tmp_path / "a.engine"
    path.write_bytes(b"an engine")
    with pytest.raises(ModelError, match="has no sidecar"):
        forms_there(path, None)
    write_sidecar(path, spec_of_brightness())
    assert forms_there(path, None).artifacts[0].path == path
    with pytest.raises(ModelNotFoundError, match="does not exist"):
        forms_there(tmp_path / "absent.xml", None)


def test_a_folder(tmp_path):
    with pytest.raises(ModelNotFoundError, match="has no model file"):
        forms_there(tmp_path, None)
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit" / "kit.json").write_text("{}")
    with pytest.raises(ModelError, match="has no model file, only kits or a manifest; build"):
        forms_there(tmp_path, None)
    (tmp_path / "broken.onnx").write_bytes(b"")
    with pytest.raises(ModelError, match=r"broken.onnx"):
        forms_there(tmp_path, None)
    brightness_model(tmp_path / "a b\n=é.onnx")
    found = forms_there(tmp_path, None)
    assert [each.path.name for each in found.artifacts] == ["a b\n=é.onnx"]
    assert [each.what for each in found.left_out] == ["broken.onnx", "kit"]


@pytest.mark.long
@needs("openvino")
@needs("onnx")
def test_the_bundled_model_in_every_form(run):
    """The first line under "Benchmark a model"."""
    code, output, errors = run("benchmark", "motion", "--json")
    assert (code, errors) == (0, "")
    report = json.loads(output)
    rows = {(row["file"], row["runtime"], row["precision"]): row for row in report["results"]}
    assert {
        ("motion-fp32.onnx", "onnxruntime", "fp32"),
        ("motion-fp32-conv2d.onnx", "onnxruntime", "fp32"),
        ("motion-int8.onnx", "onnxruntime", "int8"),
        ("motion-fp32.xml", "openvino", "fp32"),
        ("motion-fp32-conv2d.xml", "openvino", "fp32"),
        ("motion-int8.xml", "openvino", "int8"),
    } <= rows.keys()
    for row in rows.values():
        assert (row["clips"], row["path"]) == (100, None)
        assert row["top1"] >= 0.95, row
        assert row["agreement"] >= 0.95, row
    assert (report["labelled"], report["failed"], report["warnings"]) == (True, [], [])
    best = next(row for row in report["results"] if row["good_enough"])
    assert report["recommended"]["file"] == best["file"]


@pytest.mark.long
@needs("openvino")
@needs("onnx")
@pytest.mark.filterwarnings("ignore::r2p_edge.errors.CalibrationWarning")
def test_int8_is_calibrated_on_videos_that_are_not_measured(run, tmp_path, small_checkpoint):
    """The second line under "Benchmark a model", with a checkpoint of another name."""
    spec = spec_for(SMALL["classes"], name="net")
    (tmp_path / "spec.json").write_text(spec.to_json())
    videos = tmp_path / "videos"
    for number, label in enumerate(spec.labels[:4]):
        (videos / label).mkdir(parents=True)
        detailed(videos / label / f"{number}.mp4")
    checkpoint = tmp_path / "a net=é.safetensors"
    shutil.copy(small_checkpoint, checkpoint)
    kept, table = tmp_path / "models", tmp_path / "table.csv"
    code, output, errors = run(
        "benchmark", checkpoint, "--spec", tmp_path / "spec.json", "--videos", videos,
        "--keep", kept, "--out", table, "--json",
    )  # fmt: skip
    assert code == 0, errors
    report = json.loads(output)
    assert (report["calibrated_on"], report["clips"], report["labelled"]) == (2, 2, True)
    files = {row["file"] for row in report["results"]}
    assert {"net-int8.onnx", "net-int8.xml"} <= files
    assert files == {each.path.name for each in inspect_folder(kept).models}
    assert len(table.read_text().splitlines()) == 1 + len(report["results"])
    code, output, _ = run("benchmark", kept, "--num-clips", 2, "--json")
    assert code == 0
    assert {row["file"] for row in json.loads(output)["results"]} == files


def test_a_checkpoint_that_cannot_be_exported(tmp_path, monkeypatch):
    def call(function, arguments):
        raise BackendError(f"{arguments['out']}/x.onnx failed")

    monkeypatch.setattr(_isolated, "call", call)
    exporter = FormMaker("m.pth", {}, tmp_path / "scratch" / "models", tmp_path / "scratch")
    with pytest.raises(BackendError, match=r"^m.pth failed$"):
        exporter.export_onnx()
