"""One command from its arguments to its exit code.

Results go to stdout (`--json`: for machines), progress, warnings and errors to stderr. The exit
code names the kind of error: 2 usage, 3 data, 4 model, 5 runtime or device, 6 only a kit could be
made (`export --strict`), 130 Ctrl-C, 143 SIGTERM, 1 other.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from r2p_edge.cli.options import check_files
from r2p_edge.cli.output import StdoutError, complain, guarded_stdout, shown_messages
from r2p_edge.cli.parser import build_parser
from r2p_edge.cli.title import hide_arguments
from r2p_edge.errors import OutputError, R2PError, one_line

_OTHER = 1


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run one command; see `main`, which also hears signals."""
    if arguments is None:
        hide_arguments()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by what started this, such as `>&-` of a shell
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    for stream in (sys.stdout, sys.stderr):
        # A file name may have bytes, and a label letters, that the terminal's encoding lacks.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with guarded_stdout():
            code = _run(arguments)
            sys.stdout.flush()
            return code
    except StdoutError as failure:
        # Output that is still buffered goes nowhere, or Python complains of it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(failure.cause, BrokenPipeError):  # its reader has gone (`| head`)
            return _OTHER
        complain(
            f"the output cannot be written ({failure.cause.strerror}); make room for it, or "
            "send it elsewhere"
        )
        return OutputError.exit_code


def _run(arguments: Sequence[str] | None) -> int:
    try:
        options = build_parser().parse_args(arguments)
        check_files(options)
        with shown_messages(verbose=options.verbose):
            return int(options.run(options))
    except R2PError as error:
        complain(error)
        return error.exit_code
    except OSError as error:
        # Errors that are expected of files and devices have become errors of ours.
        complain(f"the system refuses a file or device: {one_line(error)}; check it and try again")
        return _OTHER
    except MemoryError as error:
        said = f" ({one_line(error)})" if str(error) else ""
        complain(f"there is too little memory{said}; ask for less at a time, such as fewer --views")
        return _OTHER
