"""Verbs that are killed or refused a write leave nothing half, and can be run again.

The whole is `python tests/faults/run.py` and `python tests/faults/signals.py`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from requirements import is_required, needs

HERE = Path(__file__).parent

pytestmark = [pytest.mark.slow, needs("onnx"), needs("onnxruntime")]


@pytest.fixture(autouse=True)
def _compiler():
    command = shlex.split(os.environ.get("CC", "cc"))[0]
    if shutil.which(command) is None and not is_required("cc"):
        pytest.skip(f"needs a C compiler, and there is no {command}")


def run(*arguments):
    """Run a program of this folder."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE)


@pytest.mark.parametrize("verb", ["weights-get", "weights-add", "watch-events"])
def test_some_faults_of_a_short_program(verb):
    done = run("run.py", verb, "--every", 4)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed before" in done.stdout


_LONG = [
    pytest.param(verb, marks=pytest.mark.long)
    for verb in ("webcam", "timeline", "annotate", "sheet", "dataset")
]


@pytest.mark.parametrize("verb", ["export-onnx", *_LONG])
def test_some_faults_of_a_verb(verb):
    done = run("run.py", verb, "--every", 25)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed before" in done.stdout


@pytest.mark.long
@pytest.mark.parametrize(
    "verb",
    [
        *(
            "export-openvino",
            "export-kits",
            "calibrate",
            "teach",
            "kit",
            "archive",
            "eval",
            "report",
        ),
        *("serve-export", "watch-pictures"),
    ],
)
def test_more_verbs(verb):
    done = run("run.py", verb, "--every", 5)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_careless_program_is_found():
    done = run("run.py", "careless")
    assert done.returncode == 1
    for wrong in (
        r"\(over\) killed before .* write .*: model.txt is neither the old file nor the new one",
        r"disk full .*: model.txt is neither .*a traceback: OSError",
        r"killed after .*: the next run leaves",
        r"read-only .*: .*exit code 1, not 3",
    ):
        assert re.search(wrong, done.stdout), (wrong, done.stdout)


def test_some_signals():
    done = run("signals.py", "export", "--stages", 4)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 signals, 0 wrong" in done.stdout
