"""The stand-in for mindspore_lite, and what puts it where Python and the shell find it."""

from __future__ import annotations

import contextlib
import shlex
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
VERSIONS = ("2.0.0", "2.1.0", "2.3.1", "2.4.10", "2.7.0", "2.10.0", "2.11.0")


@contextlib.contextmanager
def installed(version="2.7.0", chip=None):
    """Let mindspore_lite of a version be imported, here and in new processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        patch.setenv("FAKE_LITE_VERSION", version)
        if chip:
            patch.setenv("FAKE_LITE_CHIP", chip)
        _forget()
        yield
    # find_spec looks into sys.modules too.
    _forget()


def _forget():
    for name in [name for name in sys.modules if name.split(".")[0] == "mindspore_lite"]:
        del sys.modules[name]


def write_mindir(path, source, optimize="general", chip=None):
    """Convert an ONNX file; `chip` is the one that an Ascend file is for."""
    import mindspore_lite

    config = path.with_suffix(".cfg")
    config.write_text(f"[acl_init_options]\nge.socVersion={chip}\n" if chip else "# nothing\n")
    converter = mindspore_lite.Converter()
    converter.optimize = optimize
    stem = str(path.with_suffix(""))
    converter.convert(mindspore_lite.FmkType.ONNX, str(source), stem, "", str(config))
    config.unlink()
    return path


def install_program(folder):
    """Unpack Lite's archive into `folder` and return the path of its converter_lite."""
    tools = folder / "tools" / "converter"
    (tools / "lib").mkdir(parents=True)
    (tools / "converter").mkdir()
    program = tools / "converter" / "converter_lite"
    command = shlex.join([sys.executable, str(FOLDER / "converter_lite.py")])
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    program.chmod(0o755)
    return program
