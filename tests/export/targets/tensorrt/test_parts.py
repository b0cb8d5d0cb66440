"""Per-frame forms as TensorRT engines: built, verified, run in a stream, and built out of a kit."""

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import quantisation
from bare_python import make_python
from exit_codes import BACKEND, MODEL
from fake_tensorrt import FOLDER, allocated, installed, live
from fake_tensorrt.trtexec import install_program
from form_judges import Judge
from networks import SMALL, spec_for
from requirements import needs
from tensorrt_models import needs_rounding

from r2p_edge import Predictor, Stream
from r2p_edge.artifact.open import open_artifact
from r2p_edge.artifact.parts import check_parts, part_of
from r2p_edge.calibration.quantize import quantize_onnx
from r2p_edge.errors import BackendError, ModelError, ParityError
from r2p_edge.export.build import build
from r2p_edge.info import inspect_folder
from r2p_edge.per_frame.state import FrameState, scores_of_states
from r2p_edge.prediction import Timing

pytestmark = [pytest.mark.slow, needs("onnx"), needs("onnxruntime"), needs("safetensors")]

VERSIONS = ("8.6.1", "10.3.0", "11.4")
PARTS = ("head", "tail", "flush")
ROUNDING = {"fp32": 1e-5, "fp16": 5e-3, "int8": 5e-2}


def export(source, out, target, **options):
    options = {"form": "per-frame", "stages": 1, "judge": Judge(), **options}
    (made,) = build(source, targets=[target], out=out, name="net", **options).built
    return made


@pytest.fixture(scope="module")
def source(small_checkpoint, tmp_path_factory):
    """precision -> an ONNX artifact with its per-frame form, as TensorRT's int8 is quantised."""

    @functools.cache
    def source(precision):
        folder = tmp_path_factory.mktemp(precision)
        if precision == "int8":
            path = folder / "qdq.onnx"
            float32 = quantisation.small_artifact(folder)
            quantize_onnx(float32, path, lambda: quantisation.CLIPS, profile="tensorrt")
            return export(path, folder, "onnx").path
        spec = spec_for(SMALL["classes"], frames=8)
        return export(small_checkpoint, folder, "onnx", spec=spec).path

    return source


@pytest.fixture(scope="module")
def engine(source, tmp_path_factory):
    """(version, precision) -> an engine with its parts, built once."""

    @functools.cache
    def engine(version="10.3.0", precision="fp32"):
        out = tmp_path_factory.mktemp("engines")
        wanted = precision if precision == "fp16" else None
        with installed(version):
            made = export(source("int8" if precision == "int8" else "fp32"), out, "tensorrt",
                          precision=wanted)  # fmt: skip
        assert made.status == "built"
        return made.path

    return engine


def frames_for(path, count=24):
    size = open_artifact(path).spec.crop.height
    return np.random.default_rng(5).integers(0, 256, (count, size, size, 3), np.uint8)


def answers(predictor, frames, border):
    """Return the answer after each frame."""
    state, found = FrameState(predictor.per_frame, border), []
    for frame in frames:
        state.frame[:] = frame
        state.step()
        found.append(state.answer()[0].copy())
    return np.array(found)


@pytest.mark.parametrize("precision", ROUNDING)
@pytest.mark.parametrize("version", VERSIONS)
def test_answers_are_those_of_the_onnx_parts(source, engine, version, precision):
    needs_rounding(version, precision)
    path, onnx = engine(version, precision), source("int8" if precision == "int8" else "fp32")
    frames = frames_for(onnx)
    for border in ("flush", "wait"):
        with Predictor(onnx, runtime="onnxruntime", threads=1) as predictor:
            want = answers(predictor, frames, border)
            first = predictor.spec.clip.frames - 1 + predictor.spec.per_frame.wait
        with installed(version):
            before = live()
            have = _answers_of(path, frames, border)
            assert live() == before  # all memory is given back
        off = np.abs(have[first:] - want[first:]).max() / np.abs(want).max()
        assert off <= ROUNDING[precision]


def _answers_of(path, frames, border):
    with Predictor(path) as predictor:
        return answers(predictor, frames, border)


def test_the_parts_are_written_and_recorded(engine):
    path = engine()
    with installed():
        artifact = open_artifact(path)
        assert artifact.spec.per_frame.agreement["first"]["runtime"] == "tensorrt 10.3.0"
        assert artifact.spec.per_frame.agreement["flush"]["agree"] == 1
        assert set(check_parts(path, artifact.spec)) == set(PARTS)
        assert {file.name for file in path.parent.glob("*.engine")} == {
            "net-fp32.engine", *(f"net-fp32-{part}.engine" for part in PARTS)
        }  # fmt: skip
        assert part_of(path.with_name("net-fp32-tail.engine")) == "tail"
        (model,) = inspect_folder(path.parent).models
        assert model.path == path
        with pytest.raises(ModelError, match="is the head of a per-frame form and no model of its"):
            open_artifact(path.with_name("net-fp32-head.engine"))


def test_no_bit_depends_on_what_was_before_a_reset(engine):
    frames = frames_for(engine())
    with installed(), Predictor(engine()) as predictor:
        fresh = answers(predictor, frames, "flush")
        state = FrameState(predictor.per_frame, "flush")
        for frame in frames[::-1]:
            state.frame[:] = frame
            state.step()
        state.clear()
        for frame, wanted in zip(frames, fresh):
            state.frame[:] = frame
            state.step()
            np.testing.assert_array_equal(state.answer()[0], wanted)


def test_a_frame_takes_no_new_memory_and_several_cameras_have_their_answers(engine):
    frames = frames_for(engine())
    with installed(), Predictor(engine()) as predictor:
        wanted = answers(predictor, frames, "flush")
        states = [FrameState(predictor.per_frame, "flush") for _ in range(2)]
        for number, frame in enumerate(frames):
            if number == 4:
                before = allocated()
            for state in states:
                state.frame[:] = frame
                state.step()
            if number >= 4:
                raw = [state.answer()[0].copy() for state in states]
                np.testing.assert_array_equal(raw, [wanted[number]] * 2)
                one, two = scores_of_states(states, Timing())
                np.testing.assert_array_equal(one, two)
        assert allocated() == before


def test_a_stream(engine):
    frames = np.random.default_rng(1).integers(0, 256, (20, 48, 91, 3), np.uint8)
    with installed(), Predictor(engine()) as predictor:
        stream = Stream(predictor, stride=1, reuse="features")
        found = [a for k, image in enumerate(frames) if (a := stream.push(image, k * 0.08))]
    assert [answer.live.exact for answer in found] == [True, *[False] * 12]


def test_a_model_that_is_closed(engine):
    with installed():
        predictor = Predictor(engine())
        state = FrameState(predictor.per_frame, "flush")
        predictor.close()
        with pytest.raises(BackendError, match="this model is closed; open it again"):
            state.step()


def test_a_part_that_answers_otherwise_is_not_written(source, tmp_path, monkeypatch):
    from r2p_edge.export.targets.tensorrt import parts

    monkeypatch.setattr(parts.FrameState, "answer", lambda self: np.ones((1, 7), np.float32))
    with installed(), pytest.raises(ParityError, match="the per-frame form"):
        export(source("fp32"), tmp_path, "tensorrt")
    assert not list(tmp_path.glob("*.engine*"))


@pytest.fixture(scope="module")
def kits(source, tmp_path_factory):
    """{precision: kit}, made where there is no TensorRT."""
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "tensorrt", None)
        patch.setenv("PATH", "/usr/bin:/bin")
        patch.delenv("R2P_TRTEXEC", raising=False)
        for precision in ("fp32", "fp16"):
            out = tmp_path_factory.mktemp("kits")
            built = export(source("fp32"), out, "tensorrt", precision=precision)
            assert built.status == "kit"
            made[precision] = built.path
    return made


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    return make_python(tmp_path_factory.mktemp("target"))


def run_kit(python, kit, version, **environment):
    with installed(version):
        library = os.environ["R2P_CUDART"]
    environment = {
        "PATH": "/usr/bin:/bin",
        "FAKE_TENSORRT_VERSION": version,
        "R2P_CUDART": library,
        **environment,
    }
    return subprocess.run(
        [python, kit / "build.py", "--json"], env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize(("precision", "version"), [("fp32", "8.6.1"), ("fp16", "11.4")])
def test_a_kit_builds_the_parts_too(kits, python, tmp_path, precision, version):
    kit = Path(shutil.copytree(kits[precision], tmp_path / "kit"))
    typed = set() if precision == "fp32" else {f"{part}-typed.onnx" for part in PARTS}
    files = json.loads((kit / "kit.json").read_text())["files"]
    assert {f"{part}.onnx" for part in PARTS} | typed <= set(files)
    done = run_kit(python, kit, version, PYTHONPATH=str(FOLDER))
    assert done.returncode == 0, done.stderr
    path = kit / f"net-{precision}.engine"
    assert Path(json.loads(done.stdout)["path"]) == path
    with installed(version), Predictor(path) as predictor:
        frames = frames_for(path)
        found = answers(predictor, frames, "flush")
        first = predictor.spec.clip.frames
        wanted = predictor.outputs_of(frames[None, :first])[0]
    off = np.abs(found[first - 1] - wanted).max() / np.abs(wanted).max()
    assert off <= ROUNDING[precision]


def test_a_kit_without_the_python_module(kits, python, tmp_path):
    kit = Path(shutil.copytree(kits["fp32"], tmp_path / "kit"))
    program = install_program(tmp_path / "bin")
    done = run_kit(python, kit, "10.3.0", PATH=f"{program.parent}:/usr/bin:/bin")
    assert done.returncode == BACKEND
    assert "install TensorRT's Python module" in done.stderr
    assert not list(kit.glob("*.engine*"))


def test_a_kit_whose_part_is_damaged(kits, python, tmp_path):
    kit = Path(shutil.copytree(kits["fp32"], tmp_path / "kit"))
    (kit / "tail.onnx").write_bytes(b"")
    done = run_kit(python, kit, "10.3.0", PYTHONPATH=str(FOLDER))
    assert done.returncode == MODEL
    assert "tail.onnx of the kit" in done.stderr
