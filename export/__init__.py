"""Export: a trained checkpoint or ONNX model in, artifacts for runtimes and devices out.

Importing this package imports neither onnx nor torch; using one of its functions does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from r2p_edge.export.targets.table import TABLE

if TYPE_CHECKING:
    from r2p_edge.export.graph.conv2d.rewrite import conv2d_from_conv3d
    from r2p_edge.export.graph.operators import check_ops
    from r2p_edge.export.targets.mindspore.export import mindspore_from_onnx
    from r2p_edge.export.targets.mindspore_lite.export import mindspore_lite_from_onnx
    from r2p_edge.export.targets.onnx import onnx_from_checkpoint, onnx_from_onnx
    from r2p_edge.export.targets.onnx_torch import onnx_from_torch
    from r2p_edge.export.targets.openvino import openvino_from_onnx
    from r2p_edge.export.targets.rknn.export import rknn_from_onnx
    from r2p_edge.export.targets.tensorrt.export import tensorrt_from_onnx
    from r2p_edge.export.targets.tensorrt_rtx.export import tensorrt_rtx_from_onnx

TARGETS = tuple(TABLE)
"""Names that `r2p-edge export --to` takes."""

_HOMES = {
    "check_ops": "graph.operators",
    "conv2d_from_conv3d": "graph.conv2d.rewrite",
    "mindspore_from_onnx": "targets.mindspore.export",
    "mindspore_lite_from_onnx": "targets.mindspore_lite.export",
    "onnx_from_checkpoint": "targets.onnx",
    "onnx_from_onnx": "targets.onnx",
    "onnx_from_torch": "targets.onnx_torch",
    "openvino_from_onnx": "targets.openvino",
    "rknn_from_onnx": "targets.rknn.export",
    "tensorrt_from_onnx": "targets.tensorrt.export",
    "tensorrt_rtx_from_onnx": "targets.tensorrt_rtx.export",
}
__all__ = [
    "TARGETS",
    "check_ops",
    "conv2d_from_conv3d",
    "mindspore_from_onnx",
    "mindspore_lite_from_onnx",
    "onnx_from_checkpoint",
    "onnx_from_onnx",
    "onnx_from_torch",
    "openvino_from_onnx",
    "rknn_from_onnx",
    "tensorrt_from_onnx",
    "tensorrt_rtx_from_onnx",
]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
