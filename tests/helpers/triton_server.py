"""A real Triton server, of the wheel nvidia-pytriton, for a repository of models.

R2P_TRITON names a virtual environment with that wheel, onnxruntime and av. The wheel has the
server with its Python backend alone; that backend runs the Python of the environment, of which
Debian's libpython is needed too.
"""

from __future__ import annotations

import ctypes.util
import os
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from live import free_port
from paths import ROOT

BARE = '''
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as backend


class TritonPythonModel:
    """The exported ONNX file on bare ONNX Runtime, in the place of Triton's backend for it."""

    def initialize(self, args):
        folder = Path(args["model_repository"]) / args["model_version"]
        self.session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), providers=["CPUExecutionProvider"]
        )
        (self.input,) = self.session.get_inputs()
        self.output = self.session.get_outputs()[0]

    def execute(self, requests):
        responses = []
        for request in requests:
            tensor = backend.get_input_tensor_by_name(request, self.input.name).as_numpy()
            (answer,) = self.session.run([self.output.name], {self.input.name: tensor})
            output = backend.Tensor(self.output.name, answer)
            responses.append(backend.InferenceResponse(output_tensors=[output]))
        return responses
'''
"""`model.py` of a model whose `backend` alone is replaced: the wheel lacks onnxruntime's."""

_SECONDS = 120  # until it is ready, on a machine that does other things too


def python_of_triton() -> tuple[Path, Path] | None:
    """Return the environment's python and its site-packages; None if there is no environment."""
    folder = os.environ.get("R2P_TRITON")
    found = sorted(Path(folder).glob("lib/python3.*/site-packages")) if folder else []
    return (Path(folder or "", "bin", "python"), found[0]) if found else None


def has_triton() -> bool:
    """Return True if R2P_TRITON names an environment whose server can run here."""
    if (found := python_of_triton()) is None:
        return False
    packages = found[1]
    library = ctypes.util.find_library(packages.parent.name)
    return library is not None and (packages / "pytriton" / "tritonserver").is_dir()


def with_bare_onnxruntime(repository: Path, model: str) -> None:
    """Replace `backend` of a model of a repository by a Python model; see `BARE`."""
    config = repository / model / "config.pbtxt"
    text = config.read_text(encoding="utf-8")
    assert text.count('backend: "onnxruntime"') == 1
    config.write_text(text.replace('backend: "onnxruntime"', 'backend: "python"'))
    (repository / model / "1" / "model.py").write_text(BARE, encoding="utf-8")


class TritonServer:
    """A server that runs within `with`.

    Attributes:
        http, grpc, metrics: its addresses, "HOST:PORT".
    """

    def __init__(self, repository: Path, scratch: Path) -> None:
        found = python_of_triton()
        assert found is not None
        python, packages = found
        home = packages / "pytriton" / "tritonserver"
        version = packages.parent.name
        backends = scratch / "backends"
        shutil.copytree(home / "backends" / "python", backends / "python")
        stub = home / "python_backend_stubs" / version.removeprefix("python")
        shutil.copy(stub / "triton_python_backend_stub", backends / "python")
        # The backend heeds no PYTHONPATH. Its python is the first on the PATH.
        layer = scratch / "python"
        subprocess.run([python, "-m", "venv", "--without-pip", layer], check=True)
        (layer / "lib" / version / "site-packages" / "layer.pth").write_text(
            f"{packages}\n{ROOT}\n"
        )
        self.http, self.grpc, self.metrics = (f"127.0.0.1:{free_port()}" for _ in range(3))
        addresses = [
            word
            for name, address in (
                ("http", self.http),
                ("grpc", self.grpc),
                ("metrics", self.metrics),
            )
            for word in (f"--{name}-address=127.0.0.1", f"--{name}-port={address.split(':')[1]}")
        ]
        self._command = [
            *(str(home / "bin" / "tritonserver"), f"--model-repository={repository}"),
            *(f"--backend-directory={backends}", *addresses),
        ]
        self._environment = {
            **os.environ,
            "PATH": f"{layer / 'bin'}:/usr/bin:/bin",
            "LD_LIBRARY_PATH": str(packages / "nvidia_pytriton.libs"),
        }
        self._lines: list[str] = []

    def __enter__(self) -> TritonServer:
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        deadline = time.monotonic() + _SECONDS
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                pytest.fail("Triton did not start:\n" + "".join(self._lines[-60:]))
            time.sleep(0.1)
        return self

    def _read(self) -> None:
        assert self._process.stdout is not None
        self._lines.extend(self._process.stdout)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.http}/v2/health/ready", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
