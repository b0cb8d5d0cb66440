"""Events as lines of JSON in a file, and on the standard input of a program."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shlex
import shutil
import signal
import stat
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r2p_edge.artifact.atomic import check_folder
from r2p_edge.errors import OutputError, UsageError, one_line
from r2p_edge.live.credentials import SECRET_VARIABLES
from r2p_edge.watch.delivery import DeliveryError

PROGRAM_SECONDS = 30.0
"""Time that a program may take for an event."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_LONGEST_LINE = 1 << 20  # bytes
_STOP_SECONDS = 0.2  # from one look to the next whether the watch has ended


class FileSink:
    """A file to which a line is appended for each event, whole or not at all.

    It is opened for each line, so that another program may move it away (logrotate). A line that a
    power cut has left half is taken away before the next one.

    Args:
        path: the file, in a folder that exists.

    Raises:
        OutputError: it cannot be written there.
    """

    def __init__(self, path: str | Path) -> None:
        check_folder(path)
        self.name, self._path = f"the file {path}", Path(path)
        if self._path.exists() and not os.access(self._path, os.W_OK):
            raise OutputError(
                f"{path} cannot be written: it is write-protected; choose another file"
            )

    def send(self, message: Mapping[str, Any], stop: threading.Event) -> None:
        """Append a message; see `Sink`."""
        line = json.dumps(message, ensure_ascii=False).encode() + b"\n"
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                _mend_end(descriptor, self._path)
                before = os.fstat(descriptor).st_size
                try:
                    _write_all(descriptor, line)
                except OSError:
                    with contextlib.suppress(OSError):  # a pipe has no length
                        os.ftruncate(descriptor, before)
                    raise
            finally:
                os.close(descriptor)
        except OSError as error:
            room = "; make room there" if error.errno in _FULL else ""
            raise DeliveryError(f"{error.strerror}{room}") from error

    def close(self) -> None:
        """Release nothing; see `Sink`."""


def _mend_end(descriptor: int, path: Path) -> None:
    """Let a file end with a whole line: take away half an event, and end any other line.

    Args:
        descriptor: of the file, open to append.
        path: its path.

    Raises:
        OSError: it cannot be read or written.
    """
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or not found.st_size:
        return
    try:
        file = path.open("rb")
    except PermissionError:  # it may be one that we may only write
        return
    with file:
        if not os.path.samestat(os.fstat(file.fileno()), found):  # it was moved away just now
            return
        file.seek(-1, os.SEEK_END)
        if file.read() == b"\n":
            return
        start = max(found.st_size - _LONGEST_LINE, 0)
        file.seek(start)
        tail = file.read(found.st_size - start)
    whole = tail.rfind(b"\n") + 1
    if (whole or not start) and _is_half(tail[whole:]):
        os.ftruncate(descriptor, start + whole)
    else:
        _write_all(descriptor, b"\n")


def _is_half(line: bytes) -> bool:
    """Return True if a line begins as an object of JSON and is none."""
    try:
        json.loads(line)
    except ValueError:
        return line.startswith(b"{")
    return False


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


class ProgramSink:
    """A program that is run for each event, which it reads as a line of JSON.

    Its environment has R2P_EVENT_TYPE, R2P_EVENT_ID, R2P_EVENT_SOURCE, R2P_EVENT_RULE and
    R2P_EVENT_LABEL too, and none of this program's secrets. There is no shell.

    Args:
        command: the program and its arguments, in the quotes of a shell.
        seconds: how long it may run before it is killed, with what it has started.

    Raises:
        UsageError: there is no such program.
    """

    def __init__(self, command: str, *, seconds: float = PROGRAM_SECONDS) -> None:
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"{command!r} is no command ({error}); check its quotes") from error
        if not self._words or shutil.which(self._words[0]) is None:
            raise UsageError(
                f"there is no program {(self._words or [''])[0]!r} to run for an event; check its "
                "path and that it is executable"
            )
        self.name, self._seconds = f"the program {self._words[0]}", seconds

    def send(self, message: Mapping[str, Any], stop: threading.Event) -> None:
        """Run the program on a message; see `Sink`."""
        environment = {k: v for k, v in os.environ.items() if k not in SECRET_VARIABLES}
        for key in ("type", "id", "source", "rule", "label"):
            environment[f"R2P_EVENT_{key.upper()}"] = str(message.get(key, ""))
        try:
            process = subprocess.Popen(
                self._words,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,  # ours is for JSON lines
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise DeliveryError(error.strerror or one_line(error)) from error
        line: bytes | None = json.dumps(message).encode() + b"\n"
        left = self._seconds
        while True:
            wait = min(left, _STOP_SECONDS)
            try:
                process.communicate(line, wait)
                break
            except subprocess.TimeoutExpired:
                line = None  # it is being written
                left -= wait
                if left <= 0 or stop.is_set():
                    _kill(process)
                    ran = f"it ran for more than {self._seconds:g} s"
                    raise DeliveryError(ran if left <= 0 else "the watch ended first") from None
        if process.returncode:
            raise DeliveryError(f"its exit code was {process.returncode}")

    def close(self) -> None:
        """Release nothing; see `Sink`."""


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a program and what it has started in its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
