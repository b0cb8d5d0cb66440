"""Tools of others that are run as processes: finding them, and how they ended."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from r2p_edge.errors import BackendError, UsageError


def find_program(variable: str, *elsewhere: str) -> Path | None:
    """The program that an environment variable names, else the first of `elsewhere` that is there.

    Args:
        elsewhere: names to look for on PATH, or paths.

    Raises:
        UsageError: the variable names no program.
    """
    if named := os.environ.get(variable):
        if (program := shutil.which(named)) is None:
            raise UsageError(f"{variable} is {named}, which is no program; correct or unset it")
        return Path(program).absolute()
    found = next(filter(None, map(shutil.which, elsewhere)), None)
    return Path(found).absolute() if found else None


def run_program(
    command: Sequence[str],
    *,
    name: str,
    timeout: float,
    by_hand: Sequence[str],
    cwd: Path | None = None,
    environment: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Runs a program to its end, with what it prints.

    Args:
        name: of the program, for errors.
        timeout: seconds after which it is killed.
        by_hand: the command to name to somebody who is to try it.

    Raises:
        BackendError: it did not end in time, or cannot be started.
    """
    try:
        return subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as error:
        raise BackendError(
            f"{name} did not finish within {timeout:g} s; give it more time, or "
            f"try {shlex.join(by_hand)} by hand"
        ) from error
    except OSError as error:
        raise BackendError(
            f"{command[0]} cannot be started ({error.strerror}); check that it may be executed and "
            "was built for this machine"
        ) from error


def end_of(code: int) -> str:
    """How a process ended that did not do what it was to; no line that it prints tells of all."""
    if code == 0:
        return "wrote no file"
    if code > 0:
        return f"ended with exit code {code}"
    return f"was killed by {signal.Signals(-code).name}"
