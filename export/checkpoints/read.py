"""The reader of checkpoint files: `.ckpt` (MindSpore), `.pth`, `.pt` and `.safetensors`.

The content decides the format of a file, not its name: PyTorch Lightning writes `.ckpt` files too.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from r2p_edge.artifact.files import sha256_of_file
from r2p_edge.errors import CheckpointError, ModelNotFoundError
from r2p_edge.export.checkpoints.carried import CarriedRecipe
from r2p_edge.export.checkpoints.layers import Layers
from r2p_edge.export.checkpoints.mindspore import ENCRYPTED, read_mindspore_ckpt
from r2p_edge.export.checkpoints.safetensors import read_safetensors
from r2p_edge.export.checkpoints.state_dicts import those_below
from r2p_edge.export.checkpoints.torch import ZIP, read_torch_file

Format = Literal["mindspore", "torch", "safetensors"]

# Other files that are often found under a checkpoint's name: bytes, their offset, what it is.
_FOREIGN = (
    (b"version https://git-lfs", 0, "is a Git LFS pointer; run git lfs pull"),
    (
        b"<?xml",
        0,
        "is a message in XML, such as a storage service's error; download the file itself",
    ),
    (b"<", 0, "is a web page; download the file itself"),
    (b"{", 0, "is a message in JSON, such as a server's error; download the file itself"),
    (b"\x89HDF", 0, "is an HDF5 file; save the weights as .safetensors"),
    (b"\x93NUMPY", 0, "is one array of NumPy's; save all weights by name as .safetensors"),
    *(
        (magic, at, f"is {archive} archive; unpack it, and give the file in it")
        for magic, at, archive in (
            (b"\x1f\x8b", 0, "a gzip"),
            (b"BZh", 0, "a bzip2"),
            (b"\xfd7zXZ\x00", 0, "an xz"),
            (b"\x28\xb5\x2f\xfd", 0, "a zstd"),
            (b"7z\xbc\xaf\x27\x1c", 0, "a 7z"),
            (b"Rar!", 0, "a RAR"),
            (b"ustar", 257, "a tar"),
        )
    ),
    *(
        (magic, at, "is a video; the model comes first and is a file of weights")
        for magic, at in ((b"ftyp", 4), (b"RIFF", 0), (b"\x1a\x45\xdf\xa3", 0))
    ),
)
_CONTROLS = frozenset(range(32)) - frozenset(b"\t\n\f\r")  # characters that no text has
_SAFETENSORS_HEADER = 100_000_000  # bytes; the safetensors package refuses longer ones too
_PICKLE_PROTOCOLS = (b"\x02", b"\x03", b"\x04", b"\x05")


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a checkpoint file.

    Attributes:
        parameters: arrays by name, in the file's order; floating-point ones are float32.
        sha256: of the file, in hexadecimal.
        file: its base name.
        layers: what the file says of the network's layers, if it is a whole module.
        carried: what it says of the training, besides the weights.
    """

    parameters: dict[str, npt.NDArray[np.generic]]
    sha256: str
    file: str
    format: Format
    layers: Layers = field(default_factory=dict)
    carried: CarriedRecipe = field(default_factory=CarriedRecipe)


def read_checkpoint(path: str | Path, weights_key: str | None = None) -> Checkpoint:
    """Read the parameters from a checkpoint file.

    Training state (optimiser, counters) is left out. No library of the file's is needed, and code
    in it is never run.

    Args:
        path: the file.
        weights_key: the place of the weights in a PyTorch file that has several sets of them;
            keys with dots between them.

    Raises:
        ModelNotFoundError: there is no such file.
        CheckpointError: the file is not a checkpoint, it is damaged, truncated or encrypted, or it
            has several sets of weights and no key that chooses one.
    """
    path = Path(path)
    if not path.exists():
        raise ModelNotFoundError(f"checkpoint {path} does not exist; check the path")
    try:
        return _read(path, weights_key)
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {path.name}: {error}") from error
    except OSError as error:
        reason = error.strerror or error
        raise CheckpointError(f"checkpoint {path} cannot be read ({reason}); check it") from error


def _read(path: Path, key: str | None) -> Checkpoint:
    with path.open("rb") as file:
        head = file.read(512)
        kind = _recognise(head)
        if kind == "torch":
            with ThreadPoolExecutor(1) as other:  # hashing takes longer than reading
                digest = other.submit(sha256_of_file, path)
                network = read_torch_file(file, key)
                return Checkpoint(
                    network.arrays,
                    digest.result(),
                    path.name,
                    kind,
                    network.layers,
                    network.carried,
                )
        result = (read_mindspore_ckpt if kind == "mindspore" else read_safetensors)(file)
        arrays = result.arrays if key is None else those_below(result.arrays, key)
        if not arrays:
            raise CheckpointError(
                f"the file has one set of weights, and none of its names begins with {key}; leave "
                "--weights-key out"
            )
        return Checkpoint(arrays, result.sha256, path.name, kind)


def _recognise(head: bytes) -> Format:
    if not head:
        raise CheckpointError("the file is empty; download it again")
    # First: the length of a safetensors header may look like the first bytes of any other format.
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _SAFETENSORS_HEADER:
        return "safetensors"
    if head.startswith(b"<?xml") and b"<net" in head:
        raise CheckpointError(
            "the file is an OpenVINO model; give the checkpoint or ONNX file of the model"
        )
    if head.startswith(b"{") and b'"weight_map"' in head:
        raise CheckpointError("the file is an index of several files of weights; give one file")
    for magic, at, description in _FOREIGN:
        if head.startswith(magic, at):
            raise CheckpointError(f"the file {description}")
    if not any(head):
        raise CheckpointError("the file begins with zeros, as an interrupted copy; copy it again")
    # A zip archive, or the pickle that torch wrote before version 1.6.
    if head.startswith(ZIP) or (head[0] == 0x80 and head[1:2] in _PICKLE_PROTOCOLS):
        return "torch"
    # Field 1 of a protobuf message, with a length.
    if head[0] == 0x0A or int.from_bytes(head[:4], "little") in ENCRYPTED:
        return "mindspore"
    if _CONTROLS.isdisjoint(head):
        raise CheckpointError(
            f"the file is text, which begins with {head[:32]!r}; give a file of weights. The code "
            "of a network comes in with --module FILE:FACTORY --weights CHECKPOINT --trust-code"
        )
    raise CheckpointError(
        "the file does not start as a .ckpt (MindSpore), .pth, .pt or .safetensors file does; give "
        "one of these, or export an ONNX model as it is"
    )
