"""A stand-in for Huawei's mindspore_lite that computes with ONNX Runtime and sets its traps.

It behaves as the Python API and its bindings do in the real 2.0.0 and, for later versions, in the
source of mindspore-lite 2.7 (where versions differ, of mindspore/lite/python/api up to 2.6), in
what an adapter can get wrong. `_limits` has the graphs that it refuses, and what it cannot show.

- input tensors look at the caller's array; one that is not C-contiguous is passed over in silence;
- only dtype and number of bytes are compared;
- outputs are views of memory that the next prediction overwrites;
- a Conv3D on the CPU, and a file for another device, end in a RuntimeError that tells no reason;
- parameters, return types and methods change from version to version.

Environment variables: FAKE_LITE_VERSION; FAKE_LITE_CHIP, the Ascend chip that is in the machine;
FAKE_LITE_WITHOUT_CONVERTER, for a wheel that was built without it. `_tool` has those of the
converter.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from enum import Enum
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from . import _tool

__version__ = os.environ.get("FAKE_LITE_VERSION", "2.7.0")
_VERSION = _tool.VERSION


class DataType(Enum):
    UNKNOWN = 0
    BOOL = 30
    INT8 = 32
    INT32 = 34
    INT64 = 35
    UINT8 = 37
    FLOAT16 = 42
    FLOAT32 = 43
    FLOAT64 = 44


class Format(Enum):
    NCHW = 0
    NHWC = 1


class ModelType(Enum):
    MINDIR = 0
    MINDIR_LITE = 4


class FmkType(Enum):
    TF = 0
    CAFFE = 1
    ONNX = 2
    MINDIR = 3
    TFLITE = 4
    PYTORCH = 5


_DTYPES = {np.dtype(each.name.lower()).type: each for each in DataType if each.value}
_DTYPES[np.bool_] = DataType.BOOL


def _check(name, value, kind):
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {kind.__name__}, but got {type(value)}.")


class TensorMeta:
    def __init__(self, tensor):
        self.name, self.dtype, self.shape = tensor.name, tensor.dtype, tensor.shape
        self.format = tensor.format


class Tensor:
    """Looks at `memory`, which is the model's or, once set, the caller's."""

    def __init__(self, name, memory=None, shape=()):
        if isinstance(name, Tensor):  # what 2.0's binding gives
            vars(self).update(vars(name))
            return
        self._memory, self._shape = memory, list(shape)
        self.name, self.format = name, Format.NCHW

    @property
    def dtype(self):
        return _DTYPES[self._memory.dtype.type]

    @property
    def shape(self):
        return list(self._shape)

    @property
    def data_size(self):
        return self._memory.nbytes

    def set_data_from_numpy(self, numpy_obj):
        _check("numpy_obj", numpy_obj, np.ndarray)
        if not numpy_obj.flags["FORC"]:
            numpy_obj = np.ascontiguousarray(numpy_obj)
        if _DTYPES.get(numpy_obj.dtype.type) != self.dtype:
            raise RuntimeError(f"data type not equal! Numpy type: {numpy_obj.dtype.type}")
        if numpy_obj.nbytes != self.data_size:
            raise RuntimeError(f"data size not equal! Numpy size: {numpy_obj.nbytes}")
        if numpy_obj.flags.c_contiguous:
            self._memory = numpy_obj.reshape(-1)
        elif _VERSION < (2, 1):  # as tried; the binding returns false, and nobody looks
            self._memory = np.zeros_like(self._memory)

    def get_data_to_numpy(self):
        if any(size <= 0 for size in self._shape):
            return np.empty(0, np.float32)
        return self._memory.reshape(self._shape)


class Context:
    def __init__(self):
        self.cpu, self.ascend = _Cpu(), _Ascend()
        self._target = ["cpu"]

    @property
    def target(self):
        return self._target

    @target.setter
    def target(self, target):
        _check("target", target, list)
        for each in target:
            if each.lower() not in ("cpu", "gpu", "ascend"):
                raise ValueError(f"target elements must be in ['cpu', 'gpu', 'ascend'], not {each}")
        self._target = target


class _Cpu:
    thread_num, precision_mode = 0, "enforce_fp32"

    def __setattr__(self, name, value):
        if name == "thread_num":
            _check("cpu_thread_num", value, int)
            if value < 0:
                raise ValueError("cpu_thread_num must be a non-negative int.")
        elif name != "precision_mode" or value not in ("enforce_fp32", "preferred_fp16"):
            raise ValueError(f"cpu_{name} must not be {value}.")
        super().__setattr__(name, value)


class _Ascend:
    device_id, precision_mode, provider = 0, "enforce_fp16", ""
    _MODES = ("enforce_fp32", "preferred_fp32", "enforce_fp16", "enforce_origin")

    def __setattr__(self, name, value):
        if name == "device_id":
            _check("ascend_device_id", value, int)
        elif name != "precision_mode" or value not in (*self._MODES, "preferred_optimal"):
            raise ValueError(f"ascend_{name} must not be {value}.")
        super().__setattr__(name, value)


class _Model:
    """Features that all versions share."""

    def __init__(self):
        self._session = None
        self._mutex = threading.Lock()

    def _build(self, model_path, model_type, context=None, config_path=""):
        _check("model_path", model_path, str)
        _check("model_type", model_type, ModelType)
        _check("config_path", config_path, str)
        context = context or Context()
        _check("context", context, Context)
        if not Path(model_path).exists():
            raise RuntimeError("build_from_file failed, model_path does not exist!")
        if self._session is not None:
            raise RuntimeError("build_from_file failed! Error is The model has been built.")
        try:
            self._session, self._fp16 = _tool.session(model_path, context)
        except _tool.ToolError as error:
            print(f"[ERROR] LITE: {error}", file=sys.stderr)  # where the reason goes, and stays
            raise RuntimeError("build_from_file failed! Error is Common error code.") from None
        self._inputs = {each.name: _shape(each) for each in self._session.get_inputs()}
        self._allocate()

    def _allocate(self):
        self._in = {
            each.name: np.zeros(
                max(0, int(np.prod(self._inputs[each.name]))), _tool.DTYPES[each.type]
            )
            for each in self._session.get_inputs()
        }
        self._shapes = [_shape(each) for each in self._session.get_outputs()]
        self._out = [np.zeros(max(0, int(np.prod(shape))), np.float32) for shape in self._shapes]

    def get_inputs(self):
        return [Tensor(name, self._in[name], shape) for name, shape in self._inputs.items()]

    def _outputs(self):
        names = [each.name for each in self._session.get_outputs()]
        return [Tensor(*each) for each in zip(names, self._out, self._shapes)]

    def get_outputs(self):
        return tuple(TensorMeta(each) for each in self._outputs())

    def resize(self, inputs, dims):
        if len(inputs) != len(dims):
            raise ValueError("inputs' size does not match dims' size")
        for tensor, wanted in zip(inputs, dims):
            found = self._inputs[tensor.name]
            fits = zip(found, wanted)
            if len(found) != len(wanted) or any(a not in (-1, b) for a, b in fits):
                raise RuntimeError("resize failed! Error is Failed to infer shape.")
            self._inputs[tensor.name] = list(wanted)
        self._allocate()

    def get_model_info(self, key):
        return ""

    def predict(self, inputs, outputs=None):
        _check("inputs", inputs, list)
        for element in inputs:
            if not isinstance(element, Tensor) and _VERSION < (2, 7):
                raise TypeError(f"inputs element must be Tensor, but got {type(element)}.")
        tensors = self.get_inputs()
        if len(inputs) != len(tensors):
            raise RuntimeError(f"model input len:{len(tensors)} not equal input len:{len(inputs)}!")
        time.sleep(0.001)  # without the GIL: other threads may get in between
        with self._mutex:
            feeds = {}
            for tensor, given in zip(tensors, inputs):
                memory = given._memory if isinstance(given, Tensor) else given
                feeds[tensor.name] = memory.reshape(tensor.shape)
            try:
                found = self._session.run(None, feeds)
            except Exception as error:
                print(f"[ERROR] LITE: {error}", file=sys.stderr)
                raise RuntimeError("predict failed!") from None
            if [each.size for each in found] != [each.size for each in self._out]:
                self._out = [np.empty(each.size, np.float32) for each in found]
            for memory, each in zip(self._out, found):
                memory[:] = each.astype(np.float16 if self._fp16 else np.float32).reshape(-1)
            self._shapes = [list(each.shape) for each in found]
        time.sleep(0.001)  # likewise, on the way back
        return self._outputs()


def _shape(end):
    return [size if isinstance(size, int) else -1 for size in end.shape]


class _Model20(_Model):
    get_model_info = property()  # AttributeError
    get_outputs = property()  # likewise

    def build_from_file(self, model_path, model_type, context=None, config_path=""):
        self._build(model_path, model_type, context, config_path)

    @property
    def _model(self):
        return SimpleNamespace(get_outputs=self._outputs)  # the binding


class _Model21(_Model):
    def build_from_file(
        self, model_path, model_type, context=None, config_path="", config_dict=None
    ):
        self._build(model_path, model_type, context, config_path)


class _Model24(_Model):
    def build_from_file(
        self,
        model_path,
        model_type,
        context=None,
        config_path="",
        config_dict=None,
        dec_key=None,
        dec_mode="AES-GCM",
        dec_num_parallel=0,
    ):
        self._build(model_path, model_type, context, config_path)


if _VERSION < (2, 1):
    Model = _Model20
elif (2, 4) <= _VERSION < (2, 10):
    Model = _Model24
else:
    Model = _Model21


class Converter:
    def __init__(self):
        if os.environ.get("FAKE_LITE_WITHOUT_CONVERTER"):
            raise AttributeError(
                "module 'mindspore_lite.lib._c_lite_wrapper' has no attribute 'ConverterBind'"
            )
        self._optimize, self._device = "general", ""
        self.save_type = ModelType.MINDIR

    @property
    def device(self):
        return self._device

    @device.setter
    def device(self, device):
        if device != "Ascend":
            raise ValueError(f"device must be in [Ascend], but got {device}.")
        self._device = device

    @property
    def optimize(self):
        return self._optimize

    @optimize.setter
    def optimize(self, optimize):
        _check("optimize", optimize, str)
        name, *chips = optimize.split(":")
        if name == "gpu_oriented":
            self.device = "GPU"
        if name == "ascend_oriented":
            self.device = "Ascend"
            if chips not in ([], ["910b"]):
                raise ValueError(f"chip_name must be in [default, 910b], but got {chips}.")
        elif name not in ("none", "general"):
            raise ValueError("optimize must be 'none', 'general', 'ascend_oriented'.")
        self._optimize = name

    def convert(self, fmk_type, model_file, output_file, weight_file="", config_file=""):
        _check("fmk_type", fmk_type, FmkType)
        for name, value in (("model_file", model_file), ("output_file", output_file)):
            _check(name, value, str)
        if not Path(model_file).exists():
            raise RuntimeError("Perform convert method failed, model_file does not exist!")
        if config_file and not Path(config_file).exists():
            raise RuntimeError("Perform convert method failed, config_file does not exist!")
        try:
            _tool.convert(fmk_type.name, model_file, output_file, self._optimize, config_file)
        except _tool.ToolError as error:
            print(f"[ERROR] LITE: {error}", file=sys.stderr)
            raise RuntimeError("Converter model failed! error is Common error code.") from None
