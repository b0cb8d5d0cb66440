"""MindSpore Lite's converter: finding it, running it, and proving what it made.

Nothing here needs onnx, because it also runs on the target, out of a kit (`kit.py`). What is said
of the converter was read in mindspore-lite 2.7: python/api/converter.py, tools/converter/
converter_lite.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from r2p_edge.artifact.atomic import atomic_write
from r2p_edge.artifact.sidecar import write_sidecar
from r2p_edge.errors import (
    BackendError,
    MissingDependencyError,
    ModelError,
    OutputError,
    UsageError,
)
from r2p_edge.export.packages import built_with
from r2p_edge.export.targets.mindspore_lite.config import converter_config, full_quant_config
from r2p_edge.export.targets.program import end_of, find_program, run_program
from r2p_edge.export.verify.parity import ParityReference, check_parity
from r2p_edge.export.verify.synthetic_clips import input_from_clips
from r2p_edge.runtimes.mindspore_lite import DOWNLOADS, MindSporeLite
from r2p_edge.spec import ModelSpec

PROGRAM = "R2P_CONVERTER_LITE"
"""Environment variable that names the program `converter_lite`."""

CLIPS = "calibration"
"""Folder of the clips to calibrate on, relative to where the converter runs: the path of a
temporary folder may have letters that it cannot read."""

# The chip that is compiled for unless the config says another: "Ascend" with the name that
# `npu-smi info` shows (CANN, ATC manual, --soc_version).
CHIPS = {"ascend310": "Ascend310", "ascend310p": "Ascend310P3", "ascend310b": "Ascend310B4"}


@dataclass(frozen=True)
class Converter:
    """Lite's converter, run as a process: it prints to stdout, may crash and may not return.

    Attributes:
        program: path of `converter_lite`; None for `mindspore_lite.Converter`.
    """

    program: Path | None

    @property
    def name(self) -> str:
        return "mindspore_lite.Converter" if self.program is None else "converter_lite"

    def command(self, source: Path, output: Path, optimize: str, config: Path | None) -> list[str]:
        """What writes the ONNX file `source` as `<output>.mindir`."""
        if self.program is None:
            module = ["-m", "r2p_edge.export.targets.mindspore_lite.child"]
            return [sys.executable, *module, str(source), str(output), optimize, str(config or "")]
        command = [str(self.program), "--fmk=ONNX", f"--modelFile={source}"]
        # --device would make it ignore --optimize (converter_flags.cc, InitOptimize).
        command += [f"--outputFile={output}", "--saveType=MINDIR", f"--optimize={optimize}"]
        return [*command, f"--configFile={config}"] if config else command

    def environment(self) -> dict[str, str]:
        """Where the process finds its libraries."""
        if self.program is None:
            # As this process does, wherever it was started from.
            return {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
        library = self.program.resolve().parents[1] / "lib"  # as in Lite's archive
        known = os.environ.get("LD_LIBRARY_PATH")
        return {**os.environ, "LD_LIBRARY_PATH": f"{library}:{known}" if known else str(library)}


def find_converter() -> Converter | None:
    """The program that R2P_CONVERTER_LITE names, else the Python class, else the program on PATH.

    Raises:
        UsageError: R2P_CONVERTER_LITE names no program.
    """
    program = find_program(PROGRAM)
    if program is None and _has_python_converter():
        return Converter(None)
    program = program or find_program(PROGRAM, "converter_lite")
    return Converter(program) if program else None


def _has_python_converter() -> bool:
    try:
        MindSporeLite.library().Converter()
    # Not installed, or not working; or a wheel that was built without the converter.
    except (BackendError, AttributeError):
        return False
    return True


def build_lite(
    model: Path,
    path: Path,
    planned: ModelSpec,
    proof: ParityReference,
    *,
    device: str,
    calibration: np.ndarray | None = None,
    config: str | None = None,
    timeout: float = 3600.0,
) -> ModelSpec:
    """Converts an ONNX file for a device and writes the `.mindir` and its sidecar.

    Args:
        model: the ONNX file.
        path: the .mindir file to write.
        planned: the spec that the file is to have, without what only the result shows.
        proof: what the file must answer to what.
        device: "cpu", or a name in `CHIPS`.
        calibration: for "int8": clips, uint8 (N, T, H, W, 3), by which the converter quantizes in
            the way that `planned.calibration["method"]` names.
        config: further settings, see `converter_config`.
        timeout: seconds that the converter may take.

    Returns:
        The spec of the file. Its parity is None for an Ascend artifact on a machine that has no
        Ascend or not the library, where nothing can prove it.

    Raises:
        UsageError: it is to be int8 and there are no clips.
        ModelError: the converter refuses the model; ParityError where it answers otherwise.
        BackendError: the converter does not work; MissingDependencyError where it, or for the CPU
            mindspore_lite, is not installed.
        OutputError: `path`, or a temporary file of a clip, cannot be written.
    """
    if planned.precision == "int8":
        planned = calibrated_on(calibration, planned)
        config = _quantization(planned) + (config or "")
    provable = _runs_here(device)
    converter = find_converter()
    if converter is None:
        raise MissingDependencyError(
            f"there is no MindSpore Lite converter here; download Lite's cloud-side release from "
            f"{DOWNLOADS}, and install its wheel or set {PROGRAM} to the converter_lite in it"
        )
    settings = _settings(device, config)
    spec = planned.replace(
        target=_target(device, converter, settings),
        built_with={**(planned.built_with or {}), **_built_with(converter)},
        parity=None,
    )
    with tempfile.TemporaryDirectory() as folder:
        if calibration is not None:
            _write_clips(calibration, spec, Path(folder) / CLIPS)
        draft = _convert(converter, model, Path(folder), device, settings, timeout)
        if provable:
            spec = spec.replace(
                parity=check_parity(
                    draft, spec, proof, MindSporeLite, artifact="the MindSpore Lite model"
                )
            )
        atomic_write(path, draft.read_bytes())
    write_sidecar(path, spec)
    return spec


def calibrated_on(clips: np.ndarray | None, planned: ModelSpec) -> ModelSpec:
    """The spec with the number of clips in its record of the calibration.

    Raises:
        UsageError: there are none.
    """
    if clips is None or not len(clips):
        raise UsageError("there are no clips to calibrate an int8 model on; give some")
    return planned.replace(calibration={**(planned.calibration or {}), "clips": len(clips)})


def _quantization(planned: ModelSpec) -> str:
    assert planned.calibration is not None
    record = planned.calibration
    return full_quant_config(planned, CLIPS, record["clips"], method=record["method"])


def _write_clips(clips: np.ndarray, spec: ModelSpec, folder: Path) -> None:
    """One file a clip, the raw bytes of the model's input."""
    try:
        folder.mkdir()
        for number, clip in enumerate(clips):
            content = input_from_clips(clip[None], spec).tobytes()
            (folder / f"clip_{number:05}.bin").write_bytes(content)
    except OSError as error:
        raise OutputError(
            f"{len(clips)} clips to calibrate on cannot be written to {folder}: {error.strerror}; "
            "make room there, or set TMPDIR to another folder"
        ) from error


def _runs_here(device: str) -> bool:
    """Whether a model for the device can be tried; for the CPU it must be."""
    if device == "cpu":
        MindSporeLite.library()
        return True
    try:
        return "ascend" in MindSporeLite.devices()
    except MissingDependencyError:
        return False


def _settings(device: str, config: str | None) -> str:
    """The converter's INI text; of two equal keys the later one counts."""
    own = {} if device == "cpu" else {"acl_init_options": {"ge.socVersion": CHIPS[device]}}
    return converter_config(own) + (config or "")


def _target(device: str, converter: Converter, settings: str) -> dict[str, Any]:
    found = re.findall(r"^ge\.socVersion=(.*)$", settings, re.MULTILINE)
    chip = {"chip": found[-1]} if found else {}
    return {"runtime": "mindspore_lite", "device": device, **chip, "converter": converter.name}


def _built_with(converter: Converter) -> dict[str, str]:
    # The program cannot be asked for its version.
    library = {} if converter.program else {"mindspore_lite": MindSporeLite.library().__version__}
    return {**built_with(), **library}


def _convert(
    converter: Converter, source: Path, folder: Path, device: str, settings: str, timeout: float
) -> Path:
    """The converted file, in `folder`, under names that the converter's own parsing can stand."""
    model, output = folder / "model.onnx", folder / "out"
    shutil.copyfile(source, model)
    config = folder / "convert.cfg" if settings else None
    if config:
        config.write_text(settings)
    optimize = "general" if device == "cpu" else "ascend_oriented"
    command = converter.command(model, output, optimize, config)
    # The files of that one will be gone.
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
        raise ModelError(
            f"{converter.name} {end_of(done.returncode)} for {source} and said last: "
            f"{_last_words(done)}; try {shlex.join(by_hand)} by hand with GLOG_v=1 to learn more"
        )
    return written


def _last_words(done: subprocess.CompletedProcess[bytes]) -> str:
    """The last error that was logged; else the last line of stderr, else of stdout.

    After its errors the program repeats how it is used; of a crash it tells on stdout.
    """
    lines = [
        [" ".join(line.split()) for line in stream.decode(errors="replace").split("\n")]
        for stream in (done.stderr, done.stdout)
    ]
    errors = [line for line in lines[0] if "[ERROR]" in line]
    said = errors or [line for line in lines[0] if line] or [line for line in lines[1] if line]
    return said[-1][:300] if said else "nothing"
