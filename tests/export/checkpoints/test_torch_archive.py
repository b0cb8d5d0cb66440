"""Archives and older files under the names of PyTorch's, of which no PyTorch is needed."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from refusals import refusal

from r2p_edge.export.checkpoints.read import read_checkpoint

NET = {"fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "fc.bias": np.ones(2, np.float32)}


def archive(path: Path, records: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in records.items():
            file.writestr(name, content)
    return path


def tensor(key: str, count: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    """Return a pickled tensor of float32."""
    shapes = b"".join(
        b"(" + b"".join(b"K" + bytes([n]) for n in numbers) + b"t" for numbers in (shape, strides)
    )
    name = key.encode()
    storage = b"((X\x07\0\0\0storagectorch\nFloatStorage\nX" + len(name).to_bytes(4, "little")
    storage += name + b"X\x03\0\0\0cpuK" + bytes([count]) + b"tQ"
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + storage + b"K\0" + shapes + b"\x89NtR"


def pickled(**tensors: bytes) -> bytes:
    items = b"".join(
        b"X" + len(name).to_bytes(4, "little") + name.encode() + value
        for name, value in tensors.items()
    )
    return b"\x80\x02}(" + items + b"u."


DATA = pickled(w=tensor("0", 6, (2, 3), (3, 1)))
RECORDS = {
    "net/data.pkl": DATA,
    "net/byteorder": b"little",
    "net/data/0": np.arange(6.0, dtype="f4").tobytes(),
}


def test_an_archive_by_hand(tmp_path):
    found = read_checkpoint(archive(tmp_path / "net.pth", RECORDS)).parameters
    np.testing.assert_array_equal(found["w"], np.arange(6.0, dtype=np.float32).reshape(2, 3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"net/byteorder": b"big"}, "saved on a big-endian machine; load it there"),
        ({"net/data/0": bytes(23)}, "tensor w needs 24 bytes and the file has 23"),
        ({"net/data/0": None}, "lacks its record net/data/0; download it again"),
        ({"net/data.pkl": b"\x80\x02}."}, "a dict of nothing and no parameters"),
        (
            {"net/data.pkl": DATA[:-1]},
            "cannot be read as a PyTorch checkpoint .its pickle is damaged or cut",
        ),
        ({"net/data.pkl": b"\x80\x02K\x01\x93."}, "its pickle is damaged"),
        ({"net/data.pkl": pickled(w=tensor("0", 6, (2, 4), (3, 1)))}, "its pickle is damaged"),
        ({"net/data.pkl": pickled(w=tensor("0", 6, (2,), (3, 1)))}, "its pickle is damaged"),
        ({"net/data.pkl": pickled(w=tensor("0", 6, (9,), (0,)))}, "9 numbers, of which the file h"),
        ({"net/data.pkl": None}, "is a zip archive of net/byteorder, net/data/0, not of PyTorch"),
        (
            {"net/data.pkl": None, "serialized_exported_program.json": b"{}"},
            "a program of torch.export of an older PyTorch; load it",
        ),
        ({"net/data.pkl": None, "model.weights.h5": b""}, "is a Keras model; export it to ONNX"),
        ({"net/data.pkl": None, "w.npy": b""}, "an archive of NumPy arrays"),
    ],
)
def test_archives_that_are_refused(tmp_path, changes, message):
    records = {k: v for k, v in {**RECORDS, **changes}.items() if v is not None}
    path = archive(tmp_path / "net.pth", records)
    with pytest.raises(Exception, match=message):
        read_checkpoint(path)
    assert "\n" not in refusal(path)


def test_records_that_share_bytes(tmp_path):
    """Let two entries of the directory name the same bytes."""
    both = pickled(v=tensor("1", 6, (6,), (1,)), w=tensor("0", 6, (6,), (1,)))
    path = archive(tmp_path / "net.pth", {**RECORDS, "net/data.pkl": both, "net/data/1": bytes(24)})
    content = bytearray(path.read_bytes())
    places = [content.rfind(f"net/data/{key}".encode()) - 46 + 42 for key in "01"]
    first, second = (slice(place, place + 4) for place in places)
    content[second] = content[first]
    path.write_bytes(content)
    assert "two tensors share the same bytes" in refusal(path)


def test_an_archive_in_another_file(tmp_path):
    """Bytes before an archive move its records."""
    path = archive(tmp_path / "net.pth", RECORDS)
    whole = path.read_bytes()
    path.write_bytes(b"PK\x03\x04" + bytes(60) + whole)
    np.testing.assert_array_equal(read_checkpoint(path).parameters["w"].ravel(), np.arange(6.0))


def test_arrays_of_numpy_in_a_pickle(tmp_path):
    network = {**NET, "conv1.weight": np.ones((2, 3, 1, 3, 3), np.float32)}
    (tmp_path / "net.pth").write_bytes(pickle.dumps({"blobs": network}, 2))
    found = read_checkpoint(tmp_path / "net.pth").parameters
    for name, array in network.items():
        np.testing.assert_array_equal(found[name], array)


LEGACY = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True, "type_sizes": {}}]


def legacy(head: list[object], data: bytes, keys: list[str], *storages: bytes) -> bytes:
    pickles = [*(pickle.dumps(each, 2) for each in head), data, pickle.dumps(keys, 2)]
    return b"".join([*pickles, *storages])


STORAGE = (6).to_bytes(8, "little") + np.arange(6, dtype="f4").tobytes()


def test_a_legacy_file_by_hand(tmp_path):
    (tmp_path / "net.pth").write_bytes(legacy(LEGACY, DATA, ["0"], STORAGE))
    found = read_checkpoint(tmp_path / "net.pth").parameters
    np.testing.assert_array_equal(found["w"], np.arange(6, dtype=np.float32).reshape(2, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (legacy([LEGACY[0], 1002, LEGACY[2]], DATA, ["0"], STORAGE), "of an unknown version"),
        (legacy([LEGACY[0], 1001, 5], DATA, ["0"], STORAGE), "of an unknown version"),
        (legacy([*LEGACY[:2], {"little_endian": False}], DATA, ["0"], STORAGE), "big-endian"),
        (legacy(LEGACY, DATA, ["1"], STORAGE), "damaged or truncated"),
        (legacy(LEGACY, DATA, [], STORAGE), "lacks a tensor's numbers"),
        (legacy(LEGACY, DATA, ["0"], STORAGE[:-1]), "tensor w is cut off"),
        (legacy(LEGACY, DATA, ["0"], b"\x07" + STORAGE[1:]), "damaged or truncated"),
        (legacy(LEGACY, DATA, ["0"])[:-2], "its pickle is damaged or cut off"),
    ],
)
def test_legacy_files_that_are_refused(tmp_path, content, message):
    (tmp_path / "net.pth").write_bytes(content)
    assert message in refusal(tmp_path / "net.pth")


def test_a_file_is_read_from_wherever_it_stands(tmp_path):
    from r2p_edge.export.checkpoints.torch import read_torch_file

    file = io.BytesIO(archive(tmp_path / "net.pth", RECORDS).read_bytes())
    file.seek(7)
    assert list(read_torch_file(file).arrays) == ["w"]
