"""Checkpoints under the names and in the formats of those who train."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

_MINDSPORE = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def renamed(parameters: dict[str, np.ndarray], *rules: tuple[str, str]) -> dict[str, np.ndarray]:
    """Apply regular-expression rules to the names, in turn."""
    result = {}
    for name, array in parameters.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        result[name] = array
    return result


def to_torchvision(parameters: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return parameters of canonical names under torchvision's."""
    return renamed(
        parameters,
        (r"^(layer\d\.\d)\.bn(\d)\.", r"\1.conv\2.1."),
        (r"^(layer\d\.\d)\.conv(\d)\.conv1\.", r"\1.conv\2.0.0."),
        (r"^(layer\d\.\d)\.conv(\d)\.bn1\.", r"\1.conv\2.0.1."),
        (r"^(layer\d\.\d)\.conv(\d)\.conv2\.", r"\1.conv\2.0.3."),
        (r"^conv1\.", "stem.0."),
        (r"^bn1\.", "stem.1."),
        (r"^conv2\.", "stem.3."),
        (r"^bn2\.", "stem.4."),
    )


def mindspore_names(parameters: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return canonically named parameters under the names of mindspore-ai/models."""
    found = {}
    for name, array in parameters.items():
        module, leaf = name.rsplit(".", 1)
        norm = array.ndim == 1 and module != "fc"
        found[f"{module}.bn2d.{_MINDSPORE[leaf]}" if norm else name] = array
    return found


def write_mindspore_ckpt(path: Path, parameters: dict[str, np.ndarray]) -> Path:
    """Write arrays as MindSpore's save_checkpoint does."""
    content = bytearray()
    for name, array in parameters.items():
        dims = b"".join(b"\x08" + _varint(size) for size in array.shape)
        tensor = dims + _field(2, b"Float32") + _field(3, array.astype("<f4").tobytes())
        content += _field(1, _field(1, name.encode()) + _field(2, tensor))
    path.write_bytes(content)
    return path


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload
