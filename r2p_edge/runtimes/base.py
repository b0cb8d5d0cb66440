"""What every runtime offers: arrays in, arrays out."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy.typing as npt

from r2p_edge.spec import ModelSpec


class Runtime(ABC):
    """A model that is loaded and ready to run, safe to call from several threads.

    Attributes:
        name: of the library, as in `RUNTIMES`.
        device: what the model really runs on, as the library reports it.
        input_shape: of the input tensor; -1 for an axis that may have any size.
        input_dtype: "uint8" or "float32".
        output_shape: likewise; (N, classes).
    """

    name: str
    device: str
    input_shape: tuple[int, ...]
    input_dtype: str
    output_shape: tuple[int, ...]

    @classmethod
    @abstractmethod
    def open(
        cls, path: Path, spec: ModelSpec, *, device: str | None, threads: int | None
    ) -> Runtime:
        """Loads the model.

        Args:
            device: None for the default; an unknown or absent one is an error, never a fallback.
            threads: None for one per core that this process may use.

        Raises:
            BackendError: the library or the device is not to be had.
            ModelError: the library refuses the model.
        """

    @abstractmethod
    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The output for one input, a new array of `output_shape`.

        Args:
            batch: C-contiguous, of `input_shape` and `input_dtype`.

        Raises:
            BackendError: the library failed.
        """

    @abstractmethod
    def close(self) -> None:
        """Frees the model; `run` must not be called again. Calling it twice is allowed."""


def usable_cores() -> int:
    """Cores that this process may run on, which in a container are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
