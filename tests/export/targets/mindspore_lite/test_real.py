"""MindIR files and kits of the real MindSpore Lite 2.0, against ONNX Runtime on the same model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bare_python import make_python
from kits import kit_of
from models import brightness_model, spec_of_brightness
from networks import SMALL, spec_for
from real_mindspore_lite import FOLDER, environment, install_program, needs_real_lite, real_lite
from requirements import needs

from r2p_edge import Predictor
from r2p_edge.artifact.open import open_artifact
from r2p_edge.calibration import motion
from r2p_edge.errors import BackendError, ModelError, OutputError
from r2p_edge.export.build import build
from r2p_edge.export.targets.mindspore_lite.config import full_quant_config
from r2p_edge.export.targets.mindspore_lite.export import mindspore_lite_from_onnx
from r2p_edge.spec import InputSpec

pytestmark = [needs("onnx"), needs("onnxruntime"), needs_real_lite()]

FLOATS = InputSpec(dtype="float32", layout="NCTHW", normalized_in_graph=False)


@pytest.fixture
def lite():
    with real_lite():
        yield


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("class", "float32"),
        pytest.param("class", "uint8", marks=pytest.mark.long),
        pytest.param("program", "float32", marks=pytest.mark.long),
    ],
)
def test_the_bundled_model(tmp_path, lite, monkeypatch, run, kind, dtype, clip):
    if kind == "program":
        monkeypatch.setenv("R2P_CONVERTER_LITE", str(install_program(tmp_path)))
    code, output, errors = run(
        *("export", "motion", "--to", "mindspore-lite", "--input", dtype, "--json"),
        *("--out", tmp_path),
    )
    assert code == 0, errors
    (built,) = json.loads(output)["artifacts"]
    path = Path(built["path"])
    assert (path.name, built["status"]) == ("motion-fp32-conv2d.mindir", "built")
    assert built["parity"]["max_rel"] <= 1e-5
    assert built["parity"]["runtime"] == "mindspore_lite 2.0.0 on cpu"
    with Predictor(path) as predictor:
        assert (predictor.runtime, predictor.device) == ("mindspore_lite", "cpu")
        assert predictor.predict(clip).label == motion.CLASSES[0]


@pytest.mark.long
def test_compare(tmp_path, lite, run):
    made = build("motion", targets=["onnx", "mindspore-lite"], out=tmp_path).built
    reference, path = (each.path for each in made)
    code, output, errors = run("compare", reference, path, "--num-clips", 4, "--json")
    assert code == 0, errors
    (result,) = json.loads(output)["results"]
    assert (result["runtime"], result["top1"], result["within"]) == ("mindspore_lite", 1, True)
    assert result["max_rel"] <= 1e-5


@pytest.mark.long
@needs("torch")
@pytest.mark.parametrize(
    ("name", "shape"), [("InflatedInception", (16, 64, 64)), ("Depthwise", (8, 32, 32))]
)
def test_networks_with_pools_and_branches(tmp_path, lite, name, shape):
    import conv3d_networks
    import onnx
    import torch

    torch.manual_seed(0)
    network = conv3d_networks.random_statistics(getattr(conv3d_networks, name)())
    model = conv3d_networks.exported(network, torch.randn(1, 3, *shape), dynamo=False, opset=17)
    onnx.save(model, tmp_path / "net.onnx")
    spec = spec_for(5, frames=shape[0], size=shape[1], input=FLOATS)
    (made,) = build(
        tmp_path / "net.onnx", spec=spec, targets=["mindspore-lite"], out=tmp_path
    ).built
    assert made.spec.parity["max_rel"] <= 1e-5
    assert made.spec.parity["top1"] == 1


@pytest.fixture
def target(tmp_path):
    """A Python without this package, that has numpy and the real library."""
    python = make_python(tmp_path / "target")
    (site,) = python.parents[1].glob("lib/python*/site-packages")
    (site / "mindspore_lite").symlink_to(FOLDER / "mindspore_lite")
    return python


@pytest.mark.slow
@needs("safetensors")
def test_a_kit(tmp_path, small_checkpoint, target, lite, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "mindspore_lite", None)
        network = small_checkpoint, spec_for(SMALL["classes"], name="net")
        made = kit_of(network, "mindspore-lite", tmp_path)
    folder = Path(shutil.copytree(made, tmp_path / "für das Gerät"))
    done = subprocess.run(
        [target, folder / "build.py", "--json"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", **environment()},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["parity"]["max_rel"] <= 1e-5
    assert report["parity"]["runtime"] == "mindspore_lite 2.0.0 on cpu"
    path = folder / "net-fp32-conv2d.mindir"
    assert open_artifact(path).verified
    assert open_artifact(path).spec.built_with["mindspore_lite"] == "2.0.0"


def only_the_source(folder):
    """Return whether nothing but the source is in the folder."""
    return [file.name for file in folder.iterdir() if file.suffix] == ["model.onnx"]


@pytest.fixture
def converter(tmp_path, monkeypatch, lite):
    """Puts shell code around the real converter, which is "$@" in it."""

    def converter(code):
        real = install_program(tmp_path)
        program = real.with_name("wrapped")
        program.write_text(f'#!/bin/sh\nset -- "{real}" "$@"\n{code}\n')
        program.chmod(0o755)
        monkeypatch.setenv("R2P_CONVERTER_LITE", str(program))

    return converter


@pytest.mark.slow
def test_the_converter_refuses_an_operator(tmp_path, lite, motion_model):
    """Its parser knows no 3-D convolution, for Ascend neither; the first error is the reason."""
    source = Path(shutil.copy(motion_model, tmp_path / "model.onnx"))
    text = r"ended with exit code 1 for .* said: .*ParseKernelShape\] kernel_shape size 3 is not 1"
    with pytest.raises(ModelError, match=text) as caught:
        mindspore_lite_from_onnx(source, tmp_path / "out.mindir", device="ascend310p")
    assert "\n" not in str(caught.value)
    assert only_the_source(tmp_path)


@pytest.mark.slow
def test_int8(tmp_path, lite):
    """It is refused at once; and the real converter does fail for a model of one convolution."""
    source = brightness_model(tmp_path / "model.onnx", spec_of_brightness(input=FLOATS))
    clips = np.zeros((2, 4, 8, 8, 3), np.uint8)
    with pytest.raises(BackendError, match=r"mindspore_lite 2\.0\.0 cannot make an int8 model: "):
        mindspore_lite_from_onnx(source, tmp_path / "out.mindir", calibration=clips)
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "clip.bin").write_bytes(np.zeros((3, 4, 8, 8), np.float32).tobytes())
    config = full_quant_config(spec_of_brightness(input=FLOATS), folder, 1)
    with pytest.raises(ModelError, match=r"said: .*LoadMindIR\] ParseFromArray failed"):
        mindspore_lite_from_onnx(source, tmp_path / "out.mindir", config=config)
    assert only_the_source(tmp_path)


@pytest.mark.slow
def test_the_converter_has_no_room(tmp_path, converter, lowered_motion_model):
    source = Path(shutil.copy(lowered_motion_model, tmp_path / "model.onnx"))
    converter('ulimit -f 2000\nexec "$@"')
    text = r"converter_lite cannot write into .*Failed to write the mindir .*; make room there"
    with pytest.raises(OutputError, match=text):
        mindspore_lite_from_onnx(source, tmp_path / "out.mindir")
    assert only_the_source(tmp_path)


@pytest.mark.slow
def test_the_converter_is_killed(tmp_path, converter, lowered_motion_model):
    """While it writes, in pieces, so that part of the file is there."""
    source = Path(shutil.copy(lowered_motion_model, tmp_path / "model.onnx"))
    converter('"$@" & pid=$!\nwhile ! ls out* >/dev/null 2>&1; do :; done\nkill -9 $pid $$')
    with pytest.raises((ModelError, BackendError), match="was killed by SIGKILL for "):
        mindspore_lite_from_onnx(source, tmp_path / "out.mindir")
    assert only_the_source(tmp_path)


@pytest.mark.slow
def test_a_converter_whose_library_is_missing(tmp_path, converter, lowered_motion_model):
    source = Path(shutil.copy(lowered_motion_model, tmp_path / "model.onnx"))
    converter(f'exec "{sys.executable}" -I "{FOLDER}/converter_lite.py"')
    with pytest.raises(
        ModelError, match=r"exit code 1 .* said: .*No module named 'mindspore_lite'"
    ):
        mindspore_lite_from_onnx(source, tmp_path / "out.mindir")
    assert only_the_source(tmp_path)
