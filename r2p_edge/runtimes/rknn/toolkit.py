"""RKNN-Toolkit2 in a Python of its own, which builds models and simulates the NPU.

It wants an older NumPy, onnx and protobuf than this package, so that the two share no environment.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pkgutil
import re
import shutil
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import BackendError, MissingDependencyError, UsageError

PYTHON_VARIABLE = "R2P_RKNN_PYTHON"
"""Environment variable that names the Python in which RKNN-Toolkit2 is installed."""

TOOLKIT_PAGE = "docs/runtimes/rknn.md"
_INSTALL = (
    f"make an environment for rknn-toolkit2 as {TOOLKIT_PAGE} says, and set {PYTHON_VARIABLE} to "
    "its python"
)
_VERSION = "from importlib import metadata; print(metadata.version('rknn-toolkit2'))"
_GRACE = 5.0  # seconds
_START = 600.0  # seconds; a build of R(2+1)D-34 takes one minute on a busy machine
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ERROR = re.compile(r"^E (?:RKNN: \[\S+\] )?(\S.*)")
_RAISED = re.compile(r"^(\w*(?:Error|Exception): .*)")
# Printed of each kind of operator that goes to the CPU, and before every traceback.
_NO_REASON = ("Unkown op target", "rknn-toolkit2 version", "Traceback")


def toolkit_python() -> Path:
    """Return the Python that has RKNN-Toolkit2: the one that R2P_RKNN_PYTHON names, or this one.

    Raises:
        MissingDependencyError: there is none.
        UsageError: the variable names no program.
    """
    named = os.environ.get(PYTHON_VARIABLE)
    if named:
        if (program := shutil.which(named)) is None:
            raise UsageError(
                f"{PYTHON_VARIABLE} is {named}, which is not a program; correct or unset it"
            )
        return Path(program).absolute()
    try:
        # Not by its package, rknn, which has no __init__.py: any folder of that name in the current
        # one, as that of the toolkit's environment, looks the same.
        metadata.version("rknn-toolkit2")
    except metadata.PackageNotFoundError:
        raise MissingDependencyError(f"RKNN-Toolkit2 is not here; {_INSTALL}") from None
    return Path(sys.executable)


def toolkit_version(python: Path) -> str:
    """Return the version of the toolkit that a Python has.

    Raises:
        BackendError: it has none, or does not work.
    """
    return _version(python, python.stat().st_mtime_ns)


@functools.cache
def _version(python: Path, _changed: int) -> str:
    command = [str(python), "-c", _VERSION]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_START, env=toolkit_environment()
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackendError(
            f"{python} does not work ({error}); correct {PYTHON_VARIABLE}"
        ) from error
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise BackendError(f"{python} has no RKNN-Toolkit2 ({reason}); {_INSTALL}")
    return done.stdout.strip()


def toolkit_command(python: Path, what: str, folder: Path | str) -> list[str]:
    """Return the command that builds or simulates in a folder; see `toolkit_program.py`.

    Its text is handed over, because this package may be imported from a zip file.
    """
    program = pkgutil.get_data(__package__, "toolkit_program.py")
    assert program is not None
    return [str(python), "-c", program.decode(), what, str(folder)]


def toolkit_environment() -> dict[str, str]:
    """Return the environment of the toolkit's Python, without what is for this one."""
    own = {"PYTHONPATH", "PYTHONHOME"}
    return {name: value for name, value in os.environ.items() if name not in own}


def toolkit_reason(log: str) -> str:
    """Return the first error in what the toolkit printed, else the last line."""
    lines = [_COLOUR.sub("", line).strip() for line in log.splitlines()]
    for pattern in (_ERROR, _RAISED):
        said = [found[1] for found in map(pattern.match, lines) if found]
        if reasons := [each for each in said if not each.startswith(_NO_REASON)]:
            return reasons[0][:300]
    return next((line for line in reversed(lines) if line), "nothing")[:300]


def toolkit_settings(
    chip: str, scale: float, mean: Sequence[float], std: Sequence[float], algorithm: str = "normal"
) -> dict[str, Any]:
    """Return the settings of a build; see `toolkit_program.py`.

    Args:
        chip: name in `chips.ROCKCHIPS`.
        scale, mean, std: of the contract; the toolkit subtracts and divides pixels of 0 to 255.
        algorithm: how int8 gets the ranges of activations.
    """
    return {
        "chip": chip,
        "mean": [each / scale for each in mean],
        "std": [each / scale for each in std],
        "algorithm": algorithm,
    }


class Simulation:
    """The toolkit's simulator, running in a process of its own.

    Args:
        python: that has the toolkit.
        folder: with the build's settings and inputs; see `toolkit_program.py`.
        header: {"shape": of the images that are a clip, uint8}.

    Raises:
        BackendError: it cannot be started, or cannot build the model again.
    """

    def __init__(self, python: Path, folder: Path, header: Mapping[str, Any]) -> None:
        self._log = folder / "simulator.log"
        self._opener = os.getpid()
        self._ended: str | None = None  # and why
        with self._log.open("wb") as log:
            try:
                self._process = subprocess.Popen(
                    toolkit_command(python, "simulate", folder),
                    cwd=folder,
                    env=toolkit_environment(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,
                )
            except OSError as error:
                raise BackendError(f"{python} cannot be started ({error.strerror})") from error
        # Python keeps a process that nobody waits for, and so the pipe whose end would end it.
        self._end = weakref.finalize(self, _end, self._process, self._opener)
        try:
            self._wait_for_build()
            self._send(json.dumps(dict(header)).encode() + b"\n")
        except BaseException:
            self.close()
            raise

    def answer(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return all outputs, float32 in a row, for the images of a clip, uint8 (T, H, W, C).

        Raises:
            BackendError: the simulator has ended.
        """
        if os.getpid() != self._opener:  # two processes would get each other's answers
            raise BackendError(
                "RKNN-Toolkit2's simulator belongs to the process that opened the model; open it "
                "in each process"
            )
        if self._ended is not None:
            raise BackendError(f"{self._ended}; open the model again")
        try:
            self._send(images.tobytes())
            size = 4 * int(self._stdout.readline() or b"0")
            content = self._stdout.read(size)
        except BackendError:
            raise
        except BaseException:  # Ctrl-C: the next answer to come would be that of this clip
            self.close("RKNN-Toolkit2's simulator was ended when a call was interrupted")
            raise
        if not content or len(content) < size:
            raise self._failure()
        return np.frombuffer(content, np.float32)

    def close(self, why: str = "RKNN-Toolkit2's simulator is closed") -> None:
        """End the process and those that it started; the first `why` is what answers say then."""
        self._ended = self._ended or why
        self._end()

    @property
    def _stdout(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _wait_for_build(self) -> None:
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(_START, end)
        timer.start()
        try:
            ready = self._stdout.readline()
        finally:
            timer.cancel()
        if not ready:
            failure = self._failure()
            if late.is_set():
                raise BackendError(
                    f"RKNN-Toolkit2's simulator did not build the model within {_START:g} s; end "
                    "what else keeps this machine busy, or run the model on its board"
                )
            raise failure

    def _send(self, content: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(content)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failure() from None

    def _failure(self) -> BackendError:
        try:
            code = self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:  # it has closed its output and goes on
            code = 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else "ended"
        reason = toolkit_reason(self._log.read_text(errors="replace"))
        said = f"RKNN-Toolkit2's simulator {how} and said: {reason}"
        self.close(said)
        return BackendError(said)


def _end(process: subprocess.Popen[bytes], opener: int) -> None:
    """End a process and those that it started, if this one is not a fork's copy of its opener."""
    if os.getpid() != opener:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):  # what was not written yet
                pipe.close()
