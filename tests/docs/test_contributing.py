"""The runtime of CONTRIBUTING's section "Add a runtime" works as it is written there."""

from __future__ import annotations

import sys
import types
from pathlib import Path

from pages import COMMANDS
from paths import ROOT

import r2p_edge.runtimes

HEADING = "Add a runtime"


def test_the_runtime_of_zeros(tmp_path: Path, monkeypatch) -> None:
    blocks = [
        block.code
        for block in COMMANDS
        if block.page == ROOT / "CONTRIBUTING.md" and block.heading == HEADING
    ]
    file, row, test = blocks
    module = types.ModuleType("r2p_edge.runtimes.zeros")
    exec(compile(file, "zeros.py", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    rows = eval(f"{{{row}}}", vars(r2p_edge.runtimes))
    for name, entry in rows.items():
        monkeypatch.setitem(r2p_edge.runtimes.RUNTIMES, name, entry)
    tests: dict[str, types.FunctionType] = {}
    exec(compile(test, "test_zeros.py", "exec"), tests)
    tests["test_every_class_is_equally_probable"](tmp_path)
