"""ONNX to OpenVINO IR: the same answers, the spec inside, nothing half-written."""

import json
import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import onnx
import pytest
from models import brightness_model, spec_of_brightness
from networks import random_parameters
from requirements import needs

from r2p_edge import Predictor
from r2p_edge.artifact.open import embedded_spec, open_artifact
from r2p_edge.artifact.sidecar import write_sidecar
from r2p_edge.errors import ModelError, OutputError, ParityError, SpecError, UsageError
from r2p_edge.export import build, openvino_from_onnx
from r2p_edge.export.verify import parity
from r2p_edge.runtimes.openvino import OpenVino

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("openvino")]


@pytest.fixture
def source(tmp_path):
    return brightness_model(tmp_path / "model.onnx")


def test_the_spec_is_where_openvino_finds_it(source, tmp_path):
    # Labels with whatever XML and JSON must escape.
    spec = spec_of_brightness(labels=("naïve", "<\"&'>", "日本", "a\tb"))
    brightness_model(source, spec)
    path = tmp_path / "model.xml"
    final = openvino_from_onnx(source, path)
    model = OpenVino.library().Core().read_model(str(path))
    assert json.loads(model.get_rt_info(["r2p_edge", "spec"]).astype(str)) == final.to_dict()
    assert embedded_spec(path) == final
    assert final.labels == spec.labels
    assert final.contract_digest() == spec.contract_digest()
    # The spec of the ONNX file, outdated now, is not in it a second time.
    assert path.read_text().count("format") == 1
    assert set(final.parity) >= {"reference", "max_rel", "cosine", "runtime", "onnx"}
    assert final.parity["reference"] == "onnx"
    assert final.parity["max_rel"] <= 1e-6
    assert final.parity["computed_in"] == "fp32"


@pytest.mark.slow
def test_fp32_keeps_and_fp16_halves_the_weights(tmp_path):
    from safetensors.numpy import save_file

    save_file(random_parameters(widths=(8, 8, 16, 16)), tmp_path / "small.safetensors")
    built = {}
    for precision in ("fp32", "fp16"):
        (built[precision],) = build.build(
            tmp_path / "small.safetensors",
            targets=["openvino"],
            out=tmp_path / precision,
            precision=precision,
            preset="kinetics400-torchvision",
            labels=_labels(tmp_path),
            frames=4,
            size=32,
        ).built
    sizes = {name: each.path.with_suffix(".bin").stat().st_size for name, each in built.items()}
    assert sizes["fp16"] < 0.52 * sizes["fp32"]
    assert [each.path.name for each in built.values()] == ["small-fp32.xml", "small-fp16.xml"]
    assert not list((tmp_path / "fp32").glob("*.onnx"))
    one, other = (Predictor(each.path) for each in built.values())
    clip = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    with one, other:
        want, have = one.outputs(clip)[0], other.outputs(clip)[0]
    assert 0 < np.abs(want - have).max() < 1e-2 * np.abs(want).max()
    assert built["fp16"].spec.parity["cosine"] >= 0.999


def _labels(folder):
    path = folder / "labels.txt"
    path.write_text("\n".join(f"class {i}" for i in range(101)))
    return path


def test_a_parity_that_is_missed_writes_nothing(source, tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    real = parity.run_runtime
    monkeypatch.setattr(parity, "run_runtime", lambda *arguments: real(*arguments) * (1 + 2e-4))
    with pytest.raises(ParityError, match="the OpenVINO model does not answer as its source"):
        openvino_from_onnx(source, out / "model.xml")
    assert not list(out.iterdir())


def test_an_older_ir_stays_whole_when_a_write_fails(source, tmp_path, monkeypatch):
    path = tmp_path / "model.xml"
    openvino_from_onnx(source, path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        openvino_from_onnx(source, path)
    monkeypatch.undo()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert open_artifact(path).verified


def test_an_interruption_between_the_files_leaves_no_mixture(source, tmp_path, monkeypatch):
    path = tmp_path / "model.xml"
    openvino_from_onnx(source, path)
    brightness_model(source, factor=2.0)
    replace = Path.replace

    def interrupted(draft, target):
        if target.suffix == ".xml":
            raise KeyboardInterrupt
        replace(draft, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        openvino_from_onnx(source, path)
    assert {file.name for file in tmp_path.iterdir()} == {
        source.name,
        "model.bin",
        "model.xml.json",
    }


def test_a_new_ir_has_a_new_sidecar(source, tmp_path):
    path = tmp_path / "model.xml"
    openvino_from_onnx(source, path)
    assert open_artifact(path).verified
    brightness_model(source, factor=2.0)
    openvino_from_onnx(source, path)
    assert open_artifact(path).verified


def test_a_spec_in_the_sidecar_alone(source, tmp_path):
    bare = brightness_model(tmp_path / "bare.onnx", embed=False)
    write_sidecar(bare, spec_of_brightness())
    openvino_from_onnx(bare, tmp_path / "bare.xml")
    assert open_artifact(tmp_path / "bare.xml").spec.labels == spec_of_brightness().labels


def test_labels_that_xml_cannot_hold(tmp_path):
    spec = spec_of_brightness(labels=("a\uffff", "b", "c", "d"))
    source = brightness_model(tmp_path / "model.onnx", spec)
    with pytest.raises((SpecError, ModelError), match=r"characters that XML allows|not a whole"):
        openvino_from_onnx(source, tmp_path / "model.xml")
    assert not (tmp_path / "model.xml").exists()


def test_refusals(source, tmp_path):
    with pytest.raises(UsageError, match=r"must end in \.xml"):
        openvino_from_onnx(source, tmp_path / "model.bin")
    with pytest.raises(OutputError, match="there is no folder"):
        openvino_from_onnx(source, tmp_path / "absent" / "model.xml")
    bare = brightness_model(tmp_path / "bare.onnx", embed=False)
    with pytest.raises(SpecError, match="carries no r2p_edge spec"):
        openvino_from_onnx(bare, tmp_path / "model.xml")
    with pytest.raises(UsageError, match="onnx has no precision fp16; it has fp32, int8"):
        build.build("motion", targets=["openvino", "onnx"], out=tmp_path, precision="fp16")
    for precision in ("int8", "bf16", "FP16"):
        with pytest.raises(UsageError, match=f"cannot become {precision}; fp32 can become fp32 or"):
            openvino_from_onnx(source, tmp_path / "model.xml", precision=precision)
    half = brightness_model(tmp_path / "half.onnx", spec_of_brightness(precision="fp16"))
    with pytest.raises(UsageError, match="is fp16 and cannot become fp32"):
        openvino_from_onnx(half, tmp_path / "model.xml", precision="fp32")


def test_an_operator_that_openvino_lacks(source, tmp_path):
    model = onnx.load(source)
    model.graph.node[0].domain = "com.example"
    model.graph.node[0].op_type = "Wobble"
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(ModelError, match=r"Wobble"):
        openvino_from_onnx(tmp_path / "odd.onnx", tmp_path / "model.xml")
    assert not (tmp_path / "model.xml").exists()


def test_the_ir_is_xml_that_others_read(source, tmp_path):
    openvino_from_onnx(source, tmp_path / "model.xml")
    root = ElementTree.parse(tmp_path / "model.xml").getroot()
    assert (root.tag, root.get("name")) == ("net", "brightness")


@pytest.mark.slow
def test_the_npu_gets_fp16_without_3d_convolutions(small_checkpoint, tmp_path):
    from networks import SMALL, spec_for

    spec = spec_for(SMALL["classes"], name="net")
    targets = ["openvino", "openvino-npu"]
    whole, npu = build.build(small_checkpoint, spec=spec, targets=targets, out=tmp_path).built
    assert (whole.path.name, npu.path.name) == ("net-fp32.xml", "net-fp16-conv2d.xml")
    kinds = {}
    for built in (whole, npu):
        model = OpenVino.library().Core().read_model(str(built.path))
        kinds[built.target] = {
            len(node.input(0).get_partial_shape())
            for node in model.get_ops()
            if node.get_type_name() == "Convolution"
        }
    assert kinds == {"openvino": {5}, "openvino-npu": {4}}
    assert npu.spec.parity["top1"] == 1
