"""Hold the states of docs/scripts/status_tables.py to the tests that passed in a whole run.

    python tests/helpers/check_proofs.py RESULTS.xml...

with the JUnit files of the run's parts. It names each proof that passed in none of them, and exits
with 1 if there is one.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from junit import case_of, passed_cases
from paths import ROOT

FACTS = runpy.run_path(str(ROOT / "docs" / "scripts" / "status_tables.py"))["FACTS"]


def main(reports: list[str]) -> int:
    """Print what is not proven; return the exit code."""
    passed = {
        (case.file, case.name.partition("[")[0])
        for report in reports
        for case in passed_cases(Path(report))
    }
    code = 0
    for name, fact in FACTS.items():
        for proof in fact.proofs:
            if case_of(f"tests/{proof}") not in passed:
                print(f"{name} is called {fact.state!r}, but tests/{proof} has not passed")
                code = 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
