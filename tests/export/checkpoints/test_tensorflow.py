"""TensorFlow's checkpoints, on one that TensorFlow wrote, and on damaged copies of it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from networks import FLOAT, spec_for
from paths import ROOT
from refusals import refusal
from requirements import needs

from r2p_edge.export.build import build
from r2p_edge.export.checkpoints.crc32c import crc32c, unmasked
from r2p_edge.export.checkpoints.dialects import canonical_parameters
from r2p_edge.export.checkpoints.read import read_checkpoint
from r2p_edge.export.checkpoints.sorted_table import table_entries
from r2p_edge.export.checkpoints.tensorflow import with_torch_names
from r2p_edge.export.verify.ort_session import open_session, run_session

FOLDER = ROOT / "tests" / "fixtures" / "tensorflow-i3d"
INDEX, DATA = "model.ckpt.index", "model.ckpt.data-00000-of-00001"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The index of a copy."""
    for file in (INDEX, DATA):
        shutil.copy(FOLDER / file, tmp_path)
    return tmp_path / INDEX


def test_variables_become_parameters() -> None:
    read = read_checkpoint(FOLDER / INDEX)
    assert (read.file, read.format) == (INDEX, "tensorflow")
    both = (FOLDER / INDEX).read_bytes() + (FOLDER / DATA).read_bytes()
    assert read.sha256 == hashlib.sha256(both).hexdigest()
    # 58 convolutions, 57 norms of four arrays, a bias, and the step; no slots of the optimiser.
    assert len(read.parameters) == 58 + 4 * 57 + 1 + 1
    first = "RGB.inception_i3d.Conv3d_1a_7x7"
    assert read.parameters[f"{first}.conv_3d.weight"].shape == (1, 3, 7, 7, 7)
    np.testing.assert_array_equal(read.parameters[f"{first}.batch_norm.weight"], [1])
    last = "RGB.inception_i3d.Mixed_5c.Branch_0.Conv3d_0a_1x1.batch_norm.bias"
    assert read.parameters[last].shape == (1,)
    named = canonical_parameters(read.parameters)
    assert (named.family.name, named.network().classes) == ("deepmind-i3d", 3)
    assert named.head.modules == ("RGB.inception_i3d.Logits.Conv3d_0c_1x1.conv_3d",)


@needs("onnx")
@needs("onnxruntime")
@pytest.mark.slow
@pytest.mark.parametrize("frames", [16, 17])
def test_the_network_answers_as_tensorflow_does(frames: int) -> None:
    from r2p_edge.export.graph.r2plus1d import onnx_from_parameters

    named = canonical_parameters(read_checkpoint(FOLDER / INDEX).parameters)
    clip = np.random.default_rng(frames).standard_normal((1, frames, 224, 224, 3))
    spec = spec_for(3, frames=frames, size=224, input=FLOAT)
    model = onnx_from_parameters(named.parameters, named.network(), spec)
    found = run_session(
        open_session(model.SerializeToString()),
        np.ascontiguousarray(clip.astype(np.float32).transpose(0, 4, 1, 2, 3)),
    )
    expected = json.loads((FOLDER / "logits.json").read_text())[str(frames)]
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)


@needs("onnx")
@needs("onnxruntime")
@pytest.mark.slow
def test_it_is_exported(tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\nc\n")
    (built,) = build(
        FOLDER / INDEX,
        out=tmp_path / "out",
        targets=["onnx"],
        preset="kinetics400-i3d",
        labels=labels,
        frames=9,
    ).built
    assert built.spec.source is not None
    assert built.spec.source["dialect"] == "deepmind-i3d"
    assert built.spec.arch == "i3d"


def test_a_missing_or_short_data_file(copied: Path) -> None:
    data = copied.with_name(DATA)
    data.write_bytes(data.read_bytes()[:-4])
    assert "the file ends in the middle of a tensor" in refusal(copied)
    data.unlink()
    assert f"{DATA} is not beside the index, and holds its numbers" in refusal(copied)


def test_a_changed_number_is_found(copied: Path) -> None:
    data = copied.with_name(DATA)
    content = bytearray(data.read_bytes())
    content[-20] ^= 1  # of the last kernel or norm, behind which the step lies
    data.write_bytes(content)
    assert "is another than that of the index; copy all files" in refusal(copied)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:-1], "does not end as a table of LevelDB's does"),
        (lambda data: data[1:], "the checksum of the block at byte 0 is another|not in it"),
        (lambda data: bytes([*data[:100], data[100] ^ 1, *data[101:]]), "checksum of the block"),
        (lambda data: b"nonsense", "does not end as a table"),
        (lambda data: b"", "the file is empty"),
        (lambda data: data[:-48] + b"\xff" * 40 + data[-8:], "cut off or too long"),
    ],
    ids=["end", "beginning", "bit", "text", "empty", "footer"],
)
def test_a_damaged_index(copied: Path, change: Callable[[bytes], bytes], words: str) -> None:
    copied.write_bytes(change(copied.read_bytes()))
    assert re.search(words, refusal(copied))


def entries(**changes: bytes) -> dict[bytes, bytes]:
    """Return a small index: its header, and one variable of two numbers."""
    found = {
        b"": b"\x08\x01",
        b"fc/b": b"\x08\x01\x12\x04\x12\x02\x08\x02\x28\x08\x35\x00\x00\x00\x00",
    }
    return found | {key.encode(): value for key, value in changes.items()}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"": b"\x08\x00"}, "says that there are 0 data files"),
        ({"": b"\x08\x01\x10\x01"}, "big-endian"),
        ({"fc/w": b"\x08\x01\x3a\x00"}, "stored in slices; save the checkpoint without part"),
        ({"fc/w": b"\x08\x08"}, "type 8 of TensorFlow's"),
        ({"fc/w": b"\x08\x01\x18\x05"}, "in a data file that there is none of"),
        ({"fc/w": b"\x08\x01\x12\x02\x18\x01"}, "the shape of a variable is unknown"),
        ({"fc/w": b"\x08\x01\x12\x04\x12\x02\x08\x03\x28\x08"}, "of shape .3,. but has 8 bytes"),
        ({"fc/w": b"\x08\x01\x12\x04\x12\x02\x08\x02\x28\x08"}, "two tensors share the same"),
        ({"fc/w": b"\x08\x01\x12" + bytes([66]) + b"\x12\x00" * 33}, "more than 32 axes"),
    ],
)
def test_indexes_that_say_what_cannot_be(copied: Path, changes: dict, words: str) -> None:
    sys.path.append(str(ROOT / "tests" / "fuzz"))
    from trees import TABLE, Element

    table = sorted(entries(**changes).items())
    copied.write_bytes(TABLE.join([Element(key, value) for key, value in table]))
    assert re.search(words, refusal(copied))


def test_a_table_of_several_blocks_is_read_in_order() -> None:
    keys = [key for key, _ in table_entries((FOLDER / INDEX).read_bytes())]
    assert keys == sorted(keys)
    assert keys[0] == b""


def test_names_of_other_layers() -> None:
    arrays = {
        "dense/kernel": np.ones((4, 3), np.float32),
        "dense/bias": np.ones(3, np.float32),
        "norm/gamma": np.full((1, 1, 1, 1, 3), 2, np.float32),
        "norm/moving_mean": np.ones((1, 1, 1, 1, 3), np.float32),
        "step": np.array(3),
    }
    found = with_torch_names(arrays)
    assert {name: array.shape for name, array in found.items()} == {
        "dense.weight": (3, 4),
        "dense.bias": (3,),
        "norm.weight": (3,),
        "norm.running_mean": (3,),
        "step": (),
    }
    assert found["norm.weight"][0] == 2


def test_checksums() -> None:
    # RFC 3720, appendix B.4, and the check value of the catalogue of CRCs.
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(b"") == 0
    # In lanes and byte by byte, which joins are to equal.
    data = np.random.default_rng(0).bytes(20_011)
    whole = crc32c(data)
    assert whole != crc32c(data[:-1])
    assert crc32c(bytes(4096 * 3 + 5)) == _slow(bytes(4096 * 3 + 5))
    assert whole == _slow(data)
    assert unmasked((((whole >> 15) | (whole << 17)) + 0xA282EAD8) & 0xFFFFFFFF) == whole


def _slow(data: bytes) -> int:
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF
