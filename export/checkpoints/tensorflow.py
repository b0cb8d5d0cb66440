"""A reader of TensorFlow's checkpoints that needs no TensorFlow.

One is several files of one name before their suffixes: an `.index`, which is a sorted table of
protobuf messages by the names of variables, and their bytes in `.data-00000-of-00001` and so on::

    BundleHeaderProto  num_shards = 1, endianness = 2, version = 3                 of the key ""
    BundleEntryProto   dtype = 1, shape = 2, shard_id = 3, offset = 4, size = 5, crc32c = 6,
                       slices = 7
    TensorShapeProto   repeated dim = 2 {size = 1}, unknown_rank = 3

Source: tensorflow/core/protobuf/tensor_bundle.proto, tensorflow/core/framework/types.proto and
tensor_shape.proto, and tensorflow/core/util/tensor_bundle/tensor_bundle.cc.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from r2p_edge.artifact import protobuf
from r2p_edge.artifact.files import sha256_of_files
from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.crc32c import crc32c, unmasked
from r2p_edge.export.checkpoints.sorted_table import table_entries
from r2p_edge.export.checkpoints.tensor_file import StoredTensor, read_tensors

SUFFIX = ".index"
"""Suffix of the file that lists the variables."""

_INDEX_LIMIT = 64 << 20  # bytes; the variables of a video network take tens of kilobytes
_SHARDS_LIMIT = 1000
_DIMS_LIMIT = 32  # the most axes that NumPy allows

_DTYPES = {1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 9: "int64",
           10: "bool", 14: "bfloat16", 17: "uint16", 19: "float16", 22: "uint32",
           23: "uint64"}  # fmt: skip
_STRING = 7  # of which TensorFlow 2 keeps a graph of objects

_NORM = {"beta": "bias", "gamma": "weight", "moving_mean": "running_mean",
         "moving_variance": "running_var"}  # fmt: skip
_KERNELS = ("w", "kernel", "weights")
_LEAVES = {**_NORM, **dict.fromkeys(_KERNELS, "weight"), "b": "bias", "biases": "bias"}


class TensorFlowCheckpoint(NamedTuple):
    """The variables of a checkpoint.

    Attributes:
        arrays: by name, with the axes and names of PyTorch's, see `with_torch_names`.
        sha256: of the index and then of each data file, as if they were one.
    """

    arrays: dict[str, npt.NDArray[np.generic]]
    sha256: str


class _Entry(NamedTuple):
    """A variable: its type, shape, and place."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int


def read_tensorflow(path: Path) -> TensorFlowCheckpoint:
    """Read the variables of a checkpoint, without those that an optimiser has of each.

    The CRC-32C of each is verified.

    Args:
        path: the `.index`; the data files lie beside it.

    Raises:
        CheckpointError: a file is missing, damaged or too short, or the variables are stored in a
            way that no video network needs: partitioned, or of another byte order.
        OSError: a file cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(_INDEX_LIMIT + 1)
    if len(data) > _INDEX_LIMIT:
        raise CheckpointError(f"the index has more than {_INDEX_LIMIT} bytes, as of no network")
    try:
        shards, entries = _entries(data)
    except ValueError as error:
        raise CheckpointError(
            f"the file cannot be read as the index of a TensorFlow checkpoint ({error}); it is "
            "damaged or cut off, copy it again"
        ) from error
    files = [path]
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for shard in range(shards):
        part = path.with_name(f"{path.stem}.data-{shard:05d}-of-{shards:05d}")
        if not part.is_file():
            raise CheckpointError(
                f"{part.name} is not beside the index, and holds its numbers; put all files of the "
                "checkpoint into one folder"
            )
        own = {name: entry for name, entry in entries.items() if entry.shard == shard}
        arrays |= _read_part(part, own)
        files.append(part)
    if not arrays:
        raise CheckpointError("there is no variable in the file; give a checkpoint of a network")
    return TensorFlowCheckpoint(with_torch_names(arrays), sha256_of_files(files))


def _entries(data: bytes) -> tuple[int, dict[str, _Entry]]:
    """Return the number of data files, and the entries of variables without an optimiser's."""
    shards, found = None, {}
    for key, value in table_entries(data):
        if not key:
            shards = _header(value)
            continue
        if (entry := _entry(key.decode(), value)) is not None:
            found[key.decode()] = entry
    if shards is None:
        raise ValueError("it has no header")
    if wrong := next((name for name, entry in found.items() if entry.shard >= shards), None):
        raise ValueError(f"{wrong} lies in a data file that there is none of")
    # Optimisers call what they keep of a variable by its name and a slot's.
    return shards, {
        name: entry for name, entry in found.items() if name.rpartition("/")[0] not in found
    }


def _header(value: bytes) -> int:
    numbers = {field.number: field.value for field in _fields(value)}
    shards = numbers.get(1, 0)
    if not 1 <= shards <= _SHARDS_LIMIT:
        raise ValueError(f"it says that there are {shards} data files")
    if numbers.get(2, 0):
        raise CheckpointError(
            "the numbers are in the byte order of a big-endian machine; save them on another"
        )
    return shards


def _fields(value: bytes) -> Iterator[protobuf.Field]:
    return protobuf.fields(io.BytesIO(value), len(value))


def _entry(name: str, value: bytes) -> _Entry | None:
    """Return a variable's entry; None for text."""
    file = io.BytesIO(value)
    numbers: dict[int, int] = {}
    shape: tuple[int, ...] = ()
    for field in protobuf.fields(file, len(value)):
        if field.number == 2 and field.wire_type == protobuf.LENGTH:
            shape = _shape(file, file.tell() + field.value)
        elif field.number == 7:
            raise CheckpointError(
                f"variable {name} is stored in slices; save the checkpoint without partitions"
            )
        else:
            numbers[field.number] = field.value
    dtype = numbers.get(1, 0)
    if dtype == _STRING:
        return None
    if dtype not in _DTYPES:
        raise CheckpointError(
            f"variable {name} is of type {dtype} of TensorFlow's; save it in floating point"
        )
    return _Entry(dtype, shape, *(numbers.get(number, 0) for number in (3, 4, 5, 6)))


def _shape(file: io.BytesIO, end: int) -> tuple[int, ...]:
    sizes: list[int] = []
    for field in protobuf.fields(file, end):
        if field.number != 2 or field.wire_type != protobuf.LENGTH:
            raise ValueError("the shape of a variable is unknown")
        dims = {
            each.number: each.value for each in protobuf.fields(file, file.tell() + field.value)
        }
        sizes.append(dims.get(1, 0))
        if len(sizes) > _DIMS_LIMIT or sizes[-1] >= 1 << 63:
            raise ValueError(f"a variable has more than {_DIMS_LIMIT} axes, or one below 0")
    return tuple(sizes)


def _read_part(part: Path, entries: Mapping[str, _Entry]) -> dict[str, npt.NDArray[np.generic]]:
    """Read the variables of a data file."""
    stored = [
        StoredTensor(name, _DTYPES[each.dtype], each.shape, ((each.offset, each.size),))
        for name, each in entries.items()
    ]
    with part.open("rb") as file:
        arrays = read_tensors(file, stored).arrays
        for name, entry in entries.items():
            file.seek(entry.offset)
            if crc32c(file.read(entry.size)) != unmasked(entry.crc):
                raise CheckpointError(
                    f"the checksum of variable {name} in {part.name} is another than that of the "
                    "index; copy all files of the checkpoint again"
                )
    return arrays


def with_torch_names(
    arrays: Mapping[str, npt.NDArray[np.generic]],
) -> dict[str, npt.NDArray[np.generic]]:
    """Return variables under the names, and with the axes, that PyTorch would give them.

    A kernel (T, H, W, inputs, outputs) is turned, the slashes of names become dots, and a norm
    without a gamma, as Sonnet's are, gets one of ones.

    Args:
        arrays: by TensorFlow's names.
    """
    found: dict[str, npt.NDArray[np.generic]] = {}
    for name, array in arrays.items():
        module, _, leaf = name.replace("/", ".").rpartition(".")
        if leaf in _NORM:
            array = array.reshape(-1)  # Sonnet's may have an axis for each of the pixels'
        if leaf in _KERNELS and array.ndim >= 2:
            array = np.ascontiguousarray(np.moveaxis(array, (-1, -2), (0, 1)))
        found[f"{module}.{_LEAVES.get(leaf, leaf)}" if module else leaf] = array
        if leaf == "moving_mean" and f"{name.removesuffix(leaf)}gamma" not in arrays:
            found[f"{module}.weight"] = np.ones(array.size, np.float32)
    return found
