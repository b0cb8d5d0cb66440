"""Offline models of Ascend, run by a stand-in for ais_bench with the library's traps."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from models import grey_frames, levels, spec_of_brightness
from traps import (
    answers_for_other_memory_layouts,
    answers_several_threads,
    clip,
    refuses_another_shape_of_as_many_bytes,
)

from r2p_edge import Predictor
from r2p_edge.artifact.sidecar import write_sidecar
from r2p_edge.errors import BackendError, MissingDependencyError, ModelError
from r2p_edge.runtimes.base import Options
from r2p_edge.runtimes.mindspore_lite import MindSporeLite

NPU = {"runtime": "mindspore_lite", "device": "ascend310p"}


class Session:
    """ais_bench's, reduced: it takes the bytes of an array for those of its input."""

    opened = []  # noqa: RUF012

    def __init__(self, device_id, model_path):
        if not Path(model_path).stat().st_size:
            raise RuntimeError("load model from file failed, ret 545001")
        self.thread, self.freed = None, 0
        self.opened.append((device_id, self))

    def get_inputs(self):
        return [_end("input", [1, 4, 8, 8, 3], "uint8")]

    def get_outputs(self):
        return [_end("logits", [1, 4], "float32")]

    def set_context(self):
        self.thread = threading.get_ident()

    def infer(self, feeds):
        if self.thread != threading.get_ident():
            raise RuntimeError("context is not set in this thread, ret 107002")
        pixels = np.frombuffer(feeds[0].tobytes(), np.uint8).reshape(4, -1)
        return [pixels.mean(axis=1, dtype=np.float32)[None]]

    def free_resource(self):
        self.freed += 1


def _end(name, shape, dtype):
    return SimpleNamespace(name=name, shape=shape, datatype=SimpleNamespace(name=dtype))


@pytest.fixture
def offline(npu, tmp_path, monkeypatch):
    """An `.om` file and a library that runs it; mindspore_lite is not installed."""
    interface = ModuleType("ais_bench.infer.interface")
    interface.InferSession = Session
    monkeypatch.setattr(Session, "opened", [])
    monkeypatch.setitem(sys.modules, "ais_bench", ModuleType("ais_bench"))
    monkeypatch.setitem(sys.modules, "ais_bench.infer.interface", interface)
    monkeypatch.setitem(sys.modules, "mindspore_lite", None)
    path = tmp_path / "model.om"
    path.write_bytes(b"om")
    write_sidecar(path, spec_of_brightness(precision="fp16"))
    return path


def test_an_offline_model(offline):
    with Predictor(offline, runtime="mindspore_lite", device="ascend:1") as predictor:
        assert (predictor.runtime, predictor.device) == ("ais_bench", "ascend:1")
        assert predictor.precision == "fp16"
        assert levels(predictor.predict(grey_frames([3, 9, 0, 6], 8, 8))) == [3, 9, 0, 6]
        assert answers_several_threads(predictor._runtime.run)
        assert refuses_another_shape_of_as_many_bytes(predictor._runtime.run)
        assert answers_for_other_memory_layouts(predictor._runtime.run)
        runtime = predictor._runtime
    ((number, session),) = Session.opened
    runtime.close()
    assert (number, session.freed) == (1, 1)
    with pytest.raises(BackendError, match="this model is closed"):
        runtime.run(clip(1, 2, 3, 4))


def test_offline_models_that_cannot_be_run(offline, npu, monkeypatch):
    half = spec_of_brightness(precision="fp16")
    with pytest.raises(ModelError, match=r"model\.om was made for ascend and cannot run on cpu"):
        MindSporeLite.open(offline, half, Options(device="cpu"))
    with pytest.raises(BackendError, match="Ascend computes in fp16"):
        MindSporeLite.open(offline, spec_of_brightness(), Options())
    runtime = MindSporeLite.open(offline, half, Options())
    monkeypatch.setattr(Session, "set_context", lambda self: None)
    with pytest.raises(BackendError, match=r"ais_bench failed on ascend \(context is not set"):
        runtime.run(clip(1, 2, 3, 4))
    offline.write_bytes(b"")
    with pytest.raises(ModelError, match=r"ais_bench cannot load .*model\.om on ascend \(load mod"):
        MindSporeLite.open(offline, half, Options())
    for card in npu.glob("davinci[01]"):
        card.unlink()
    with pytest.raises(BackendError, match="ais_bench has no device 'ascend' here; it has none"):
        MindSporeLite.open(offline, half, Options())
    monkeypatch.setitem(sys.modules, "ais_bench", None)
    with pytest.raises(MissingDependencyError, match=r"ais_bench is not installed; .* --fmk=OM "):
        MindSporeLite.open(offline, half, Options())
