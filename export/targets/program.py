"""External programs: finding them, running them, and naming how they ended."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from r2p_edge.errors import BackendError, OutputError, UsageError


def find_program(variable: str, *elsewhere: str) -> Path | None:
    """Return the program that an environment variable names, else the first found elsewhere.

    Args:
        variable: name of the environment variable.
        elsewhere: names to look for on PATH, or paths.

    Raises:
        UsageError: the variable names a file that is not a program.
    """
    if named := os.environ.get(variable):
        if (program := shutil.which(named)) is None:
            raise UsageError(f"{variable} is {named}, which is not a program; correct or unset it")
        return Path(program).absolute()
    found = next(filter(None, map(shutil.which, elsewhere)), None)
    return Path(found).absolute() if found else None


def run_program(
    command: Sequence[str],
    *,
    name: str,
    timeout: float,
    by_hand: Sequence[str] = (),
    cwd: Path | None = None,
    environment: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end; return its exit code and output.

    The program leads a process group, which ends with it. Compilers start workers that inherit
    their output: if one dies, its workers keep pipes open and memory in use, so that a caller who
    reads to the end of a pipe waits for the workers too.

    Args:
        command: program and arguments.
        name: name of the program, for errors.
        timeout: seconds after which the program is killed.
        by_hand: command that an error asks the user to try, where one can.
        cwd: working folder; by default that of this process.
        environment: its environment; by default that of this process.

    Raises:
        BackendError: the program did not end in time, or cannot be started.
        OutputError: there is no room for what it prints.
    """
    with contextlib.ExitStack() as files:
        try:
            stdout, stderr = (files.enter_context(tempfile.TemporaryFile()) for _ in range(2))
        except OSError as error:
            raise OutputError(
                f"no temporary file can be made ({error.strerror}); make room, or set TMPDIR to "
                "another folder"
            ) from error
        try:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        except OSError as error:
            raise BackendError(
                f"{command[0]} cannot be started ({error.strerror}); check that it may be executed "
                "and was built for this machine"
            ) from error
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            other = f"try {shlex.join(by_hand)} by hand" if by_hand else "take a faster machine"
            raise BackendError(
                f"{name} did not finish within {timeout:g} s; give it more time, or {other}"
            ) from error
        finally:
            # Also at Ctrl-C, which a process of another session does not get.
            _end_group(process)
        said = []
        for stream in (stdout, stderr):
            stream.seek(0)
            said.append(stream.read())
    return subprocess.CompletedProcess(command, code, *said)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a process and of those that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def end_of(code: int) -> str:
    """Return how a process ended that failed, whatever it printed, from its exit code."""
    if code == 0:
        return "wrote no file"
    # A shell around the program gives 128 and the signal's number.
    number = -code if code < 0 else code - 128
    known = {each.value: each.name for each in signal.Signals}
    if number not in known:
        return f"ended with exit code {code}"
    return f"was killed by {known[number]}"
