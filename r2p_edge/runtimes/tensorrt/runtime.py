"""TensorRT: engines (`.engine`, `.plan`) on NVIDIA GPUs, from TensorRT 8.6 to 11.

An engine runs only with the TensorRT that built it and on the kind of GPU that it was built on.
The library reports a mismatch, if at all, in its log and by answering None; so everything that can
be known is compared before it is called.
"""

from __future__ import annotations

import re
import warnings
import weakref
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from r2p_edge.errors import BackendError, ModelError, UsageError, unreadable_model
from r2p_edge.runtimes.base import Options, Runtime, as_input, closed_model
from r2p_edge.runtimes.part import PartModel
from r2p_edge.runtimes.tensorrt import cudart
from r2p_edge.runtimes.tensorrt.library import import_tensorrt, rebuild_command
from r2p_edge.runtimes.tensorrt.plan_header import TITLES, Plan, read_plan
from r2p_edge.runtimes.tensorrt.session import Session
from r2p_edge.spec import ModelSpec

if TYPE_CHECKING:
    from r2p_edge.runtimes.tensorrt.build import BuildOptions


class TensorRT(Runtime):
    """One engine with one execution context. Devices: "cuda", "cuda:1"."""

    name = "tensorrt"
    part_device = "cuda"
    builds_from = (".onnx",)

    def __init__(self, session: Session, spec: ModelSpec, device: str) -> None:
        self._session = session
        # Also at the interpreter's exit, before CUDA is unloaded.
        self._close = weakref.finalize(self, session.close)
        self.device = device
        self.precision = spec.precision
        self.input_shape = session.input.array.shape
        self.input_dtype = session.input.array.dtype.name
        self.output_shape = session.output.array.shape
        self.contract = session.contract

    @staticmethod
    def library() -> ModuleType:
        return import_tensorrt()

    @classmethod
    def devices(cls) -> list[str]:
        cls.library()
        count = cudart.load().device_count()
        return [f"cuda:{number}" if number else "cuda" for number in range(count)]

    @classmethod
    def prepare(cls, model: Path, folder: Path, options: Options) -> Path:
        from r2p_edge.runtimes.tensorrt.build import plan_from_onnx

        if options.precision not in (None, "fp32"):
            raise BackendError(
                f"an engine in {options.precision} is not built for a trial; choose fp32"
            )
        wanted = cls._trial(model.stem, gpu_number(options.device or "cuda", cls))
        plan = folder / f"{model.stem}.engine"
        plan.write_bytes(plan_from_onnx(model, wanted, cls.library()))
        return plan

    @classmethod
    def open(cls, path: Path, spec: ModelSpec, options: Options) -> TensorRT:
        module, number, device = cls._checked(path, spec, options)
        return cls(Session(path, spec, number, module, options.cache), spec, device)

    @classmethod
    def open_part(
        cls, path: Path, spec: ModelSpec, options: Options, *, clips: int | None = 1
    ) -> PartModel:
        from r2p_edge.runtimes.tensorrt.part import PartSession, TensorRTPart

        module, number, _ = cls._checked(path, spec, options)
        return TensorRTPart(PartSession(path, spec, number, module, options.cache))

    @classmethod
    def _checked(cls, path: Path, spec: ModelSpec, options: Options) -> tuple[ModuleType, int, str]:
        """Return the library, and the number and name of the GPU, that are to run an engine.

        Raises:
            BackendError, ModelError, UsageError: see `open`.
        """
        cls._check_options(options)
        _check_precision(path, spec, options, cls.name)
        plan = _plan_for(cls.name, path, spec)
        module = cls.library()
        _check_version(path, spec, plan, module)
        device = (options.device or "cuda").removesuffix(":0")
        number = gpu_number(device, cls)
        cls._check_chip(path, spec, plan, cudart.load().chip(number))
        return module, number, device

    @classmethod
    def _trial(cls, name: str, number: int) -> BuildOptions:
        """Return the options of an engine for a trial on a GPU of this machine."""
        from r2p_edge.runtimes.tensorrt.build import BuildOptions

        return BuildOptions(name, "fp32", number=number)

    @classmethod
    def _check_options(cls, options: Options) -> None:
        """Make sure that the runtime has the options that are given.

        Raises:
            UsageError: it has not.
        """
        if options.threads is not None or options.cache is not None:
            raise UsageError("tensorrt has neither threads nor a cache of models; leave them out")

    @classmethod
    def _check_chip(cls, path: Path, spec: ModelSpec, plan: Plan, chip: cudart.Chip) -> None:
        """Compare the GPU that an engine was built for with the one that is to run it.

        Raises:
            ModelError: it is of another generation.
        """
        target = spec.target or {}
        built = target.get("compute_capability", chip.compute_capability)
        if built != chip.compute_capability:
            raise ModelError(
                f"{path} was built for a GPU of compute capability {built} and this one has "
                f"{chip.compute_capability}; build it here: {rebuild_command(path)}"
            )
        count = target.get("multiprocessors", chip.multiprocessors)
        if count != chip.multiprocessors:
            # Another model, or the same in another power mode: the engine still runs.
            warnings.warn(
                f"{path} was tuned on a GPU of {count} multiprocessors and this one has "
                f"{chip.multiprocessors}; it may be slower than one that is built here: "
                f"{rebuild_command(path)}",
                RuntimeWarning,
                stacklevel=2,
            )

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        array = as_input(batch, self)
        with self._session.lock:
            if not self._close.alive:
                raise closed_model()
            return self._session.run(array)

    def close(self) -> None:
        self._close()


def gpu_number(device: str, runtime: type[TensorRT]) -> int:
    """Return the number of a GPU from its name, "cuda" or "cuda:1".

    Raises:
        BackendError: the device is not here.
    """
    available = runtime.devices()
    if device not in available:
        raise BackendError(
            f"{runtime.name} has no device {device!r} here; it has "
            f"{', '.join(available) or 'none'}: "
            + ("choose one of them" if available else "check that the GPU's driver is loaded")
        )
    return available.index(device)


def _check_precision(path: Path, spec: ModelSpec, options: Options, name: str) -> None:
    """Make sure that an engine computes in the precision that is asked of the runtime `name`.

    Raises:
        BackendError: it does not.
    """
    if options.precision not in (None, spec.precision):
        command = rebuild_command(path, name=name, precision=str(options.precision))
        raise BackendError(
            f"{path} was built to compute in {spec.precision} and not in {options.precision}; "
            f"build an engine of that precision: {command}"
        )


def _plan_for(name: str, path: Path, spec: ModelSpec) -> Plan:
    """Return the header of an engine that is to run on the runtime `name`.

    Raises:
        ModelError: the file is not an engine, or one of another library.
    """
    try:
        plan = read_plan(path)
    except OSError as error:
        raise unreadable_model(path, error) from error
    target = spec.target or {}
    made_for = plan.library or target.get("runtime")
    if made_for not in TITLES:
        raise ModelError(
            f"{path} does not begin as an engine of TensorRT 8.6 or newer does; give an engine, "
            "or export the model"
        )
    if made_for != name:
        raise ModelError(
            f"{path} is an engine of {TITLES[made_for]}, which {TITLES[name]} does not read; run "
            f"it with --runtime {made_for}, or build another: {rebuild_command(path, name=name)}"
        )
    return plan


def _check_version(path: Path, spec: ModelSpec, plan: Plan, module: ModuleType) -> None:
    """Compare the version that built an engine with the one that is to run it.

    Raises:
        ModelError: they are not the same.
    """
    name, version = module.__name__, module.__version__
    built = plan.version or _numbers(str((spec.target or {}).get(name, "")))
    here = _numbers(version)
    # The Python module's version has three numbers or four.
    if any(one != other for one, other in zip(built, here)):
        raise ModelError(
            f"{path} was built by {TITLES[name]} {'.'.join(map(str, built))} and this is "
            f"{version}; an engine runs with the version that built it, so build it "
            f"{'here' if name == 'tensorrt' else 'with this one'}: "
            f"{rebuild_command(path, name=name)}"
        )


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version: (10, 13, 3, 9) for "10.13.3.9.post1"."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()
