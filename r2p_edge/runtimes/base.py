"""Interface of every runtime: arrays in, arrays out."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import BackendError, ModelError, SpecError, UsageError
from r2p_edge.runtimes.part import PartModel
from r2p_edge.spec import ModelSpec

PRECISIONS = ("fp32", "fp16", "bf16")
"""Precisions that a caller may ask a runtime to compute in."""

_MOST_THREADS = 1024  # more than any machine has cores, and few enough for the libraries


@dataclass(frozen=True)
class Options:
    """Options for running a model.

    Attributes:
        device: device to run on, e.g. "cpu" or "cuda:1"; None for the one that the file was made
            for, or else the runtime's first (see `Runtime.devices`). An unavailable device raises
            BackendError; there is no fallback.
        threads: number of CPU threads; None for one per core that this process may use.
        precision: one of `PRECISIONS`; None for the artifact's own.
        cache: folder in which a runtime that compiles models keeps the results; None for none.

    Raises:
        UsageError: `threads` is not from 1 to 1024, `precision` is not one of `PRECISIONS`, or
            `cache` is not a folder that can be written to.
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
                f"the cache folder {self.cache} does not exist or cannot be written to; create it, "
                "or choose another"
            )


def _is_writable_folder(path: Path) -> bool:
    try:
        return path.is_dir() and os.access(path, os.R_OK | os.W_OK | os.X_OK)
    except OSError:  # its name is too long, or a folder above may not be entered
        return False


class Runtime(ABC):
    """A model that is loaded and ready to run, safe to call from several threads.

    Attributes:
        name: of the runtime, as in `RUNTIMES`.
        device: device that the model runs on, as the library reports it.
        precision: precision that it computes in: "fp32", "tf32", "fp16", "bf16", "int8", or
            "int8+bf16" where the float layers of an int8 model are not in fp32.
        input_shape: shape of the input tensor; -1 for an axis that may have any size.
        input_dtype: "uint8" or "float32".
        output_shape: shape of the output tensor, (N, classes); -1 as above.
        contract: digest of the contract that the model was built with, if the file itself reveals
            it to the runtime alone.
        builds_from: suffixes of files from which `prepare` builds one of the runtime's own.
        without_conv3d: devices that lack 3-D convolutions on every machine.
        takes_pixels: its files take uint8 NTHWC and no other input, and give the outputs in a row.
        part_device: kind of the devices that run the parts of a per-frame form; "" for none.
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
    takes_pixels: ClassVar[bool] = False
    part_device: ClassVar[str] = ""

    @staticmethod
    @abstractmethod
    def library() -> ModuleType:
        """Import the library and return it.

        Raises:
            MissingDependencyError: it is not installed.
            BackendError: it is installed and cannot be imported.
        """

    @classmethod
    @abstractmethod
    def devices(cls) -> list[str]:
        """Return the names of the devices that the library finds here, its default first.

        Raises:
            BackendError: see `library`.
        """

    @classmethod
    def precisions(cls, device: str) -> list[str]:
        """Return those of `PRECISIONS` that a caller may ask for on a device.

        Empty for a library that computes in the artifact's own precision only.

        Args:
            device: one of `devices`.

        Raises:
            BackendError: see `library`.
        """
        return []

    @classmethod
    def int8_fault(cls) -> str | None:
        """Return why the library computes int8 wrongly on this machine's CPU; None if it does not.

        Raises:
            BackendError: see `library`.
        """
        return None

    @classmethod
    def prepare(cls, model: Path, folder: Path, options: Options) -> Path:
        """Return a file that `open` takes: `model`, or one built from it in `folder` for a trial.

        Raises:
            BackendError, ModelError: see `open`.
        """
        return model

    @classmethod
    @abstractmethod
    def open(cls, path: Path, spec: ModelSpec, options: Options) -> Runtime:
        """Load the model at `path`.

        Raises:
            BackendError: the library, the device or the precision is unavailable.
            ModelError: the library refuses the model.
            UsageError: the runtime has no such option.
        """

    @classmethod
    def runs_parts(cls, device: str) -> bool:
        """Return whether a device runs the parts of a per-frame form; see `open_part`."""
        return device.partition(":")[0] == cls.part_device

    @classmethod
    def open_part(
        cls, path: Path, spec: ModelSpec, options: Options, *, clips: int | None = 1
    ) -> PartModel:
        """Load a part of a model's per-frame form.

        Args:
            path: of the part.
            spec: contract of the model.
            options: those with which the model was opened.
            clips: size of the open axes of its inputs, the cameras of a call; None if calls differ.

        Raises:
            BackendError: the runtime, or the device, runs no parts; or see `open`.
            ModelError, UsageError: see `open`.
        """
        raise BackendError(
            f"{cls.name} runs whole clips alone; for the per-frame form take the .onnx or .xml "
            "file on onnxruntime or openvino, or leave out reuse"
        )

    @abstractmethod
    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the output for one input, a new array of `output_shape`.

        Args:
            batch: C-contiguous, of `input_shape` and `input_dtype`.

        Raises:
            BackendError: the library failed, or the model is closed.
        """

    def run_further(
        self, batch: npt.NDArray[Any], names: Sequence[str]
    ) -> dict[str, npt.NDArray[Any]]:
        """Return outputs of these names for one input, new arrays; `run` computes none of them.

        Args:
            batch: see `run`.
            names: of outputs that the model has.

        Raises:
            BackendError: the runtime gives the answer alone, or see `run`.
            SpecError: the model has no output of a name.
        """
        raise BackendError(
            f"{self.name} gives a model's answer alone; for its features run the .onnx or .xml "
            "file on onnxruntime or openvino"
        )

    @abstractmethod
    def close(self) -> None:
        """Free the model; `run` must not be called again. Closing twice is allowed."""


def as_input(batch: npt.NDArray[Any], model: Runtime) -> npt.NDArray[Any]:
    """Return `batch` C-contiguous, checked here because some libraries count only its bytes.

    Raises:
        BackendError: its shape or dtype is not the model's.
    """
    if batch.shape != model.input_shape or batch.dtype != model.input_dtype:
        raise BackendError(
            f"the model takes {model.input_dtype} {model.input_shape} and was given {batch.dtype} "
            f"{batch.shape}; correct the input"
        )
    return np.ascontiguousarray(batch)


def check_one_input(path: Path, count: int) -> None:
    """Make sure that a model takes one clip and nothing else.

    Raises:
        ModelError: it has no input, or several.
    """
    if count != 1:
        raise ModelError(f"{path} has {count} inputs; expected one clip, so export the model again")


def check_part_device(runtime: type[Runtime], device: str) -> None:
    """Make sure that a part runs where its arrays are.

    Raises:
        BackendError: the device is another one, so that each frame would copy all states.
    """
    if not runtime.runs_parts(device):
        raise BackendError(
            f"{runtime.name} runs the per-frame form on the device {runtime.part_device}, and this "
            f"is {device}; open the model on {runtime.part_device}, or leave out reuse"
        )


def closed_model() -> BackendError:
    """Return the error to raise where a model is run after `close`."""
    return BackendError("this model is closed; open it again")


def usable_cores() -> int:
    """Return how many cores this process may use; in a container, fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_outputs(wanted: Sequence[str], names: Sequence[str]) -> None:
    """Make sure that a model has outputs of the names that are wanted.

    Raises:
        SpecError: it lacks one.
    """
    if lacking := [name for name in wanted if name not in names]:
        raise SpecError(
            f"the model has no output {', '.join(lacking)} but {', '.join(names)}, so its spec is "
            "that of another file; take the spec that was exported with it"
        )


def position(what: Literal["input", "output"], name: str, names: list[str]) -> int:
    """Return the position in `names` of the tensor that the spec names.

    A model's only tensor is taken whatever its name.

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
