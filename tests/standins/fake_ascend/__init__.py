"""Stand-ins for what runs `.om` files, and what puts them where Python finds them.

They compute in ONNX Runtime and show no number of a chip: a file is a line that names its chip, and
an ONNX model. FAKE_LITE_CHIP is the chip in the machine, as for mindspore_lite.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest

SITE = Path(__file__).parent / "site"
"""The folder in which Python finds `acl` and `ais_bench`."""


@contextlib.contextmanager
def installed(chip=None):
    """Let the libraries be imported, here and in new processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SITE))
        if chip:
            patch.setenv("FAKE_LITE_CHIP", chip)
        _forget()
        yield
    _forget()


def _forget():
    for name in [
        name for name in sys.modules if name.split(".")[0] in ("acl", "ais_bench", "fake_om")
    ]:
        del sys.modules[name]


def write_om(path, source, chip, output="FP32"):
    """Write what ATC makes of an ONNX file for a chip; as ATC does, for the owner alone."""
    path.touch(0o600)
    path.write_bytes(f"OM {chip} {output}\n".encode() + Path(source).read_bytes())
    return path
