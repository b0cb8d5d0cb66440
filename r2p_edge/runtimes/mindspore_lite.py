"""MindSpore Lite: `.mindir` on the CPU and on Ascend NPUs.

The Python package belongs to the cloud-side release, 2.0 and later. The tests run 2.0 itself; facts
about later versions were read in the source, mindspore-lite/python (api/context.py, model.py,
tensor.py and src/model_pybind.cc, tensor_pybind.cc), 2.7.
"""

from __future__ import annotations

import platform
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy.typing as npt

from r2p_edge._optional import import_library
from r2p_edge.errors import BackendError, ModelError, SpecError, UsageError, one_line
from r2p_edge.runtimes.ascend import (
    ascend_devices,
    ascend_precision,
    check_chip,
    check_no_threads,
    choose_device,
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
    usable_cores,
)
from r2p_edge.spec import ModelSpec

DOWNLOADS = "https://www.mindspore.cn/lite/docs/en/master/use/downloads.html"
"""Page on which Huawei offers the wheel and, in the archive beside it, `converter_lite`."""

_INSTALL = (
    "it is not on PyPI for this Python, so download the cloud-side wheel for it and this "
    f"architecture from {DOWNLOADS} and pip install the file"
)
_REASON = "with GLOG_v=1 in the environment it says more on stderr"
_CPU_INFO = Path("/proc/cpuinfo")


class MindSporeLite(Runtime):
    """One `mindspore_lite.Model`. Devices: "cpu", "ascend", "ascend:1".

    A file that was converted for one of them runs on no other, and by default on that one. The
    library refuses without a reason, so the spec's target is checked first.
    """

    name = "mindspore_lite"
    without_conv3d = ("cpu",)

    def __init__(self, model: Any, spec: ModelSpec, device: str, precision: str) -> None:
        (model_input,), outputs = model.get_inputs(), _outputs(model)
        self._output = position("output", spec.output.name, [each.name for each in outputs])
        self._model: Any = model
        self._lock = threading.Lock()
        self.device = device
        self.precision = precision
        self.input_shape = tuple(model_input.shape)
        self.input_dtype = model_input.dtype.name.lower()  # FLOAT32, UINT8, ...
        self.output_shape = tuple(outputs[self._output].shape)

    @staticmethod
    def library() -> ModuleType:
        lite = import_library("mindspore_lite", _INSTALL)
        # Up to 2.0.0-alpha a context was given DeviceInfo objects, and a converter its files when
        # it was made.
        if not hasattr(lite.Context, "target"):
            raise BackendError(
                f"mindspore_lite {lite.__version__} is too old; 2.0.0 or later is needed, so "
                f"download its cloud-side wheel from {DOWNLOADS} and pip install the file"
            )
        return lite

    @classmethod
    def devices(cls) -> list[str]:
        cls.library()
        return ["cpu", *ascend_devices()]

    @classmethod
    def open(cls, path: Path, spec: ModelSpec, options: Options) -> Runtime:
        if options.cache is not None:
            raise UsageError("mindspore_lite keeps no compiled models; leave cache out")
        known = ["cpu", *ascend_devices()]
        device = choose_device(cls.name, path, spec, options.device, "cpu", known)
        lite = cls.library()
        require_device(cls.name, device, known)
        context = lite.Context()
        if device == "cpu":
            precision = _cpu_precision(spec, options)
            context.target = ["cpu"]
            context.cpu.thread_num = options.threads or usable_cores()
            # The documented default; set all the same, because parity depends on it.
            mode = "preferred_fp16" if precision == "fp16" else "enforce_fp32"
            context.cpu.precision_mode = mode
        else:
            check_no_threads(cls.name, device, options)
            precision = ascend_precision(path, spec, options)
            check_chip(path, spec)
            context.target = ["ascend"]
            context.ascend.device_id = device_number(device)
            context.ascend.precision_mode = "enforce_fp16"
        model = _build(lite, path, spec, context, device)
        return cls(model, spec, device, "int8" if spec.precision == "int8" else precision)

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        # The library reads the array, without a copy, until `predict` returns, and ignores one that
        # is not C-contiguous: it would answer for another.
        array = as_input(batch, self)
        with self._lock:
            if self._model is None:
                raise closed_model()
            try:
                tensor = self._model.get_inputs()[0]
                tensor.set_data_from_numpy(array)
                # Old versions take no arrays here.
                outputs = self._model.predict([tensor])
                # A view of memory that the next run overwrites; empty where the run failed.
                output: npt.NDArray[Any] = outputs[self._output].get_data_to_numpy().copy()
            # C++ exceptions, which pybind11 translates into various classes.
            except Exception as error:
                raise BackendError(
                    f"mindspore_lite failed on {self.device} ({one_line(error)}); {_REASON}"
                ) from error
        if output.size == 0:
            raise BackendError(f"mindspore_lite gave no output on {self.device}; {_REASON}")
        return output

    def close(self) -> None:
        with self._lock:
            self._model = None


def _outputs(model: Any) -> Any:
    """Return the outputs: a list of Tensor, or of TensorMeta in new versions."""
    if hasattr(model, "get_outputs"):
        return model.get_outputs()
    # 2.0 tells them only after a first prediction; the binding below its Model knows them before.
    return [MindSporeLite.library().Tensor(each) for each in model._model.get_outputs()]


def _cpu_precision(spec: ModelSpec, options: Options) -> str:
    """Return the precision to compute in on the CPU.

    The library has fp16 kernels only for ARM from v8.2 on, which Linux calls asimdhp
    (src/litert/kernel/cpu/fp16), and elsewhere would silently compute in fp32.

    Raises:
        BackendError: the requested precision is not available on this CPU.
    """
    arm = platform.machine() in ("aarch64", "arm64") and _CPU_INFO.is_file()
    has = ["fp32", "fp16"] if arm and "asimdhp" in _CPU_INFO.read_text().split() else ["fp32"]
    own = "fp16" if spec.precision == "fp16" and "fp16" in has else "fp32"
    precision = options.precision or own
    if precision not in has:
        raise BackendError(
            f"mindspore_lite computes in {', '.join(has)} on this CPU and not in {precision}; "
            "choose one of them as precision"
        )
    return precision


def _build(lite: ModuleType, path: Path, spec: ModelSpec, context: Any, device: str) -> Any:
    """Return a `mindspore_lite.Model` with one input of static shape.

    Raises:
        ModelError: the library cannot load it, or it has more than one input.
        SpecError: it has open axes and cannot take the spec's shape.
    """
    model = lite.Model()  # a second file in the same one is refused
    try:
        # By position: the parameters behind these changed in 2.1, 2.4 and 2.10.
        model.build_from_file(str(path), lite.ModelType.MINDIR, context)
    except Exception as error:  # as in `run`
        raise ModelError(
            f"mindspore_lite {lite.__version__} cannot load {path} on {device} "
            f"({one_line(error)}); {_advice(spec, device)}, and {_REASON}"
        ) from error
    inputs = model.get_inputs()
    check_one_input(path, len(inputs))
    shape, wanted = list(inputs[0].shape), list(spec.input_shape)
    if -1 in shape:
        if len(shape) == len(wanted):
            # The spec fills open axes alone.
            wanted = [want if size == -1 else size for size, want in zip(shape, wanted)]
        try:
            model.resize(inputs, [wanted])
        except Exception as error:  # as in `run`
            raise SpecError(
                f"{path} has open axes and cannot take {spec.input_shape} as its spec says "
                f"({one_line(error)}); correct clip, crop and input in the spec"
            ) from error
    return model


def _advice(spec: ModelSpec, device: str) -> str:
    """Return what to do about a file that the library refuses."""
    # No kernel is registered for Conv3D (src/litert/kernel/cpu).
    if device == "cpu" and spec.graph == "conv3d":
        return "it has no 3-D convolutions on the CPU, so export with --graph conv2d"
    unknown = " without 3-D convolutions" if device == "cpu" and spec.graph is None else ""
    return f"check that the file is whole and was converted for {device}{unknown}"
