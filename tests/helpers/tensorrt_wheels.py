"""TensorRT's own Python modules, imported without its libraries: what its API really is.

R2P_TENSORRT_BINDINGS names a folder with a folder for each version, made by
`pip install --no-deps --target FOLDER/<version> <wheel>`; the wheels are `tensorrt_bindings` 8.6.1,
`tensorrt_cu12_bindings` 10.3.0 and 10.13.3.9, and `tensorrt_cu13_bindings` 10.16.1.11 and
11.4.0.106. They hold the module alone; the functions that it wants of NVIDIA's libraries are those
of fake_tensorrt/stub.c. (This file does not have the wheels' name, because NVIDIA's `tensorrt`
would import it where that is installed.)

TensorRT for RTX is taken from where this Python has it, whole, as a sixth version: its classes and
functions are TensorRT's of that generation, and more.

Run as a program, it writes what the modules define to fake_tensorrt/api.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from paths import HELPERS, STANDINS

VARIABLE = "R2P_TENSORRT_BINDINGS"
RTX = "rtx-1.7.1"
VERSIONS = ("8.6.1", "10.3.0", "10.13.3", "10.16.1", "11.4", RTX)
STAND_IN = STANDINS / "fake_tensorrt"


def package(version: str) -> Path:
    """Return the folder of the real module; absent if that Python has no wheel of it."""
    if version == RTX:
        found = importlib.util.find_spec("tensorrt_rtx_bindings")
        file = Path(found.origin if found and found.origin else "/absent/__init__.py")
        is_it = file.is_file() and f'__version__ = "{RTX.removeprefix("rtx-")}.' in file.read_text()
        return file.parent if is_it else Path("/absent")
    return Path(os.environ.get(VARIABLE, "")).absolute() / version / "tensorrt_bindings"


def environment(version: str, scratch: Path) -> dict[str, str]:
    """Return the environment in which `import tensorrt` gives the real module of a version."""
    modules, libraries = scratch / version / "modules", scratch / version / "libraries"
    if not modules.exists():
        libraries.mkdir(parents=True)
        if version != RTX:
            _write_stubs(package(version) / "tensorrt.so", libraries)
        modules.mkdir()
        (modules / "tensorrt").symlink_to(package(version))
    return {**os.environ, "PYTHONPATH": str(modules), "LD_LIBRARY_PATH": str(libraries)}


def _write_stubs(module: Path, folder: Path) -> None:
    """Compile a stub for each of NVIDIA's libraries that a module is linked with."""
    stub = folder / "stub.so"
    compiler = os.environ.get("CC", "cc")
    command = [compiler, "-shared", "-fPIC", "-o", str(stub), str(STAND_IN / "stub.c")]
    subprocess.run(command, check=True)
    for name in set(re.findall(rb"libnv\w+\.so\.\d+", module.read_bytes())):
        (folder / name.decode()).symlink_to(stub)


def run(version: str, scratch: Path, *arguments: str) -> str:
    """Run Python with the real module of a version and return its output."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment(version, scratch),
        capture_output=True,
        text=True,
    )
    # Exceptions in what it calls back TensorRT only prints.
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def names(version: str, scratch: Path) -> dict[str, list[str] | dict[str, int]]:
    """Return the definitions of the real module of a version, in the form of tensorrt_api.py."""
    return json.loads(run(version, scratch, str(HELPERS / "tensorrt_api.py"), "names"))


def write_stub(version: str, scratch: Path) -> Path:
    """Write the stub of the real module of a version and return the folder for MYPYPATH."""
    file = scratch / version / "stubs" / "tensorrt" / "__init__.pyi"
    if not file.exists():
        text = run(version, scratch, str(HELPERS / "tensorrt_api.py"), "stub")
        file.parent.mkdir(parents=True)
        file.write_text(text)
        if version == RTX:
            own = file.parents[1] / "tensorrt_rtx"
            own.mkdir()
            (own / "__init__.pyi").write_text("from tensorrt import *")
    return file.parents[1]


def recorded(version: str) -> Path:
    """Return the file with the names of a version."""
    return STAND_IN / "api" / f"{version}.json"


def record() -> None:
    """Write the names of every version, one class a line."""
    with tempfile.TemporaryDirectory() as scratch:
        for version in VERSIONS:
            found = names(version, Path(scratch)).items()
            lines = [f"{json.dumps(name)}: {json.dumps(members)}" for name, members in found]
            recorded(version).write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    record()
