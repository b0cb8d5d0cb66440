"""A kit for MindSpore Lite, and a machine that builds it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bare_python import make_python
from fake_mindspore_lite import FOLDER
from kits import kit_of
from networks import SMALL, spec_for


@pytest.fixture
def bare(monkeypatch):
    """Neither the library nor its converter."""
    monkeypatch.setitem(sys.modules, "mindspore_lite", None)
    monkeypatch.delenv("R2P_CONVERTER_LITE", raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


@pytest.fixture(scope="session")
def network(small_checkpoint):
    """A small R(2+1)D as a file of weights, and its contract."""
    return small_checkpoint, spec_for(SMALL["classes"], name="net")


@pytest.fixture(scope="session")
def made(network, tmp_path_factory):
    """A kit for the CPU; tests copy it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "mindspore_lite", None)
        patch.delenv("R2P_CONVERTER_LITE", raising=False)
        patch.setenv("PATH", "/usr/bin:/bin")
        return kit_of(network, "mindspore-lite", tmp_path_factory.mktemp("made"))


@pytest.fixture
def kit(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "kit"))


@pytest.fixture(scope="session")
def target(tmp_path_factory):
    """A Python without this package, that has numpy and the stand-in for mindspore_lite."""
    python = make_python(tmp_path_factory.mktemp("target"))
    (site,) = python.parents[1].glob("lib/python*/site-packages")
    (site / "mindspore_lite").symlink_to(FOLDER / "mindspore_lite")
    return python


@pytest.fixture
def run_kit(target, tmp_path):
    """Run a kit's build.py on the target; return its exit code, output and errors."""

    def run_kit(folder, *arguments, python=(), **environment):
        done = subprocess.run(
            [target, *python, folder / "build.py", *arguments],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", **environment},
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr

    return run_kit
