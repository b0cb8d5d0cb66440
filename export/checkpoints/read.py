"""The reader of checkpoint files: `.ckpt` (MindSpore), `.pth`, `.pt`, `.safetensors` and `.index`.

The content decides the format of a file, not its name: PyTorch Lightning writes `.ckpt` files too.
"""

from __future__ import annotations

import re
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
from r2p_edge.export.checkpoints.recorded import recorded_spec
from r2p_edge.export.checkpoints.safetensors import read_safetensors
from r2p_edge.export.checkpoints.state_dicts import those_below
from r2p_edge.export.checkpoints.tensorflow import SUFFIX, read_tensorflow
from r2p_edge.export.checkpoints.torch import read_torch_file
from r2p_edge.export.foreign_files import NO_ORDINARY_FILE
from r2p_edge.export.foreign_folders import describe_folder, pack_again
from r2p_edge.export.foreign_formats import with_paths
from r2p_edge.export.recognition import (
    HEAD,
    described,
    foreign_format,
    is_packed,
    is_safetensors,
)
from r2p_edge.spec import ModelSpec
from r2p_edge.spec.checks import plain

Format = Literal["mindspore", "torch", "safetensors", "tensorflow"]

# The version of ONNX's format, and then the name of the program that wrote the file, or its graph.
_ONNX = re.compile(rb"\x08[\x03-\x1f](\x12[\x01-\x40][ -~]|:)")


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a checkpoint file.

    Attributes:
        parameters: arrays by name, in the file's order; floating-point ones are float32.
        sha256: of the file, in hexadecimal.
        file: its base name.
        layers: what the file says of the network's layers, if it is a whole module.
        carried: what it says of the training, besides the weights.
        recorded: the whole contract, in a file that `training.files` wrote.
    """

    parameters: dict[str, npt.NDArray[np.generic]]
    sha256: str
    file: str
    format: Format
    layers: Layers = field(default_factory=dict)
    carried: CarriedRecipe = field(default_factory=CarriedRecipe)
    recorded: ModelSpec | None = None


def read_checkpoint(path: str | Path, weights_key: str | None = None) -> Checkpoint:
    """Read the parameters from a checkpoint file.

    Training state (optimiser, counters) is left out. No library of the file's is needed, and code
    in it is never run.

    Args:
        path: the file; of TensorFlow's the `.index`, beside which the others lie.
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
    if path.is_dir():
        raise CheckpointError(f"{path} is {describe_folder(path)}")
    if not path.is_file():  # opening a pipe would wait for its writer
        raise CheckpointError(f"{path} is {NO_ORDINARY_FILE}")
    try:
        return _read(path, weights_key)
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {path.name}: {error}") from error
    except OSError as error:
        reason = error.strerror or error
        raise CheckpointError(f"checkpoint {path} cannot be read ({reason}); check it") from error


def _read(path: Path, key: str | None) -> Checkpoint:
    with path.open("rb") as file:
        head = file.read(HEAD)
        kind = _recognise(head, path)
        if kind == "torch":
            with ThreadPoolExecutor(1) as other:  # hashing takes longer than reading
                digest = other.submit(sha256_of_file, path)
                network = read_torch_file(file, key)
                _require_numbers(network.arrays, path)
                return Checkpoint(
                    network.arrays,
                    digest.result(),
                    path.name,
                    kind,
                    network.layers,
                    network.carried,
                )
        if kind == "tensorflow":
            variables = read_tensorflow(path)
            arrays = variables.arrays if key is None else those_below(variables.arrays, key)
            return Checkpoint(arrays, variables.sha256, path.name, kind)
        result = (read_mindspore_ckpt if kind == "mindspore" else read_safetensors)(file)
        arrays = result.arrays if key is None else those_below(result.arrays, key)
        if not arrays:
            raise CheckpointError(
                f"the file has one set of weights, and none of its names begins with {key}; leave "
                "--weights-key out"
            )
        _require_numbers(arrays, path)
        return Checkpoint(arrays, result.sha256, path.name, kind, recorded=recorded_spec(path))


def _require_numbers(arrays: dict[str, npt.NDArray[np.generic]], path: Path) -> None:
    """Raise CheckpointError where most parameters are empty, as in one file of several."""
    empty = [name for name, array in arrays.items() if not array.size]
    if 2 * len(empty) > len(arrays):
        join = with_paths(
            "(cd FOLDER && python zero_to_fp32.py . joined)", path, path.parent.parent
        )
        raise CheckpointError(
            f"{len(empty)} of the {len(arrays)} parameters, such as {plain(empty[0])}, have no "
            "numbers, which DeepSpeed (ZeRO 3) and FSDP keep in other files; join them, "
            f"DeepSpeed's with the program that lies beside them: {join}, FSDP's with python -m "
            "torch.distributed.checkpoint.format_utils, and give the file that it writes"
        )


def _recognise(head: bytes, path: Path) -> Format:
    if not head:
        raise CheckpointError(
            "the file is empty, as where a copy or a save did not end; save, copy or download "
            "it again"
        )
    if path.suffix == SUFFIX:
        return "tensorflow"
    if path.name == "data.pkl" and (path.parent / "data").is_dir():
        raise CheckpointError(
            "the file is a part of a PyTorch checkpoint that was unpacked; pack its folder again: "
            f"{pack_again(path.parent)}"
        )
    if foreign := foreign_format(head, path.name):
        raise CheckpointError(f"the file is {foreign.what}; {foreign.way_from(path)}")
    if is_safetensors(head):
        return "safetensors"
    if is_packed(head):
        return "torch"
    # Field 1 of a protobuf message, with a length.
    if head[0] == 0x0A or int.from_bytes(head[:4], "little") in ENCRYPTED:
        return "mindspore"
    if _ONNX.match(head):
        raise CheckpointError(
            "the file is an ONNX model, whole or damaged; one that is whole is a SOURCE by itself, "
            "and a damaged one is to be copied or exported again"
        )
    raise CheckpointError(
        f"the file is {described(head)}, and a checkpoint of MindSpore's (.ckpt), of PyTorch's "
        "(.pth, .pt) or of safetensors was expected; give such a file, or export the network to "
        "ONNX in its own framework and give that"
    )
