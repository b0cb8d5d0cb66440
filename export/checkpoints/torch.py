"""A reader of `.pth`, `.pt` and `.pt2` files that needs no PyTorch and runs nothing of them."""

from __future__ import annotations

import math
import os
import zlib
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.carried import CarriedRecipe, carried_recipe
from r2p_edge.export.checkpoints.forwards import NOT_FOLLOWED, own_steps, program_steps, unfollowed
from r2p_edge.export.checkpoints.inert_pickle import Global, Instance, PickleError
from r2p_edge.export.checkpoints.layers import Layer, exported_layers, layer_of
from r2p_edge.export.checkpoints.program_calls import program_calls
from r2p_edge.export.checkpoints.script_calls import script_calls
from r2p_edge.export.checkpoints.state_dicts import StateDict, find_weights, walk
from r2p_edge.export.checkpoints.tensor_file import (
    StoredTensor,
    as_float32,
    decode,
)
from r2p_edge.export.checkpoints.torch_archive import (
    Place,
    TorchContent,
    check_crc,
    read_archive,
    read_legacy,
)
from r2p_edge.export.checkpoints.torch_pickle import (
    META,
    QUANTISED,
    SIZES,
    OtherTensor,
    Storage,
    TensorView,
)
from r2p_edge.spec.checks import plain

ZIP = b"PK\x03\x04"
"""First bytes of an archive."""


_WAYS = {
    META: "it was saved from PyTorch's device meta; load the weights into the model before you "
    "save it",
    QUANTISED: "save the floating-point model, and quantise it here with --precision int8",
}
_NO_POOL = "no_max_pool"  # of kenshohara's networks, which make their pool and may not use it


class TorchNetwork(NamedTuple):
    """A network that a file holds.

    Attributes:
        arrays: parameters by name.
        layers: what the file says of its layers by name; none where it holds parameters alone.
        carried: what the training script saved of its recipe.
    """

    arrays: dict[str, npt.NDArray[np.generic]]
    layers: dict[str, Layer]
    carried: CarriedRecipe


def read_torch_file(file: BinaryIO, key: str | None = None) -> TorchNetwork:
    """Read the parameters from a file that `torch.save`, TorchScript or `torch.export` wrote.

    They are found in a training script's dict and in a whole module too, whatever else is there:
    classes are not imported, and nothing is called.

    Args:
        file: opened for reading in binary mode.
        key: the place of the weights, where the file has several sets; see `find_weights`.

    Returns:
        Layers, and arrays of the stored shapes, which may share memory where the file's tensors do.
        Floating-point ones are float32, others as stored.

    Raises:
        CheckpointError: the file is damaged, has no parameters, several sets of them, or tensors
            that NumPy lacks.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    zipped = file.read(len(ZIP)) == ZIP
    try:
        saved = read_archive(file, size) if zipped else read_legacy(file, size)
        weights = find_weights(saved.content, key)
        return TorchNetwork(
            _read(file, saved, weights.tensors),
            _layers(saved, weights.module),
            carried_recipe(saved.content),
        )
    except CheckpointError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        reason = str(error) if isinstance(error, PickleError) else "it is damaged or truncated"
        raise CheckpointError(
            f"the file cannot be read as a PyTorch checkpoint ({reason}); download it again"
        ) from error


def _layers(saved: TorchContent, module: Instance | None) -> dict[str, Layer]:
    """Return what the file says of the layers of a whole module or program."""
    if saved.program is not None:
        try:
            own, calls = program_steps(saved.program), program_calls(saved.program)
            own += NOT_FOLLOWED if calls is None else ()
            return exported_layers(saved.program) | {"": Layer("torch.export", {}, own, calls)}
        except (ValueError, LookupError, TypeError, AttributeError):  # of another version
            return {}
    found, unused = {}, set()
    for name, value in [] if module is None else walk(module):
        if value.state.get(_NO_POOL) is True:
            unused.add(f"{name}.maxpool".lstrip("."))
        if name not in unused:
            kind = str(value.called) if isinstance(value.called, Global) else "class without a name"
            code = saved.source(value.called)
            layer = layer_of(kind, value.state, code)
            found[name] = layer._replace(own=own_steps(layer.kind, value.state, code))
    if module is not None and saved.source(module.called):
        calls, whole = script_calls(module, saved.source), found[""]
        more = unfollowed(found) if calls is None else ()
        found[""] = whole._replace(own=(*(whole.own or ()), *more), calls=calls)
    return found


def _read(
    file: BinaryIO, saved: TorchContent, tensors: StateDict
) -> dict[str, npt.NDArray[np.generic]]:
    """Read the storages of the tensors, each once, and view them as the tensors do."""
    owners: dict[Storage, str] = {}
    for name, tensor in tensors.items():
        if isinstance(tensor, OtherTensor) or (
            isinstance(tensor, TensorView) and tensor.storage.dtype not in SIZES
        ):
            kind = tensor.kind if isinstance(tensor, OtherTensor) else tensor.storage.dtype
            raise CheckpointError(
                f"tensor {plain(name)} is {kind}; "
                + _WAYS.get(kind, "save the checkpoint with dense float16 or float32 weights")
            )
        if isinstance(tensor, TensorView):
            owners.setdefault(tensor.storage, name)
    places = {storage: saved.place(storage) for storage in owners}
    stored = {storage: _stored(name, storage, places[storage]) for storage, name in owners.items()}
    spans = sorted(tensor.spans[0] for tensor in stored.values())
    if any(start + length > following for (start, length), (following, _) in pairwise(spans)):
        raise CheckpointError(
            "two tensors share the same bytes; the file is damaged, download it again"
        )
    numbers = _numbers(file, stored, places)
    return {
        name: _viewed(name, tensor, numbers[tensor.storage])
        if isinstance(tensor, TensorView)
        else as_float32(tensor)
        for name, tensor in tensors.items()
        if not isinstance(tensor, OtherTensor)
    }


def _stored(name: str, storage: Storage, place: Place) -> StoredTensor:
    if place.length < storage.size:
        raise CheckpointError(
            f"tensor {plain(name)} needs {storage.size} bytes and the file has {place.length}; it "
            "is damaged, download it again"
        )
    return StoredTensor(name, storage.dtype, (storage.count,), ((place.start, storage.size),))


def _numbers(
    file: BinaryIO, stored: dict[Storage, StoredTensor], places: dict[Storage, Place]
) -> dict[Storage, npt.NDArray[np.generic]]:
    """Read storages, and compare their bytes with the CRCs that they were saved with."""
    numbers: dict[Storage, npt.NDArray[np.generic]] = {}
    sums: list[tuple[str, int, Future[int]]] = []
    with ThreadPoolExecutor(1) as other:  # a CRC takes as long as reading does
        for storage, tensor in stored.items():
            data = _bytes(file, tensor)
            _, length, crc = places[storage]
            if crc and length == storage.size:  # else it is of more than was read
                sums.append((tensor.name, crc, other.submit(zlib.crc32, data)))
            numbers[storage] = decode(data, tensor)
        for name, crc, computed in sums:
            check_crc(f"tensor {plain(name)}", computed.result(), crc)
    return numbers


def _bytes(file: BinaryIO, tensor: StoredTensor) -> memoryview:
    """Read the bytes of a storage."""
    ((start, length),) = tensor.spans
    data, done = np.empty(length, np.uint8).data, 0
    file.seek(start)
    while done < length:
        # A raw file may return fewer bytes than requested.
        count = file.readinto(data[done:])  # type: ignore[attr-defined]
        if not count:
            raise CheckpointError(
                f"tensor {plain(tensor.name)} is cut off; download the file again"
            )
        done += count
    return data


def _viewed(
    name: str, view: TensorView, numbers: npt.NDArray[np.generic]
) -> npt.NDArray[np.generic]:
    """Return the array that a tensor is of its storage's numbers."""
    count, held = math.prod(view.shape), view.storage.count
    if count > held:  # a view may repeat what is stored, without limit
        raise CheckpointError(
            f"tensor {plain(name)} has {count} numbers, of which the file holds {held}; save a "
            "copy of it (tensor.clone())"
        )
    try:
        return np.lib.stride_tricks.as_strided(
            numbers[view.offset :],
            view.shape,
            [step * numbers.itemsize for step in view.strides],
            writeable=False,
        )
    except ValueError as error:  # an empty tensor with impossible dimensions beside the zero
        raise CheckpointError(
            f"tensor {plain(name)} has the impossible shape {view.shape}; the file is damaged, "
            "download it again"
        ) from error
