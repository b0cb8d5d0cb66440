"""The command line, `r2p-edge`: a module for each verb that parses, calls a function and shows it.

`build_parser` gives the parser to tools that document it.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r2p_edge.cli.parser import build_parser

__all__ = ["build_parser", "main"]

_INTERRUPTED, _TERMINATED = 130, 143


class _TerminatedError(BaseException):
    """SIGTERM has come: the command ends as it does at Ctrl-C, and leaves nothing behind."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: the command's words; by default those of `sys.argv`.

    Raises:
        SystemExit: the arguments cannot be parsed, or ask for help or the version.
    """
    try:
        with _heard_sigterm():
            # In here, as a signal may come before the modules are imported.
            from r2p_edge.cli.entry import run_command
            from r2p_edge.errors import ending_behind

            try:
                return run_command(arguments)
            except Exception as error:
                if (ending := ending_behind(error)) is None:
                    raise
                raise ending from None
    except KeyboardInterrupt:
        print("r2p-edge: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except _TerminatedError:
        print("r2p-edge: terminated", file=sys.stderr)
        return _TERMINATED


@contextlib.contextmanager
def _heard_sigterm() -> Iterator[None]:
    """Raise an exception at SIGTERM, which would end this process without its children."""
    if threading.current_thread() is not threading.main_thread():  # which alone may hear signals
        yield
        return

    def end(*_: object) -> None:
        raise _TerminatedError

    former = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former or signal.SIG_DFL)  # None: not of Python


def __getattr__(name: str) -> Any:
    if name != "build_parser":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from r2p_edge.cli import parser

    return parser.build_parser
