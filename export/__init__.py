"""A trained model becomes an artifact: checkpoints in, ONNX and what is built from it out.

Importing this package imports neither onnx nor torch; using one of its functions does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .conv2d import conv2d_from_conv3d
    from .operators import check_ops
    from .to_mindspore import mindspore_from_onnx
    from .to_mindspore_lite import mindspore_lite_from_onnx
    from .to_onnx import onnx_from_checkpoint, onnx_from_onnx, onnx_from_torch
    from .to_openvino import openvino_from_onnx
    from .to_tensorrt import tensorrt_from_onnx

TARGETS = (
    "onnx", "openvino", "tensorrt",
    "mindspore", "mindspore-lite", "ascend310", "ascend310p", "ascend310b",
)  # fmt: skip
"""What `r2p-edge export --to` can make; here, because the command line lists them at every start,
which need not load the exporters."""

_HOMES = {
    "check_ops": "operators",
    "conv2d_from_conv3d": "conv2d",
    "mindspore_from_onnx": "to_mindspore",
    "mindspore_lite_from_onnx": "to_mindspore_lite",
    "onnx_from_checkpoint": "to_onnx",
    "onnx_from_onnx": "to_onnx",
    "onnx_from_torch": "to_onnx",
    "openvino_from_onnx": "to_openvino",
    "tensorrt_from_onnx": "to_tensorrt",
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
