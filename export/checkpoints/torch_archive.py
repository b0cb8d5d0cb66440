"""The two formats of `torch.save`: a zip archive, and before PyTorch 1.6 pickles and raw bytes.

In an archive, `data.pkl` is the pickle and each storage a record `data/KEY`, not compressed.
In the older format five pickles follow each other (a magic number, the version of the format, the
machine, the object, the storages' keys), then each storage with its length. TorchScript's archives
are the first format; those of `torch.export` list their records in JSON. Source: pytorch/pytorch,
torch/serialization.py, caffe2/serialize/inline_container.cc, torch/export/pt2_archive/, 2.13.
"""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.inert_pickle import Global, PickleError, read_pickle
from r2p_edge.export.checkpoints.torch_pickle import (
    KNOWN,
    SIZES,
    OtherTensor,
    Storage,
    TensorView,
    storage_of,
)
from r2p_edge.spec.checks import plain


class Place(NamedTuple):
    """The place of some bytes in a file.

    Attributes:
        start, length: first byte and number of bytes.
        crc: their CRC-32 as it was saved; 0 if it was not (`torch.serialization.skip_data`,
            `set_crc32_options(False)`, and the older format).
    """

    start: int
    length: int
    crc: int = 0


_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of the name and of the extra field

_SOURCE = 1 << 20  # bytes of the sources of TorchScript's classes, each of which has a thousand
_PROGRAM = 1 << 25  # bytes of the JSON of a program; that of an R(2+1)D-34 has 700,000

# torch/_export/serde/schema.py: ScalarType.
# fmt: off
_EXPORTED_DTYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32",
    8: "float64", 12: "bool", 13: "bfloat16", 28: "uint16", 34: "uint32", 35: "uint64",
}
# fmt: on


class TorchContent(NamedTuple):
    """The contents of a PyTorch file, without the numbers of its tensors.

    Attributes:
        content: the saved object; its tensors are views of storages.
        place: returns where the bytes of a storage lie in the file. It raises CheckpointError if
            the file does not have them.
        source: returns the source of a class of TorchScript's, "" for other classes.
        program: JSON of a program of `torch.export`, as far as it can be read.
    """

    content: Any
    place: Callable[[Storage], Place]
    source: Callable[[Any], str] = lambda called: ""
    program: Any = None


def read_archive(file: BinaryIO, size: int) -> TorchContent:
    """Read a zip archive of PyTorch's, but for the numbers of its tensors.

    Raises:
        CheckpointError: it is another archive, compressed, or of a big-endian machine.
        PickleError: its pickle is damaged.
        ValueError: the archive is damaged.
    """
    records = _Records(file, size)
    order = records.ending("byteorder")
    if order is not None and records.read(order) == b"big":
        raise _of_big_endian()
    config = records.ending("data/weights/model_weights_config.json")
    if config is not None:
        folder = config.rpartition("/")[0]
        return TorchContent(
            _exported(records, config),
            lambda storage: records.place(f"{folder}/{storage.key}"),
            program=_program(records),
        )
    pickle = records.ending("data.pkl")
    if pickle is None:
        raise CheckpointError(f"the file is {records.kind()}")
    folder = pickle.rpartition("/")[0]
    data = records.read(pickle)
    content = read_pickle(io.BytesIO(data), len(data), known=KNOWN, persistent=storage_of)
    return TorchContent(
        content,
        lambda storage: records.place(f"{folder}/data/{storage.key}"),
        source=lambda called: records.source(folder, called),
    )


def read_legacy(file: BinaryIO, size: int) -> TorchContent:
    """Read a file that is no archive: PyTorch's older format, or any other pickle.

    Raises:
        CheckpointError: it was saved on a big-endian machine.
        PickleError: a pickle is damaged.
        ValueError: what follows the pickles is damaged.
    """
    storages: dict[str, Storage] = {}
    places: dict[str, Place] = {}

    def persistent(identity: Any) -> Any:
        if identity[0] == "module":  # of a whole module: its class, file and source
            return identity[1]
        storage = storage_of(identity)
        return storages.setdefault(storage.key, storage)

    def following() -> Any:
        return read_pickle(file, size, known=KNOWN, persistent=persistent)

    def place(storage: Storage) -> Place:
        if storage.key not in places:
            raise CheckpointError("the file lacks a tensor's numbers; download it again")
        return places[storage.key]

    file.seek(0)
    first = following()
    if first != _MAGIC:
        return TorchContent(first, place)
    version, machine = following(), following()
    if version != _VERSION or not isinstance(machine, dict):
        raise PickleError("it is of an unknown version")
    if not machine.get("little_endian", True):
        raise _of_big_endian()
    content, keys = following(), following()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("no keys of storages")
    for key in keys:
        storage, count = storages[key], int.from_bytes(file.read(8), "little")
        if count != storage.count:
            raise ValueError("a storage of another length")
        places[key] = Place(file.tell(), storage.size)
        file.seek(storage.size, io.SEEK_CUR)
    return TorchContent(content, place)


def check_crc(part: str, found: int, saved: int) -> None:
    """Make sure that bytes are those that were saved.

    Raises:
        CheckpointError: they have another CRC-32.
    """
    if found != saved:
        raise CheckpointError(
            f"{part} is damaged: its CRC-32 is {found:08x} and it was saved with {saved:08x}; "
            "download or copy the file again"
        )


def _of_big_endian() -> CheckpointError:
    return CheckpointError(
        "the file was saved on a big-endian machine; load it there, and save the weights as "
        ".safetensors"
    )


class _Records:
    """The records of a zip archive, and where their bytes lie."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self._left = max(size, _SOURCE)
        self._sources: dict[str, dict[str, str]] = {}
        try:
            with zipfile.ZipFile(file) as archive:
                self._infos = {info.filename: info for info in archive.infolist()}
        except (zipfile.BadZipFile, NotImplementedError, struct.error) as error:
            raise ValueError("a damaged archive") from error

    def ending(self, ending: str) -> str | None:
        """Return the record of that name, in whatever folder; the one nearest to the top."""
        found = [name for name in self._infos if f"/{name}".endswith(f"/{ending}")]
        return min(found, key=lambda name: name.count("/"), default=None)

    def place(self, name: str) -> Place:
        """Return where the bytes of a record lie in the file.

        Raises:
            CheckpointError: there is no such record, or it is compressed or cut off.
        """
        info = self._infos.get(name)
        if info is None:
            raise CheckpointError(f"the file lacks its record {name}; download it again")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise CheckpointError(
                f"its record {name} is compressed ({info.compress_size} bytes of "
                f"{info.file_size}), and torch.save compresses nothing; save it again with that"
            )
        self._file.seek(info.header_offset)
        header = self._file.read(_LOCAL_HEADER.size).ljust(_LOCAL_HEADER.size)
        signature, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        start = info.header_offset + len(header) + name_length + extra_length
        if signature != b"PK\x03\x04" or start + info.file_size > self._size:
            raise ValueError("a damaged record")
        return Place(start, info.file_size, info.CRC)

    def read(self, name: str) -> bytes:
        """Return the bytes of a record, which are those that were saved.

        Raises:
            CheckpointError: as `place`, or its CRC is another.
        """
        place = self.place(name)
        self._file.seek(place.start)
        content = self._file.read(place.length)
        if place.crc:
            check_crc(f"its record {plain(name)}", zlib.crc32(content), place.crc)
        return content

    def source(self, folder: str, called: Any) -> str:
        """Return the source of a class of TorchScript's, "" if there is none or it is long."""
        if not isinstance(called, Global) or not called.module.startswith("__torch__"):
            return ""
        name = f"{folder}/code/{called.module.replace('.', '/')}.py"
        if name not in self._sources:
            _, *parts = re.split(r"^class (\w+)\(Module\):$", self._text(name), flags=re.MULTILINE)
            self._sources[name] = dict(zip(parts[::2], parts[1::2], strict=True))
        return self._sources[name].get(called.name, "")

    def _text(self, name: str) -> str:
        """Return a record that may be compressed, "" if there is none or too much was read."""
        if name not in self._infos or self._left < 0:
            return ""
        try:
            with zipfile.ZipFile(self._file) as archive, archive.open(self._infos[name]) as record:
                content = record.read(self._left + 1)
        except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError):  # damaged, or encrypted
            return ""
        self._left -= len(content)
        return "" if self._left < 0 else content.decode(errors="replace")

    def kind(self) -> str:
        """Say what an archive without a pickle of PyTorch's is, and what to do."""
        if self.ending("serialized_exported_program.json") is not None:
            return (
                "a program of torch.export of an older PyTorch; load it with torch.export.load and "
                "save its state_dict with torch.save"
            )
        if self.ending("model.weights.h5") is not None:
            return "a Keras model; export it to ONNX with tf2onnx, and give that"
        if any(name.endswith(".npy") for name in self._infos):
            return (
                "an archive of NumPy arrays; write them as a .safetensors file "
                "(safetensors.numpy.save_file), and give that"
            )
        some = ", ".join(list(self._infos)[:4]) or "nothing"
        return f"a zip archive of {some}, not of PyTorch's; unpack it and give the file in it"


def _program(records: _Records) -> Any:
    """Return the JSON of a program of `torch.export`; None if it cannot be read."""
    name = records.ending("models/model.json")
    if name is None or records.place(name).length > _PROGRAM:
        return None
    try:
        return json.loads(records.read(name))
    except ValueError:
        return None


def _exported(records: _Records, config: str) -> dict[str, TensorView | OtherTensor]:
    """Return the parameters of a program of `torch.export` by name."""
    found: dict[str, TensorView | OtherTensor] = {}
    for name, entry in json.loads(records.read(config))["config"].items():
        meta, key = entry["tensor_meta"], entry["path_name"]
        dtype = _EXPORTED_DTYPES.get(meta["dtype"])
        if dtype is None or entry["use_pickle"]:
            found[name] = OtherTensor("of a type that NumPy lacks")
            continue
        length = records.place(f"{config.rpartition('/')[0]}/{key}").length
        found[name] = TensorView(
            Storage(key, dtype, length // SIZES[dtype]),
            meta["storage_offset"]["as_int"],
            tuple(size["as_int"] for size in meta["sizes"]),
            tuple(step["as_int"] for step in meta["strides"]),
        )
    return found
