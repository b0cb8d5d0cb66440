"""The table of families: the page holds what its script writes, and oracles are there."""

from __future__ import annotations

import runpy

from paths import ROOT

from r2p_edge.export.checkpoints.families import FAMILIES

SCRIPT = runpy.run_path(str(ROOT / "docs" / "scripts" / "family_table.py"))


def test_the_table_is_what_the_script_writes():
    page = SCRIPT["PAGE"].read_text(encoding="utf-8")
    assert page == SCRIPT["filled"](page)
    assert SCRIPT["table"]() in page


def test_what_is_called_proven_has_an_oracle():
    oracles = ROOT / "tests" / "oracles"
    found = set(runpy.run_path(str(oracles / "test_zoo.py"))["FAMILIES"].values())
    found.add(runpy.run_path(str(oracles / "test_torchvision_s3d.py"))["FAMILY"])
    assert found == {family.name for family in FAMILIES.values() if family.oracle}
