"""The parser of the whole command line.

Verbs import the functions that they call when they run, so that parsing and `--help` are quick.
"""

from __future__ import annotations

import argparse

from r2p_edge._version import __version__
from r2p_edge.cli import (
    adapt,
    annotate,
    benchmark,
    calibrate,
    compare,
    dataset,
    demo,
    doctor,
    evaluate,
    export,
    info,
    predict,
    report,
    serve,
    serve_export,
    sheet,
    stream,
    teach,
    timeline,
    watch,
    weights,
)
from r2p_edge.cli.verb import Parser, VerbParser, add_verbose

# In the order in which the help lists them.
_VERBS = (
    *(demo, predict, timeline, annotate, sheet, stream, watch, serve, compare, evaluate),
    *(
        report,
        benchmark,
        doctor,
        info,
        dataset,
        export,
        calibrate,
        adapt,
        serve_export,
        teach,
        weights,
    ),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `r2p-edge` with all its verbs; each sets `run` to its function."""
    parser = Parser(
        prog="r2p-edge",
        description="Run R(2+1)D video action recognition on edge devices.",
        epilog="See 'r2p-edge VERB --help' for the options of a verb.",
        allow_abbrev=False,  # an abbreviation works until an option is added that begins alike
    )
    parser.add_argument(
        "--version", action="version", version=f"r2p-edge {__version__}", help="print the version"
    )
    add_verbose(parser, default=False)
    verbs = parser.add_subparsers(required=True, metavar="VERB", parser_class=VerbParser)
    for module in _VERBS:
        module.add(verbs)
    return parser
