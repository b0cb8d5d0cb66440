"""A trained model becomes an artifact: checkpoints in, ONNX and what is built from it out.

Importing this package imports neither onnx nor torch; using one of its functions does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r2p_edge.export.graph.conv2d.rewrite import conv2d_from_conv3d
    from r2p_edge.export.graph.operators import check_ops
    from r2p_edge.export.targets.mindspore.export import mindspore_from_onnx
    from r2p_edge.export.targets.mindspore_lite.export import mindspore_lite_from_onnx
    from r2p_edge.export.targets.onnx import onnx_from_checkpoint, onnx_from_onnx, onnx_from_torch
    from r2p_edge.export.targets.openvino import openvino_from_onnx
    from r2p_edge.export.targets.tensorrt.export import tensorrt_from_onnx

TARGETS = (
    "onnx", "openvino", "tensorrt",
    "mindspore", "mindspore-lite", "ascend310", "ascend310p", "ascend310b",
)  # fmt: skip
"""What `r2p-edge export --to` can make; here, because the command line lists them at every start,
which need not load the exporters."""

_HOMES = {
    "check_ops": "graph.operators",
    "conv2d_from_conv3d": "graph.conv2d.rewrite",
    "mindspore_from_onnx": "targets.mindspore.export",
    "mindspore_lite_from_onnx": "targets.mindspore_lite.export",
    "onnx_from_checkpoint": "targets.onnx",
    "onnx_from_onnx": "targets.onnx",
    "onnx_from_torch": "targets.onnx",
    "openvino_from_onnx": "targets.openvino",
    "tensorrt_from_onnx": "targets.tensorrt.export",
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
    "tensorrt_from_onnx",
]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
