"""Offline models of Ascend NPUs, `.om`, through ais_bench.

ais_bench (ascend/tools, ais-bench_workload/tool/ais_bench/python, ais_bench/infer/interface.py)
hands the address of an array to the NPU and compares neither shape nor dtype.
"""

from __future__ import annotations

import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge._optional import import_library
from r2p_edge.errors import BackendError, ModelError, one_line
from r2p_edge.runtimes.ascend import (
    ascend_devices,
    ascend_precision,
    device_number,
    require_device,
)
from r2p_edge.runtimes.base import (
    Options,
    Runtime,
    as_input,
    check_one_input,
    closed_model,
    position,
)
from r2p_edge.spec import ModelSpec

_INSTALL = (
    "install its wheel and that of aclruntime from gitee.com/ascend/tools, or wrap the file into a "
    ".mindir with converter_lite --fmk=OM --device=Ascend and an [om_converter] section, for "
    "mindspore_lite to run"
)


class OfflineModel(Runtime):
    """One `InferSession`. Devices: "ascend", "ascend:1"."""

    name = "ais_bench"

    def __init__(self, session: Any, spec: ModelSpec, device: str, precision: str) -> None:
        (model_input,), outputs = session.get_inputs(), session.get_outputs()
        self._output = position("output", spec.output.name, [each.name for each in outputs])
        self._session: Any = session
        self._lock = threading.Lock()
        self.device = device
        self.precision = precision
        self.input_shape = tuple(model_input.shape)
        self.input_dtype = model_input.datatype.name
        self.output_shape = tuple(outputs[self._output].shape)

    @staticmethod
    def library() -> ModuleType:
        # The package first: a missing one would be reported as broken by its submodule's name.
        import_library("ais_bench", _INSTALL)
        return import_library("ais_bench.infer.interface", _INSTALL)

    @classmethod
    def devices(cls) -> list[str]:
        cls.library()
        return ascend_devices()

    @classmethod
    def open(cls, path: Path, spec: ModelSpec, options: Options) -> OfflineModel:
        library = cls.library()
        device = options.device or "ascend"
        precision = ascend_precision(path, spec, options)
        require_device("ais_bench", device, cls.devices())
        try:
            session = library.InferSession(device_number(device), str(path))
        # aclruntime raises C++ exceptions, which pybind11 translates into various classes.
        except Exception as error:
            raise ModelError(
                f"ais_bench cannot load {path} on {device} ({one_line(error)}); check that ATC "
                "compiled the file for this chip"
            ) from error
        if not hasattr(session, "set_context"):  # nor, in the oldest, free_resource
            raise BackendError(
                "this ais_bench can neither be used from several threads nor closed (its "
                "InferSession has no set_context); install newer wheels of it and of aclruntime "
                "from gitee.com/ascend/tools"
            )
        check_one_input(path, len(session.get_inputs()))
        return cls(session, spec, device, precision)

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        array = as_input(batch, self)
        with self._lock:
            if self._session is None:
                raise closed_model()
            try:
                # ACL's context belongs to the thread that opened the model.
                self._session.set_context()
                outputs = self._session.infer([array])
            except Exception as error:  # as above
                raise BackendError(
                    f"ais_bench failed on {self.device} ({one_line(error)})"
                ) from error
            return np.array(outputs[self._output])

    def close(self) -> None:
        with self._lock:
            session, self._session = self._session, None
            if session is not None:
                session.free_resource()
