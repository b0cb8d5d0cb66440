"""The table of published weights: the page holds what its script writes."""

from __future__ import annotations

import runpy

from paths import ROOT

SCRIPT = runpy.run_path(str(ROOT / "docs" / "scripts" / "weights_table.py"))


def test_the_table_is_what_the_script_writes():
    page = SCRIPT["PAGE"].read_text(encoding="utf-8")
    assert page == SCRIPT["filled"](page)
    assert SCRIPT["table"]() in page
