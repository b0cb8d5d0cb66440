"""ONNX Runtime as a runtime: its options, and no telemetry."""

from __future__ import annotations

import os
import subprocess
import sys

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
