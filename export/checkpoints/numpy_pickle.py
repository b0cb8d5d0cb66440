"""NumPy's arrays and numbers in pickles that were read without running them.

NumPy pickles an array as a call of `_reconstruct` whose state is (version, shape, dtype, Fortran
order, bytes), and a number as a call of `scalar` with a dtype and bytes. Source: numpy/numpy,
numpy/_core/src/multiarray/methods.c (`array_reduce`), scalartypes.c.src and descriptor.c
(`arraydescr_reduce`), 2.3.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge.export.checkpoints.inert_pickle import Global, Instance

_NUMBERS = re.compile(r"[biuf](1|2|4|8)")  # NumPy's letters of kinds, and bytes


def numpy_value(value: Any) -> npt.NDArray[np.generic] | None:
    """Return the array or number of numbers that a pickle would make with NumPy, else None."""
    if not isinstance(value, Instance) or not isinstance(value.called, Global):
        return None
    try:
        if value.called.name == "_reconstruct":
            _, shape, dtype, fortran, content = value.state
        elif value.called.name == "scalar":
            (dtype, content), shape, fortran = value.arguments, (), False
        else:
            return None
        if isinstance(content, str):  # as pickles of Python 2 hold bytes
            content = content.encode("latin1")
        array: npt.NDArray[np.generic] = np.ndarray(
            shape, _dtype(dtype), content, order="F" if fortran else "C"
        )
        whole = array.shape == tuple(shape) and array.nbytes == len(content)
        return array if whole else None
    # Another class of the same name, an array of objects, or damage.
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError):
        return None


def _dtype(value: Instance) -> np.dtype[np.generic]:
    code, (_, order, *_) = value.arguments[0], value.state
    if not _NUMBERS.fullmatch(code):
        raise ValueError("no dtype of numbers")
    dtype: np.dtype[np.generic] = np.dtype({"<": "<", ">": ">", "|": "|"}[order] + code)
    return dtype
