"""Rockchip's NPUs: `.rknn` on a board, or rebuilt for the simulator of RKNN-Toolkit2."""

from __future__ import annotations

import contextlib
import logging
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge.artifact.scratch import scratch_folder
from r2p_edge.errors import BackendError, MissingDependencyError, ModelError, UsageError
from r2p_edge.runtimes.base import Options, Runtime, as_input, closed_model
from r2p_edge.runtimes.rknn.board import BoardSession, lite_library, lite_version
from r2p_edge.runtimes.rknn.chips import CORE_MASKS, has_same_npu, npu_devices, rockchip_here
from r2p_edge.runtimes.rknn.source_file import unpack_source
from r2p_edge.runtimes.rknn.toolkit import (
    PYTHON_VARIABLE,
    Simulation,
    toolkit_python,
    toolkit_version,
)
from r2p_edge.runtimes.rknn.trial import model_of_chip, source_of_trial
from r2p_edge.spec import ModelSpec

SIMULATOR = "simulator"
"""Device of a machine that has RKNN-Toolkit2 and no NPU."""

_log = logging.getLogger(__name__)


class Rknn(Runtime):
    """A `.rknn` file. Devices: "npu" and its cores, "npu:0", "npu:0_1"; or "simulator".

    On a board the default is "npu". Elsewhere it is the simulator, which computes the answer of the
    NPU on the CPU, and whose speed says nothing.
    """

    name = "rknn"
    builds_from = (".onnx",)
    without_conv3d = (*CORE_MASKS, SIMULATOR)
    takes_pixels = True

    def __init__(self, session: _Session, spec: ModelSpec, device: str) -> None:
        self._session: _Session | None = session
        self._lock = threading.Lock()
        self.device = device
        self.precision = spec.precision
        self.input_shape = spec.input_shape
        self.input_dtype = spec.input.dtype
        self.output_shape = (1, spec.outputs)

    @staticmethod
    def library() -> ModuleType:
        """Return `rknnlite.api`, or else a module that stands for RKNN-Toolkit2 in its own Python.

        Raises:
            MissingDependencyError: neither is here.
            BackendError: one is here and does not work.
        """
        try:
            lite = lite_library()
        except MissingDependencyError as error:
            try:
                version = toolkit_version(toolkit_python())
            except MissingDependencyError as other:
                raise MissingDependencyError(f"{error}; or, for the simulator, {other}") from other
            toolkit = ModuleType("rknn")
            toolkit.__version__ = version  # type: ignore[attr-defined]
            return toolkit
        lite.__version__ = lite_version()  # type: ignore[attr-defined]
        return lite

    @classmethod
    def devices(cls) -> list[str]:
        board = cls.library().__name__ != "rknn"
        found = npu_devices(rockchip_here()) if board else []
        with contextlib.suppress(MissingDependencyError):
            toolkit_python()
            found.append(SIMULATOR)
        return found

    @classmethod
    def prepare(cls, model: Path, folder: Path, options: Options) -> Path:
        if model.suffix != ".onnx":
            return model
        device = options.device or cls.devices()[0]
        if device == SIMULATOR:
            return source_of_trial(model, folder)
        return model_of_chip(model.stem, rockchip_here())

    @classmethod
    def open(cls, path: Path, spec: ModelSpec, options: Options) -> Runtime:
        if options.threads is not None or options.cache is not None:
            raise UsageError("rknn has neither threads nor a cache of models; leave them out")
        if options.precision not in (None, spec.precision):
            raise BackendError(
                f"{path} computes in {spec.precision} and not in {options.precision}; export it "
                "in another precision, or leave precision out"
            )
        if spec.input.dtype != "uint8" or spec.input.layout != "NTHWC":
            raise ModelError(
                f"{path} is to take {spec.input.dtype} {spec.input.layout} by its contract, and a "
                ".rknn file of r2p-edge export takes uint8 NTHWC; export it again"
            )
        found = cls.devices()
        device = options.device or found[0]
        if device not in found:
            raise BackendError(f"rknn has no device {device!r} here; it has {', '.join(found)}")
        if device == SIMULATOR:
            if options.device is None:
                _log.warning(
                    "%s runs on RKNN-Toolkit2's simulator, which computes the NPU's answers and "
                    "none of its times",
                    path,
                )
            _warn_of_another_toolkit(path, _recorded(spec, "rknn_toolkit2"))
            return cls(_SimulatorSession(path, spec), spec, device)
        built_for, here = _recorded(spec, "chip"), rockchip_here()
        if built_for and here and not has_same_npu(built_for, here):
            raise ModelError(
                f"{path} was built for an {built_for.upper()} and this board has an "
                f"{here.upper()}; export it with --chip {here}"
            )
        release = _recorded(spec, "rknn_toolkit2") or lite_version()
        return cls(BoardSession(path, device, release), spec, device)

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        (clip,) = as_input(batch, self)
        with self._lock:
            if self._session is None:
                raise closed_model()
            output = self._session.answer(clip)
        if output.size != self.output_shape[1]:
            raise BackendError(
                f"the model gave an output of shape {output.shape} for {self.output_shape[1]} "
                "classes; take the contract that was exported with it"
            )
        return output.reshape(self.output_shape)

    def close(self) -> None:
        with self._lock:
            session, self._session = self._session, None
            if session is not None:
                session.close()


def _recorded(spec: ModelSpec, name: str) -> str | None:
    """Return what is recorded of the build of a file; None if that is no text."""
    found = (spec.target or {}).get(name)
    return found if isinstance(found, str) else None


def _warn_of_another_toolkit(path: Path, built_by: str | None) -> None:
    here = toolkit_version(toolkit_python())
    if built_by is not None and built_by != here:
        _log.warning(
            "%s was built by RKNN-Toolkit2 %s and is built again by %s here, whose answers may be "
            "others; export it again, or name the Python of the former in %s",
            *(path, built_by, here, PYTHON_VARIABLE),
        )


class _SimulatorSession:
    """The simulator, with the folder of the build that it runs."""

    def __init__(self, path: Path, spec: ModelSpec) -> None:
        _, *images = spec.input_shape
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(scratch_folder(path))
            unpack_source(path, spec, folder)
            self._simulation = Simulation(toolkit_python(), folder, {"shape": images})
            self._kept = stack.pop_all()

    def answer(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return self._simulation.answer(images)

    def close(self) -> None:
        self._simulation.close()
        self._kept.close()


_Session = BoardSession | _SimulatorSession
