"""NVIDIA's own ONNX parser and builder, those of TensorRT for RTX, which need no GPU.

Or the stand-in for them, where that is installed.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import onnx
from onnx import TensorProto, helper

CHIPS = ("sm75", "sm80", "sm86", "sm89", "sm120", "sm121")


class Outcome(NamedTuple):
    """The plan, None if the model was refused; what was said, and how often."""

    plan: bytes | None
    errors: str
    warnings: Counter[str]


def build(model: onnx.ModelProto | bytes, chips: Sequence[str] = ("sm86",)) -> Outcome:
    """Parse a model and build an engine of it for some chips, as the package does."""
    import tensorrt_rtx as trt

    logger = _logger(trt)
    logger.said.clear()
    content = model if isinstance(model, bytes) else model.SerializeToString()
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    plan = None
    if parser.parse(content):
        plan = builder.build_serialized_network(network, _config(trt, builder, chips))
    kinds = {
        kind: [text for severity, text in logger.said if severity in kind]
        for kind in (("ERROR", "INTERNAL_ERROR"), ("WARNING",))
    }
    errors, warnings = kinds.values()
    if plan is None:
        _build_something(trt)
        return Outcome(None, " / ".join(errors), Counter(warnings))
    return Outcome(bytes(plan), " / ".join(errors), Counter(warnings))


def _config(trt: Any, builder: Any, chips: Sequence[str]) -> Any:
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    config.num_compute_capabilities = len(chips)
    for index, chip in enumerate(chips):
        capability = trt.ComputeCapability(int(chip.removeprefix("sm")))
        assert config.set_compute_capability(capability, index)
    return config


def _build_something(trt: Any) -> None:
    """Build one layer, since the build after one that failed says nothing of what it warns of."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 4)) for name in "xy"]
    relu = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "one", ends[:1], ends[1:])
    model = helper.make_model(relu, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    builder = trt.Builder(_logger(trt))
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, _logger(trt))
    assert parser.parse(model.SerializeToString())
    builder.build_serialized_network(network, _config(trt, builder, ["sm86"]))


@functools.cache
def _logger(trt: Any) -> Any:
    """Return the one logger of a module, which keeps what it is told."""

    class Keeper(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.said: list[tuple[str, str]] = []

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            self.said.append((severity.name, " ".join(msg.split())))

    return Keeper()
