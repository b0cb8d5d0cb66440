"""TensorRT for RTX as a runtime, on stand-ins for it and for CUDA."""

import contextlib
import hashlib
import shutil
import sys

import numpy as np
import pytest
from exit_codes import BACKEND
from fake_tensorrt import RTX, installed, live
from models import brightness_model, grey_frames, spec_of_brightness
from requirements import needs
from tensorrt_models import clips_of, foreign_engine, small

from r2p_edge import Predictor
from r2p_edge.agreement import agreement
from r2p_edge.artifact.sidecar import sidecar_path
from r2p_edge.cli import main
from r2p_edge.doctor.probe import blank, steps
from r2p_edge.errors import BackendError, MissingDependencyError, ModelError, UsageError
from r2p_edge.export import tensorrt_from_onnx, tensorrt_rtx_from_onnx
from r2p_edge.export.targets.table import TABLE
from r2p_edge.runtimes import RUNTIMES
from r2p_edge.runtimes.tensorrt.plan_header import RTX_CHIPS

pytestmark = [pytest.mark.slow, needs("onnx"), needs("onnxruntime"), needs("safetensors")]

CARD = {"FAKE_CUDA_CAPABILITY": "8.6"}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return small(tmp_path_factory.mktemp("source") / "net.onnx")


@pytest.fixture(scope="module")
def built(source, tmp_path_factory):
    """An engine for sm86 and sm89, with its sidecar."""
    path = tmp_path_factory.mktemp("engine") / "net.engine"
    with installed(RTX, FAKE_CUDA_DEVICES=0):
        tensorrt_rtx_from_onnx(source, path, chips=["sm86", "sm89"])
    return path


@pytest.fixture
def engine(built, tmp_path):
    """A copy of the engine; the library and a card of sm86 are here."""
    shutil.copyfile(sidecar_path(built), sidecar_path(tmp_path / "net.engine"))
    with installed(RTX, **CARD):
        yield shutil.copyfile(built, tmp_path / "net.engine")


@contextlib.contextmanager
def nothing_left():
    before = live()
    yield
    assert live() == before


def refused(path, error, message, **options):
    with nothing_left(), pytest.raises(error, match=message) as caught:
        Predictor(path, **options)
    assert len(str(caught.value).splitlines()) == 1


def test_its_answers_are_those_of_the_model(source, engine):
    clips = clips_of(3)
    with Predictor(source) as predictor:
        want = np.concatenate([predictor._runtime.run(each) for each in clips])
    with nothing_left(), Predictor(engine) as predictor:
        assert (predictor.runtime, predictor.device) == ("tensorrt_rtx", "cuda")
        assert predictor._runtime.contract == predictor.spec.contract_digest()
        have = np.concatenate([predictor._runtime.run(each) for each in clips])
    assert agreement(want, have).max_rel < 1e-6


def test_the_chips_of_the_table_are_those_of_the_header():
    assert TABLE["tensorrt-rtx"].chips == tuple(RTX_CHIPS)


# The runtime cache.


def run_once(engine, folder):
    with nothing_left(), Predictor(engine, cache=folder) as predictor:
        predictor._runtime.run(clips_of(1)[0])


def test_kernels_are_kept_and_used_again(engine, tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    folder.mkdir()
    run_once(engine, folder)
    (file,) = folder.glob("*.cache")
    assert file.name.startswith("tensorrt_rtx-1.7.1.116-sm8.6-")
    content = file.read_bytes()
    assert content
    import tensorrt_rtx

    taken = []
    deserialize = tensorrt_rtx.IRuntimeCache.deserialize
    monkeypatch.setattr(
        tensorrt_rtx.IRuntimeCache,
        "deserialize",
        lambda self, blob: taken.append(bytes(blob)) or deserialize(self, blob),
    )
    run_once(engine, folder)
    assert taken == [content]
    assert file.read_bytes() == content


def test_a_damaged_cache_is_replaced(engine, tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()
    run_once(engine, folder)
    (file,) = folder.glob("*.cache")
    content = file.read_bytes()
    file.write_bytes(b"kernels of another card")
    with pytest.warns(RuntimeWarning, match="is damaged, or of another driver; kernels are comp"):
        run_once(engine, folder)
    assert file.read_bytes() == content


def test_a_cache_that_cannot_be_written(engine, tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()
    run_once(engine, folder)
    (file,) = folder.glob("*.cache")
    file.unlink()
    file.mkdir()
    with pytest.warns(RuntimeWarning, match="cannot be written .*; the next start compiles"):
        run_once(engine, folder)


# Which library an engine is for.


@pytest.fixture
def of_tensorrt(source, tmp_path):
    """An engine of TensorRT 10.3 with a sidecar."""
    path = tmp_path / "other.engine"
    with installed():
        tensorrt_from_onnx(source, path)
    return path


def test_the_other_library_is_not_asked(engine, of_tensorrt, monkeypatch):
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    refused(
        engine,
        ModelError,
        "is an engine of TensorRT for RTX, which TensorRT does not read; run it with --runtime "
        "tensorrt_rtx, or build another: r2p-edge export MODEL.onnx --to tensorrt --out",
        runtime="tensorrt",
    )
    refused(
        of_tensorrt,
        ModelError,
        "is an engine of TensorRT, which TensorRT for RTX does not read; run it with --runtime "
        "tensorrt, or build another: r2p-edge export MODEL.onnx --to tensorrt-rtx --out",
        runtime="tensorrt_rtx",
    )


def test_an_engine_says_itself_whose_it_is(engine, of_tensorrt):
    """Whatever its sidecar says, and without one."""
    sidecars = [sidecar_path(path) for path in (engine, of_tensorrt)]
    texts = [path.read_text() for path in sidecars]
    spec = spec_of_brightness()
    for path in sidecars:
        path.unlink()
    with Predictor(brightness(engine.parent, "bare.engine"), spec=spec) as predictor:
        assert predictor.runtime == "tensorrt_rtx"
        assert predictor._runtime.run(grey_frames([1, 2, 3, 4], 8, 8)[None]).shape == (1, 4)
    sidecars[0].write_text(texts[0].replace('"tensorrt_rtx"', '"tensorrt"'))
    with Predictor(engine) as predictor:
        assert predictor.runtime == "tensorrt_rtx"


def brightness(folder, name):
    """Write an engine of the brightness model, as another program would."""
    path = folder / name
    return foreign_engine(path, brightness_model(path.with_suffix(".onnx")), library="tensorrt_rtx")


def test_the_first_bytes_of_each_library():
    assert {name: row.magic for name, row in RUNTIMES.items() if row.magic} == {
        "tensorrt": b"ftrt",
        "tensorrt_rtx": b"vtrt",
    }


# What does not fit.


def test_another_version(engine):
    content = bytearray(engine.read_bytes())
    content[25] = 6
    resealed(engine, content)
    refused(
        engine,
        ModelError,
        r"was built by TensorRT for RTX 1\.6\.1\.116 and this is 1\.7\.1\.116; an engine runs "
        "with the version that built it, so build it with this one: r2p-edge export .* --to "
        "tensorrt-rtx",
    )


def resealed(engine, content):
    """Write an engine, and its digest and size into its sidecar."""
    before = engine.read_bytes()
    engine.write_bytes(content)
    text = sidecar_path(engine).read_text()
    text = text.replace(hashlib.sha256(before).hexdigest(), hashlib.sha256(content).hexdigest())
    sidecar_path(engine).write_text(text.replace(f": {len(before)}", f": {len(content)}"))


def test_a_file_that_is_cut(engine):
    whole = engine.read_bytes()
    resealed(engine, whole[:-100])
    refused(engine, ModelError, f"has {len(whole) - 100} bytes of an engine of {len(whole)}; copy")
    resealed(engine, whole[:40])
    refused(engine, ModelError, "ends after 40 bytes, within the header of an engine; copy it")


@pytest.mark.parametrize(("capability", "chip"), [("7.5", "sm75"), ("12.0", "sm120")])
def test_a_card_that_it_was_not_built_for(built, capability, chip):
    with installed(RTX, FAKE_CUDA_CAPABILITY=capability):
        message = rf"for GPUs of .* 8\.6, 8\.9 and this one has {capability}; .* --chip {chip}"
        refused(built, ModelError, message)


def test_a_card_that_the_library_does_not_run_on(built):
    with installed(RTX, FAKE_CUDA_CAPABILITY="9.0"):
        message = r"runs on GPUs of compute capability 7\.5, .* has 9\.0; use TensorRT itself"
        refused(built, BackendError, message)


@pytest.mark.parametrize(("flags", "reasons"), [(4, "OLD_CUDA_DRIVER"), (64, "CUDA_ERROR")])
def test_what_the_library_says_of_an_engine(engine, monkeypatch, flags, reasons):
    monkeypatch.setenv("FAKE_TENSORRT_INVALID", str(flags))
    message = (
        rf"does not fit this GPU, its driver or tensorrt_rtx 1\.7\.1\.116 \({reasons}\); build"
    )
    refused(engine, ModelError, message)


def test_without_a_card(built, capsys):
    with installed(RTX, FAKE_CUDA_DEVICES=0):
        refused(built, BackendError, "tensorrt_rtx has no device 'cuda' here; it has none: check")
        assert main(["predict", str(built), "video.mp4"]) == BACKEND
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("r2p-edge: error: tensorrt_rtx has no device 'cuda' here")


def test_without_the_library(built, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    message = "tensorrt_rtx is not installed; pip install tensorrt-rtx-cu12 nvidia-cuda"
    with pytest.raises(MissingDependencyError, match=message):
        Predictor(built)


def probed():
    found = blank("tensorrt_rtx")
    for _ in steps("tensorrt_rtx", found):
        pass
    return found


def test_doctor_builds_for_the_card_and_runs_on_it():
    with installed(RTX, **CARD):
        found = probed()
    assert (found["status"], found["version"]) == ("ok", "1.7.1.116")
    assert found["devices"] == [{"device": "cuda", "conv3d": "ok", "conv2d": "ok"}]


def test_doctor_where_it_cannot_run():
    with installed(RTX, FAKE_CUDA_CAPABILITY="9.0"):
        (device,) = probed()["devices"]
    assert "TensorRT for RTX runs on GPUs of compute capability 7.5, " in device["conv3d"]
    with installed(RTX, FAKE_CUDA_DEVICES=0):
        assert probed()["reason"] == "tensorrt_rtx finds no device"


def test_options(engine):
    refused(engine, UsageError, "tensorrt_rtx has no threads to set", threads=2)
    refused(
        engine,
        BackendError,
        "in fp32 and not in fp16; .* --to tensorrt-rtx --prec",
        precision="fp16",
    )
