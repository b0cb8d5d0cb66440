"""MindSpore, the framework itself: `.mindir` on the CPU. MindSpore Lite is another library."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys
import threading
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from r2p_edge._optional import import_library
from r2p_edge.artifact.mindir import inputs_of_mindir
from r2p_edge.errors import BackendError, ModelError, UsageError, one_line
from r2p_edge.runtimes.base import (
    Options,
    Runtime,
    as_input,
    check_one_input,
    closed_model,
    usable_cores,
)
from r2p_edge.spec import ModelSpec

TARGET = {"runtime": "mindspore", "device": "cpu"}
"""`ModelSpec.target` of the files that this runtime runs."""

# oneDNN, dnnl_types.h and dnnl_common_types.h: dnnl_cpu_isa_avx2, and the bit that all values from
# dnnl_cpu_isa_avx512_core on have beyond it and its VNNI forms.
_AVX2, _AVX512 = 0x7, 0x20


class MindSpore(Runtime):
    """One `mindspore.nn.GraphCell`, compiled when it is opened. Device: "cpu".

    MindSpore has one device, one number of threads (at least two) and one executor per process.
    The first model that is opened sets the device and the threads, unless the program has done so;
    all models take turns. MindSpore's threads install a SIGINT handler below Python's: from the
    first run on, Ctrl-C may arrive as SIGTERM (seen with 2.10).
    """

    name = "mindspore"
    device = "cpu"
    _lock = threading.Lock()
    _threads: ClassVar[int | None] = None  # the number that was set here

    def __init__(
        self, mindspore: ModuleType, network: Any, precision: str, example: npt.NDArray[Any]
    ) -> None:
        self._mindspore = mindspore
        self._network: Any = network
        self.precision = precision
        self.input_shape = example.shape
        self.input_dtype = example.dtype.name
        self.output_shape = self.run(example).shape

    @staticmethod
    def library() -> ModuleType:
        imported = "mindspore" in sys.modules
        mindspore = import_library("mindspore", "pip install mindspore")
        _cap_onednn(Path(str(mindspore.__file__)).parent)
        if not imported:
            # In a release for Ascend the CPU is not the default.
            mindspore.set_device("CPU")
        return mindspore

    @classmethod
    def devices(cls) -> list[str]:
        cls.library()
        return ["cpu"]

    @classmethod
    def open(cls, path: Path, spec: ModelSpec, options: Options) -> MindSpore:
        _check_target(path, spec)
        if options.cache is not None:
            raise UsageError("mindspore keeps no compiled models here; leave cache out")
        if options.precision not in (None, spec.precision):
            raise UsageError(
                f"mindspore computes in the artifact's own precision, {spec.precision}, and not "
                f"in {options.precision}; leave precision out, or choose another runtime"
            )
        if (options.device or "cpu").lower() != "cpu":
            raise BackendError(
                f"mindspore is used on the cpu only, and not on {options.device!r}; leave device "
                "out, or choose another runtime"
            )
        example = _example(path, spec)
        mindspore = cls.library()
        if (device := mindspore.get_context("device_target")) != "CPU":
            raise BackendError(
                f"mindspore was set to {device} by this program and cannot be changed; call "
                'mindspore.set_device("CPU") before anything else, or use another process'
            )
        cls._set_threads(mindspore, options.threads)
        try:
            with cls._lock:
                network = mindspore.nn.GraphCell(mindspore.load(str(path)))
            return cls(mindspore, network, spec.precision, example)
        # RuntimeError, ValueError and TypeError, and from the run below our own.
        except Exception as error:
            raise ModelError(
                f"mindspore {mindspore.__version__} cannot load {path} ({reason(error)}); check "
                "that the file is whole, or export it again"
            ) from error

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        # MindSpore would compile the graph anew for another shape.
        array = as_input(batch, self)
        with self._lock:
            if self._network is None:
                raise closed_model()
            try:
                output = self._network(self._mindspore.Tensor(array))
                # A copy: the array is a view of MindSpore's memory.
                return np.array(output.asnumpy())
            # As above; AttributeError where the model gives a tuple of outputs.
            except Exception as error:
                raise BackendError(
                    f"mindspore failed on {self.device} ({reason(error)})"
                ) from error

    def close(self) -> None:
        with self._lock:
            self._network = None

    @classmethod
    def _set_threads(cls, mindspore: ModuleType, wanted: int | None) -> None:
        """Set the number of threads, which MindSpore takes once per process.

        Raises:
            UsageError: it is already set to another number, or `wanted` is 1.
        """
        if wanted == 1:
            raise UsageError(
                "mindspore computes with two threads or more; leave threads out, or keep the "
                "process on one core (taskset -c 0)"
            )
        number = wanted or usable_cores()
        try:
            mindspore.device_context.cpu.op_tuning.threads_num(number)
            cls._threads = number
        except RuntimeError as error:  # "can not be set repeatedly"
            if wanted not in (None, cls._threads):
                raise UsageError(
                    f"mindspore's number of threads was set in this process already, to "
                    f"{cls._threads or 'another'}, and not to {wanted}; leave threads out, or use "
                    "another process"
                ) from error


def reason(error: Exception) -> str:
    """Return the message of a MindSpore exception without the rules and the C++ call stack."""
    return re.sub(r"-{4,} ?", "", one_line(error).partition("- C++ Call Stack")[0]).strip()


def _cap_onednn(folder: Path) -> None:
    """Keep the oneDNN in MindSpore's `folder` from AVX-512; warn if it is too late for that.

    For MindSpore's layout oneDNN 3.10, of MindSpore 2.10, has only a reference kernel there: a 3x3
    convolution from 64 to 144 channels on 16 x 64 x 56 x 56 took 7.3 s, and 0.04 s with AVX2;
    R(2+1)D-18 on 16 x 112 x 112 took 62 s, and 0.4 s. oneDNN's environment variable for it would
    also reach other libraries of the process, which have no such gap.

    oneDNN, "CPU Dispatcher Control" and dnnl_set_max_cpu_isa: the limit can be set until the
    first kernel is generated, and by ONEDNN_MAX_CPU_ISA or the older DNNL_MAX_CPU_ISA.
    """
    found = sorted((folder / "lib").glob("libdnnl.so*"))
    chosen = {"ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"} & os.environ.keys()
    if not found or chosen or platform.machine() not in ("x86_64", "AMD64"):
        return
    onednn = ctypes.CDLL(str(found[0]))
    # In this order: once asked for the effective ISA, oneDNN refuses to change it.
    if onednn.dnnl_set_max_cpu_isa(_AVX2) != 0 and onednn.dnnl_get_effective_cpu_isa() & _AVX512:
        warnings.warn(
            "mindspore computed something before r2p_edge was used, so that its oneDNN keeps to "
            "AVX-512, where convolutions are about a hundred times slower; open the model first, "
            "or set ONEDNN_MAX_CPU_ISA=AVX2 in the environment",
            RuntimeWarning,
            stacklevel=2,
        )


def _check_target(path: Path, spec: ModelSpec) -> None:
    """Make sure that a file was made for the framework on the CPU.

    MindSpore Lite writes `.mindir` files too, which the framework cannot read.

    Raises:
        ModelError: its spec names another target.
    """
    made_for = {name: (spec.target or {}).get(name) for name in TARGET}
    if any(made_for.values()) and made_for != TARGET:
        text = " on ".join(str(value) for value in made_for.values() if value)
        raise ModelError(
            f"{path} was made for {text} and not for mindspore on cpu; open it with that runtime, "
            "or export the model again with --to mindspore"
        )


def _example(path: Path, spec: ModelSpec) -> npt.NDArray[Any]:
    """Return zeros that the model takes; open axes are filled as in the spec.

    Raises:
        ModelError: the file is not a MindIR, or that of a model of other inputs.
    """
    inputs = inputs_of_mindir(path)
    check_one_input(path, len(inputs))
    ((dtype, dims),) = inputs
    if len(dims) == len(spec.input_shape):
        dims = tuple(want if size < 0 else size for size, want in zip(dims, spec.input_shape))
    try:
        return np.zeros(dims, dtype)
    except (ValueError, MemoryError) as error:  # a negative or absurd size
        raise ModelError(
            f"{path} is not a whole MindIR file (it takes an input of shape {dims}); copy or "
            "export it again"
        ) from error
