"""A stand-in for RKNN-Toolkit2's `RKNN`, which computes in ONNX Runtime.

It refuses what the real 2.5.0 was seen to refuse: a call out of order, a convolution of three axes,
clips to calibrate on that are not (T, C, H, W), and a simulator for a model that was loaded; a
uint8 input ends the process. It prints where the real one does, to stdout, with a table of layers
that knows the three kinds which the real one puts on the CPU. It cannot show a number of the NPU,
what int8 does to one (it computes in float), or which operators a chip has.

FAKE_RKNN: "wrong" for other answers, "stuck" to end without a model, "slow" to build for minutes,
"dies" to die at the first clip.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

_STEP_ONE = ("model.model", "model.data", "model.quantization.cfg")
_CHIPS = ("rk3562", "rk3566", "rk3568", "rk3576", "rk3588")


class RKNN:
    NPU_CORE_AUTO = 0x0

    def __init__(self, verbose=False, verbose_file=None):
        self._verbose = verbose
        self._settings = self._model = self._built = None
        self._loaded = False
        self._folder = tempfile.TemporaryDirectory()  # removed where this object is

    def config(
        self,
        mean_values=None,
        std_values=None,
        quantized_dtype="w8a8",
        quantized_algorithm="normal",
        quantized_method="channel",
        target_platform=None,
    ):
        if target_platform not in _CHIPS:
            return _refuse(f"config: The target_platform {target_platform!r} is not supported!")
        if quantized_algorithm not in ("normal", "mmse", "kl_divergence", "gdq"):
            return _refuse("config: quantized_algorithm is not supported!")
        (mean,), (std,) = mean_values, std_values
        self._settings = {"chip": target_platform, "mean": list(mean), "std": list(std)}
        return 0

    def load_onnx(self, model, inputs=None, input_size_list=None):
        if self._settings is None:
            return _refuse("load_onnx: Please call config first!")
        self._model = onnx.load(model)
        return 0

    def build(self, do_quantization=True, dataset=None, rknn_batch_size=None, auto_hybrid=False):
        if self._model is None:
            return _refuse("build: Please load a model first!")
        if do_quantization:
            return _refuse("build: The dataset is None!")
        return self._build(self._model, self._settings)

    def hybrid_quantization_step1(self, dataset="dataset.txt", proposal=False):
        if self._model is None:
            return _refuse("hybrid_quantization_step1: Please load a model first!")
        expected = _shape(self._model.graph.input[0])
        clips = [np.load(name) for name in Path(dataset).read_text().split()]
        for clip in clips:
            if list(clip.shape) != expected:
                return _refuse(
                    f"hybrid_quantization_step1: shape {clip.shape} is wrong, expect 'nchw' like "
                    f"{tuple(expected)}!"
                )
        onnx.save(self._model, _STEP_ONE[0])
        for name, content in zip(_STEP_ONE[1:], ({"clips": len(clips)}, self._settings)):
            Path(name).write_text(json.dumps(content))
        return 0

    def hybrid_quantization_step2(self, model_input, data_input, model_quantization_cfg):
        settings = json.loads(Path(model_quantization_cfg).read_text())
        assert json.loads(Path(data_input).read_text())["clips"] > 0
        return self._build(onnx.load(model_input), settings)

    def _build(self, model, settings):
        first = model.graph.input[0].type.tensor_type
        if first.elem_type == onnx.TensorProto.UINT8:
            _say("E RKNN: [12:00:00.000] Not Support Dtype: 2. please check precision!")
            os.abort()
        weights = {each.name: list(each.dims) for each in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Conv" and len(weights.get(node.input[1], ())) == 5:
                return _refuse("build: Conv3D is not supported")
        if os.environ.get("FAKE_RKNN") == "stuck":
            return _refuse("build: the compiler failed")
        if os.environ.get("FAKE_RKNN") == "slow":
            Path("begun").write_text(str(os.getpid()))
            time.sleep(300)
        onnx.save(model, Path(self._folder.name, "check.onnx"))
        if self._verbose:
            _table(model)
        self._built, self._settings = model, settings
        return 0

    def export_rknn(self, export_path):
        if self._built is None:
            return _refuse("export_rknn: Please build first!")
        header = json.dumps(self._settings).encode()
        content = b"RKNN" + len(header).to_bytes(4, "little") + header
        Path(export_path).write_bytes(content + self._built.SerializeToString())
        return 0

    def load_rknn(self, path):
        self._loaded = True
        return 0

    def init_runtime(self, target=None, core_mask=0):
        if self._loaded:
            return _refuse(
                "init_runtime: RKNN model that loaded by 'load_rknn' not support inference on the "
                "simulator, please set 'target' first!"
            )
        _say("I Target is None, use simulator!")
        self._session = onnxruntime.InferenceSession(self._built.SerializeToString())
        return 0

    def inference(self, inputs, data_format=None, inputs_pass_through=None):
        if os.environ.get("FAKE_RKNN") == "dies":
            _say("E inference: the simulator ran out of memory")
            os._exit(1)
        (clip,) = inputs
        if data_format != ["nhwc"]:
            raise ValueError("the stand-in knows nhwc alone")
        (name,) = [each.name for each in self._session.get_inputs()]
        pixels = (clip.astype(np.float32) - self._settings["mean"]) / self._settings["std"]
        images = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32)
        (output,) = self._session.run(None, {name: images})
        return [output[:, ::-1] if os.environ.get("FAKE_RKNN") == "wrong" else output]

    def release(self):
        self._built = None


def _say(text):
    print(text)
    sys.stdout.flush()


def _refuse(text):
    _say(f"\x1b[1;31mE\x1b[0m \x1b[1;31m{text}\x1b[0m")
    return -1


def _shape(value):
    return [axis.dim_value for axis in value.type.tensor_type.shape.dim]


def _table(model):
    arrays = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    rows = [("InputOperator", "CPU"), *(_row(node, arrays) for node in model.graph.node)]
    for number, (kind, engine) in enumerate([*rows, ("OutputOperator", "CPU")]):
        if (kind, engine) == ("Slice", "CPU"):
            _say("E RKNN: [12:00:00.000] Unkown op target: 0")
        _say(
            f"D RKNN: [12:00:00.000] {number:<4} {kind:<18} FLOAT16  {engine}    (1,3)  (1,3)  "
            f"0/0/0                    0            {kind}:"
        )


def _row(node, arrays):
    strided = node.op_type == "Slice" and len(node.input) > 4 and arrays[node.input[4]].item() != 1
    on_cpu = strided or node.op_type in ("Transpose", "Gemm")
    return ("Reshape" if node.op_type == "Gemm" else node.op_type), "CPU" if on_cpu else "NPU"
