"""Mistakes that an adapter to TensorRT can have, each made in a copy of the package: all show."""

import ast
import compileall
import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from models import brightness_model
from paths import HELPERS, STANDINS
from requirements import needs
from tensorrt_models import small

import r2p_edge

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("safetensors")]

RUN, BUILD = "runtimes/tensorrt/runtime.py", "runtimes/tensorrt/build.py"
ENGINE = "export/targets/tensorrt/engine.py"
CACHE = "runtimes/tensorrt/timing_cache.py"

# What is wrong: the file, {what stands there: what is to stand there}, the check, what it says.
MUTATIONS = {
    "no FP16 on 8.6": (
        BUILD, {"config.set_flag(trt.BuilderFlag.FP16)": "pass"},
        "8.6.1 fp16", "computes in another precision",
    ),
    "no INT8 on 8.6": (
        BUILD, {"config.set_flag(trt.BuilderFlag.INT8)": "pass"},
        "8.6.1 int8", "int8 is not configured",
    ),
    "INT8 without FP16 on 8.6": (
        BUILD, {"config.set_flag(trt.BuilderFlag.FP16)": "pass"},
        "8.6.1 int8", "computes in another precision",
    ),
    "flags on 11": (
        BUILD, {'elif hasattr(trt.BuilderFlag, "FP16"):': "else:"},
        "11.4 fp16", "no attribute 'FP16'",
    ),
    "TF32 is not cleared": (
        BUILD, {"config.clear_flag(trt.BuilderFlag.TF32)": "pass"}, "10.3.0 fp32", "TF32 is on"
    ),
    "the plain file on 11": (
        ENGINE, {"models.typed if": "models.plain if"}, "11.4 fp16", "in another precision"
    ),
    "an implicit batch on 8.6": (
        BUILD, {"network(_network_flags())": "network()"}, "8.6.1 fp32", "an explicit batch"
    ),
    "EXPLICIT_BATCH on 11": (
        BUILD,
        {'if not hasattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH"):': "if False:"},
        "11.4 fp32",
        "no attribute 'EXPLICIT_BATCH'",
    ),
    "the name before parsing": (
        BUILD,
        {
            "        network.name = wanted.name": "        pass",
            "        _parse(model, network, logger, log)\n": (
                "        network.name = wanted.name\n        _parse(model, network, logger, log)\n"
            ),
        },
        "10.3.0 fp32",
        "the name is another",
    ),
    "no shape": (
        RUN,
        {"if not self._context.set_input_shape(name, trt.Dims(list(shape))):": "if False:"},
        "open",
        "has no shape of its own",
    ),
    "no address of the output": (
        RUN,
        {"if not self._context.set_tensor_address(name, address):": (
            'if name == "frames" and not self._context.set_tensor_address(name, address):'
        )},
        "run",
        "Address is not set for output tensor logits",
    ),
    "no address of the input": (
        RUN,
        {"if not self._context.set_tensor_address(name, address):": (
            'if name == "logits" and not self._context.set_tensor_address(name, address):'
        )},
        "run",
        "Address is not set for input tensor frames",
    ),
    "the host's address": (
        RUN, {"set_tensor_address(name, address)": "set_tensor_address(name, host.address)"},
        "run", "an illegal memory access",
    ),
    "the default stream": (
        RUN, {"execute_async_v3(self._stream.handle)": "execute_async_v3(0)"},
        "run", "Using default stream",
    ),
    "a stream of its own": (
        RUN,
        {"execute_async_v3(self._stream.handle)": (
            "execute_async_v3(self._cuda.stream().handle)"
        )},
        "run",
        "the numbers are wrong",
    ),
    "read before synchronising": (
        RUN,
        {
            "                self._stream.synchronize()\n": (
                "                answer = self.output.array.copy()\n"
                "                self._stream.synchronize()\n"
            ),
            "answer: npt.NDArray[Any] = self.output.array.copy()": "pass",
        },
        "run",
        "the numbers are wrong",
    ),
    "not synchronised": (
        RUN, {"                self._stream.synchronize()": "                pass"},
        "run", "the numbers are wrong",
    ),
    "an input that is not copied": (
        RUN,
        {'self._stream.copy(one.address, one.host, one.array.nbytes, "host to device")': "pass"},
        "run",
        "the numbers are wrong",
    ),
    "an output that is not copied": (
        RUN,
        {'self._stream.copy(other.host, other.address, other.array.nbytes, "device to host")': (
            "pass"
        )},
        "run",
        "the numbers are wrong",
    ),
    "an answer that is the buffer": (
        RUN, {"= self.output.array.copy()": "= self.output.array"}, "run", "an answer has changed"
    ),
    "the host's buffers stay": (
        RUN, {"buffers.callback(host.free)": "pass"}, "run", "something is left"
    ),
    "the device's buffers stay": (
        RUN, {"buffers.callback(device.free)": "pass"}, "run", "something is left"
    ),
    "the context stays": (
        RUN, {'("_context", "_engine", "_runtime")': '("_engine", "_runtime")'},
        "run", "something is left",
    ),
    "the stream stays": (
        RUN, {"self._stack.callback(self._stream.destroy)": "pass"}, "run", "something is left"
    ),
    "the graph stays": (
        RUN, {"self._stack.callback(self._graph.destroy)": "pass"}, "graph", "something is left"
    ),
    "a graph of the first run": (
        RUN, {"            self.run(np.zeros_like(self.input.array))\n": ""},
        "graph", "a CUDA graph captured a context's first execution",
    ),
    "buffers for each run": (
        RUN,
        {"            np.copyto(self.input.array, batch)\n": (
            "            self._cuda.device_memory(9).free()\n"
            "            np.copyto(self.input.array, batch)\n"
        )},
        "run",
        "a run allocates",
    ),
    "no lock": (
        RUN, {"with self._session.lock:": "with contextlib.nullcontext():",
              "import functools\n": "import contextlib\nimport functools\n"},
        "threads", "",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package in a folder of its own."""
    home = tmp_path_factory.mktemp("package")
    without = shutil.ignore_patterns("__pycache__", "assets")
    shutil.copytree(Path(r2p_edge.__file__).parent, home / "r2p_edge", ignore=without)
    # A mutant may be as long as the original, and as old.
    mode = py_compile.PycInvalidationMode.CHECKED_HASH
    assert compileall.compile_dir(home, quiet=1, invalidation_mode=mode)
    return home


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The ONNX files that the checks use."""
    home = tmp_path_factory.mktemp("sources")
    for kind in ("fp32", "int8"):
        small(home / f"{kind}.onnx", kind)
    brightness_model(home / "level.onnx")
    brightness_model(home / "open.onnx", batch="n")
    return home


@pytest.fixture
def check(package, folder):
    """Runs checks on the copy; returns how they ended and what they said."""

    def check(*names):
        done = subprocess.run(
            [sys.executable, HELPERS / "tensorrt_check.py", folder, *names],
            env={
                **os.environ,
                "PYTHONPATH": f"{package}{os.pathsep}{STANDINS}",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            cwd=package,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stderr

    return check


def test_without_a_mistake(check):
    assert check(*dict.fromkeys(checked for _, _, checked, _ in MUTATIONS.values())) == (0, "")


@pytest.mark.parametrize("mistake", MUTATIONS)
def test_a_mistake_shows(package, check, mistake):
    name, changes, checked, said = MUTATIONS[mistake]
    file = package / "r2p_edge" / name
    original = text = file.read_text()
    for there, instead in changes.items():
        assert text.count(there) == 1, f"{name} has no longer one {there!r}"
        text = text.replace(there, instead)
    ast.parse(text)
    file.write_text(text)
    try:
        code, errors = check(checked)
    finally:
        file.write_text(original)
    assert "NameError" not in errors
    assert said in errors
    assert code != 0
