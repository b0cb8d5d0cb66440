"""A model on the chip of this machine, for both stand-ins."""

import os
from pathlib import Path

import numpy as np
import onnxruntime

DTYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}


class LoadError(Exception):
    """The file is none, or for another chip."""


class Model:
    """A file's model, which takes bytes and compares nothing."""

    def __init__(self, path):
        head, _, model = Path(path).read_bytes().partition(b"\n")
        words = head.decode(errors="replace").split()
        if words[:1] != ["OM"] or words[1] != os.environ.get("FAKE_LITE_CHIP"):
            raise LoadError(path)
        self._session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self.inputs = [_end(each) for each in self._session.get_inputs()]
        self.outputs = [_end(each) for each in self._session.get_outputs()]

    def run(self, buffers):
        """Return the outputs for the bytes of the inputs; NPUs of this kind compute in fp16."""
        feeds = {
            name: np.frombuffer(data, dtype).reshape(shape)
            for data, (name, shape, dtype) in zip(buffers, self.inputs)
        }
        outputs = self._session.run(None, feeds)
        return [each.astype(np.float16).astype(np.float32) for each in outputs]


def _end(each):
    return each.name, list(each.shape), DTYPES[each.type]
