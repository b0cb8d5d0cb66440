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
from r2p_edge.runtimes.tensorrt.build import BuildOptions
from r2p_edge.runtimes.tensorrt.library import RTX, import_rtx, rebuild_command
from r2p_edge.runtimes.tensorrt.plan_header import RTX_CHIPS, Plan
from r2p_edge.runtimes.tensorrt.runtime import TensorRT
from r2p_edge.spec import ModelSpec


class TensorRTForRTX(TensorRT):
    """One engine with one execution context. Devices: "cuda", "cuda:1"."""

    name = RTX

    @staticmethod
    def library() -> ModuleType:
        return import_rtx()

    @classmethod
    def _trial(cls, name: str, number: int) -> BuildOptions:
        chip = cudart.load().chip(number).compute_capability
        _check_known(chip)
        return BuildOptions(name, "fp32", number=None, chips=(chip,))

    @classmethod
    def _check_options(cls, options: Options) -> None:
        if options.threads is not None:
            raise UsageError("tensorrt_rtx has no threads to set; leave the option out")

    @classmethod
    def _check_chip(cls, path: Path, spec: ModelSpec, plan: Plan, chip: cudart.Chip) -> None:
        here = chip.compute_capability
        _check_known(here)
        if plan.chips and here not in plan.chips:
            raise ModelError(
                f"{path} was built for GPUs of compute capability {', '.join(plan.chips)} and this "
                f"one has {here}; build it for that: {rebuild_command(path, name=RTX)} --chip "
                f"sm{here.replace('.', '')}"
            )


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
