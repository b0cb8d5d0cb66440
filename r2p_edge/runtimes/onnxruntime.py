"""ONNX Runtime: `.onnx` on the CPU, or on any execution provider that the installed wheel has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import BackendError, MissingDependencyError, ModelError, SpecError
from r2p_edge.runtimes.base import Runtime, usable_cores
from r2p_edge.spec import ModelSpec

_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


class OnnxRuntime(Runtime):
    """One `onnxruntime.InferenceSession`. Devices: "cpu", "cuda", "cuda:1", "coreml", ..."""

    name = "onnxruntime"

    def __init__(self, session: Any, spec: ModelSpec, device: str) -> None:
        model_input = _named("input", spec.input.name, session.get_inputs())
        output = _named("output", spec.output.name, session.get_outputs())
        self._session: Any = session
        self._names = model_input.name, output.name
        self.device = device
        self.input_shape = _shape(model_input.shape)
        self.input_dtype = _DTYPES.get(model_input.type, model_input.type)
        self.output_shape = _shape(output.shape)

    @classmethod
    def open(
        cls, path: Path, spec: ModelSpec, *, device: str | None, threads: int | None
    ) -> OnnxRuntime:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingDependencyError(
                f"running {path.name} needs onnxruntime, which cannot be imported ({error}); "
                'pip install "r2p_edge[onnxruntime]"'
            ) from error
        device = (device or "cpu").lower()
        provider, options = _provider(device, onnxruntime.get_available_providers())
        try:
            session = onnxruntime.InferenceSession(
                str(path),
                session_options(threads),
                providers=[provider],
                provider_options=[options],
            )
        # Its exceptions share no base class but Exception.
        except Exception as error:
            message = " ".join(str(error).split())
            raise ModelError(
                f"onnxruntime {onnxruntime.__version__} cannot load {path} ({message}); "
                "check that the file is whole, or export it again"
            ) from error
        obtained = session.get_providers()
        if obtained[0] != provider:
            raise BackendError(
                f"onnxruntime was asked for {provider} and took {', '.join(obtained)}; "
                "check the driver, or choose another device"
            )
        if len(session.get_inputs()) != 1:
            raise ModelError(f"{path} has {len(session.get_inputs())} inputs; expected one clip")
        return cls(session, spec, device)

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        session = self._session
        if session is None:
            raise BackendError("this model is closed; open it again")
        try:
            (output,) = session.run([self._names[1]], {self._names[0]: batch})
        # As above: no common base class.
        except Exception as error:
            raise BackendError(
                f"onnxruntime failed on {self.device} ({' '.join(str(error).split())})"
            ) from error
        return np.asarray(output)

    def close(self) -> None:
        self._session = None


def session_options(threads: int | None) -> Any:
    """The session options that a `Predictor` uses: all cores, no busy waiting between calls."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    # Spinning saves some microseconds a call and burns every core of a device in between.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors; the warnings are about graph clean-ups
    return options


def _provider(device: str, available: list[str]) -> tuple[str, dict[str, str]]:
    """The execution provider of a device name such as "cuda:1", and its options."""
    kind, _, number = device.partition(":")
    names = {name.removesuffix("ExecutionProvider").lower(): name for name in available}
    names.pop("azure", None)  # calls a remote service for some operators, and is no device
    if kind not in names or (number and not number.isdigit()):
        raise BackendError(
            f"onnxruntime has no device {device!r} here; it has {', '.join(sorted(names))}"
        )
    return names[kind], {"device_id": number} if number else {}


def _named(what: str, name: str, tensors: list[Any]) -> Any:
    """The tensor that the spec names; where there is only one, whatever its name."""
    if len(tensors) == 1:
        return tensors[0]
    names = [tensor.name for tensor in tensors]
    if name not in names:
        raise SpecError(
            f"the model has no {what} {name!r} but {', '.join(names)}; correct {what}.name in "
            "the spec"
        )
    return tensors[names.index(name)]


def _shape(shape: list[int | str | None]) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else -1 for size in shape)
