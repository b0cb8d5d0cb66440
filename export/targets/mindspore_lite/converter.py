"""MindSpore Lite's converter: finding it and running it.

Nothing here needs onnx, because it also runs on the device, out of a kit (`kit.py`). The tests run
the real converter of 2.0; comments on later ones go back to the source of 2.7: python/api/
converter.py, tools/converter/converter_lite.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from r2p_edge.errors import BackendError, ModelError, OutputError
from r2p_edge.export.targets.mindspore_lite.advice import advice_for
from r2p_edge.export.targets.program import end_of, find_program, run_program
from r2p_edge.runtimes.mindspore_lite import MindSporeLite

CONVERTER_VARIABLE = "R2P_CONVERTER_LITE"
"""Environment variable that names the program `converter_lite`."""

_CANNOT_WRITE = re.compile(
    r"Failed to write|No space left on device|Read-only file system|Input/output error"
    r"|Permission denied|name: OSError"  # the last of a Python that could not print its error
)
_ROOM = "make room there, or set TMPDIR to another folder"


@dataclass(frozen=True)
class Converter:
    """The converter, run as a process: it prints to stdout, may crash and may never end.

    Attributes:
        program: path of `converter_lite`; None for `mindspore_lite.Converter`.
    """

    program: Path | None

    @property
    def name(self) -> str:
        """Name for errors and the artifact's spec."""
        return "mindspore_lite.Converter" if self.program is None else "converter_lite"

    def command(self, source: Path, output: Path, optimize: str, config: Path | None) -> list[str]:
        """Return the command that writes the ONNX file `source` as `<output>.mindir`.

        Args:
            source: the ONNX file.
            output: path of the result, without its suffix.
            optimize: "general" or "ascend_oriented".
            config: file in the converter's INI format.
        """
        if self.program is None:
            module = ["-m", "r2p_edge.export.targets.mindspore_lite.child"]
            return [sys.executable, *module, str(source), str(output), optimize, str(config or "")]
        command = [str(self.program), "--fmk=ONNX", f"--modelFile={source}"]
        # --device would make it ignore --optimize (converter_flags.cc, InitOptimize).
        command += [f"--outputFile={output}", "--saveType=MINDIR", f"--optimize={optimize}"]
        return [*command, f"--configFile={config}"] if config else command

    def environment(self) -> dict[str, str]:
        """Return the environment of the process, in which it finds its libraries."""
        if self.program is None:
            # The same modules as this process, wherever that was started.
            return {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
        library = self.program.resolve().parents[1] / "lib"  # as in Lite's archive
        known = os.environ.get("LD_LIBRARY_PATH")
        return {**os.environ, "LD_LIBRARY_PATH": f"{library}:{known}" if known else str(library)}


def find_converter() -> Converter | None:
    """Return the program that R2P_CONVERTER_LITE names, else the Python class, else one on PATH.

    Raises:
        UsageError: R2P_CONVERTER_LITE names no program.
    """
    program = find_program(CONVERTER_VARIABLE)
    if program is None and _has_python_converter():
        return Converter(None)
    program = program or find_program(CONVERTER_VARIABLE, "converter_lite")
    return Converter(program) if program else None


def _has_python_converter() -> bool:
    try:
        MindSporeLite.library().Converter()
    # Not installed, or not working; or a wheel that was built without the converter.
    except (BackendError, AttributeError):
        return False
    return True


def run_converter(
    converter: Converter, source: Path, folder: Path, device: str, settings: str, timeout: float
) -> Path:
    """Convert an ONNX file; return the file in `folder`, under a name that the converter can parse.

    Args:
        converter: the converter.
        source: the ONNX file.
        folder: folder to work in.
        device: "cpu", or an Ascend chip.
        settings: text in the converter's INI format, "" for none.
        timeout: seconds that the converter may take.

    Raises:
        ModelError: the converter refuses the model, or crashes.
        BackendError: it cannot be started, does not end in time, or lacks memory or packages.
        OutputError: there is no room in `folder`.
    """
    model, output = folder / "model.onnx", folder / "out"
    config = folder / "convert.cfg" if settings else None
    try:
        shutil.copyfile(source, model)
        if config:
            config.write_text(settings)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}; {_ROOM}") from error
    optimize = "general" if device == "cpu" else "ascend_oriented"
    command = converter.command(model, output, optimize, config)
    # The temporary folder will be gone.
    kept = Path(config.name) if config else None
    by_hand = converter.command(source, Path("out"), optimize, kept)
    done = run_program(
        command,
        name=converter.name,
        timeout=timeout,
        by_hand=by_hand,
        cwd=folder,  # compilers for Ascend leave files where they run
        environment=converter.environment(),
    )
    written = output.with_name("out.mindir")
    if done.returncode != 0 or not written.is_file() or not written.stat().st_size:
        end, reason = end_of(done.returncode), _reason(done)
        if _CANNOT_WRITE.search(reason):
            raise OutputError(f"{converter.name} cannot write into {folder}: {reason}; {_ROOM}")
        _check_room(folder)  # on a full disk a program may not even say why it ends
        # For the CPU no compiler of CANN's is at work, and its packages are of no help.
        said = b"" if device == "cpu" else done.stderr + done.stdout
        advice = advice_for(said.decode(errors="replace"), end)
        kind = ModelError if advice is None or advice.of_model else BackendError
        raise kind(
            f"{converter.name} {end} for {source} and said: {reason}; "
            + (f"{advice.text}; or " if advice else "")
            + f"try {shlex.join(by_hand)} by hand with GLOG_v=1 to learn more"
        )
    return written


def _check_room(folder: Path) -> None:
    """Raise OutputError if nothing can be written into a folder any more."""
    try:
        with (folder / "trial").open("wb") as file:
            file.write(bytes(1 << 16))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}; {_ROOM}") from error


def _reason(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return the first error that was logged, else the last line of stderr, else of stdout.

    The errors behind the first tell how it passed on to the outside. After its errors the program
    prints its usage; it reports a crash on stdout.
    """
    lines = [
        [" ".join(line.split()) for line in stream.decode(errors="replace").split("\n")]
        for stream in (done.stderr, done.stdout)
    ]
    errors = [line for line in lines[0] if "[ERROR]" in line]
    said = [line for line in lines[0] if line] or [line for line in lines[1] if line]
    return next(iter(errors or said[-1:]), "nothing")[:300]
