"""Interface of the parts of a per-frame form: graphs that run on arrays which stay where they are.

A part has several inputs and outputs, and is run at each frame. So its arrays are made once, and a
run is told which of them to read and to write: nothing is copied, and nothing allocated.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import BackendError

_ALIGNMENT = 64  # bytes; of a cache line, and of the widest vectors that a CPU loads


class PartTensor(NamedTuple):
    """An input or an output of a part.

    Attributes:
        shape: -1 for an axis that may have any size.
        dtype: as NumPy names it, such as "float32".
    """

    shape: tuple[int, ...]
    dtype: str


class PartMemory:
    """Memory of a tensor, which stays where it is.

    Attributes:
        array: its values, as the host sees them.
        holder: what the library knows of it, see `PartCall.bind`.
    """

    def __init__(self, array: npt.NDArray[Any], holder: Any) -> None:
        self.array, self.holder = array, holder

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return self.array.nbytes

    def fill(self, value: int) -> None:
        """Give all elements a value: 0, or any of an integer type."""
        self.array.fill(value)

    def send(self) -> None:
        """Let the library see what was written into `array`."""

    def fetch(self) -> None:
        """Let `array` have what the library wrote."""


class PartCall(ABC):
    """The arrays of one caller and the run on them; for one thread at a time."""

    @abstractmethod
    def bind(self, name: str, holder: Any) -> None:
        """Let a tensor be an array from now on, which no other one is.

        Args:
            name: of an input or an output of the part.
            holder: of memory of its shape and dtype, see `PartModel.memory`.
        """

    @abstractmethod
    def run(self) -> None:
        """Compute the arrays of the outputs from those of the inputs, all of which are bound.

        Raises:
            BackendError: the library failed.
        """


class PartModel(ABC):
    """A part that is loaded; several threads may run calls of their own on it.

    Attributes:
        inputs, outputs: its tensors by name.
        batches: whether an axis that may have any size can have several sizes in turns.
    """

    inputs: dict[str, PartTensor]
    outputs: dict[str, PartTensor]
    batches: bool = True

    def memory(self, shape: tuple[int, ...], dtype: str, *, shown: bool = True) -> PartMemory:
        """Return new memory for a tensor, of any content.

        Args:
            shape, dtype: of the tensor.
            shown: whether the host reads or writes its `array`.

        Raises:
            BackendError: there is too little, or see `holder`.
        """
        array = aligned(shape, dtype)
        return PartMemory(array, self.holder(array))

    @abstractmethod
    def holder(self, array: npt.NDArray[Any]) -> Any:
        """Return what the library needs to know of an array of the host, whose memory it will use.

        Args:
            array: C-contiguous, see `aligned`; the caller keeps it for as long as it is bound.

        Raises:
            BackendError: the library would copy it, or has memory of its own.
        """

    @abstractmethod
    def call(self) -> PartCall:
        """Return a new call, to which nothing is bound."""


def check_shared(name: str, address: int, array: npt.NDArray[Any]) -> None:
    """Make sure that a library uses an array's own memory: from a copy it would read old values.

    Args:
        name: of the library.
        address: where it says that the values are.
        array: the array.

    Raises:
        BackendError: they are somewhere else.
    """
    if address != array.ctypes.data:
        raise BackendError(
            f"this {name} copies arrays of {array.dtype}, and the per-frame form needs one that "
            "uses them where they are; install a newer version, or leave out reuse"
        )


def aligned(shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
    """Return an array of any content that begins where libraries need no copy of it."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    first = -raw.ctypes.data % _ALIGNMENT
    return raw[first : first + size].view(dtype).reshape(shape)
