"""The table of targets. A new target is a file in this package and a row here."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from r2p_edge.artifact.open import open_artifact
from r2p_edge.errors import ModelError
from r2p_edge.export.targets.base import Kit, Target
from r2p_edge.runtimes.rknn.chips import ROCKCHIPS
from r2p_edge.spec import ModelSpec
from r2p_edge.spec.per_frame import PER_FRAME, SEMI_CAUSAL

_LITE_KIT = Kit("mindspore_lite or converter_lite", "mindspore_lite.build:build_lite_of_kit")

_ascend = partial(
    Target,
    builder="mindspore_lite.export:lite_artifact",
    precisions=("fp16",),
    input="float32",
    kit=_LITE_KIT,
)

_ROWS = (
    Target(
        "onnx",
        "onnx:onnx_artifact",
        ("fp32", "int8"),
        quantized="cpu",
        open_batch=True,
        further=True,
        stateful=(PER_FRAME, SEMI_CAUSAL),
    ),
    Target(
        "openvino",
        "openvino:openvino_artifact",
        ("fp32", "fp16", "int8"),
        quantized="cpu",
        open_batch=True,
        further=True,
        stateful=(PER_FRAME, SEMI_CAUSAL),
    ),
    # Intel's NPU computes in fp16, and its compiler takes 3-D convolutions apart.
    Target(
        "openvino-npu",
        "openvino:openvino_npu_artifact",
        ("fp16",),
        graph="conv2d",
        further=True,
    ),
    Target(
        "tensorrt",
        "tensorrt.export:tensorrt_artifact",
        ("fp32", "fp16", "int8"),
        quantized="tensorrt",
        stateful=(PER_FRAME,),
        kit=Kit("tensorrt or trtexec", "tensorrt.engine:build_engine_of_kit"),
    ),
    Target(
        "tensorrt-rtx",
        "tensorrt_rtx.export:rtx_artifact",
        ("fp32", "fp16", "int8"),
        quantized="tensorrt",
        kit=Kit("tensorrt_rtx", "tensorrt_rtx.engine:build_rtx_of_kit"),
        chips=("sm75", "sm80", "sm86", "sm89", "sm120", "sm121"),
    ),
    # MindSpore runs 3-D convolutions in two thirds of the time of the other form.
    Target("mindspore", "mindspore.export:mindspore_artifact", ("fp32",)),
    # Ascend has not been seen to take uint8 yet; MindSpore Lite 2.0 does on the CPU, with --input.
    Target(
        "mindspore-lite",
        "mindspore_lite.export:lite_artifact",
        ("fp32", "int8"),
        graph="conv2d",
        input="float32",
        quantized="tool",
        max_clips=32,
        kit=_LITE_KIT,
    ),
    # Whether the tools of a release take their 3-D convolutions shows where they run.
    _ascend("ascend310", second="conv2d"),
    _ascend("ascend310p", second="conv2d"),
    _ascend("ascend310b", graph="conv2d"),
    Target(
        "rknn",
        "rknn.export:rknn_artifact",
        ("fp16", "int8"),
        graph="conv2d",
        input="float32",
        quantized="tool",
        max_clips=32,
        kit=Kit(
            "rknn-toolkit2, in this Python or the one that R2P_RKNN_PYTHON names",
            "rknn.build:build_rknn_of_kit",
        ),
        chips=tuple(ROCKCHIPS),
        simulated=True,
    ),
)

TABLE: Mapping[str, Target] = {target.name: target for target in _ROWS}
"""The targets by name; listing them imports no library."""


def contract_for(target: str, source: str | Path) -> ModelSpec:
    """Return the contract of an ONNX artifact that a target is to be made from.

    Args:
        target: name in `TABLE`.
        source: the ONNX file.

    Raises:
        ModelError, SpecError: see `open_artifact`; or it has further outputs, and the target none.
    """
    spec = open_artifact(source).spec
    if spec.feature_outputs is not None and not TABLE[target].further:
        raise ModelError(
            f"{source} has further outputs, which {target} cannot have; export it from the model "
            "that it was made from, or with r2p-edge export, which leaves them out"
        )
    return spec


def kit_of_target(name: str) -> Kit:
    """Return the facts of the kits of a target.

    Raises:
        KeyError: no target has that name, or it has no kits.
    """
    kit = TABLE[name].kit
    if kit is None:
        raise KeyError(name)
    return kit


def target_here(name: str) -> Target:
    """Return the target that this machine builds under a name of the table.

    "mindspore" is MindSpore Lite where its converter is installed, else the framework, else a kit
    for the former.

    Raises:
        UsageError: R2P_CONVERTER_LITE names no program.
    """
    if name != "mindspore":
        return TABLE[name]
    if importlib.util.find_spec("mindspore_lite"):
        from r2p_edge.export.targets.mindspore_lite.converter import find_converter

        if find_converter() is not None:
            return TABLE["mindspore-lite"]
    framework = importlib.util.find_spec("mindspore") is not None
    return TABLE["mindspore" if framework else "mindspore-lite"]
