"""Checkpoint files of PyTorch."""

from __future__ import annotations

import argparse
import hashlib
import random
import re
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from refusals import refusal
from requirements import needs

from r2p_edge.errors import CheckpointError
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
    """An object that makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.file), "w")


@needs("torch")
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_not_run(tmp_path: Path, zipped: bool) -> None:
    import torch

    mark = tmp_path / "mark"
    content = {"note": Harmful(mark), "state_dict": state()}
    torch.save(content, tmp_path / "model.pth", _use_new_zipfile_serialization=zipped)
    assert_arrays(read_checkpoint(tmp_path / "model.pth").parameters)
    assert not mark.exists()


@needs("torch")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: [1, 2], "contains a list and no parameters"),
        (lambda: argparse.Namespace(lr=1), r"contains a (copyreg|argparse)\.\w+ and no parameters"),
        (lambda: {"epoch": 1, "best": 2.0}, "a dict of epoch, best and no parameters"),
        (lambda: {"w": state()["fc.bias"].to_sparse()}, "tensor w is sparse; save"),
        (
            lambda: {"w": state()["fc.bias"].to("meta")},
            "tensor w is without numbers; it was saved from",
        ),
        (
            lambda: {"w": __import__("torch").zeros(3).to(__import__("torch").float8_e5m2)},
            "tensor w is float8_e5m2; save",
        ),
        (
            lambda: {"model": state(), "model_ema": state(), "loss": state()["fc.bias"]},
            r"several sets of weights; choose one of model \(2 tensors\), model_ema \(2 tensors\) "
            "with --weights-key",
        ),
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


@needs("torch")
def test_torch_file_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    torch.save(state(), tmp_path / "model.pth")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert_arrays(read_checkpoint(tmp_path / "model.pth").parameters)


def rewritten(path: Path, ending: str, content: bytes, method: int = zipfile.ZIP_STORED) -> None:
    """Replace the member of an archive whose name ends so."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, before in members.items():
            archive.writestr(name, content if name.endswith(ending) else before)


@needs("torch")
def test_a_file_that_would_unpack_to_more_than_it_has(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "model.pth"
    torch.save(state(), path)
    rewritten(path, "data/0", bytes(1 << 26), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    assert re.search(r"is compressed \(\d+ bytes of \d+\), and torch.save", refusal(path))


@needs("torch")
def test_a_tensor_of_more_bytes_than_the_file(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "model.pth"
    torch.save({"fc.weight": torch.zeros(1).expand(1 << 42)}, path)
    assert "fc.weight has 4398046511104 numbers, of which the file holds 1" in refusal(path)


@needs("torch")
def test_dicts_in_dicts_without_end(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "model.pth"
    torch.save(state(), path)
    depth = 100_000
    nested = b"\x80\x02" + b"}X\x0a\x00\x00\x00state_dict" * depth + b"}" + b"s" * depth + b"."
    rewritten(path, "data.pkl", nested)
    assert "contains a dict of state_dict and no parameters by name" in refusal(path)


def _damaged(path: Path, record: str) -> Path:
    """Change a byte within a record of an archive."""
    with zipfile.ZipFile(path) as archive:
        (info,) = [each for each in archive.infolist() if each.filename.endswith(record)]
    content = bytearray(path.read_bytes())
    name, extra = (content[info.header_offset + at] for at in (26, 28))
    extra += content[info.header_offset + 29] << 8
    content[info.header_offset + 30 + name + extra + 5] ^= 0x55
    path.write_bytes(content)
    return path


@needs("torch")
@pytest.mark.parametrize(
    ("record", "part"),
    [("data/0", "tensor conv1.weight"), ("data/1", "tensor fc.bias"), ("data.pkl", "its record")],
)
def test_bytes_other_than_those_that_were_saved(tmp_path: Path, record: str, part: str) -> None:
    import torch

    torch.save(state(), tmp_path / "model.pth")
    path = _damaged(tmp_path / "model.pth", record)
    with pytest.raises(CheckpointError, match=rf"checkpoint model.pth: {part}.* is damaged: its C"):
        read_checkpoint(path)


@needs("torch")
def test_archives_without_crcs_are_read(tmp_path: Path) -> None:
    import torch

    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state(), tmp_path / "model.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert_arrays(read_checkpoint(tmp_path / "model.pth").parameters)
