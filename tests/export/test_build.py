"""`build`: every target is tried, what was built is recorded, and no failure goes unnoticed."""

import ast
import json
import subprocess
import sys

import pytest
from models import brightness_model, spec_of_brightness
from networks import SMALL, spec_for
from paths import ROOT
from requirements import needs

from r2p_edge.artifact import bundle
from r2p_edge.artifact.open import open_artifact
from r2p_edge.errors import ModelError, ModelNotFoundError, ParityError, UsageError
from r2p_edge.export import TARGETS
from r2p_edge.export.build import build
from r2p_edge.export.targets import onnx as onnx_target
from r2p_edge.export.targets import openvino as openvino_target

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("safetensors"), needs("openvino")]

SPEC = spec_for(SMALL["classes"], name="net")


@pytest.fixture
def no_openvino(monkeypatch):
    """OpenVINO refuses every model."""

    def refuse(*_, **__):
        raise ParityError("this machine is wrong")

    monkeypatch.setattr(openvino_target, "openvino_from_onnx", refuse)


@pytest.mark.parametrize("targets", [("onnx", "openvino"), ("openvino", "onnx")])
def test_the_first_error_is_raised_and_the_others_are_recorded(
    small_checkpoint, tmp_path, no_openvino, targets
):
    with pytest.raises(ParityError, match="this machine is wrong"):
        build(small_checkpoint, spec=SPEC, targets=targets, out=tmp_path)
    assert set(bundle.listed(tmp_path)) == {"net-fp32.onnx", "net-fp32.onnx.json"}
    assert bundle.check(tmp_path) == 2


@pytest.mark.slow
def test_a_folder_is_not_damaged_by_an_export_that_fails(small_checkpoint, tmp_path, no_openvino):
    build(small_checkpoint, spec=SPEC, targets=["onnx"], out=tmp_path)
    other = SPEC.replace(labels=tuple(reversed(SPEC.labels)))
    with pytest.raises(ParityError):
        build(small_checkpoint, spec=other, targets=["openvino", "onnx"], out=tmp_path)
    assert open_artifact(tmp_path / "net-fp32.onnx").spec.labels == other.labels
    assert bundle.check(tmp_path) == 2


def test_an_interruption_leaves_a_folder_that_is_whole(small_checkpoint, tmp_path, monkeypatch):
    build(small_checkpoint, spec=SPEC, targets=["onnx"], out=tmp_path)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(openvino_target, "openvino_from_onnx", interrupted)
    other = SPEC.replace(labels=tuple(reversed(SPEC.labels)))
    with pytest.raises(KeyboardInterrupt):
        build(small_checkpoint, spec=other, targets=["onnx", "openvino"], out=tmp_path)
    assert open_artifact(tmp_path / "net-fp32.onnx").spec.labels == other.labels
    assert bundle.check(tmp_path) == 2


def test_keep_going(small_checkpoint, tmp_path, no_openvino):
    steps = []
    report = build(
        small_checkpoint,
        spec=SPEC,
        targets=["openvino", "onnx"],
        out=tmp_path,
        keep_going=True,
        progress=lambda *step: steps.append(step),
    )
    # From the first moment on, and also past a target that fails.
    assert steps == [
        ("reading the source", 0, 2),
        ("openvino", 0, 2),
        ("onnx", 1, 2),
        ("done", 2, 2),
    ]
    assert [artifact.target for artifact in report.built] == ["onnx"]
    ((target, error),) = report.failed
    assert (target, str(error)) == ("openvino", "this machine is wrong")
    with pytest.raises(ParityError):  # as nothing was built
        build(small_checkpoint, spec=SPEC, targets=["openvino"], out=tmp_path, keep_going=True)


def test_the_report_has_the_order_of_the_targets(small_checkpoint, tmp_path):
    targets = ["openvino", "onnx", "openvino"]
    report = build(small_checkpoint, spec=SPEC, targets=targets, out=tmp_path)
    assert [artifact.target for artifact in report.built] == ["openvino", "onnx"]
    assert report.failed == []


def test_targets_that_take_the_same_form_share_it(small_checkpoint, tmp_path, monkeypatch):
    made = []
    real = onnx_target.onnx_from_checkpoint

    def counted(*arguments, **options):
        made.append(arguments[2].name)
        return real(*arguments, **options)

    monkeypatch.setattr(onnx_target, "onnx_from_checkpoint", counted)
    build(small_checkpoint, spec=SPEC, targets=["onnx", "openvino"], out=tmp_path)
    assert len(made) == 1


def test_a_new_folder_goes_with_the_export_that_fails(small_checkpoint, tmp_path, no_openvino):
    out = tmp_path / "a" / "b"
    with pytest.raises(ParityError):
        build(small_checkpoint, spec=SPEC, targets=["openvino"], out=out)
    assert not out.exists()


def test_what_is_refused_before_anything_is_made(small_checkpoint, tmp_path):
    out = tmp_path / "out"

    def refused(error, message, source=small_checkpoint, **options):
        with pytest.raises(error, match=message):
            build(source, out=out, **{"targets": ["onnx"], "spec": SPEC, **options})
        assert not out.exists()

    refused(UsageError, f"no target tflite; choose from {', '.join(TARGETS)}", targets=["tflite"])
    refused(UsageError, "no target given; choose from onnx", targets=[])
    refused(UsageError, "it has fp32, int8, and fp16 is for --to openvino", precision="fp16")
    engine = {"targets": ["onnx", "tensorrt"]}
    refused(UsageError, "workspace is 0 bytes", workspace=0, **engine)
    missing = tmp_path / "no"
    refused(UsageError, "there is no folder .* for the timing", timing_cache=missing, **engine)
    for option, value in {"workspace": 1 << 20, "timing_cache": tmp_path}.items():
        message = f"{option} is an option of tensorrt alone; leave it out"
        refused(UsageError, message, targets=["onnx", "tensorrt-rtx"], **{option: value})
    refused(ModelNotFoundError, "there is no model absent.ckpt", "absent.ckpt")
    refused(UsageError, "int8 was asked for without a calibration", precision="int8")


def test_int8_of_int8(tmp_path):
    source = brightness_model(tmp_path / "m.onnx", spec_of_brightness(precision="int8"))
    with pytest.raises(ModelError, match="is int8 already; export it without a precision"):
        build(source, targets=["onnx"], precision="int8", out=tmp_path / "out")


def test_an_error_names_the_model_and_no_temporary_file(tmp_path):
    source = brightness_model(tmp_path / "int8.onnx", spec_of_brightness(precision="int8"))
    with pytest.raises(UsageError) as caught:
        build(source, targets=["openvino"], precision="fp16", out=tmp_path / "out")
    assert str(caught.value).startswith(f"{source} is int8 and cannot become fp16; ")


@pytest.mark.slow
@pytest.mark.parametrize("graph", ["auto", "conv2d"])
def test_records_of_another_file_do_not_survive(small_checkpoint, tmp_path, graph):
    """A spec that was taken from another artifact, or written by another tool."""
    foreign = SPEC.replace(
        precision="int8",
        accuracy={"top1": 0.5},
        calibration={"by": "hand"},
        target={"runtime": "tensorrt", "device": "cuda"},
    )
    (tmp_path / "spec.json").write_text(json.dumps(foreign.to_dict()))
    report = build(
        small_checkpoint,
        spec=tmp_path / "spec.json",
        targets=["onnx", "openvino"],
        graph=graph,
        out=tmp_path / "out",
    )
    for built in report.built:
        spec = open_artifact(built.path).spec
        assert spec == built.spec
        assert spec.precision == "fp32"
        assert "-fp32" in built.path.name
        assert (spec.accuracy, spec.calibration, spec.target) == (None, None, None)
        assert "accuracy" not in built.to_dict()


def test_an_export_with_a_foreign_accuracy_ends_well(run, small_checkpoint, tmp_path):
    foreign = SPEC.replace(accuracy={"top1": 0.5})
    (tmp_path / "spec.json").write_text(json.dumps(foreign.to_dict()))
    options = ("--spec", tmp_path / "spec.json", "--to", "onnx", "--out", tmp_path / "out")
    code, _, errors = run("export", small_checkpoint, *options)
    assert (code, errors) == (0, "")


def test_listing_the_targets_imports_no_library():
    code = (
        "import sys; from r2p_edge.export import TARGETS; print(*TARGETS)\n"
        "heavy = {'onnx', 'onnxruntime', 'openvino', 'torch', 'mindspore', 'safetensors'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, loaded = done.stdout.splitlines()
    assert tuple(names.split()) == TARGETS
    assert loaded == "[]"


@pytest.mark.parametrize("path", sorted((ROOT / "export").rglob("*.py")), ids=str)
def test_the_exporter_knows_nothing_of_calibration(path):
    """It is handed a quantizer, so that not even a type is imported."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not [name for name in names if name.startswith("r2p_edge.calibration")]
