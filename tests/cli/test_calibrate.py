"""`r2p-edge calibrate`: how its options are read. What it does is tested with the calibration."""

import json
from pathlib import Path

from models import spec_of_brightness

from r2p_edge.calibration.calibrate import Calibration


def test_the_options_become_arguments(run, monkeypatch, tmp_path):
    calls = []
    record = {"method": "entropy", "clips": 3}

    def calibrate(*paths, calibration, progress, **options):
        calls.append((paths, calibration, options))
        progress("calibrating", 1, 2)
        return spec_of_brightness(calibration=record)

    monkeypatch.setattr("r2p_edge.calibration.calibrate.calibrate", calibrate)
    out = tmp_path / "int8.onnx"
    code, output, errors = run(
        "calibrate", "m.onnx", "--out", out, "--videos", "videos", "--split", __file__,
        "--num-clips", 3, "--seed", 7, "--method", "entropy", "--profile", "arm",
        "--max-drop", 0.5, "--test-list", "--complete",
    )  # fmt: skip
    assert (code, output, errors) == (0, f"{out}:\n  int8: entropy, 3 clips\n", "")
    ((paths, calibration, options),) = calls
    assert (paths, options) == ((Path("m.onnx"), out), {"profile": "arm"})
    assert calibration == Calibration(
        folder=Path("videos"),
        split=Path(__file__),
        num_clips=3,
        seed=7,
        strict=True,
        force=True,
        method="entropy",
        max_drop=0.5,
    )
    code, output, _ = run("calibrate", "m.onnx", "--out", out, "--json")
    assert json.loads(output) == {"path": str(out), "calibration": record, "accuracy": None}
    assert calls[1][1:] == (Calibration(), {"profile": None})
