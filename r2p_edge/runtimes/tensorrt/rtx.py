"""TensorRT for RTX: engines (`.engine`, `.plan`) on GeForce and RTX cards from Turing on.

It is a library of its own with TensorRT's names. Its engines are built on any machine, for one or
more chips, and finished on the GPU that runs them; neither library reads the other's.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from r2p_edge.errors import BackendError, ModelError, UsageError
from r2p_edge.runtimes.base import Options
from r2p_edge.runtimes.tensorrt import cudart
from r2p_edge.runtimes.tensorrt.build import BuildOptions, plan_from_onnx
from r2p_edge.runtimes.tensorrt.library import RTX, import_rtx, rebuild_command
from r2p_edge.runtimes.tensorrt.plan_header import RTX_CHIPS
from r2p_edge.runtimes.tensorrt.runtime import (
    TensorRT,
    check_precision,
    check_version,
    gpu_number,
    plan_for,
)
from r2p_edge.runtimes.tensorrt.session import Session
from r2p_edge.spec import ModelSpec


class TensorRTForRTX(TensorRT):
    """One engine with one execution context. Devices: "cuda", "cuda:1"."""

    name = RTX

    @staticmethod
    def library() -> ModuleType:
        return import_rtx()

    @classmethod
    def prepare(cls, model: Path, folder: Path, options: Options) -> Path:
        if options.precision not in (None, "fp32"):
            raise BackendError(
                f"an engine in {options.precision} is not built for a trial; choose fp32"
            )
        number = gpu_number(options.device or "cuda", cls)
        chip = cudart.load().chip(number).compute_capability
        _check_known(chip)
        plan = folder / f"{model.stem}.engine"
        wanted = BuildOptions(model.stem, "fp32", number=None, chips=(chip,))
        plan.write_bytes(plan_from_onnx(model, wanted, cls.library()))
        return plan

    @classmethod
    def open(cls, path: Path, spec: ModelSpec, options: Options) -> TensorRTForRTX:
        if options.threads is not None:
            raise UsageError("tensorrt_rtx has no threads to set; leave the option out")
        check_precision(path, spec, options, cls.name)
        plan = plan_for(cls.name, path, spec)
        module = cls.library()
        check_version(path, spec, plan, module)
        device = (options.device or "cuda").removesuffix(":0")
        number = gpu_number(device, cls)
        chip = cudart.load().chip(number).compute_capability
        _check_known(chip)
        if plan.chips and chip not in plan.chips:
            raise ModelError(
                f"{path} was built for GPUs of compute capability {', '.join(plan.chips)} and this "
                f"one has {chip}; build it for that: {rebuild_command(path, name=RTX)} --chip "
                f"sm{chip.replace('.', '')}"
            )
        return cls(Session(path, spec, number, module, options.cache), spec, device)


def _check_known(chip: str) -> None:
    """Make sure that TensorRT for RTX runs on GPUs of a compute capability.

    Raises:
        BackendError: it does not.
    """
    known = RTX_CHIPS.values()
    if chip not in known:
        raise BackendError(
            f"TensorRT for RTX runs on GPUs of compute capability {', '.join(known)} and this one "
            f"has {chip}; use TensorRT itself: r2p-edge export MODEL.onnx --to tensorrt"
        )
