"""A short run of the fuzzers; `fuzz.py` and `kernel.py` beside this file are the long ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from requirements import needs, require

sys.path.append(str(Path(__file__).parent))

import fuzz
from readers import READERS

_NEEDS = {
    "pth": "torch",
    "openvino": "openvino",
    "onnx": "onnxruntime",
    "safetensors": "safetensors",
}


def _fuzz(name, inputs, **options):
    if name in _NEEDS:
        require(_NEEDS[name])
    return fuzz.fuzz(name, inputs, **options)


@pytest.mark.slow
@needs("onnx")
@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused(name):
    result = _fuzz(name, 60, seed=1)
    assert sum(result.outcomes.values()) == 60
    assert result.failures == []


@pytest.mark.long
@needs("onnx")
@pytest.mark.parametrize("name", READERS)
def test_a_missing_bound_is_found(name):
    assert _fuzz(name, 250, without_bound=True).failures


@pytest.mark.long
def test_the_kernel_under_sanitizers():
    require("sanitizers")
    kernel = Path(__file__).with_name("kernel.py")
    done = subprocess.run(
        [sys.executable, str(kernel), "--calls", "5000"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5000 calls" in done.stdout
