"""A stand-in for RKNN-Toolkit-Lite2's `RKNNLite`, which computes in ONNX Runtime.

Names, signatures and order of calls are those of its wheel, 2.5.0; `test_fake_rknn.py` compares
them with the wheel's. Like the real one it prints why a call failed, and returns -1 or None; the
real one's Python part prints to stderr, and this to stdout, as its C library may. Its files are
those of the toolkit's stand-in. It cannot show what librknnrt and the driver refuse, memory or
speed, nor a number of the NPU.

FAKE_RKNN_CHIP: the chip in the machine. FAKE_RKNN_LIBRARY: "absent" for one without librknnrt.so.
"""

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime


class RKNNLite:
    NPU_CORE_AUTO = 0
    NPU_CORE_0 = 1
    NPU_CORE_1 = 2
    NPU_CORE_2 = 4
    NPU_CORE_0_1 = 3
    NPU_CORE_0_1_2 = 7
    NPU_CORE_ALL = 0xFFFF

    opened = []  # noqa: RUF012

    def __init__(self, verbose=False, verbose_file=None):
        print("W rknn-toolkit-lite2 version: 2.5.0")
        self.rknn_data = self.rknn_runtime = None
        self.released = 0
        self.opened.append(self)

    def load_rknn(self, path, key_path=None):
        if not os.path.exists(path):
            return _refuse(f"Invalid RKNN model path: {path}")
        self.rknn_data = Path(path).read_bytes()
        return 0

    def list_devices(self):
        return [], []

    def init_runtime(self, target=None, device_id=None, async_mode=False, core_mask=NPU_CORE_AUTO):
        if self.rknn_data is None:
            return _refuse(
                "Model is not loaded yet, this interface should be called after load_rknn!"
            )
        if os.environ.get("FAKE_RKNN_LIBRARY") == "absent":
            return _refuse("Can not find dynamic library on RK3588! Please download librknnrt.so")
        if self.rknn_data[:4] != b"RKNN":
            return _refuse("parseRKNN: invalid RKNN format")
        size = int.from_bytes(self.rknn_data[4:8], "little")
        self._settings = json.loads(self.rknn_data[8 : 8 + size])
        chip = os.environ.get("FAKE_RKNN_CHIP", "rk3588")
        if self._settings["chip"] != chip:
            return _refuse(f"load_rknn: {self._settings['chip']} is not {chip}")
        if core_mask and chip not in ("rk3588", "rk3576"):
            return _refuse("The core_mask is only supported by RK3588 / RK3576.")
        self.core_mask = core_mask
        self.rknn_runtime = onnxruntime.InferenceSession(self.rknn_data[8 + size :])
        return 0

    def inference(
        self,
        inputs,
        data_type=None,
        data_format=None,
        inputs_pass_through=None,
        get_frame_id=False,
        reuse_outputs=False,
    ):
        if self.rknn_runtime is None:
            print("E Runtime environment is not inited, please call init_runtime to init it first!")
            return None
        if data_format is not None and len(data_format) != len(inputs):
            print("E The lengths of data_format and inputs are not equal.")
            return None
        (clip,) = inputs
        value = self.rknn_runtime.get_inputs()[0]
        images, channels, height, width = value.shape
        # It is not known to look at more than the number of bytes.
        if clip.size != images * channels * height * width or clip.dtype != np.uint8:
            print("E Catch exception when setting inputs.")
            return None
        pixels = clip.reshape(images, height, width, channels).astype(np.float32)
        pixels = (pixels - self._settings["mean"]) / self._settings["std"]
        feed = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32)
        return list(self.rknn_runtime.run(None, {value.name: feed}))

    def get_sdk_version(self):
        return None if self.rknn_runtime is None else "API: 2.5.0\nDRV: rknn_server 0.9.8"

    def list_support_target_platform(self, rknn_model=None):
        return {}

    def release(self):
        self.released += 1
        self.rknn_runtime = None


def _refuse(text):
    print(f"E {text}")
    return -1
