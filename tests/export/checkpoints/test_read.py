"""Files that are not checkpoints, and names as they are."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from r2p_edge.errors import CheckpointError, ModelNotFoundError
from r2p_edge.export.checkpoints.read import read_checkpoint

ARRAYS = {
    "conv1.weight": np.arange(54, dtype=np.float32).reshape(2, 3, 1, 3, 3),
    "fc.bias": np.array([0.5, -1], np.float32),
}


def safetensors(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(begin: Any, end: Any, shape: Any = (1,), dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def tar_file():
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("model.pth"))
        return file.getvalue()


def npy_file():
    with io.BytesIO() as file:
        np.save(file, np.ones(3))
        return file.getvalue()


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
        (b'<?xml version="1.0"?>\n<net name="a">', "built for one runtime; give the checkpoint or"),
        (
            b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code></Error>',
            "a message in XML, such as a storage service's error; download the file itself",
        ),
        (b'{"error": "Repository not found"}', "a message in JSON, .*; download the file itself"),
        (
            b'{"metadata": {}, "weight_map": {}}',
            "is an index of the files of a model; join the parts",
        ),
        (b"\x08\x07\x12\x07pytorch", "is an ONNX model, whole or damaged; one that is"),
        (
            b"\x01\x02\x03\x04",
            r"no known format \(it begins with the bytes 01 02 03 04\), and a ch",
        ),
        (bz2.compress(b"weights"), "a bzip2 archive; unpack it, and give the file in it"),
        (gzip.compress(b"weights", mtime=0), "a gzip archive; unpack it"),
        (lzma.compress(b"weights"), "an xz archive; unpack it"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "a 7z archive; unpack it"),
        (b"Rar!\x1a\x07\x01\0", "a RAR archive; unpack it"),
        (tar_file(), "a tar archive; unpack it"),
        (npy_file(), "one array of NumPy's; save all weights by name"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "is a video; the model comes first"),
        (bytes(3000), "a row of zeros, as an interrupted copy leaves it; copy it"),
        (
            b"import torch\n\nclass Net:\n",
            'is text that begins with "import torch", and a checkpoint of MindSpore.* was expected',
        ),
        (pickle.dumps([1], 2), "contains a list and no parameters"),
        (
            pickle.dumps({"state": {}, "param_groups": []}, 2),
            "is the state of an optimiser .*; give the file of weights that was saved beside it",
        ),
        (
            b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x18sklearn.ensemble._forest",
            "a model of scikit-learn",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "content",
)
def test_files_that_are_no_checkpoint(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "model.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(tmp_path / "model.pth")
    assert str(caught.value).startswith("checkpoint model.pth: ")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="does not exist"):
        read_checkpoint(tmp_path / "none.ckpt")
    with pytest.raises(CheckpointError, match="is a folder without a checkpoint"):
        read_checkpoint(tmp_path)
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(CheckpointError, match=r"pipe\.pth is no ordinary file, but a pipe"):
        read_checkpoint(tmp_path / "pipe.pth")


def test_names_are_those_of_the_file(tmp_path: Path) -> None:
    content = safetensors({"module.fc.weight": entry(0, 4), "fc.bias": entry(4, 8)}, bytes(8))
    (tmp_path / "head.safetensors").write_bytes(content)
    parameters = read_checkpoint(tmp_path / "head.safetensors").parameters
    assert list(parameters) == ["module.fc.weight", "fc.bias"]
