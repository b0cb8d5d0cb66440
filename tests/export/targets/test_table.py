"""The table of targets."""

import importlib
import inspect
import subprocess
import sys

import pytest
from fake_mindspore_lite import installed
from requirements import needs

from r2p_edge.export import TARGETS
from r2p_edge.export.targets.table import TABLE, kit_of_target, target_here

pytestmark = [needs("onnx"), needs("onnxruntime")]


@pytest.mark.parametrize("target", TABLE.values(), ids=TABLE)
def test_every_row_names_its_builder(target):
    module, _, function = target.builder.partition(":")
    found = getattr(importlib.import_module(f"r2p_edge.export.targets.{module}"), function)
    assert list(inspect.signature(found).parameters) == ["source", "out", "options"]
    assert ("int8" in target.precisions) is (target.quantized is not None)


KITS = {name: target.kit for name, target in TABLE.items() if target.kit}


def test_which_targets_have_kits():
    chips = {"ascend310", "ascend310p", "ascend310b"}
    assert KITS.keys() == {"tensorrt", "tensorrt-rtx", "mindspore-lite", "rknn", *chips}
    assert all(kit_of_target(name) is kit for name, kit in KITS.items())
    for name in ("onnx", "wobble"):
        with pytest.raises(KeyError, match=name):
            kit_of_target(name)


@pytest.mark.slow
@pytest.mark.parametrize("kit", dict.fromkeys(KITS.values()), ids=lambda kit: kit.builder)
def test_every_kit_names_its_builder_which_needs_numpy_alone(kit):
    module, _, function = kit.builder.partition(":")
    code = f"""
import inspect, sys
import numpy
lacking = ("onnx", "onnxruntime", "torch", "safetensors", "av", "rich", "r2p_edge.calibration")
sys.modules.update(dict.fromkeys(lacking))
import r2p_edge.export.targets.kit_build
from r2p_edge.export.targets.{module} import {function}
assert list(inspect.signature({function}).parameters) == ["model", "path", "planned", "reference"]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_public_names_are_the_tables():
    assert tuple(TABLE) == TARGETS
    assert TARGETS[0] == "onnx"
    assert all(target.name == name for name, target in TABLE.items())


def test_what_is_built_for_mindspore(monkeypatch):
    monkeypatch.delenv("R2P_CONVERTER_LITE", raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    known = {"mindspore"}

    def find_spec(name):
        return object() if name in known else None

    with installed():
        monkeypatch.setattr("importlib.util.find_spec", find_spec)
        assert target_here("mindspore") is TABLE["mindspore"]
        known.add("mindspore_lite")
        assert target_here("mindspore") is TABLE["mindspore-lite"]
        monkeypatch.setenv("FAKE_LITE_WITHOUT_CONVERTER", "1")
        assert target_here("mindspore") is TABLE["mindspore"]
    known.clear()
    monkeypatch.setitem(sys.modules, "mindspore_lite", None)
    assert target_here("mindspore") is TABLE["mindspore-lite"]
    assert target_here("onnx") is TABLE["onnx"]
