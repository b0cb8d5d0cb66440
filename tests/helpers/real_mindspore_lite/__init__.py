"""The real MindSpore Lite for tests, in a Python 3.7 beside the one that runs them.

The only release that pip can install, 2.0.0, is for Python 3.7, and this package needs 3.10. The
module `mindspore_lite` in this folder has the library's names and forwards each use of them to the
library in a process of Python 3.7 (`server.py`); `converter_lite.py` is a program in the place of
Lite's `converter_lite` that runs the library's Converter. Neither is part of the package.

R2P_LITE_PYTHON names that Python; otherwise it is one on the PATH or of pyenv that has the library:

    python3.7 -m venv lite && lite/bin/pip install "numpy<1.22" mindspore-lite==2.0.0
    export R2P_LITE_PYTHON=$PWD/lite/bin/python

What this cannot show: an output is a copy here and a view of the model's memory in the library, and
calls from several threads take turns. The stand-in sets these traps.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from requirements import is_required

FOLDER = Path(__file__).parent
VARIABLE = "R2P_LITE_PYTHON"
REQUIREMENT = "mindspore_lite_real"
"""Name for R2P_REQUIRE; it is no module's."""

_LOOK = "import importlib.util as u, sys; sys.exit(u.find_spec('mindspore_lite') is None)"


@functools.cache
def python37() -> str | None:
    """Return the Python 3.7 that has the library, if there is one."""
    home = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    named = os.environ.get(VARIABLE)
    others = [shutil.which("python3.7"), *home.glob("versions/3.7*/bin/python")]
    for python in map(str, filter(None, [named] if named else others)):
        with contextlib.suppress(OSError):
            if subprocess.run([python, "-Ic", _LOOK], capture_output=True).returncode == 0:
                return python
    return None


def needs_real_lite() -> pytest.MarkDecorator:
    """Return a mark for tests that need the real library."""
    missing = python37() is None and not is_required(REQUIREMENT)
    reason = f"needs a Python 3.7 with mindspore-lite 2.0.0, named by {VARIABLE}"
    return pytest.mark.skipif(missing, reason=reason)


def environment() -> dict[str, str]:
    """Return the environment for other processes that are to import the library."""
    found = python37()
    assert found is not None, f"{VARIABLE} names no Python 3.7 with mindspore_lite"
    return {VARIABLE: found}


@contextlib.contextmanager
def real_lite() -> Iterator[None]:
    """Let the real mindspore_lite be imported, here and in new processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        for name, value in environment().items():
            patch.setenv(name, value)
        _forget()
        yield
    _forget()


def _forget() -> None:
    if hasattr(link := getattr(sys.modules.get("mindspore_lite"), "_link", None), "close"):
        link.close()
    for name in [name for name in sys.modules if name.split(".")[0] == "mindspore_lite"]:
        del sys.modules[name]


def install_program(folder: Path) -> Path:
    """Write a program `converter_lite` into `folder` that is the real one; return its path."""
    program = folder / "tools" / "converter" / "converter" / "converter_lite"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec "{python37()}" -I "{FOLDER}/converter_lite.py" "$@"\n')
    program.chmod(0o755)
    return program
