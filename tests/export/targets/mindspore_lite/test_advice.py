"""Advice on failures of CANN's compilers, found in their words."""

from __future__ import annotations

import pytest

from r2p_edge.export.targets.mindspore_lite.advice import advice_for


@pytest.mark.parametrize(
    ("said", "end", "advice"),
    [
        ("EC0010: Failed to import Python module", "", "pip install attrs cython"),
        ("ModuleNotFoundError: No module named 'decorator'", "", "pip install attrs cython"),
        ("TypeError: Descriptors cannot be created directly.", "", "build from a kit"),
        ("E40024: Failed to call Python Func: BrokenPipeError", "", "add swap"),
        ("", "was killed by SIGKILL", "add swap"),
        ("libascend_hal.so: cannot open shared object file", "", "devlib"),
        ("value of --host_env_os is not in the support list of {}", "", "Ascend-cann-310b-ops"),
        ("EZ3003: No supported Ops kernel and engine are found for [Conv3D]", "", "-ops"),
        ("write failed: No space left on device", "", "make room"),
    ],
)
def test_causes(said, end, advice):
    found = advice_for(f"[INFO] begin\n{said}\nend", end)
    assert advice in found.text
    assert found.of_model == (advice in ("Ascend-cann-310b-ops", "-ops"))


def test_other_words_tell_nothing():
    assert advice_for("E10001: Value [x] for parameter [--mode] is invalid", "ended") is None
