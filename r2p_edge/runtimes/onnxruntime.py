"""ONNX Runtime: `.onnx` on the CPU, or on any execution provider that the installed wheel has."""

from __future__ import annotations

import os
from collections.abc import Sequence
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
    check_outputs,
    check_part_device,
    closed_model,
    position,
    usable_cores,
)
from r2p_edge.runtimes.cpu import read_cpu
from r2p_edge.runtimes.part import PartCall, PartModel, PartTensor, check_shared
from r2p_edge.spec import ModelSpec

TF32 = "R2P_ORT_TF32"
"""Environment variable; 1 lets the provider CUDA round FP32 factors to ten bits, as it would by
itself on GPUs since Ampere."""

_DTYPES = {
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
}
_CUDA, _TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
_AND_CPU = ",cpu"
_TF32_SWITCH = (1, 18)  # first version whose CUDA provider has the option
# What ONNX Runtime says where something is left to the CPU, and where it has put the CPU in a
# provider's place.
_LEFT_TO_CPU = ("fallback to CPU EP has been", "disabled fallback to the CPU EP")


class OnnxRuntime(Runtime):
    """One `onnxruntime.InferenceSession`. Devices: "cpu", "cuda", "cuda:1", "coreml,cpu", ...

    A device other than "cpu" runs the whole model; with ",cpu" the CPU runs what it does not take.
    """

    name = "onnxruntime"
    part_device = "cpu"

    def __init__(self, session: Any, spec: ModelSpec, device: str, precision: str) -> None:
        (model_input,), outputs = session.get_inputs(), session.get_outputs()
        output = outputs[position("output", spec.output.name, [each.name for each in outputs])]
        self._session: Any = session
        self._names = model_input.name, output.name
        self.device = device
        self.precision = precision
        self.input_shape = _shape(model_input.shape)
        self.input_dtype = _DTYPES.get(model_input.type, model_input.type)
        self.output_shape = _shape(output.shape)

    @staticmethod
    def library() -> ModuleType:
        return import_library("onnxruntime", "pip install onnxruntime")

    @classmethod
    def devices(cls) -> list[str]:
        return sorted(_providers(cls.library()), key=lambda name: (name != "cpu", name))

    @classmethod
    def int8_fault(cls) -> str | None:
        # Measured: 1.21.1, 1.22.0, 1.22.1, 1.23.2 and 1.24.4 answer otherwise from call to call;
        # 1.20.1 and 1.25.0 do not. microsoft/onnxruntime, issue 26324 and pull request 27671.
        version = cls.library().__version__
        wrong = (1, 21) <= _release(version) < (1, 25)
        if not wrong or not (read_cpu().features or {}).get("amx_int8"):
            return None
        return (
            f"onnxruntime {version} computes int8 wrongly on CPUs with AMX such as this; "
            'pip install "onnxruntime!=1.21.*,!=1.22.*,!=1.23.*,!=1.24.*"'
        )

    @classmethod
    def open(cls, path: Path, spec: ModelSpec, options: Options) -> OnnxRuntime:
        session, device, precision = cls._load(path, spec, options)
        check_one_input(path, len(session.get_inputs()))
        return cls(session, spec, device, precision)

    @classmethod
    def open_part(
        cls, path: Path, spec: ModelSpec, options: Options, *, clips: int | None = 1
    ) -> OnnxRuntimePart:
        session, device, _ = cls._load(path, spec, options)
        check_part_device(cls, device)
        return OnnxRuntimePart(session)

    @classmethod
    def _load(cls, path: Path, spec: ModelSpec, options: Options) -> tuple[Any, str, str]:
        """Return the session of a file, its device and its precision; see `open`."""
        onnxruntime = cls.library()
        if options.cache is not None:
            raise UsageError("onnxruntime compiles nothing that could be cached; leave cache out")
        if options.precision not in (None, spec.precision):
            raise UsageError(
                f"onnxruntime computes in the artifact's own precision, {spec.precision}, and not "
                f"in {options.precision}; leave precision out, or choose the runtime openvino"
            )
        device = (options.device or "cpu").lower()
        providers = _providers_for(device, _providers(onnxruntime))
        tf32 = _choose_tf32(providers, onnxruntime.__version__) and spec.precision == "fp32"
        settings = session_options(options.threads)
        on_cpu = device == "cpu" or device.endswith(_AND_CPU)
        if not on_cpu:
            settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        fault = cls.int8_fault() if spec.precision == "int8" and on_cpu else None
        if fault:
            raise BackendError(f"{path}: {fault}, or take the runtime openvino or the fp32 model")
        try:
            session = onnxruntime.InferenceSession(
                str(path),
                settings,
                providers=list(providers),
                provider_options=list(providers.values()),
                enable_fallback=0,
            )
        # The only base class that its exceptions share is Exception.
        except Exception as error:
            raise _refusal(error, path, device, onnxruntime.__version__) from error
        obtained = session.get_providers()
        first = next(iter(providers))
        if obtained[0] != first:
            raise BackendError(
                f"onnxruntime was asked for {first} and took {', '.join(obtained)}; "
                "check the driver, or choose another device"
            )
        # Else a run that fails is tried again on the CPU, which it prints to stdout.
        session.disable_fallback()
        return session, device, "tf32" if tf32 else spec.precision

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        (output,) = self._run(batch, [self._names[1]])
        return np.asarray(output)

    def run_further(
        self, batch: npt.NDArray[Any], names: Sequence[str]
    ) -> dict[str, npt.NDArray[Any]]:
        return dict(zip(names, self._run(batch, names)))

    def _run(self, batch: npt.NDArray[Any], names: Sequence[str]) -> list[npt.NDArray[Any]]:
        session = self._session
        if session is None:
            raise closed_model()
        if names != [self._names[1]]:
            check_outputs(names, [each.name for each in session.get_outputs()])
        try:
            found: list[npt.NDArray[Any]] = session.run(list(names), {self._names[0]: batch})
        # As above.
        except Exception as error:
            raise BackendError(
                f"onnxruntime failed on {self.device} ({one_line(error)})"
            ) from error
        return found

    def close(self) -> None:
        self._session = None


class OnnxRuntimePart(PartModel):
    """A session whose calls are bindings to arrays of ours."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.inputs = {each.name: _tensor(each) for each in session.get_inputs()}
        self.outputs = {each.name: _tensor(each) for each in session.get_outputs()}

    def holder(self, array: npt.NDArray[Any]) -> Any:
        value = OnnxRuntime.library().OrtValue.ortvalue_from_numpy(array)
        check_shared(OnnxRuntime.name, value.data_ptr(), array)
        return value

    def call(self) -> PartCall:
        return _BoundCall(self._session, frozenset(self.inputs))


class _BoundCall(PartCall):
    def __init__(self, session: Any, inputs: frozenset[str]) -> None:
        self._session, self._inputs = session, inputs
        self._binding = session.io_binding()

    def bind(self, name: str, holder: Any) -> None:
        if name in self._inputs:
            self._binding.bind_ortvalue_input(name, holder)
        else:
            self._binding.bind_ortvalue_output(name, holder)

    def run(self) -> None:
        try:
            self._session.run_with_iobinding(self._binding)
        # As above.
        except Exception as error:
            raise BackendError(f"onnxruntime failed on cpu ({one_line(error)})") from error


def session_options(threads: int | None) -> Any:
    """Return the session options of a `Predictor`: all cores, no busy waiting between calls."""
    onnxruntime = OnnxRuntime.library()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    # Spinning saves some microseconds a call and burns every core of a device in between.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # warnings are about graph clean-ups, errors come as exceptions
    return options


def _providers(onnxruntime: ModuleType) -> dict[str, str]:
    """Return the execution providers of the installed wheel by the names of their devices."""
    available = onnxruntime.get_available_providers()
    names = {name.removesuffix("ExecutionProvider").lower(): name for name in available}
    names.pop("azure", None)  # a remote service for some operators, not a device
    return names


def _providers_for(device: str, providers: dict[str, str]) -> dict[str, dict[str, str]]:
    """Return the execution providers of a device name such as "cuda:1", with their options.

    TensorRT's leaves to CUDA's what it does not take.
    """
    kind, _, number = device.removesuffix(_AND_CPU).partition(":")
    alone = kind != "cpu" or device == kind
    if kind not in providers or not alone or (number and not number.isdigit()):
        raise BackendError(
            f"onnxruntime has no device {device!r} here; it has {', '.join(sorted(providers))}"
        )
    kinds = [kind, "cuda"] if kind == "tensorrt" and "cuda" in providers else [kind]
    return {providers[each]: {"device_id": number} if number else {} for each in kinds}


def _choose_tf32(providers: dict[str, dict[str, str]], version: str) -> bool:
    """Write into the options of CUDA's provider what `TF32` says; return whether TF32 is on.

    TensorRT's provider has no such option, and turns it on but for NVIDIA's variable.

    Raises:
        BackendError: this version of ONNX Runtime has no such option.
    """
    wanted = os.environ.get(TF32) == "1"
    if _CUDA in providers:
        if _release(version) >= _TF32_SWITCH:
            providers[_CUDA]["use_tf32"] = "1" if wanted else "0"
        elif not wanted:
            raise BackendError(
                f"onnxruntime {version} computes FP32 on CUDA in TF32, and only 1.18 and newer can "
                f"be told not to; install a newer one, or allow it with {TF32}=1"
            )
    by_itself = _TENSORRT in providers and os.environ.get("NVIDIA_TF32_OVERRIDE") != "0"
    return by_itself or (wanted and _CUDA in providers)


def _release(version: str) -> tuple[int, ...]:
    """Return major and minor number of a version."""
    return tuple(int(part) for part in version.split(".")[:2])


def _refusal(error: Exception, path: Path, device: str, version: str) -> BackendError | ModelError:
    """Return the error to raise where ONNX Runtime does not open a model."""
    if any(words in str(error) for words in _LEFT_TO_CPU):
        return BackendError(
            f"onnxruntime on {device} would run {path} on the CPU, or parts of it; check the "
            "driver and its libraries, take the device cpu, or allow it with the device "
            f"{device}{_AND_CPU}"
        )
    # Its own classes, which speak of the file, are not RuntimeErrors.
    if isinstance(error, RuntimeError) or type(error).__name__ == "EPFail":
        return BackendError(
            f"onnxruntime {version} cannot use {device} ({one_line(error)}); check the driver and "
            "its libraries, or choose another device"
        )
    return ModelError(
        f"onnxruntime {version} cannot load {path} ({one_line(error)}); check that the file is "
        "whole, or export it again"
    )


def _tensor(found: Any) -> PartTensor:
    return PartTensor(_shape(found.shape), _DTYPES.get(found.type, found.type))


def _shape(shape: list[int | str | None]) -> tuple[int, ...]:
    """Return a shape with -1 for open axes, which are named or None."""
    return tuple(size if isinstance(size, int) else -1 for size in shape)
