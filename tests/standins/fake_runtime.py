"""Runtime for the tests of doctor, each of whose devices behaves as its name says.

The environment variable FAKE_DEVICES lists them; importing this module puts it into `RUNTIMES`.
"""

import os
import time
from types import SimpleNamespace

import numpy as np
from alarm import RING

from r2p_edge.doctor.layers import case
from r2p_edge.errors import BackendError
from r2p_edge.runtimes import RUNTIMES
from r2p_edge.runtimes.base import Runtime

SUFFIXES = tuple(os.environ.get("FAKE_SUFFIXES", ".onnx").split(","))
RUNTIMES["fake"] = next(iter(RUNTIMES.values()))._replace(
    module=__name__, type="Fake", suffixes=SUFFIXES
)


class Fake(Runtime):
    """A runtime without a library."""

    @staticmethod
    def library():
        return SimpleNamespace(__version__="1.2.3")

    @classmethod
    def devices(cls):
        devices = os.environ["FAKE_DEVICES"]
        if devices == "driver":
            raise RuntimeError("the driver is\ntoo old")
        return devices.split(",") if devices else []

    @classmethod
    def open(cls, path, spec, options):
        if options.device == "fp16":
            raise BackendError("it computes in fp16 and not in fp32")
        if options.device == "npu":
            raise BackendError("no memory" if options.precision == "fp16" else "choose fp16")
        model = cls()
        model.device, model.layer = options.device, path.stem
        return model

    def run(self, batch):
        expected = case(self.layer)[3]
        if self.device == "crash" and self.layer == "conv2d":
            print("bad address", flush=True)
            os.abort()
        if self.device == "hang":
            exec(RING)
            time.sleep(600)
        return {
            "off": expected + np.float32(self.layer == "conv3d"),
            "rounded": expected + np.float32(1e-3),
            "nan": np.full_like(expected, np.nan),
            "flat": expected.reshape(1, -1),
        }.get(self.device, expected)

    def close(self):
        pass
