"""ONNX Runtime: `.onnx` on the CPU, or on any execution provider that the installed wheel has."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge._optional import import_library
from r2p_edge.errors import BackendError, ModelError, UsageError, one_line
from r2p_edge.runtimes.base import (
    Options,
    Runtime,
    check_one_input,
    closed_model,
    position,
    usable_cores,
)
from r2p_edge.runtimes.cpu import read_cpu
from r2p_edge.spec import ModelSpec

_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


class OnnxRuntime(Runtime):
    """One `onnxruntime.InferenceSession`. Devices: "cpu", "cuda", "cuda:1", "coreml", ..."""

    name = "onnxruntime"

    def __init__(self, session: Any, spec: ModelSpec, device: str) -> None:
        (model_input,), outputs = session.get_inputs(), session.get_outputs()
        output = outputs[position("output", spec.output.name, [each.name for each in outputs])]
        self._session: Any = session
        self._names = model_input.name, output.name
        self.device = device
        self.precision = spec.precision
        self.input_shape = _shape(model_input.shape)
        self.input_dtype = _DTYPES.get(model_input.type, model_input.type)
        self.output_shape = _shape(output.shape)

    @staticmethod
    def library() -> ModuleType:
        # r2p_edge collects no telemetry. Wheels of 1.31 write a device id to the user's cache and
        # report every session to Microsoft unless this is set when they are imported. A value that
        # the user has set, 0 too, stays.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        return import_library("onnxruntime", 'pip install "r2p_edge[onnxruntime]"')

    @classmethod
    def devices(cls) -> list[str]:
        return sorted(_providers(cls.library()), key=lambda name: (name != "cpu", name))

    @classmethod
    def int8_fault(cls) -> str | None:
        # Measured: 1.21.1, 1.22.0, 1.22.1, 1.23.2 and 1.24.4 answer otherwise from call to call;
        # 1.20.1 and 1.25.0 do not. microsoft/onnxruntime, issue 26324 and pull request 27671.
        version = cls.library().__version__
        major, minor = (int(part) for part in version.split(".")[:2])
        if not (1, 21) <= (major, minor) < (1, 25) or not (read_cpu().features or {}).get(
            "amx_int8"
        ):
            return None
        return (
            f"onnxruntime {version} computes int8 wrongly on CPUs with AMX such as this; "
            'pip install "onnxruntime!=1.21.*,!=1.22.*,!=1.23.*,!=1.24.*"'
        )

    @classmethod
    def open(cls, path: Path, spec: ModelSpec, options: Options) -> OnnxRuntime:
        onnxruntime = cls.library()
        if options.cache is not None:
            raise UsageError("onnxruntime compiles nothing that could be cached; leave cache out")
        if options.precision not in (None, spec.precision):
            raise UsageError(
                f"onnxruntime computes in the artifact's own precision, {spec.precision}, and not "
                f"in {options.precision}; leave precision out, or choose the runtime openvino"
            )
        device = (options.device or "cpu").lower()
        provider, provider_options = _provider(device, _providers(onnxruntime))
        fault = cls.int8_fault() if spec.precision == "int8" and device == "cpu" else None
        if fault:
            raise BackendError(f"{path}: {fault}, or take the runtime openvino or the fp32 model")
        try:
            session = onnxruntime.InferenceSession(
                str(path),
                session_options(options.threads),
                providers=[provider],
                provider_options=[provider_options],
            )
        # The only base class that its exceptions share is Exception.
        except Exception as error:
            raise ModelError(
                f"onnxruntime {onnxruntime.__version__} cannot load {path} ({one_line(error)}); "
                "check that the file is whole, or export it again"
            ) from error
        obtained = session.get_providers()
        if obtained[0] != provider:
            raise BackendError(
                f"onnxruntime was asked for {provider} and took {', '.join(obtained)}; "
                "check the driver, or choose another device"
            )
        check_one_input(path, len(session.get_inputs()))
        return cls(session, spec, device)

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        session = self._session
        if session is None:
            raise closed_model()
        try:
            (output,) = session.run([self._names[1]], {self._names[0]: batch})
        # As above.
        except Exception as error:
            raise BackendError(
                f"onnxruntime failed on {self.device} ({one_line(error)})"
            ) from error
        return np.asarray(output)

    def close(self) -> None:
        self._session = None


def session_options(threads: int | None) -> Any:
    """Return the session options of a `Predictor`: all cores, no busy waiting between calls."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    # Spinning saves some microseconds a call and burns every core of a device in between.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors; the warnings are about graph clean-ups
    return options


def _providers(onnxruntime: ModuleType) -> dict[str, str]:
    """Return the execution providers of the installed wheel by the names of their devices."""
    available = onnxruntime.get_available_providers()
    names = {name.removesuffix("ExecutionProvider").lower(): name for name in available}
    names.pop("azure", None)  # a remote service for some operators, not a device
    return names


def _provider(device: str, providers: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Return the execution provider of a device name such as "cuda:1", and its options."""
    kind, _, number = device.partition(":")
    if kind not in providers or (number and not number.isdigit()):
        raise BackendError(
            f"onnxruntime has no device {device!r} here; it has {', '.join(sorted(providers))}"
        )
    return providers[kind], {"device_id": number} if number else {}


def _shape(shape: list[int | str | None]) -> tuple[int, ...]:
    """Return a shape with -1 for open axes, which are named or None."""
    return tuple(size if isinstance(size, int) else -1 for size in shape)
