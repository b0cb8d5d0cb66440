"""`r2p-edge calibrate`: how its options are read. What it does is tested with the calibration."""

import json
from pathlib import Path

from models import spec_of_brightness


def test_the_options_become_arguments(run, monkeypatch, tmp_path):
    calls = []
    record = {"method": "entropy", "clips": 3}

    def calibrate(*paths, progress, **options):
        calls.append((paths, options))
        progress(1, 2)
        return spec_of_brightness(calibration=record)

    monkeypatch.setattr("r2p_edge.calibration.calibrate.calibrate", calibrate)
    out = tmp_path / "int8.onnx"
    code, output, errors = run(
        "calibrate", "m.onnx", "--out", out, "--videos", "videos", "--split", __file__,
        "--num-clips", 3, "--seed", 7, "--method", "entropy", "--profile", "arm",
        "--max-drop", 0.5, "--test-list", "--complete",
    )  # fmt: skip
    assert (code, output, errors) == (0, f"{out}:\n  int8: entropy, 3 clips\n", "")
    ((paths, options),) = calls
    assert paths == (Path("m.onnx"), out)
    assert options == {
        "folder": Path("videos"),
        "split": Path(__file__),
        "num_clips": 3,
        "seed": 7,
        "strict": True,
        "force": True,
        "method": "entropy",
        "profile": "arm",
        "max_drop": 0.5,
    }
    code, output, _ = run("calibrate", "m.onnx", "--out", out, "--json")
    assert json.loads(output) == {"path": str(out), "calibration": record, "accuracy": None}
    defaults = {"num_clips": 200, "seed": 0, "method": "minmax", "strict": False, "force": False}
    assert {name: value for name, value in calls[1][1].items() if value is not None} == defaults
