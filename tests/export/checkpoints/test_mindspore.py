"""MindSpore's `.ckpt` files: files of MindSpore itself, and handwritten cases of the format."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from refusals import refusal
from requirements import needs

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.mindspore import read_mindspore_ckpt
from r2p_edge.export.checkpoints.read import read_checkpoint


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def field(number: int, payload: bytes | int) -> bytes:
    if isinstance(payload, int):
        return varint(number << 3) + varint(payload)
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def value(tag: str, dims: list[int], dtype: str, content: bytes, *, packed: bool = False) -> bytes:
    shape = field(1, b"".join(map(varint, dims))) if packed else b"".join(field(1, d) for d in dims)
    tensor = shape + field(2, dtype.encode()) + field(3, content)
    return field(1, field(1, tag.encode()) + field(2, tensor))


def with_crc(content: bytes) -> bytes:
    return content + b"crc_num" + zlib.crc32(content).to_bytes(10, "big")


def read(content: bytes) -> dict[str, np.ndarray]:
    return read_mindspore_ckpt(io.BytesIO(content)).arrays


WEIGHT = np.arange(6, dtype="<f4").reshape(2, 3)
WEIGHT_VALUE = value("fc.weight", [2, 3], "Float32", WEIGHT.tobytes())
SMALL = WEIGHT_VALUE + value("fc.bias", [2], "Float16", np.array([0.5, -2], "<f2").tobytes())


@pytest.mark.parametrize("packed", [False, True])
def test_shape_packed_or_not(packed: bool) -> None:
    arrays = read(value("w", [2, 3], "Float32", WEIGHT.tobytes(), packed=packed))
    np.testing.assert_array_equal(arrays["w"], WEIGHT)
    assert arrays["w"].dtype == np.float32


@pytest.mark.parametrize(
    ("name", "stored", "expected"),
    [
        ("Int8", "<i1", "int8"),
        ("Int16", "<i2", "int16"),
        ("Int32", "<i4", "int32"),
        ("Int64", "<i8", "int64"),
        ("UInt8", "<u1", "uint8"),
        ("Uint8", "<u1", "uint8"),  # as MindSpore 1.x spelled it
        ("UInt16", "<u2", "uint16"),
        ("UInt32", "<u4", "uint32"),
        ("UInt64", "<u8", "uint64"),
        ("Float16", "<f2", "float32"),
        ("Float32", "<f4", "float32"),
        ("Float64", "<f8", "float32"),
        ("Bool", "?", "bool"),
    ],
)
def test_types(name: str, stored: str, expected: str) -> None:
    array = np.array([0, 1, 100], stored)
    result = read(value("w", [3], name, array.tobytes()))["w"]
    assert result.dtype == np.dtype(expected)
    np.testing.assert_array_equal(result, array)


def test_bfloat16_is_decoded() -> None:
    numbers = np.array([1.0, -2.5, 3.0e38, np.inf, 0.0], "<f4")  # 3e38 is not exact, the rest are
    upper = numbers.view("<u4") >> 16
    result = read(value("w", [5], "BFloat16", upper.astype("<u2").tobytes()))["w"]
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, (upper << 16).view("<f4"))
    np.testing.assert_allclose(result, numbers, rtol=2**-7)


@pytest.mark.parametrize("dims", [[], [0]])
def test_scalar_in_the_spelling_of_either_version(dims: list[int]) -> None:
    result = read(value("scale", dims, "Float32", struct.pack("<f", 0.25)))["scale"]
    assert result.shape == ()
    assert result == 0.25


def test_empty_tensor_keeps_its_shape() -> None:
    assert read(SMALL + value("none", [0, 4], "Float32", b""))["none"].shape == (0, 4)


def test_slices_of_one_tensor_are_joined() -> None:
    content = WEIGHT.tobytes()
    sliced = b"".join(
        value("w", [2, 3], "Float32", part) for part in (content[:8], content[8:20], content[20:])
    )
    np.testing.assert_array_equal(read(sliced)["w"], WEIGHT)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (value("w", [2, 2], "Float32", WEIGHT.tobytes()), "24 bytes"),
        (value("w", [-1], "Float32", b""), "has 0 bytes"),
        (value("w", [0, 1 << 62], "Float32", b""), "impossible shape"),
        (value("w", [2, 3], "Float32", WEIGHT.tobytes()[:8]) + SMALL, "has 8 bytes"),
        (SMALL + SMALL, "there twice"),
        (
            value("w", [2], "Float32", bytes(4)) + value("w", [2], "Int32", bytes(4)),
            "there twice",
        ),
        (value("w", [4], "Int4", bytes(2)), "of type int4"),
        (field(1, field(1, b"table") + field(3, b"")), "table is a hash table"),
        (field(1, field(1, b"w")), "no name or no tensor"),
        (field(1, field(1, b"w") + field(2, field(1, 3))), "no type"),
        (field(2, b"x") + SMALL, "does not start a tensor"),
        (value("w" * 70000, [0], "Float32", bytes(4)), "70000 bytes long"),
        (value("w", [1] * 40, "Float32", bytes(4)), "32 dimensions"),
        (value("note", [], "str", "x".encode("utf-32-le"))[:-1], "longer than the message"),
        (b"\xd8\x5e\x3a\x7f" + bytes(40), "encrypted"),
        (b"\xd9\x5e\x3a\x7f" + bytes(40), "encrypted"),
        (b"\xda\x5e\x3a\x7f" + bytes(40), "encrypted"),
    ],
)
def test_what_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read(content)


def test_text_is_skipped_and_alone_is_no_checkpoint() -> None:
    note = value("note", [1], "str", "hi".encode("utf-32-le"))
    assert set(read(note + SMALL)) == {"fc.weight", "fc.bias"}
    with pytest.raises(CheckpointError, match="no tensor in the file"):
        read(note)


def test_crc_is_checked_and_removed() -> None:
    assert set(read(with_crc(SMALL))) == {"fc.weight", "fc.bias"}
    damaged = bytearray(with_crc(SMALL))
    damaged[30] ^= 1
    with pytest.raises(CheckpointError, match="CRC-32"):
        read(bytes(damaged))


def test_every_truncation_is_an_error_or_whole_tensors(tmp_path: Path) -> None:
    whole = read(SMALL)
    for content in (SMALL, with_crc(SMALL)):
        for end in range(len(content)):
            file = tmp_path / "cut.ckpt"
            file.write_bytes(content[:end])
            if reason := refusal(file):
                assert "\n" not in reason
            else:
                # A cut between two tensors leaves no trace: only fewer tensors.
                assert end in (len(WEIGHT_VALUE), len(SMALL))
                for name, array in read_checkpoint(file).parameters.items():
                    np.testing.assert_array_equal(array, whole[name])


@pytest.mark.slow
def test_flipped_bits_are_an_error_or_a_read(tmp_path: Path) -> None:
    rng = random.Random(0)
    file = tmp_path / "flipped.ckpt"
    outcomes = set()
    for _ in range(3000):
        content = bytearray(SMALL)
        for _ in range(rng.randint(1, 3)):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        file.write_bytes(content)
        outcomes.add(bool(refusal(file)))
    assert outcomes == {True, False}


def test_every_flipped_bit_is_found_where_there_is_a_crc() -> None:
    content = with_crc(SMALL)
    for position in range(len(content) - 17):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[position] ^= 1 << bit
            with pytest.raises(CheckpointError):
                read(bytes(damaged))


def test_training_state_costs_no_memory() -> None:
    big = bytes(8 << 20)
    state = [value(f"{copy}.fc.bias", [2 << 20], "Float32", big) for copy in ("accum", "stat")]
    content = io.BytesIO(SMALL + b"".join(state))
    tracemalloc.start()
    result = read_mindspore_ckpt(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert set(result.arrays) == {"fc.weight", "fc.bias"}
    assert peak < 4 << 20


# From here on the files are MindSpore's own.


@pytest.fixture(scope="module")
def ms() -> Any:
    import mindspore

    return mindspore


@pytest.fixture(scope="module")
def net(ms: Any) -> Any:
    from mindspore import nn

    net = nn.SequentialCell(
        [nn.Conv3d(3, 4, (1, 3, 3)), nn.BatchNorm3d(4), nn.Conv3d(4, 5, (3, 1, 1)), nn.Dense(5, 7)]
    )
    rng = np.random.default_rng(0)
    for parameter in net.get_parameters():
        numbers = rng.standard_normal(parameter.shape).astype(np.float32)
        parameter.set_data(ms.Tensor(numbers))
    return net


def assert_same_as_mindspore_reads(ms: Any, path: Path, names: set[str] | None = None) -> None:
    expected = {
        name: parameter.float() if parameter.dtype == ms.bfloat16 else parameter
        for name, parameter in ms.load_checkpoint(str(path)).items()
        if names is None or name in names
    }
    found = read_checkpoint(path).parameters
    assert list(found) == list(expected)
    for name, parameter in expected.items():
        array = parameter.asnumpy()
        wanted = np.float32 if array.dtype.kind == "f" else array.dtype
        assert (found[name].shape, found[name].dtype) == (array.shape, wanted)
        np.testing.assert_array_equal(found[name], array.astype(wanted))


@needs("mindspore")
@pytest.mark.parametrize("crc_check", [False, True])
def test_saved_by_mindspore(ms: Any, net: Any, tmp_path: Path, crc_check: bool) -> None:
    path = tmp_path / "net.ckpt"
    ms.save_checkpoint(net, str(path), crc_check=crc_check)
    assert_same_as_mindspore_reads(ms, path)


@needs("mindspore")
def test_saved_by_mindspore_in_slices(
    ms: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mindspore.train import serialization

    monkeypatch.setattr(serialization, "SLICE_SIZE", 1)  # kibibyte
    path = tmp_path / "sliced.ckpt"
    numbers = np.arange(600, dtype=np.float32).reshape(60, 10)
    ms.save_checkpoint([{"name": "conv.weight", "data": ms.Tensor(numbers)}], str(path))
    assert path.read_bytes().count(b"conv.weight") == 3
    assert_same_as_mindspore_reads(ms, path)


@needs("mindspore")
def test_types_saved_by_mindspore(ms: Any, tmp_path: Path) -> None:
    path = tmp_path / "types.ckpt"
    numbers = np.array([[1.5, -2.25], [100, 7]])
    kinds = ["float16", "float32", "float64", "bfloat16", "int8", "int32", "uint8", "bool_"]
    parameters = [
        {"name": f"w.{kind}", "data": ms.Tensor(numbers).astype(getattr(ms, kind))}
        for kind in kinds
    ]
    parameters.append({"name": "w.scalar", "data": ms.Tensor(0.5, ms.float32)})
    ms.save_checkpoint(parameters, str(path))
    assert read_checkpoint(path).parameters["w.scalar"].shape == ()
    assert_same_as_mindspore_reads(ms, path)


@needs("mindspore")
@pytest.mark.parametrize(
    "optimizer",
    [
        "SGD",
        "Momentum",
        "Adam",
        "AdamWeightDecay",
        "RMSProp",
        "Adagrad",
        "Adadelta",
        "AdaMax",
        "ASGD",
        "Rprop",
        "Lamb",
    ],
)
def test_training_state_of_mindspore_is_dropped(
    ms: Any, net: Any, tmp_path: Path, optimizer: str
) -> None:
    from mindspore import nn

    options = {"SGD": {"momentum": 0.9}, "Momentum": {"momentum": 0.9}}.get(optimizer, {})
    rule = getattr(nn, optimizer)(net.trainable_params(), learning_rate=0.1, **options)
    step = nn.TrainOneStepWithLossScaleCell(
        nn.WithLossCell(net, nn.MSELoss()), rule, ms.Tensor(1024.0, ms.float32)
    )
    path = tmp_path / "train.ckpt"
    ms.save_checkpoint(step, str(path), append_dict={"epoch_num": 3, "step_num": 70, "note": "x"})
    names = {parameter.name for parameter in net.get_parameters()}
    assert_same_as_mindspore_reads(ms, path, names)


@needs("mindspore")
@pytest.mark.parametrize("mode", ["AES-GCM", "AES-CBC", "SM4-CBC"])
def test_encrypted_by_mindspore_is_refused(ms: Any, net: Any, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "secret.ckpt"
    ms.save_checkpoint(net, str(path), enc_key=b"0123456789abcdef", enc_mode=mode)
    with pytest.raises(CheckpointError, match=r"secret\.ckpt: the file is encrypted"):
        read_checkpoint(path)


@needs("mindspore")
def test_safetensors_of_mindspore(ms: Any, net: Any, tmp_path: Path) -> None:
    from mindspore import nn

    path = tmp_path / "net.safetensors"
    rule = nn.SGD(net.trainable_params(), learning_rate=0.1, momentum=0.9)
    step = nn.TrainOneStepCell(nn.WithLossCell(net, nn.MSELoss()), rule)
    ms.save_checkpoint(step, str(path), format="safetensors")
    found = read_checkpoint(path)
    assert found.format == "safetensors"
    assert set(found.parameters) == {parameter.name for parameter in net.get_parameters()}
    for parameter in net.get_parameters():
        np.testing.assert_array_equal(found.parameters[parameter.name], parameter.asnumpy())


@needs("mindspore")
def test_truncations_and_flips_of_a_mindspore_file(ms: Any, tmp_path: Path) -> None:
    path = tmp_path / "net.ckpt"
    parameters = [
        {"name": name, "data": ms.Tensor(np.ones(shape, np.float32))}
        for name, shape in {"conv1.weight": (2, 1, 1, 3, 3), "bn1.bn2d.gamma": (2,)}.items()
    ]
    ms.save_checkpoint(parameters, str(path))
    content = path.read_bytes()
    rng = random.Random(1)
    damaged = [content[:end] for end in range(len(content))]
    for _ in range(1000):
        flipped = bytearray(content)
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
        damaged.append(bytes(flipped))
    outcomes = set()
    file = tmp_path / "damaged.ckpt"
    for case in damaged:
        file.write_bytes(case)
        outcomes.add(bool(refusal(file)))
    assert outcomes == {True, False}
