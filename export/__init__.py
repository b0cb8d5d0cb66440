"""A trained model becomes an artifact: checkpoints in, ONNX and what is built from it out.

Importing this package imports neither onnx nor torch; using one of its functions does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .to_onnx import onnx_from_checkpoint, onnx_from_onnx, onnx_from_torch

__all__ = ["onnx_from_checkpoint", "onnx_from_onnx", "onnx_from_torch"]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name in __all__:
        from . import to_onnx

        return getattr(to_onnx, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
