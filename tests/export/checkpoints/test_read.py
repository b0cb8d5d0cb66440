"""Checkpoint files of PyTorch and safetensors, and how files are told apart."""

from __future__ import annotations

import argparse
import builtins
import hashlib
import json
import pickle
import random
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from refusals import refusal
from requirements import needs

from r2p_edge.errors import CheckpointError, MissingDependencyError, ModelNotFoundError
from r2p_edge.export.checkpoints.read import read_checkpoint

ARRAYS = {
    "conv1.weight": np.arange(54, dtype=np.float32).reshape(2, 3, 1, 3, 3),
    "fc.bias": np.array([0.5, -1], np.float32),
}


def state() -> dict[str, Any]:
    import torch

    return OrderedDict((name, torch.from_numpy(array.copy())) for name, array in ARRAYS.items())


def assert_arrays(parameters: dict[str, np.ndarray]) -> None:
    assert list(parameters) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert parameters[name].dtype == array.dtype
        np.testing.assert_array_equal(parameters[name], array)


@needs("torch")
@pytest.mark.parametrize("name", ["model.pth", "model.pt", "lightning.ckpt", "no_suffix"])
@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files_whatever_their_name(tmp_path: Path, name: str, zipped: bool) -> None:
    import torch

    path = tmp_path / name
    torch.save(state(), path, _use_new_zipfile_serialization=zipped)
    checkpoint = read_checkpoint(str(path))
    assert_arrays(checkpoint.parameters)
    assert (checkpoint.file, checkpoint.format) == (name, "torch")
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@needs("torch")
@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"epoch": 3, "state_dict": s, "optimizer": {"state": {}, "param_groups": []}},
        lambda s: {"model_state": s, "loss": s["fc.bias"]},
        lambda s: {"model": {"state_dict": s}, "best": 0.5},
        lambda s: {f"module.{name}": tensor for name, tensor in s.items()},
        lambda s: {f"_orig_mod.module.{name}": tensor for name, tensor in s.items()},
        lambda s: {"state_dict": {f"net.backbone.{name}": tensor for name, tensor in s.items()}},
        lambda s: {**s, "version": 2},
    ],
)
def test_wrapped_state_dicts_are_opened(tmp_path: Path, wrap: Any) -> None:
    import torch

    torch.save(wrap(state()), tmp_path / "model.pth")
    assert_arrays(read_checkpoint(tmp_path / "model.pth").parameters)


@needs("torch")
def test_torch_types(tmp_path: Path) -> None:
    import torch

    numbers = torch.tensor([1.5, -2.25, 100])
    kinds = ["float16", "bfloat16", "float32", "float64", "int32", "int64", "uint8", "bool"]
    saved = {f"a.{kind}": numbers.to(getattr(torch, kind)) for kind in kinds}
    torch.save(saved, tmp_path / "model.pth")
    found = read_checkpoint(tmp_path / "model.pth").parameters
    assert list(found) == list(saved)
    for name, tensor in saved.items():
        kind = name[2:]
        assert found[name].dtype == np.dtype("float32" if "float" in kind else kind)
        np.testing.assert_array_equal(found[name], tensor.to(torch.float64).numpy())


class Harmful:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.file), "w")


@needs("torch")
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path, zipped: bool) -> None:
    import torch

    mark = tmp_path / "mark"
    content = {"state_dict": state(), "note": Harmful(mark)}
    torch.save(content, tmp_path / "model.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"model\.pth: .* was not opened; .*state_dict"):
        read_checkpoint(tmp_path / "model.pth")
    assert not mark.exists()


@needs("torch")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: __import__("torch").nn.Linear(2, 2), r"torch\.nn\.modules\.linear\.Linear"),
        (lambda: {"args": argparse.Namespace(lr=1), "model": state()}, r"argparse\.Namespace"),
        (lambda: [1, 2], "contains a list and no parameters"),
        (lambda: {"epoch": 1, "best": 2.0}, "a dict of epoch, best and no parameters"),
        (lambda: {"w": state()["fc.bias"].to_sparse()}, "tensor w is"),
    ],
)
def test_torch_files_without_a_state_dict(tmp_path: Path, content: Any, message: str) -> None:
    import torch

    torch.save(content(), tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(tmp_path / "model.pth")
    assert "\n" not in str(caught.value)


@needs("torch")
@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_torch_files(tmp_path: Path, zipped: bool) -> None:
    import torch

    path = tmp_path / "model.pth"
    torch.save(state(), path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    rng = random.Random(0)
    cuts = sorted(rng.sample(range(1, len(content)), 60))
    for cut in cuts:
        path.write_bytes(content[:cut])
        reason = refusal(path)
        assert reason
        assert "\n" not in reason


def test_torch_file_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_torch(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "torch":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_torch)
    (tmp_path / "model.pth").write_bytes(b"PK\x03\x04" + bytes(60))
    with pytest.raises(MissingDependencyError, match=r'pip install "r2p_edge\[torch\]"'):
        read_checkpoint(tmp_path / "model.pth")


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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (safetensors({"w": entry(0, 4)}), "ends after the file"),
        (safetensors({"w": entry(0, 4)}, bytes(4))[:20], "in the middle of its header"),
        (safetensors({"w": entry(0, 4, shape=(2,))}, bytes(4)), "shape .2,. but has 4 bytes"),
        (safetensors({"w": entry(4, 0)}, bytes(4)), "ends after the file"),
        (safetensors({"w": entry(0, 4, dtype="F8_E4M3")}, bytes(4)), "type F8_E4M3"),
        (safetensors({"w": entry(0, 4), "v": entry(2, 6)}, bytes(6)), "share the same bytes"),
        (safetensors({"w": entry("a", None)}), "header is damaged"),
        (safetensors({"w": entry(0, 4, shape="x")}, bytes(4)), "header is damaged"),
        (safetensors({"w": 3}), "header is damaged"),
        (safetensors({"w": entry(0, 4.0)}, bytes(4)), "header is damaged"),
        (safetensors({"w": entry(0, 4, shape=(1.9,))}, bytes(4)), "header is damaged"),
        (safetensors({"w": entry(0, 4, shape=(True,))}, bytes(4)), "header is damaged"),
        (safetensors({"w": entry(False, 4)}, bytes(4)), "header is damaged"),
        (safetensors({"w": entry(0, float("inf"))}, bytes(4)), "header is damaged"),
        (
            safetensors(b'{"w":{"dtype":"F32","shape":[1e999],"data_offsets":[0,4]}}', bytes(4)),
            "header is damaged",
        ),
        (safetensors({"w": entry(0, 0, shape=(0, 10**400))}), "impossible shape"),
        (safetensors({"w": entry(0, 10**400)}, bytes(4)), "ends after the file"),
        (safetensors(b'{"w":'), "header is damaged"),
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html>", "web page"),
        (b"\x08\x07\x12\x07pytorch", "ONNX model as such"),
        pytest.param(
            pickle.dumps([1], 2), "cannot be read as a PyTorch checkpoint", marks=needs("torch")
        ),
    ],
)
def test_files_that_are_no_checkpoint(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "model.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(tmp_path / "model.pth")
    assert str(caught.value).startswith("checkpoint model.pth: ")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="does not exist"):
        read_checkpoint(tmp_path / "none.ckpt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(tmp_path)


def test_a_prefix_stays_where_names_would_lose_their_layer(tmp_path: Path) -> None:
    content = safetensors({"fc.weight": entry(0, 4), "fc.bias": entry(4, 8)}, bytes(8))
    (tmp_path / "head.safetensors").write_bytes(content)
    parameters = read_checkpoint(tmp_path / "head.safetensors").parameters
    assert set(parameters) == {"fc.weight", "fc.bias"}


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
