"""The runtime of CONTRIBUTING's section "Add a runtime" works as it is written there."""

from __future__ import annotations

import types
from pathlib import Path

from zeros_runtime import blocks, install


def test_the_runtime_of_zeros(tmp_path: Path, monkeypatch) -> None:
    install(monkeypatch)
    tests: dict[str, types.FunctionType] = {}
    exec(compile(blocks()[-1], "test_zeros.py", "exec"), tests)
    tests["test_every_class_is_equally_probable"](tmp_path)
