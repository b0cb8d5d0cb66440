"""A reader of `.npz` files, in which nothing is executed."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import ModelError, ModelNotFoundError

_MAX_BYTES = 4 << 30  # of the arrays, unpacked: a thousand clips of 16 frames of 112x112 as floats


def read_arrays(path: Path, kind: str, way: str) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of an `.npz` file by name.

    Args:
        path: the file.
        kind: name of what it is, for errors.
        way: what to do where it cannot be read, for errors.

    Raises:
        ModelNotFoundError: there is no such file.
        ModelError: it is no such file, it is damaged, or it has something else than arrays.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > _MAX_BYTES:
            raise ModelError(
                f"{kind} {path}: it has {size} bytes of arrays, where {_MAX_BYTES} are the most"
            )
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise ModelNotFoundError(f"{kind} {path} does not exist; check the path") from error
    # What zipfile and NumPy raise for other and for damaged files; ValueError for pickled objects,
    # MemoryError for an array that says to be larger than the file, and what Python's own parser
    # raises, with which NumPy reads the header of an array.
    except (
        *(OSError, EOFError, ValueError, MemoryError),
        *(zipfile.BadZipFile, zlib.error, NotImplementedError),
        *(SyntaxError, tokenize.TokenError, RecursionError),
    ) as error:
        raise ModelError(f"{kind} {path} cannot be read ({error}); {way}") from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # NumPy gives other members of the archive as bytes
            raise ModelError(f"{kind} {path}: {name} is no array of NumPy's; {way}")
    return arrays
