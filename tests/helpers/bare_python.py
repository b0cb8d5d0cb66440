"""A Python without this package, as the target of a kit has it."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

# The stand-ins for the tools compute with these two, which a kit must do without.
_GUARD = """
import builtins
original = builtins.__import__

def guarded(name, globals=None, *rest, **named):
    importer = (globals or {}).get("__name__", "").split(".")[0]
    if importer == "r2p_edge" and name.split(".")[0] in ("onnx", "onnxruntime"):
        raise ImportError("a kit imports " + name)
    return original(name, globals, *rest, **named)

builtins.__import__ = guarded
"""
_PACKAGES = (
    *("numpy", "numpy.libs", "onnx", "onnxruntime", "google", "ml_dtypes", "flatbuffers"),
    *("packaging", "typing_extensions.py"),
)


def make_python(home: Path) -> Path:
    """Make a virtual environment with numpy, where a kit that imports onnx or onnxruntime fails."""
    venv.create(home, symlinks=True, with_pip=False)
    (site,) = home.glob("lib/python*/site-packages")
    for folder in (Path(entry) for entry in sys.path if entry.endswith("-packages")):
        for name in _PACKAGES:
            if (folder / name).exists() and not (site / name).exists():
                (site / name).symlink_to(folder / name)
    (site / "sitecustomize.py").write_text(_GUARD)
    python = home / "bin" / "python"
    done = subprocess.run([python, "-Ic", "import r2p_edge"], capture_output=True, text=True)
    assert "No module named 'r2p_edge'" in done.stderr
    return python
