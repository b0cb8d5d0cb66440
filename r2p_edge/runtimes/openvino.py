"""OpenVINO: its own `.xml` with `.bin`, and `.onnx`, on Intel, AMD and ARM CPUs, GPUs and NPUs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge._optional import import_library
from r2p_edge.errors import BackendError, ModelError, SpecError, UsageError, one_line
from r2p_edge.runtimes.base import (
    Options,
    Runtime,
    check_one_input,
    check_outputs,
    check_part_device,
    closed_model,
    position,
)
from r2p_edge.runtimes.openvino_part import OpenVinoPart, failures, shape_of
from r2p_edge.runtimes.signal_stack import kept_signal_stack
from r2p_edge.spec import ModelSpec

_HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}  # our names, and those of ov::element::Type
_NAMES = {hint: name for name, hint in _HINTS.items()}


class OpenVino(Runtime):
    """One compiled model with one inference request. Devices: "cpu", "gpu", "gpu.1", "npu".

    Left alone, OpenVINO computes in bf16 or f16 wherever the chip has them, and replaces a
    precision that the chip lacks. Here the artifact and the caller decide, and the device and the
    precision obtained are compared with those requested.
    """

    name = "openvino"
    part_device = "cpu"

    def __init__(
        self, compiled: Any, device: str, precision: str, compile_further: Callable[[], Any]
    ) -> None:
        model_input, output = compiled.inputs[0], compiled.outputs[0]
        self._request: Any = compiled.create_infer_request()
        self._compile_further = compile_further
        self._further: Any = None
        self._lock = threading.Lock()
        self.device = device
        self.precision = precision
        self.input_shape = shape_of(model_input)
        self.input_dtype = model_input.element_type.to_dtype().name
        self.output_shape = shape_of(output)

    @staticmethod
    def library() -> ModuleType:
        return import_library("openvino", "pip install openvino")

    @classmethod
    def devices(cls) -> list[str]:
        openvino = cls.library()
        found = [name.lower() for name in _devices(openvino, new_core(openvino))]
        return sorted(found, key=lambda name: (name != "cpu", name))

    @classmethod
    def precisions(cls, device: str) -> list[str]:
        return _supported(new_core(cls.library()), device.upper())

    @classmethod
    def open(cls, path: Path, spec: ModelSpec, options: Options) -> OpenVino:
        openvino = cls.library()
        core = new_core(openvino)

        def read() -> Any:
            return read_model(openvino, core, path, spec)

        def answer_alone() -> Any:
            return _keep_answer(read(), spec)

        compiled, device, precision, config = _compiled(core, answer_alone, path, spec, options)
        computes_in = precision
        if spec.precision == "int8":
            computes_in = "int8" if precision == "fp32" else f"int8+{precision}"
        return cls(
            compiled,
            compiled.get_property("EXECUTION_DEVICES")[0].lower(),
            computes_in,
            # Read again, as the model is not kept once it is compiled.
            lambda: core.compile_model(read(), device, config),
        )

    @classmethod
    def open_part(
        cls, path: Path, spec: ModelSpec, options: Options, *, clips: int | None = 1
    ) -> OpenVinoPart:
        openvino = cls.library()
        core = new_core(openvino)
        compiled, device, _, _ = _compiled(
            core, lambda: _read_part(openvino, core, path, clips), path, spec, options
        )
        check_part_device(cls, device.lower())
        return OpenVinoPart(openvino, compiled)

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        with self._lock, failures(self.device):
            if self._request is None:
                raise closed_model()
            outputs = self._request.infer([batch], share_inputs=True, share_outputs=True)
            # The outputs are the request's memory, which its next run overwrites.
            return np.array(outputs[0])

    def run_further(
        self, batch: npt.NDArray[Any], names: Sequence[str]
    ) -> dict[str, npt.NDArray[Any]]:
        with self._lock, failures(self.device):
            if self._request is None:
                raise closed_model()
            if self._further is None:  # compiled now, as most predictors are never asked
                self._further = self._compile_further().create_infer_request()
            places = _output_names(self._further.model_outputs)
            check_outputs(names, places)
            outputs = self._further.infer([batch], share_inputs=True, share_outputs=True)
            return {name: np.array(outputs[places.index(name)]) for name in names}

    def close(self) -> None:
        with self._lock:
            self._request = self._further = None


def _compiled(
    core: Any, read: Callable[[], Any], path: Path, spec: ModelSpec, options: Options
) -> tuple[Any, str, str, dict[str, Any]]:
    """Return a model compiled, its device, its precision and the settings that it has.

    Args:
        core: OpenVINO's.
        read: returns the model.
        path: where it is from.
        spec: contract of the model.
        options: of the caller.

    Raises:
        R2PError: see `Runtime.open`.
    """
    openvino = OpenVino.library()
    device = _device(_devices(openvino, core), options.device or "cpu")
    precision = _precision(core, device, spec.precision, options.precision)
    model = read()
    config: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
    }
    # By default OpenVINO itself finds the cores that this process may use.
    if options.threads is not None:
        if not device.startswith("CPU"):
            raise UsageError(f"threads are those of the CPU; leave them out for {device}")
        config["INFERENCE_NUM_THREADS"] = options.threads
    kept = set()
    if options.cache is not None:
        config["CACHE_DIR"] = str(options.cache)
        kept = set(options.cache.iterdir())
    try:
        compiled = core.compile_model(model, device, config)
        obtained = compiled.get_property("EXECUTION_DEVICES")
        hint = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    except RuntimeError as error:
        other = ""
        if device.startswith("NPU") and spec.graph != "conv2d":
            other = ", give it the form without 3-D convolutions (export --to openvino-npu)"
        raise BackendError(
            f"openvino {_version(openvino)} cannot run {path} on {device} "
            f"({one_line(error)}); check the driver{other}, or choose another device"
        ) from error
    _check_obtained(device, precision, obtained, hint)
    if options.cache is not None and not (
        compiled.get_property("LOADED_FROM_CACHE") or set(options.cache.iterdir()) - kept
    ):
        raise UsageError(
            f"openvino keeps nothing in {options.cache}; choose a folder that can be written "
            "to as cache, or leave it out"
        )
    return compiled, device, precision, config


def new_core(openvino: ModuleType) -> Any:
    """Return a new `openvino.Core`.

    Raises:
        BackendError: a part of OpenVINO's installation is missing.
    """
    try:
        # Its plug-in for the CPU replaces the stack of signal handlers, and frees its own with the
        # core. Of two cores, of which the older goes first, the younger one puts the freed stack
        # back (seen with 2026.4.1), and the next signal ends the process.
        with kept_signal_stack():
            core = openvino.Core()
            core.get_versions("CPU")  # loads it
            return core
    except RuntimeError as error:
        raise _cannot_start(openvino, error) from error


def _cannot_start(openvino: ModuleType, error: Exception) -> BackendError:
    return BackendError(
        f"openvino {_version(openvino)} cannot start ({one_line(error)}); install it again"
    )


def _devices(openvino: ModuleType, core: Any) -> list[str]:
    try:
        return list(core.available_devices)
    except RuntimeError as error:
        raise _cannot_start(openvino, error) from error


def _device(available: list[str], wanted: str) -> str:
    """Return OpenVINO's name of a device that is here.

    AUTO and other virtual devices are not offered, because they choose a device by themselves.

    Raises:
        BackendError: it is not here.
    """
    name = wanted.upper().replace(":", ".")
    if name in available or f"{name}.0" in available:
        return name
    raise BackendError(
        f"openvino has no device {wanted!r} here; it has "
        f"{', '.join(device.lower() for device in available)}"
    )


def _precision(core: Any, device: str, artifact: str, wanted: str | None) -> str:
    """Return the precision to compute in: the caller's choice, or else the artifact's own.

    The float layers of an int8 artifact run in fp32. An fp16 artifact has fp16 weights, with which
    a device without fp16 arithmetic computes in fp32.

    Raises:
        BackendError: the device does not support the requested precision.
    """
    supported = _supported(core, device)
    own = "fp16" if artifact == "fp16" and "fp16" in supported else "fp32"
    precision = wanted or own
    if precision not in supported:
        raise BackendError(
            f"openvino's {device} computes in {', '.join(supported)} here and not in {precision}; "
            "choose one of them as precision"
        )
    return precision


def _supported(core: Any, device: str) -> list[str]:
    """Return the precisions that a device computes in."""
    has = core.get_property(device, "OPTIMIZATION_CAPABILITIES")
    return [name for name in _HINTS if name.upper() in has]


def _check_obtained(device: str, precision: str, obtained: list[str], hint: str) -> None:
    """Raise BackendError if the library took another device or precision than requested."""
    if obtained not in ([device], [f"{device}.0"]):
        raise BackendError(
            f"openvino was asked for {device} and took {', '.join(obtained)}; check the driver, or "
            "choose another device"
        )
    if hint != _HINTS[precision]:
        raise BackendError(
            f"openvino was asked to compute in {precision} on {device} and took "
            f"{_NAMES.get(hint, hint)}; choose that precision if it is good enough"
        )


def read_model(openvino: ModuleType, core: Any, path: Path, spec: ModelSpec) -> Any:
    """Return the `openvino.Model` in a file, with the static shape that its spec describes.

    Raises:
        ModelError: OpenVINO cannot read it, or it has more than one input.
        SpecError: it has open axes and cannot take the spec's shape.
    """
    model = _read(openvino, core, path)
    check_one_input(path, len(model.inputs))
    found = model.inputs[0].get_partial_shape()
    if found.is_dynamic:
        wanted = list(spec.input_shape)
        if found.rank == len(wanted):
            # The spec fills open axes alone.
            pairs = zip(found, wanted)
            wanted = [want if axis.is_dynamic else axis.get_length() for axis, want in pairs]
        try:
            model.reshape(wanted)
        except RuntimeError as error:
            raise SpecError(
                f"{path} has open axes and cannot take {spec.input_shape} as its spec says "
                f"({one_line(error)}); correct clip, crop and input in the spec"
            ) from error
    return model


def _read(openvino: ModuleType, core: Any, path: Path) -> Any:
    """Return the `openvino.Model` in a file.

    Raises:
        ModelError: OpenVINO cannot read it.
    """
    try:
        return core.read_model(str(path))
    except RuntimeError as error:
        weights = f" and {path.with_suffix('.bin').name}" if path.suffix == ".xml" else ""
        raise ModelError(
            f"openvino {_version(openvino)} cannot load {path} ({one_line(error)}); check that "
            f"the file{weights} is whole, or export it again"
        ) from error


def _read_part(openvino: ModuleType, core: Any, path: Path, clips: int | None) -> Any:
    """Return the `openvino.Model` of a part, its inputs' open first axes of a size if one is given.

    Raises:
        ModelError: see `_read`.
    """
    model = _read(openvino, core, path)
    if clips is not None:  # fixed shapes are compiled into faster code
        shapes = {each.get_any_name(): each.get_partial_shape() for each in model.inputs}
        for shape in shapes.values():
            shape[0] = clips
        model.reshape(shapes)
    return model


def _output_names(outputs: Sequence[Any]) -> list[str]:
    return [each.get_any_name() if each.names else "" for each in outputs]


def _keep_answer(model: Any, spec: ModelSpec) -> Any:
    """Remove all outputs but the answer, so that nothing else is computed; return the model.

    Raises:
        SpecError: none of several outputs has the name that the spec gives.
    """
    kept = position("output", spec.output.name, _output_names(model.outputs))
    for place, result in enumerate(model.get_results()):
        if place != kept:
            model.remove_result(result)
    return model


def _version(openvino: ModuleType) -> str:
    """Return the version without the build's number and branch."""
    return str(openvino.__version__).partition("-")[0]
