"""A reader of `.safetensors` files: a JSON header that says where each tensor's bytes are.

Format: https://github.com/huggingface/safetensors#format. The safetensors package is not used
because it returns NumPy arrays, and NumPy has no bfloat16.
"""

from __future__ import annotations

import json
import os
from typing import Any, BinaryIO

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.tensor_file import ReadResult, StoredTensor, read_tensors
from r2p_edge.export.checkpoints.training_state import training_state

_DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
}


def read_safetensors(file: BinaryIO) -> ReadResult:
    """Read the parameters of a `.safetensors` file, and the file's sha256.

    MindSpore writes this format too, with its optimiser state, which is skipped.

    Raises:
        CheckpointError: the file is damaged, truncated, or has a tensor of a dtype that NumPy
            lacks.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > size - 8:
        raise CheckpointError("the file ends in the middle of its header; download it again")
    try:
        header = json.loads(file.read(length))
        tensors = [
            _stored(name, entry, 8 + length, size)
            for name, entry in header.items()
            if name != "__metadata__"
        ]
    except CheckpointError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            "the header is damaged or not of a safetensors file; download it again"
        ) from error
    state = training_state({tensor.name for tensor in tensors})
    return read_tensors(file, [tensor for tensor in tensors if tensor.name not in state])


def _stored(name: str, entry: dict[str, Any], base: int, size: int) -> StoredTensor:
    dtype, (begin, end), shape = entry["dtype"], entry["data_offsets"], tuple(entry["shape"])
    # 2.9, 1e999 and true are numbers to JSON and to Python too.
    if any(type(number) is not int for number in (begin, end, *shape)):
        raise ValueError(f"tensor {name} lies at {begin} to {end} with shape {shape}")
    if dtype not in _DTYPES:
        raise CheckpointError(
            f"tensor {name} is of type {dtype}; save the checkpoint with float16 or float32 weights"
        )
    if not 0 <= begin <= end or base + end > size:
        raise CheckpointError(
            f"tensor {name} ends after the file, which is truncated; download it again"
        )
    return StoredTensor(name, _DTYPES[dtype], shape, ((base + begin, end - begin),))
