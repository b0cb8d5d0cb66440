"""ONNX Runtime as a runtime: its options, and no telemetry."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from models import brightness_model, spec_of_brightness
from requirements import needs

from r2p_edge import Predictor
from r2p_edge.calibration.quantize import quantize_onnx
from r2p_edge.doctor import diagnosis, probe
from r2p_edge.errors import BackendError, UsageError
from r2p_edge.runtimes import cpu as _cpu
from r2p_edge.runtimes import onnxruntime as _onnxruntime
from r2p_edge.runtimes.onnxruntime import OnnxRuntime

pytestmark = needs("onnxruntime")


VARIABLE = "ORT_DISABLE_TELEMETRY"


PREDICT = f"""
import os, sys
import numpy as np
from r2p_edge import Predictor
with Predictor(sys.argv[1]) as model:
    model.predict(np.zeros((16, 120, 160, 3), np.uint8), fps=12.5)
print(os.environ["{VARIABLE}"])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("own", "expected"), [(None, "1"), ("1", "1"), ("0", "0")])
def test_onnx_runtime_reports_nothing(motion_model, tmp_path, own, expected):
    """Look under the home folder, where it keeps unsent reports and a number for the machine."""
    hidden = {VARIABLE, "XDG_CACHE_HOME"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"HOME": str(tmp_path)} | ({} if own is None else {VARIABLE: own})
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, str(motion_model)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == expected  # a user's own choice stays
    if expected == "1":
        assert list(tmp_path.rglob("*")) == []


def test_onnxruntime_has_neither_precision_nor_cache(tmp_path):
    path = brightness_model(tmp_path / "model.onnx")
    with pytest.raises(UsageError, match=r"artifact's own precision, fp32, and not in bf16"):
        Predictor(path, precision="bf16")
    with pytest.raises(UsageError, match="leave cache out"):
        Predictor(path, cache=tmp_path)
    with Predictor(path, precision="fp32") as predictor:
        assert predictor.precision == "fp32"


SAPPHIRE_RAPIDS = _cpu.from_cpuinfo("flags : avx2 avx512f avx512_vnni amx_tile amx_int8")
ICE_LAKE = _cpu.from_cpuinfo("flags : avx2 avx512f avx512_vnni")


@pytest.fixture
def machine(monkeypatch):
    """Return a function that makes this a machine of a CPU and a version of ONNX Runtime."""

    def become(cpu, version):
        monkeypatch.setattr(_onnxruntime, "read_cpu", lambda: cpu)
        monkeypatch.setattr(OnnxRuntime.library(), "__version__", version)

    return become


@pytest.mark.parametrize(
    ("cpu", "version", "exact"),
    [
        (SAPPHIRE_RAPIDS, "1.20.1", True),
        (SAPPHIRE_RAPIDS, "1.21.1", False),
        (SAPPHIRE_RAPIDS, "1.23.2", False),
        (SAPPHIRE_RAPIDS, "1.24.0.dev20251001", False),
        (SAPPHIRE_RAPIDS, "1.25.0", True),
        (SAPPHIRE_RAPIDS, "2.0.0", True),
        (ICE_LAKE, "1.23.2", True),
        (_cpu.Cpu(None, None), "1.23.2", True),
    ],
)
def test_int8_with_amx_needs_a_version_that_computes_it_right(machine, cpu, version, exact):
    machine(cpu, version)
    assert (OnnxRuntime.int8_fault() is None) is exact


def test_wrong_int8_is_neither_run_nor_made(machine, motion_model, tmp_path, out):
    int8 = brightness_model(tmp_path / "int8.onnx", spec_of_brightness(precision="int8"))
    machine(SAPPHIRE_RAPIDS, "1.23.2")
    reason = r"1\.23\.2 computes int8 wrongly on CPUs with AMX .* pip install"
    with pytest.raises(BackendError, match=f"{int8}: .*{reason}.* openvino"):
        Predictor(int8)
    with pytest.raises(BackendError, match=f"int8 cannot be made here: .*{reason}"):
        quantize_onnx(motion_model, out / "int8.onnx", list)
    assert list(out.iterdir()) == []
    Predictor(motion_model).close()


def test_doctor_tells_of_wrong_int8(machine, monkeypatch):
    machine(SAPPHIRE_RAPIDS, "1.23.2")
    monkeypatch.setattr(diagnosis, "RUNTIMES", ["onnxruntime"])
    # Its processes would not see the machine that this one has become.
    monkeypatch.setattr(diagnosis, "ask", ask_here)
    summary = diagnosis.diagnose()["summary"]
    assert summary[0].startswith("Ready: onnxruntime on cpu")
    assert any(line.startswith("onnxruntime, int8: onnxruntime 1.23.2") for line in summary)


def ask_here(what, timeout):
    found = probe.blank(what)
    for _ in probe.steps(what, found):
        pass
    return found


@pytest.fixture
def azure(monkeypatch):
    """Count as a device the provider of the CPU wheels that takes no operator of ours."""
    providers = OnnxRuntime.library().get_available_providers()
    if "AzureExecutionProvider" not in providers:
        pytest.skip("this wheel has no provider but the CPU's")
    names = {"azure": "AzureExecutionProvider", "cpu": "CPUExecutionProvider"}
    monkeypatch.setattr(_onnxruntime, "_providers", lambda library: names)


@pytest.mark.usefixtures("azure")
def test_a_device_that_leaves_the_model_to_the_cpu_is_an_error_unless_allowed(motion_model, capfd):
    with pytest.raises(BackendError, match=r"on the CPU, or parts of it; .* the device azure,cpu"):
        Predictor(motion_model, device="azure")
    assert capfd.readouterr().err == ""  # the library's own words are in the sentence
    with Predictor(motion_model, device="azure,cpu") as predictor:
        assert predictor.device == "azure,cpu"  # so that nobody takes it for the device alone
        shared = predictor.predict(np.zeros((16, 120, 160, 3), np.uint8), fps=12.5)
    with Predictor(motion_model) as predictor:
        alone = predictor.predict(np.zeros((16, 120, 160, 3), np.uint8), fps=12.5)
    np.testing.assert_array_equal(shared.scores, alone.scores)


@pytest.mark.parametrize("device", ["cpu,cpu", "cpu:0", "cuda:x", "gpu", ",cpu", "cuda,gpu"])
def test_devices_that_there_are_not(tmp_path, device):
    path = brightness_model(tmp_path / "model.onnx")
    with pytest.raises(BackendError, match=f"no device '{device}' here; it has .*cpu"):
        Predictor(path, device=device)


@pytest.mark.usefixtures("azure")
def test_wrong_int8_is_refused_where_the_cpu_may_run_a_part(machine, tmp_path):
    int8 = brightness_model(tmp_path / "int8.onnx", spec_of_brightness(precision="int8"))
    machine(SAPPHIRE_RAPIDS, "1.23.2")
    with pytest.raises(BackendError, match="computes int8 wrongly"):
        Predictor(int8, device="azure,cpu")


def test_a_run_that_fails_is_not_tried_again_on_the_cpu(tmp_path, capsys):
    failure = OnnxRuntime.library().capi.onnxruntime_pybind11_state.EPFail

    class Broken:
        def __init__(self, session):
            self.session = session

        def __getattr__(self, name):
            return getattr(self.session, name)

        def run(self, *arguments):
            raise failure("CUDA failure 700")

    with Predictor(brightness_model(tmp_path / "model.onnx")) as predictor:
        session = predictor._runtime._session
        session._sess = Broken(session._sess)
        with pytest.raises(BackendError, match=r"failed on cpu .*CUDA failure 700"):
            predictor.predict(np.zeros((4, 8, 8, 3), np.uint8))
    assert capsys.readouterr().out == ""


class GpuWheel:
    """ONNX Runtime with NVIDIA's providers, as far as its arguments go.

    No card is here to run them. The options are those that the wheels of 1.17.1 and 1.31.1 know.
    """

    def __init__(self, monkeypatch, version="1.31.1"):
        self.library = OnnxRuntime.library()
        real = self.library.InferenceSession
        kinds = ("Tensorrt", "CUDA", "CPU")
        names = [f"{kind}ExecutionProvider" for kind in kinds]

        def session(path, options, providers, provider_options, enable_fallback):
            assert enable_fallback == 0  # else its Python part prints to stdout and takes the CPU
            self.alone = options.get_session_config_entry("session.disable_cpu_ep_fallback")
            self.asked = dict(zip(providers, provider_options))
            known = {"device_id"} | ({"use_tf32"} if version != "1.17.1" else set())
            for name, given in self.asked.items():
                if not set(given) <= (known if name.startswith("CUDA") else {"device_id"}):
                    raise RuntimeError(f"Unknown provider option: {given}")
            opened = real(path, providers=["CPUExecutionProvider"])
            opened.get_providers = lambda: [*providers, "CPUExecutionProvider"]
            return opened

        monkeypatch.setattr(self.library, "__version__", version)
        monkeypatch.setattr(self.library, "get_available_providers", lambda: names)
        monkeypatch.setattr(self.library, "InferenceSession", session)


@pytest.mark.parametrize(
    ("device", "asked", "precision"),
    [
        ("cuda", {"CUDA": {"use_tf32": "0"}}, "fp32"),
        ("cuda:1", {"CUDA": {"device_id": "1", "use_tf32": "0"}}, "fp32"),
        (
            "tensorrt:1",
            {"Tensorrt": {"device_id": "1"}, "CUDA": {"device_id": "1", "use_tf32": "0"}},
            "tf32",
        ),
    ],
)
def test_fp32_on_cuda_is_fp32_and_cuda_stands_behind_tensorrt(
    monkeypatch, tmp_path, device, asked, precision
):
    wheel = GpuWheel(monkeypatch)
    path = brightness_model(tmp_path / "model.onnx")
    with Predictor(path, device=device) as predictor:
        assert predictor.precision == precision
    assert wheel.asked == {f"{kind}ExecutionProvider": each for kind, each in asked.items()}
    assert wheel.alone == "1"


def test_tf32_is_allowed_by_a_variable_and_told(monkeypatch, tmp_path):
    path = brightness_model(tmp_path / "model.onnx")
    monkeypatch.setenv("R2P_ORT_TF32", "1")
    wheel = GpuWheel(monkeypatch)
    with Predictor(path, device="cuda") as predictor:
        assert predictor.precision == "tf32"
    assert wheel.asked == {"CUDAExecutionProvider": {"use_tf32": "1"}}


def test_an_onnxruntime_without_the_switch_is_refused_for_fp32_on_cuda(monkeypatch, tmp_path):
    path = brightness_model(tmp_path / "model.onnx")
    GpuWheel(monkeypatch, "1.17.1")
    with pytest.raises(BackendError, match=r"1\.17\.1 computes FP32 .* in TF32.* R2P_ORT_TF32=1"):
        Predictor(path, device="cuda")
    monkeypatch.setenv("R2P_ORT_TF32", "1")
    Predictor(path, device="cuda").close()
