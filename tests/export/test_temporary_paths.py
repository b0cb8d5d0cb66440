"""No message of an export names a file in a temporary folder, whatever goes wrong in there."""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import re

import pytest
from requirements import needs
from tensorrt_models import small

from r2p_edge.calibration.calibrate import Calibration
from r2p_edge.errors import R2PError
from r2p_edge.export.build import build

pytestmark = [needs("onnx"), needs("onnxruntime"), pytest.mark.slow]

TEMPORARY = re.compile(r"r2p_edge-[0-9a-f]{16}")
MOST = 40  # openings of temporary files in one export


class Fault:
    """Lets the opening of a temporary file of some number, in the order of time, fail."""

    def __init__(self, monkeypatch, number, reason):
        self.left, self.reason, self.happened = number, reason, False
        for module in (builtins, io, os):
            monkeypatch.setattr(module, "open", self._failing(module.open))

    def _failing(self, opened):
        def wrapper(file, *args, **kwargs):
            if isinstance(file, str | os.PathLike) and TEMPORARY.search(name := os.fspath(file)):
                self.left -= 1
                if self.left == 0:
                    self.happened = True
                    raise OSError(self.reason, os.strerror(self.reason), name)
            return opened(file, *args, **kwargs)

        return wrapper


def said(report):
    """Return everything that a report shows."""
    shown = [*report.warnings, *(str(error) for _, error in report.failed)]
    shown += [json.dumps([built.to_dict(), built.spec.to_dict()]) for built in report.built]
    return "\n".join(shown)


def exported(source, out, **options):
    """Return what an export says, and whether it ended in an error."""
    try:
        return said(build(source, out=out, **options)), False
    except R2PError as error:
        return str(error), True


EXPORTS = {
    "onnx": {"targets": ["onnx"], "graph": "conv2d"},
    "openvino": {"targets": ["openvino"], "precision": "fp16"},
    "kits": {"targets": ["tensorrt", "ascend310b"], "precision": "fp16"},
}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("onnx", errno.EACCES),
        pytest.param("openvino", errno.EACCES, marks=pytest.mark.long),
        pytest.param("openvino", errno.ENOSPC, marks=pytest.mark.long),
        pytest.param("kits", errno.EACCES, marks=pytest.mark.long),
    ],
)
def test_a_temporary_file_that_cannot_be_opened(tmp_path, monkeypatch, caplog, name, reason):
    if "openvino" in EXPORTS[name]["targets"]:
        pytest.importorskip("openvino")
    source = small(tmp_path / "net.onnx")
    failures = 0
    for number in range(1, MOST):
        with monkeypatch.context() as patch:
            fault = Fault(patch, number, reason)
            text, failed = exported(source, tmp_path / f"out{number}", **EXPORTS[name])
        if not fault.happened:
            break
        failures += failed
        assert not TEMPORARY.search(text), text
    else:
        pytest.fail(f"{MOST} openings are too few")
    assert failures
    assert not TEMPORARY.search(caplog.text)


@pytest.mark.parametrize("target", ["openvino", "tensorrt", "tensorrt-rtx"])
def test_what_cannot_become_that_precision(tmp_path, target):
    if target == "openvino":
        pytest.importorskip("openvino")
    source = small(tmp_path / "net.onnx", "int8")
    text, failed = exported(source, tmp_path / "out", targets=[target], precision="fp16")
    assert failed
    assert text.startswith(f"{source} is int8 and cannot become fp16")


def test_int8_of_a_network_that_calibration_refuses(tmp_path):
    """The clips of the bundled model, for a network of other classes."""
    source = small(tmp_path / "net.onnx")
    calibration = Calibration(num_clips=1)
    text, failed = exported(
        source, tmp_path / "out", targets=["onnx"], precision="int8", calibration=calibration
    )
    assert failed
    assert not TEMPORARY.search(text), text
