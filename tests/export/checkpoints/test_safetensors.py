"""Safetensors files, and headers that are damaged or look like other files."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from refusals import refusal
from requirements import needs

from r2p_edge.export.checkpoints.read import read_checkpoint

ARRAYS = {
    "conv1.weight": np.arange(54, dtype=np.float32).reshape(2, 3, 1, 3, 3),
    "fc.bias": np.array([0.5, -1], np.float32),
}


@needs("safetensors")
def test_safetensors(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "model.safetensors"
    arrays = {**ARRAYS, "fc.half": np.array([1.5], np.float16), "fc.count": np.array([3])}
    save_file(arrays, path, metadata={"format": "pt"})
    checkpoint = read_checkpoint(path)
    assert checkpoint.format == "safetensors"
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert set(checkpoint.parameters) == set(arrays)
    for name, array in arrays.items():
        assert checkpoint.parameters[name].dtype == ("int64" if name == "fc.count" else "float32")
        np.testing.assert_array_equal(checkpoint.parameters[name], array)


@needs("safetensors")
def test_parameters_without_numbers(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({name: array[:0] for name, array in ARRAYS.items()}, tmp_path / "m.safetensors")
    message = refusal(tmp_path / "m.safetensors")
    assert "2 of the 2 parameters, such as conv1.weight, have no numbers" in message
    assert "FSDP's with python -m torch.distributed" in message


# Lengths whose bytes, little-endian, are how a pickle, a protobuf message and a web page start.
@pytest.mark.parametrize("length", [0x280, 0x480, 0x10A, 0x23C])
def test_safetensors_headers_that_look_like_other_files(tmp_path: Path, length: int) -> None:
    text = json.dumps({"fc.weight": entry(0, 4)}).encode().ljust(length)
    (tmp_path / "model.safetensors").write_bytes(safetensors(text, bytes(4)))
    assert read_checkpoint(tmp_path / "model.safetensors").format == "safetensors"


@needs("torch")
@needs("safetensors")
def test_bfloat16_safetensors(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    tensor = torch.randn(50, generator=torch.Generator().manual_seed(0)).bfloat16()
    save_file({"fc.weight": tensor}, tmp_path / "model.safetensors")
    found = read_checkpoint(tmp_path / "model.safetensors").parameters["fc.weight"]
    np.testing.assert_array_equal(found, tensor.float().numpy())


def safetensors(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(begin: Any, end: Any, shape: Any = (1,), dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_flipped_bits_in_safetensors(tmp_path: Path, seed: int) -> None:
    content = safetensors({"fc.weight": entry(0, 4), "fc.bias": entry(4, 8)}, bytes(8))
    rng = random.Random(seed)
    file = tmp_path / "model.safetensors"
    for _ in range(500):
        flipped = bytearray(content)
        # Not the first byte of the header: without its brace the file is taken for other kinds.
        flipped[rng.randrange(9, len(flipped))] ^= 1 << rng.randrange(8)
        file.write_bytes(flipped)
        assert "\n" not in refusal(file)
