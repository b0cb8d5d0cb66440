"""What every runtime offers: arrays in, arrays out."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import BackendError, SpecError, UsageError
from r2p_edge.spec.model_spec import ModelSpec

PRECISIONS = ("fp32", "fp16", "bf16")
"""What a caller may ask a runtime to compute in."""

_MOST_THREADS = 1024  # more than any machine has cores, and few enough for the libraries


@dataclass(frozen=True)
class Options:
    """How a model is to be run.

    Attributes:
        device: None for the runtime's default; an unknown or absent one is an error, never a
            fallback.
        threads: None for one per core that this process may use.
        precision: of `PRECISIONS`; None computes in the artifact's own.
        cache: folder in which a runtime that compiles models keeps the results; None for none.

    Raises:
        UsageError: `threads` is not from 1 to 1024, `precision` is none of `PRECISIONS`, or
            `cache` is no folder that can be written to.
    """

    device: str | None = None
    threads: int | None = None
    precision: Literal["fp32", "fp16", "bf16"] | None = None
    cache: Path | None = None

    def __post_init__(self) -> None:
        if self.threads is not None and not 1 <= self.threads <= _MOST_THREADS:
            raise UsageError(f"threads is {self.threads}; it must be from 1 to {_MOST_THREADS}")
        if self.precision is not None and self.precision not in PRECISIONS:
            raise UsageError(
                f"precision is {self.precision!r}; it must be one of {', '.join(PRECISIONS)}"
            )
        if self.cache is not None and not _is_writable_folder(self.cache):
            raise UsageError(
                f"there is no folder {self.cache} for the cache, or it may not be written to; "
                "create it, or choose another"
            )


def _is_writable_folder(path: Path) -> bool:
    try:
        return path.is_dir() and os.access(path, os.R_OK | os.W_OK | os.X_OK)
    except OSError:  # its name is too long, or a folder above may not be entered
        return False


class Runtime(ABC):
    """A model that is loaded and ready to run, safe to call from several threads.

    Attributes:
        name: of the library, as in `RUNTIMES`.
        device: what the model really runs on, as the library reports it.
        precision: what it computes in: "fp32", "fp16", "bf16", "int8", or "int8+bf16" where the
            float layers of an int8 model are not in fp32.
        input_shape: of the input tensor; -1 for an axis that may have any size.
        input_dtype: "uint8" or "float32".
        output_shape: likewise; (N, classes).
        contract: digest of the contract that the model was built with, where the file itself says
            so to the runtime alone.
        builds_from: suffixes of files that `prepare` makes one of its own of.
        without_conv3d: of `devices()`, those that have no 3-D convolutions, whatever the machine.
    """

    name: str
    device: str
    precision: str
    input_shape: tuple[int, ...]
    input_dtype: str
    output_shape: tuple[int, ...]
    contract: str | None = None
    builds_from: ClassVar[tuple[str, ...]] = ()
    without_conv3d: ClassVar[tuple[str, ...]] = ()

    @staticmethod
    @abstractmethod
    def library() -> ModuleType:
        """The library itself, imported.

        Raises:
            MissingDependencyError: it is not installed.
            BackendError: it is installed and cannot be imported.
        """

    @classmethod
    @abstractmethod
    def devices(cls) -> list[str]:
        """Names of the devices that the library finds here, its default first.

        Raises:
            BackendError: see `library`.
        """

    @classmethod
    def prepare(cls, model: Path, folder: Path, options: Options) -> Path:
        """A file that `open` takes: `model`, or what is built of it for a trial into `folder`.

        Raises:
            BackendError, ModelError: see `open`.
        """
        return model

    @classmethod
    @abstractmethod
    def open(cls, path: Path, spec: ModelSpec, options: Options) -> Runtime:
        """Loads the model.

        Raises:
            BackendError: the library, the device or the precision is not to be had.
            ModelError: the library refuses the model.
            UsageError: the runtime has no such option.
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


def as_input(batch: npt.NDArray[Any], model: Runtime) -> npt.NDArray[Any]:
    """`batch`, C-contiguous, if it is what the model takes; some libraries count bytes only.

    Raises:
        BackendError: its shape or dtype is another.
    """
    if batch.shape != model.input_shape or batch.dtype != model.input_dtype:
        raise BackendError(
            f"the model takes {model.input_dtype} {model.input_shape} and was given {batch.dtype} "
            f"{batch.shape}; correct the input"
        )
    return np.ascontiguousarray(batch)


def usable_cores() -> int:
    """Cores that this process may run on, which in a container are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def position(what: Literal["input", "output"], name: str, names: list[str]) -> int:
    """Where the tensor that the spec names stands; where there is only one, whatever its name.

    Raises:
        SpecError: there are several, none of that name.
    """
    if len(names) == 1:
        return 0
    if name not in names:
        raise SpecError(
            f"the model has no {what} {name!r} but {', '.join(names)}; correct {what}.name in "
            "the spec"
        )
    return names.index(name)
