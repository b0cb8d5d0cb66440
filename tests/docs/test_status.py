"""The tables of states: pages hold what their script writes, and states have proofs."""

from __future__ import annotations

import ast
import runpy

import check_proofs
import pytest
from paths import ROOT

SCRIPT = runpy.run_path(str(ROOT / "docs" / "scripts" / "status_tables.py"))
FACTS, TABLES = SCRIPT["FACTS"], SCRIPT["TABLES"]


@pytest.mark.parametrize("page", sorted({table.page for table in TABLES.values()}))
def test_the_tables_of_a_page_are_what_the_script_writes(page):
    assert (ROOT / page).read_text(encoding="utf-8") == SCRIPT["filled"](page)
    for name, table in TABLES.items():
        if table.page == page:
            marked = f"<!-- status: {name} -->\n\n{SCRIPT['markdown'](table)}\n<!-- end -->"
            assert marked in (ROOT / page).read_text(encoding="utf-8")


def test_every_fact_has_a_row():
    assert {row[-1] for table in TABLES.values() for row in table.rows} == FACTS.keys()


@pytest.mark.parametrize("name", FACTS)
def test_what_is_not_called_untested_has_a_proof(name):
    fact = FACTS[name]
    if fact.state in ("untested", "not supported"):
        assert (fact.proofs, fact.script) == ((), "")
        return
    assert fact.proofs or (ROOT / fact.script).is_file()
    for proof in fact.proofs:
        file, _, function = proof.partition("::")
        code = (ROOT / "tests" / file).read_text(encoding="utf-8")
        tree = ast.parse(code).body
        (proving,) = [n for n in tree if isinstance(n, ast.FunctionDef) and n.name == function]
        marks = [ast.unparse(mark) for mark in proving.decorator_list]
        assert "pytest.mark.long" not in marks, "CI leaves it out"
        assert fact.state == "stand-in" or "fake_" not in code, "it proves a stand-in"


def test_a_proof_that_did_not_pass_is_named(tmp_path, capsys):
    proofs = [proof for fact in FACTS.values() for proof in fact.proofs]
    report = tmp_path / "report.xml"

    def write(skipped: str = "") -> None:
        cases = "".join(
            '<testcase classname="tests.{}" name="{}[x]">{}</testcase>'.format(
                *proof.replace(".py", "").replace("/", ".").split("::"),
                '<skipped message="no"/>' if proof == skipped else "",
            )
            for proof in proofs
        )
        report.write_text(f"<testsuite>{cases}</testsuite>")

    write()
    assert check_proofs.main([str(report)]) == 0
    write(skipped=proofs[-1])
    assert check_proofs.main([str(report)]) == 1
    assert proofs[-1] in capsys.readouterr().out
