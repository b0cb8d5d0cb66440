"""The table of targets."""

import importlib
import inspect
import sys

import pytest
from fake_mindspore_lite import installed
from requirements import needs

from r2p_edge.export import TARGETS
from r2p_edge.export.targets.table import TABLE, target_here

pytestmark = [needs("onnx"), needs("onnxruntime")]


@pytest.mark.parametrize("target", TABLE.values(), ids=TABLE)
def test_every_row_names_its_builder(target):
    module, _, function = target.builder.partition(":")
    found = getattr(importlib.import_module(f"r2p_edge.export.targets.{module}"), function)
    assert list(inspect.signature(found).parameters) == ["source", "out", "options"]
    assert ("int8" in target.precisions) is (target.quantized is not None)


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
