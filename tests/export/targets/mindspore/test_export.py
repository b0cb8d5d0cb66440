"""ONNX to MindIR: the same answers as ONNX Runtime, operators without a form named, whole files."""

import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import pytest
from models import brightness_model, spec_of_brightness
from networks import SMALL, random_parameters, spec_for
from requirements import needs

from r2p_edge import Predictor
from r2p_edge.agreement import agreement
from r2p_edge.artifact.open import open_artifact
from r2p_edge.artifact.sidecar import sidecar_path, write_sidecar
from r2p_edge.errors import ModelError, OutputError, ParityError, UsageError
from r2p_edge.export.targets.mindspore.export import mindspore_from_onnx
from r2p_edge.export.verify import parity
from r2p_edge.export.verify.ort_session import run_runtime
from r2p_edge.spec import InputSpec

pytestmark = [needs("mindspore"), needs("onnx"), needs("onnxruntime")]


@pytest.fixture
def source(tmp_path):
    return brightness_model(tmp_path / "model.onnx")


def network_model(folder, graph, **changes):
    """A small R(2+1)D as an ONNX artifact."""
    from safetensors.numpy import save_file

    from r2p_edge.export import onnx_from_checkpoint

    path = folder / "network.onnx"
    save_file(random_parameters(**SMALL), folder / "network.safetensors")
    spec = spec_for(SMALL["classes"], **changes)
    onnx_from_checkpoint(folder / "network.safetensors", spec, path, graph=graph)
    return path


@pytest.mark.parametrize("graph", ["conv3d", "conv2d"])
def test_r2plus1d_answers_as_its_source(tmp_path, graph):
    source, path = network_model(tmp_path, graph), tmp_path / "network.mindir"
    spec = mindspore_from_onnx(source, path)
    assert (spec.graph, spec.precision) == (graph, "fp32")
    assert spec.parity["max_rel"] < 1e-5
    write_sidecar(path, spec)
    clip = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    with Predictor(source) as one, Predictor(path, runtime="mindspore") as other:
        want, have = one.outputs(clip), other.outputs(clip)
    assert agreement(want, have).max_rel < 1e-5


def test_a_model_of_normalised_float32(tmp_path):
    taken = InputSpec(dtype="float32", layout="NCTHW", normalized_in_graph=False)
    source = network_model(tmp_path, "conv2d", input=taken)
    assert mindspore_from_onnx(source, tmp_path / "n.mindir").parity["max_rel"] < 1e-5


@pytest.mark.parametrize("batch", [1, 2])
def test_a_fixed_batch(tmp_path, batch):
    source = brightness_model(tmp_path / "model.onnx", batch=batch)
    path = tmp_path / "model.mindir"
    mindspore_from_onnx(source, path)
    clips = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    with Predictor(path, runtime="mindspore") as predictor, Predictor(source) as reference:
        assert predictor._runtime.input_shape == (batch, 4, 8, 8, 3)
        one, other = predictor.predict(clips, clips=3), reference.predict(clips, clips=3)
    np.testing.assert_allclose(one.scores, other.scores, rtol=1e-5)


def test_an_open_batch_is_refused(tmp_path):
    source = brightness_model(tmp_path / "open.onnx", batch="n")
    with pytest.raises(ModelError, match="open axes 0, where sizes must be fixed"):
        mindspore_from_onnx(source, tmp_path / "open.mindir")


def test_the_record_of_parity(source, tmp_path):
    spec = mindspore_from_onnx(source, tmp_path / "model.mindir")
    record = spec.to_dict()["parity"]
    assert record["reference"] == "onnx"
    assert record["max_rel"] <= 1e-6
    assert record["tolerance"] == {"max_rel": 1e-4}
    assert record["runtime"].startswith("mindspore ")
    assert record["runtime"].endswith(" on cpu")
    assert (record["computed_in"], record["onnx"]) == ("fp32", None)
    assert spec.target == {"runtime": "mindspore", "device": "cpu"}
    assert set(spec.built_with) == {"r2p_edge", "mindspore"}
    assert spec.contract_digest() == open_artifact(source).spec.contract_digest()


def test_records_of_another_file_do_not_survive(tmp_path):
    spec = spec_of_brightness(accuracy={"top1": 1.0}, calibration={"by": "hand"})
    source = brightness_model(tmp_path / "model.onnx", spec)
    made = mindspore_from_onnx(source, tmp_path / "model.mindir")
    assert (made.accuracy, made.calibration) == (None, None)


def test_a_parity_that_is_missed_writes_nothing(source, tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr(parity, "run_runtime", lambda *a: run_runtime(*a) * (1 + 2e-4))
    with pytest.raises(ParityError, match="the MindIR model does not answer as its source"):
        mindspore_from_onnx(source, out / "model.mindir")
    assert not list(out.iterdir())


def test_an_operator_that_mindspore_lacks(source, tmp_path):
    model = onnx.load(source)
    model.graph.node[1].op_type = "ReduceLogSumExp"
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(ModelError, match=r"ReduceLogSumExp"):
        mindspore_from_onnx(tmp_path / "odd.onnx", tmp_path / "model.mindir")
    assert not (tmp_path / "model.mindir").exists()


def test_any_path_and_a_file_that_others_may_read(source, tmp_path):
    folder = tmp_path / "a folder (1) [é] 日本"
    folder.mkdir()
    path = folder / "naïve + model.mindir"
    mindspore_from_onnx(source, path)
    assert sorted(file.name for file in folder.iterdir()) == [path.name, sidecar_path(path).name]
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask
    with Predictor(path, runtime="mindspore") as predictor:
        assert predictor.runtime == "mindspore"


def test_a_folder_for_temporary_files_that_mindspore_refuses(source, tmp_path, monkeypatch):
    odd = tmp_path / "temp orary"
    odd.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(odd))
    with pytest.raises(OutputError, match=r"temporary files is .*temp orary, .*; set TMPDIR"):
        mindspore_from_onnx(source, tmp_path / "model.mindir")
    assert not list(odd.iterdir())
    assert not (tmp_path / "model.mindir").exists()


def test_an_older_file_stays_whole_when_a_write_fails(source, tmp_path, monkeypatch):
    path = tmp_path / "model.mindir"
    mindspore_from_onnx(source, path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        mindspore_from_onnx(source, path)
    monkeypatch.undo()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert open_artifact(path).verified


def test_a_new_file_has_a_new_sidecar(source, tmp_path):
    path = tmp_path / "model.mindir"
    mindspore_from_onnx(source, path)
    brightness_model(source, factor=2.0)
    mindspore_from_onnx(source, path)
    assert open_artifact(path).verified


def test_refusals(source, tmp_path):
    with pytest.raises(UsageError, match=r"must end in \.mindir"):
        mindspore_from_onnx(source, tmp_path / "model.ms")
    with pytest.raises(OutputError, match="there is no folder"):
        mindspore_from_onnx(source, tmp_path / "absent" / "model.mindir")
    half = brightness_model(tmp_path / "half.onnx", spec_of_brightness(precision="fp16"))
    with pytest.raises(UsageError, match="is fp16, and a MindIR file is made from fp32"):
        mindspore_from_onnx(half, tmp_path / "model.mindir")


def test_importing_the_module_does_not_import_mindspore():
    code = (
        "import sys, r2p_edge.export.targets.mindspore.export; sys.exit('mindspore' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
