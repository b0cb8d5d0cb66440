"""All verbs with TensorRT: artifacts that fit, that do not, and a library that is missing."""

import gc
import importlib
import json
import shutil
import sys
from pathlib import Path

import pytest
from exit_codes import BACKEND, KIT, MODEL, USAGE
from fake_tensorrt import RTX, VERSIONS, installed, live, plan_of
from fake_tensorrt.trtexec import install_program
from models import brightness_model, spec_of_brightness
from requirements import needs
from tensorrt_models import foreign_engine, small

from r2p_edge.artifact.open import open_artifact
from r2p_edge.artifact.sidecar import sidecar_path, write_sidecar
from r2p_edge.export import tensorrt_from_onnx
from r2p_edge.runtimes.tensorrt import cudart
from r2p_edge.spec import ModelSpec

pytestmark = [
    pytest.mark.slow,
    needs("onnx"),
    needs("onnxruntime"),
    needs("safetensors"),
    pytest.mark.usefixtures("no_trtexec"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Build an engine of TensorRT 10.3; return it and the ONNX artifact that it was built from."""
    folder = tmp_path_factory.mktemp("made")
    source = small(folder / "net.onnx")
    with installed():
        tensorrt_from_onnx(source, folder / "net.engine")
    return folder


@pytest.fixture
def engine(made, tmp_path):
    """Copy the engine and its sidecar, for tests to spoil."""
    shutil.copy(sidecar_path(made / "net.engine"), tmp_path)
    return Path(shutil.copy(made / "net.engine", tmp_path))


@pytest.fixture
def ten():
    with installed():
        yield


@pytest.fixture
def refuses(fails, clip, monkeypatch):
    """Return an assertion that `predict` fails so, before TensorRT is called unless `asked`."""

    def refuses(code, message, path, *options, asked=False):
        with monkeypatch.context() as patch:
            if not asked:
                library = importlib.import_module("tensorrt")
                for name in ("Runtime", "Builder"):
                    patch.setattr(library, name, _never)
            before = live()
            fails(code, message, "predict", path, clip, *options)
            assert live() == before

    return refuses


def _never(*_):
    raise AssertionError("TensorRT was called")


def spec_beside(path):
    return ModelSpec.from_dict(json.loads(sidecar_path(path).read_text())["spec"])


def resealed(path, **target):
    """Make the sidecar fit the file again, with these fields of where it was built."""
    spec = spec_beside(path)
    write_sidecar(path, spec.replace(target={**spec.target, **target}))


def without_sidecar(path):
    """Return options for a foreign engine: a spec that does not say who built it."""
    file = path.with_name("spec.json")
    file.write_text(spec_beside(path).replace(target=None).to_json())
    sidecar_path(path).unlink()
    return "--spec", file


# What fits.


@pytest.mark.parametrize("version", VERSIONS)
def test_from_weights_to_an_answer(run, clip, tmp_path, version):
    source, out = small(tmp_path / "net.onnx"), tmp_path / "out"
    with installed(version):
        code, output, errors = run(
            "export", source, "--to", "tensorrt,onnx", "--out", out, "--json", "--strict"
        )
        assert (code, errors) == (0, "")
        record, other = json.loads(output)["artifacts"]
        assert (record["status"], record["path"]) == ("built", str(out / "net-fp32.engine"))
        assert record["parity"]["max_rel"] <= 1e-6
        code, output, errors = run("predict", record["path"], clip, "--json")
        answer = json.loads(output)
        assert (code, errors, answer["runtime"], answer["device"]) == (0, "", "tensorrt", "cuda")
        code, output, _ = run("info", out, "--json")
        *models, folder = map(json.loads, output.splitlines())
        assert ([model["verified"] for model in models], folder["files"]) == ([True, True], 4)
        code, output, _ = run("compare", other["path"], record["path"], "--json")
        (result,) = json.loads(output)["results"]
        assert (code, result["runtime"], result["within"]) == (0, "tensorrt", True)
    assert {file.name for file in out.iterdir()} == {
        "manifest.json",
        *(f"net-fp32{suffix}" for suffix in (".engine", ".engine.json", ".onnx", ".onnx.json")),
    }


def test_options_of_the_build(run, fails, ten, made, tmp_path):
    cache, out = tmp_path / "cache", tmp_path / "out"
    command = ("export", made / "net.onnx", "--to", "tensorrt", "--out", out)
    fails(USAGE, "there is no folder", *command, "--timing-cache", cache)
    fails(USAGE, "workspace is 0 bytes; it must be 1 or more", *command, "--workspace", "0")
    assert not out.exists()
    cache.mkdir()
    code, output, errors = run(
        *command, "--precision", "fp16", "--workspace", "1.5", "--timing-cache", cache
    )
    assert (code, errors) == (0, "")
    path = out / "net-fp16.engine"
    assert output.startswith(f"{path}: tensorrt fp16 conv3d, verified against its ONNX file: ")
    assert plan_of(path)["workspace"] == 3 << 19
    assert [file.suffix for file in cache.iterdir() if file.name[0] != "."] == [".timing"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("runtime", "version", "stem"),
    [
        ("tensorrt", "10.3.0", ""),
        ("tensorrt_rtx", RTX, "-rtx"),
    ],
)
def test_the_demo_has_a_row(run, tmp_path, monkeypatch, runtime, version, stem):
    for other in ("openvino", "mindspore_lite", "mindspore"):
        monkeypatch.setitem(sys.modules, other, None)
    with installed(version, FAKE_CUDA_CAPABILITY="8.6"):
        code, output, _ = run("demo", "--num-clips", 12, "--out", tmp_path, "--json")
    report = json.loads(output)
    results = {(each["runtime"], each["precision"]): each for each in report["results"]}
    assert code == 0
    assert results[runtime, "fp32"]["agreement"] == 1
    for precision in ("fp32", "int8"):
        engine = tmp_path / f"motion-{precision}{stem}.engine"
        assert results[runtime, precision]["path"] == str(engine)


def test_the_demo_without_a_gpu(monkeypatch):
    from r2p_edge.demo import _usable_runtimes

    with installed(FAKE_CUDA_DEVICES=0):
        usable, left_out = _usable_runtimes()
    assert "tensorrt" not in usable
    assert {"runtime": "tensorrt", "reason": "tensorrt finds no device"} in left_out
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    reasons = {each["runtime"]: each["reason"] for each in _usable_runtimes()[1]}
    assert reasons["tensorrt"].startswith("tensorrt is not installed; pip install tensorrt")


@pytest.mark.parametrize("version", VERSIONS)
def test_doctor_builds_and_runs_a_layer(version):
    from r2p_edge.doctor.diagnosis import ask

    with installed(version, FAKE_CUDA_DEVICES=2):
        found = ask("tensorrt", 120)
    assert (found["status"], found["reason"]) == ("ok", None), found
    assert found["version"].startswith(version)
    assert found["devices"] == [
        {"device": device, "conv3d": "ok", "conv2d": "ok"} for device in ("cuda", "cuda:1")
    ]


def test_doctor_says_what_is_not_well():
    from r2p_edge.doctor.diagnosis import ask

    with installed(FAKE_CUDA_DEVICES=0):
        found = ask("tensorrt", 120)
        assert (found["status"], found["reason"]) == ("failing", "tensorrt finds no device")
    with installed(FAKE_CUDA_DRIVER=11040):
        found = ask("tensorrt", 120)
        assert found["status"] == "failing"
        assert "NVIDIA's driver supports CUDA 11.4" in found["reason"]
    with installed(FAKE_TENSORRT_NO_TACTIC=1):
        found = ask("tensorrt", 120)
        assert "Could not find any implementation" in found["devices"][0]["conv3d"]


# What does not: each row of what can be mismatched.


@pytest.mark.parametrize(
    ("version", "here"), [("8.6.1", "8.6.1"), ("10.13.3", "10.13.3.9"), ("11.4", "11.4.0.106")]
)
def test_another_version_of_tensorrt(engine, refuses, version, here):
    message = (
        f"{engine} was built by TensorRT 10.3.0.26 and this is {here}; an engine runs with the "
        f"version that built it, so build it here: r2p-edge export MODEL.onnx --to tensorrt --out "
        f"{engine.parent}"
    )
    with installed(version):
        refuses(MODEL, message, engine)
        refuses(MODEL, message, engine, *without_sidecar(engine))


@pytest.mark.parametrize("begin", [b"ftrt\1", b"????\0"])
def test_another_version_where_the_plan_does_not_say(engine, refuses, ten, begin):
    content = engine.read_bytes()
    engine.write_bytes(begin + content[5:])
    resealed(engine, tensorrt="10.0.1.6")
    refuses(MODEL, "was built by TensorRT 10.0.1.6 and this is 10.3.0; an engine runs", engine)
    # Where nothing tells, TensorRT does.
    resealed(engine, tensorrt="10.3.0.26")
    if begin[:4] != b"ftrt":
        refuses(MODEL, "cannot load", engine, asked=True)


def test_another_chip(engine, refuses, ten, monkeypatch):
    monkeypatch.setenv("FAKE_CUDA_CAPABILITY", "11.0")
    refuses(
        MODEL,
        "was built for a GPU of compute capability 8.7 and this one has 11.0; build it here: r2p-",
        engine,
    )
    # Without a sidecar TensorRT has to tell.
    refuses(
        MODEL,
        "expecting compute 11.0 got compute 8.7",
        engine,
        *without_sidecar(engine),
        asked=True,
    )


@pytest.mark.filterwarnings("default")
def test_another_model_of_the_same_chip(engine, run, clip, ten, monkeypatch):
    monkeypatch.setenv("FAKE_CUDA_MULTIPROCESSORS", "8")
    code, output, errors = run("predict", engine, clip, "--json")
    assert (code, json.loads(output)["runtime"]) == (0, "tensorrt")
    (line,) = errors.splitlines()
    assert line.startswith(
        f"r2p-edge: warning: {engine} was tuned on a GPU of 16 multiprocessors and this one has 8; "
    )


@pytest.mark.parametrize("size", [-1, -1000, 100, 20, 0])
def test_a_truncated_plan(engine, refuses, ten, size):
    content = engine.read_bytes()
    engine.write_bytes(content[:size])
    refuses(MODEL, f"has {len(content[:size])} bytes but its sidecar says {len(content)}", engine)
    message = {20: "ends after 20 bytes, within the header", 0: "is empty; copy or build"}
    options = without_sidecar(engine)
    refuses(
        MODEL,
        message.get(size, "tensorrt 10.3.0 cannot load "),
        engine,
        *options,
        asked=size not in message,
    )


def test_a_header_before_the_plan(engine, refuses, ten):
    options = without_sidecar(engine)
    header = b'{"stride": 32, "names": {"0": "a"}}'
    engine.write_bytes(len(header).to_bytes(4, "little") + header + engine.read_bytes())
    refuses(MODEL, "begins with a header of 39 bytes, as ultralytics writes it", engine, *options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is an ONNX file, not a TensorRT engine; build an engine of it with r2p-edge"),
        (b"<!DOCTYPE html><html>", "is an HTML page, not a TensorRT engine"),
        (b"not a plan", "is a text file, not a TensorRT engine"),
        (bytes(range(128, 256)) * 9, "does not begin as an engine of TensorRT 8.6 or newer does"),
    ],
)
def test_what_is_no_plan(made, engine, refuses, ten, content, message):
    options = without_sidecar(engine)
    engine.write_bytes((made / "net.onnx").read_bytes() if content is None else content)
    refuses(MODEL, message, engine, *options)


def test_the_sidecar_is_missing(engine, refuses, ten):
    sidecar_path(engine).unlink()
    refuses(MODEL, "net.engine.json", engine)


def test_the_sidecar_of_another_model(engine, refuses, run, clip, ten):
    spec = open_artifact(engine).spec
    write_sidecar(engine, spec.replace(mean=(0.0, 0.0, 0.0)))
    message = f"{engine} was built with the contract {spec.contract_digest()[:12]}... but its side"
    refuses(MODEL, message, engine, asked=True)
    # A copy under another name is no other model.
    other = Path(shutil.copy(engine, engine.with_name("other.plan")))
    write_sidecar(other, spec)
    assert run("predict", other, clip)[0] == 0


def test_the_sidecar_of_another_file(engine, refuses, ten, tmp_path):
    other = tmp_path / "other.engine"
    source = brightness_model(tmp_path / "model.onnx")
    foreign_engine(other, source)
    write_sidecar(other, spec_of_brightness())
    shutil.copy(sidecar_path(other), sidecar_path(engine))
    refuses(MODEL, "bytes but its sidecar says", engine)


def test_a_digest_that_differs(engine, refuses, ten):
    content = bytearray(engine.read_bytes())
    content[-100] ^= 1
    engine.write_bytes(content)
    refuses(MODEL, "has sha256 ", engine)


def test_a_driver_that_is_too_old(engine, refuses, ten, monkeypatch):
    monkeypatch.setenv("FAKE_CUDA_DRIVER", "11040")
    refuses(BACKEND, "NVIDIA's driver supports CUDA 11.4 and ", engine)
    refuses(
        BACKEND, "is of CUDA 12.6; update the driver, or use TensorRT and libcudart of CUDA", engine
    )


@pytest.mark.parametrize("setting", ["FAKE_CUDA_DEVICES", "FAKE_CUDA_DRIVER"])
def test_no_gpu(engine, refuses, ten, monkeypatch, setting):
    monkeypatch.setenv(setting, "0")
    message = "tensorrt has no device 'cuda' here; it has none: check that the GPU's driver is loa"
    refuses(BACKEND, message, engine)


def test_out_of_memory(engine, refuses, ten, monkeypatch):
    monkeypatch.setenv("FAKE_TENSORRT_CONTEXT_MEMORY", str(1 << 40))
    for message in (
        f"tensorrt cannot run {engine} here (",
        "Error Code 2: OutOfMemory",
        "MiB of GPU memory are free, so close what else uses it",
    ):
        refuses(BACKEND, message, engine, asked=True)
    monkeypatch.setenv("FAKE_TENSORRT_CONTEXT_MEMORY", "0")
    from tensorrt import _plan

    runtime, network = 256, len(_plan.read(engine.read_bytes())[1])
    # What tests before have left, in the frames of their exceptions.
    gc.collect()
    monkeypatch.setenv("FAKE_CUDA_MEMORY", str(1 << 40))
    used = (1 << 40) - cudart.load().free_memory()
    for room, message in (
        (0, f"tensorrt cannot run {engine} here (createInferRuntime:"),
        (runtime, f"tensorrt cannot run {engine} here (ICudaEngine"),
        (runtime + network, "CUDA cannot pin 12,288 bytes of the CPU's memory; close other progr"),
        (runtime + network + 20_000, "the GPU has no 12,288 bytes left, as only 7,712 are free; c"),
    ):
        monkeypatch.setenv("FAKE_CUDA_MEMORY", str(used + room))
        refuses(BACKEND, message, engine, asked=True)


def test_tensorrt_is_missing(engine, fails, clip, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    message = "tensorrt is not installed; pip install tensorrt"
    fails(BACKEND, message, "predict", engine, clip)


def test_options_that_it_has_not(engine, refuses, ten, tmp_path):
    message = "tensorrt has neither threads nor a cache of models; leave them out"
    refuses(USAGE, message, engine, "--threads", 2)
    refuses(USAGE, message, engine, "--cache", tmp_path)
    refuses(BACKEND, "was built to compute in fp32 and not in fp16", engine, "--precision", "fp16")
    refuses(BACKEND, "tensorrt has no device 'cpu' here; it has cuda", engine, "--device", "cpu")


# Where there is no Python module, or nothing at all to build with.


@pytest.mark.parametrize("version", VERSIONS)
def test_trtexec_alone(run, made, clip, tmp_path, monkeypatch, version):
    cache, out, path = tmp_path / "cache", tmp_path / "out", tmp_path / "out" / "net-fp16.engine"
    cache.mkdir()
    monkeypatch.setenv("R2P_TRTEXEC", str(install_program(tmp_path / "bin")))
    with installed(version):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "tensorrt", None)
            code, output, errors = run(
                "export", made / "net.onnx", "--to", "tensorrt", "--out", out, "--strict",
                "--precision", "fp16", "--workspace", 3, "--timing-cache", cache,
            )  # fmt: skip
        assert (code, errors) == (0, "")
        assert output.startswith(f"{path}: tensorrt fp16 conv3d, verified against its ONNX file: ")
        assert open_artifact(path).spec.target["tool"] == "trtexec"
        assert plan_of(path)["workspace"] == 3 << 20
        assert ("FP16" in plan_of(path)["flags"]) is (version != "11.4")
        code, output, errors = run("predict", path, clip, "--json")
    assert (code, errors, json.loads(output)["precision"]) == (0, "", "fp16")
    assert [file.suffix for file in cache.iterdir()] == [".timing"]


@pytest.mark.parametrize("lacks", ["library", "GPU"])
def test_a_kit_where_it_cannot_be_built(run, made, tmp_path, monkeypatch, lacks):
    out = tmp_path / "out"
    command = ("export", made / "net.onnx", "--to", "tensorrt", "--out", out, "--precision", "fp16")
    with installed(FAKE_CUDA_DEVICES=0):
        if lacks == "library":
            monkeypatch.setitem(sys.modules, "tensorrt", None)
        code, output, errors = run(*command, "--json")
        assert (code, errors) == (0, "")
        (record,) = json.loads(output)["artifacts"]
        folder = out / "net-fp16-tensorrt-kit"
        assert (record["status"], record["path"]) == ("kit", str(folder))
        assert (record["precision"], record["parity"]) == ("fp16", None)
        assert {file.name for file in out.iterdir()} == {folder.name, "manifest.json"}
        code, output, errors = run(*command, "--strict")
    assert (code, errors) == (KIT, "")
    assert output == (
        f"{folder}: tensorrt fp16 kit for TensorRT 8.6 and newer (JetPack 6.0 and later), because "
        "TensorRT or a GPU for it is not here; copy the folder to where it is, and run build.py "
        "there\n"
    )


def test_a_library_that_does_not_fit_is_no_reason_for_a_kit(fails, made, tmp_path, monkeypatch):
    broken = tmp_path / "site" / "tensorrt"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libnvinfer.so.10: no such file')")
    monkeypatch.syspath_prepend(broken.parent)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    out = tmp_path / "out"
    fails(
        BACKEND, "tensorrt is installed but cannot be imported",
        "export", made / "net.onnx", "--to", "tensorrt", "--out", out,
    )  # fmt: skip
    assert not out.exists()
