"""`r2p-edge doctor`: report the runtimes and devices of this machine, and whether they work."""

from __future__ import annotations

import argparse
from typing import Any

from r2p_edge.cli.output import print_json
from r2p_edge.cli.verb import Verbs, add_verb
from r2p_edge.errors import BackendError


def add(verbs: Verbs) -> None:
    """Add the verb."""
    add_verb(
        verbs,
        "doctor",
        run,
        "Show the runtimes, devices and decoders of this machine, and run a layer on each device.",
        "doctor",
        "doctor --json",
    )


def run(options: argparse.Namespace) -> int:
    """Diagnose; return 0 if a model can be run on this machine."""
    from r2p_edge.doctor import diagnose

    report = diagnose()
    if options.json:
        print_json(report)
    else:
        show(report)
    return 0 if report["ready"] else BackendError.exit_code


def show(report: dict[str, Any]) -> None:
    """Print the report for people."""
    from r2p_edge.doctor import print_diagnosis

    print_diagnosis(report)
