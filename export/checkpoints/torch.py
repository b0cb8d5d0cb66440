"""A reader of `.pth` and `.pt` files that never runs the code that a pickle may carry."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge._optional import missing
from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.tensor_file import as_float32

# Keys under which training scripts store the parameters, those meant for inference first.
_PARAMETER_KEYS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "network",
    "net",
    "module",
    "params",
    "weights",
)
_NESTED = 8  # dicts, one in another, that are searched for parameters
_SAVE_STATE_DICT = "if you trust it, load it and call torch.save(model.state_dict(), 'weights.pth')"


def read_torch_file(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    """Read the parameters from a file that `torch.save` wrote, in the stored shapes.

    The parameters are found inside a training script's dict too. Floating-point tensors are
    returned as float32, others as stored.

    Raises:
        MissingDependencyError: torch is not installed.
        CheckpointError: the file is damaged, contains Python objects other than plain containers
            and tensors, or has no parameters.
    """
    try:
        import torch
    except ImportError as error:
        raise missing("torch") from error
    _check_archive(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    # torch raises RuntimeError, UnpicklingError, EOFError, KeyError, ... depending on where a
    # file is damaged; each of them means that it cannot be read.
    except Exception as error:
        raise CheckpointError(_reason(str(error))) from error
    parameters = {}
    for name, tensor in _parameters(content, torch.Tensor).items():
        try:
            # A view repeats what is stored, without limit.
            if tensor.layout == torch.strided and tensor.nbytes > tensor.untyped_storage().nbytes():
                raise CheckpointError(
                    f"tensor {name} has {tensor.nbytes} bytes, of which the file holds "
                    f"{tensor.untyped_storage().nbytes()}; save a copy of it (tensor.clone())"
                )
            if tensor.dtype in (torch.bfloat16, torch.float64):
                tensor = tensor.float()
            parameters[name] = as_float32(tensor.detach().numpy())
        except (TypeError, RuntimeError) as error:
            raise CheckpointError(
                f"tensor {name} is {tensor.dtype} ({tensor.layout}), which NumPy lacks; "
                "save the checkpoint with dense floating-point weights"
            ) from error
    return parameters


def _check_archive(path: Path) -> None:
    """Raise CheckpointError if a zip archive would unpack to more bytes than it has.

    `torch.save` compresses nothing, and PyTorch unpacks whatever it is given.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return  # the older format; or damaged, of which PyTorch's reader finds more
    if unpacked > path.stat().st_size:
        raise CheckpointError(
            f"the file has {path.stat().st_size} bytes and would unpack to {unpacked}, and "
            "torch.save compresses nothing; save it again with that"
        )


def _reason(message: str) -> str:
    if "TorchScript" in message:
        return f"the file is a TorchScript program, not a checkpoint; {_SAVE_STATE_DICT}"
    if refused := re.search(r"GLOBAL ([\w.]+)", message):
        return (
            f"the file contains the Python object {refused[1]}, and opening it could run code, so "
            f"it was not opened; {_SAVE_STATE_DICT}"
        )
    return (
        "the file cannot be read as a PyTorch checkpoint; it is damaged or truncated, download it "
        "again"
    )


def _parameters(content: Any, tensor_type: type) -> dict[str, Any]:
    """Return the dict of tensors from inside the object that a training script saved."""
    found = _search(content, tensor_type)
    if found is None:
        what = (
            f"a dict of {', '.join(map(str, list(content)[:8])) or 'nothing'}"
            if isinstance(content, Mapping)
            else f"a {type(content).__name__}"
        )
        raise CheckpointError(
            f"the file contains {what} and no parameters by name; save model.state_dict() instead"
        )
    return found


def _search(content: Any, tensor_type: type, depth: int = _NESTED) -> dict[str, Any] | None:
    if not isinstance(content, Mapping):
        return None
    nested = [content[key] for key in _PARAMETER_KEYS if key in content] if depth else []
    for value in nested:
        if (found := _search(value, tensor_type, depth - 1)) is not None:
            return found
    tensors = {
        key: value
        for key, value in content.items()
        if isinstance(key, str) and isinstance(value, tensor_type)
    }
    return tensors or None
