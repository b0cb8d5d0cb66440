"""Table of runtimes: which one a file runs on, what is logged, and a row for a new one."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
from models import brightness_model, grey_frames, spec_of_brightness
from requirements import needs, require

from r2p_edge import Predictor
from r2p_edge.artifact.sidecar import write_sidecar
from r2p_edge.doctor import diagnosis
from r2p_edge.errors import ModelError, UsageError
from r2p_edge.runtimes import RUNTIMES, open_runtime, runtime_type
from r2p_edge.runtimes.base import Options, Runtime


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_row_names_a_runtime(name):
    runtime = runtime_type(name)
    assert issubclass(runtime, Runtime)
    assert runtime.name == name
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in RUNTIMES[name].suffixes)


ZEROS = '''
"""Zeros: a runtime that answers 0 for every class."""

import sys

import numpy as np

from r2p_edge.errors import BackendError
from r2p_edge.runtimes.base import Runtime


class Zeros(Runtime):
    name = "zeros"

    def __init__(self, spec, device):
        self.device, self.precision = device, spec.precision
        self.input_shape, self.input_dtype = spec.input_shape, spec.input.dtype
        self.output_shape = (1, len(spec.labels))

    @staticmethod
    def library():
        return sys.modules[__name__]

    @classmethod
    def devices(cls):
        return ["nowhere"]

    @classmethod
    def open(cls, path, spec, options):
        device = options.device or cls.devices()[0]
        if device not in cls.devices():
            raise BackendError(f"zeros has no device {device!r} here; it has nowhere")
        return cls(spec, device)

    def run(self, batch):
        return np.zeros(self.output_shape, np.float32)

    def close(self):
        pass
'''


@pytest.fixture
def zeros(tmp_path, monkeypatch):
    """A model file for a new runtime, which has a file and a row."""
    (tmp_path / "zeros.py").write_text(ZEROS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "zeros", raising=False)
    row = RUNTIMES["onnxruntime"]._replace(module="zeros", type="Zeros", suffixes=(".zeros",))
    monkeypatch.setitem(RUNTIMES, "zeros", row)
    model = tmp_path / "model.zeros"
    model.write_bytes(b"")
    write_sidecar(model, spec_of_brightness())
    return model


def test_a_new_runtime_is_a_file_and_a_row(zeros, run):
    with Predictor(zeros) as predictor:
        prediction = predictor.predict(grey_frames([3, 9, 0, 6], 8, 8))
    assert (prediction.runtime, prediction.device) == ("zeros", "nowhere")
    np.testing.assert_allclose(prediction.scores, 0.25)
    code, output, errors = run("info", zeros)
    assert (code, errors) == (0, "")
    assert "zeros" in output


@pytest.mark.slow
def test_doctor_knows_a_new_runtime(zeros, monkeypatch):
    monkeypatch.setattr(diagnosis, "RUNTIMES", ["zeros"])
    command = diagnosis._isolated._COMMAND.replace(
        "from r2p_edge",
        "from r2p_edge.runtimes import RUNTIMES; RUNTIMES['zeros'] = RUNTIMES['openvino']._replace("
        "module='zeros', type='Zeros', suffixes=('.zeros',)); from r2p_edge",
    )
    monkeypatch.setattr(diagnosis._isolated, "_COMMAND", command)
    found = diagnosis.diagnose()["runtimes"]["zeros"]
    assert (found["status"], found["devices"][0]["device"]) == ("unchecked", "nowhere")


def test_names_and_files_that_no_runtime_knows(zeros):
    spec = spec_of_brightness()
    with pytest.raises(
        UsageError, match=r"'zero'; did you mean zeros. choose one of onnxruntime, "
    ):
        open_runtime(zeros, spec, "zero", Options())
    with pytest.raises(ModelError, match=r"is not a model file for onnxruntime: onnxruntime runs"):
        open_runtime(zeros, spec, "onnxruntime", Options())
    with pytest.raises(ModelError, match=r"for any runtime here: onnxruntime .*zeros runs \.zeros"):
        open_runtime(zeros.with_suffix(".bin"), spec, None, Options())


@needs("onnxruntime")
@needs("openvino")
@pytest.mark.parametrize(
    ("installed", "target", "chosen"),
    [
        ({"onnxruntime", "openvino"}, None, "onnxruntime"),
        ({"openvino"}, None, "openvino"),
        ({"onnxruntime", "openvino"}, {"runtime": "openvino"}, "openvino"),
        ({"onnxruntime", "openvino"}, {"runtime": "tensorrt"}, "onnxruntime"),
    ],
)
def test_the_default_runtime_is_logged(tmp_path, monkeypatch, caplog, installed, target, chosen):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: real(name, *rest) if name in installed else None,
    )
    path = brightness_model(tmp_path / "model.onnx")
    caplog.set_level("INFO", "r2p_edge")
    with Predictor(path, spec=spec_of_brightness().replace(target=target)) as predictor:
        assert predictor.runtime == chosen
    messages = [record.getMessage() for record in caplog.records]
    version = sys.modules[chosen].__version__
    assert f"opened {path} on {chosen} {version}: device cpu, precision fp32" in messages
    skipped = f"onnxruntime is not installed, so openvino runs {path}"
    assert (skipped in messages) is ("onnxruntime" not in installed)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_the_default_device_is_the_runtimes_first(tmp_path, name):
    require(name)
    path = brightness_model(tmp_path / "model.onnx")
    with Predictor(path, runtime=name) as predictor:
        assert predictor.device == runtime_type(name).devices()[0]


def test_the_library_installs_no_handler():
    import logging

    names = [name for name in logging.root.manager.loggerDict if name.startswith("r2p_edge")]
    assert names
    assert not any(logging.getLogger(name).handlers for name in names)
