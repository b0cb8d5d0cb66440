"""ONNX Runtime as a runtime: its options, and no telemetry."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from models import brightness_model
from requirements import needs

from r2p_edge import Predictor
from r2p_edge.errors import UsageError

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
