"""NVIDIA's command line tool `trtexec`: engines where Python has no module `tensorrt`.

Nothing here needs onnx, because it also runs on the device, out of a kit (`kit.py`). The comments
on the tool go back to NVIDIA/TensorRT, samples/common (sampleOptions.cpp, sampleInference.cpp) and
samples/trtexec, of 8.6, 10 and 11.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from r2p_edge.artifact.scratch import scratch_folder
from r2p_edge.errors import BackendError, SpecError, UsageError
from r2p_edge.export.targets.program import end_of, find_program, run_program
from r2p_edge.export.targets.tensorrt.trtexec_output import (
    About,
    about_of,
    failure_of,
    last_words,
    parse_sizes,
    read_outputs,
)
from r2p_edge.export.verify.ort_session import batches
from r2p_edge.runtimes.base import position
from r2p_edge.runtimes.tensorrt.library import count_skipped

TRTEXEC_VARIABLE = "R2P_TRTEXEC"
"""Environment variable that names the program `trtexec`."""

_JETPACK = "/usr/src/tensorrt/bin/trtexec"

# TF32, on by default, leaves ten bits of a number. Layers of an int8 engine that are not quantised
# should not fall back to fp32.
_FP32 = ("--noTF32",)
_FLAGS = {"fp32": _FP32, "fp16": ("--fp16",), "int8": ("--int8", "--fp16")}

# By default it runs for seconds.
_ONCE = ("--iterations=1", "--warmUp=0", "--duration=0")


class _Input(NamedTuple):
    """Name and shape of an engine's input."""

    name: str
    shape: tuple[int, ...]


def find_trtexec() -> Path | None:
    """Return the program that R2P_TRTEXEC names, else the one on PATH, else JetPack's.

    Raises:
        UsageError: R2P_TRTEXEC names no program.
    """
    return find_program(TRTEXEC_VARIABLE, "trtexec", _JETPACK)


@dataclass(frozen=True)
class Trtexec:
    """The tool, run as a process: it may crash and may never end.

    Attributes:
        program: path of the program.
        timeout: seconds that a process may take.
    """

    program: Path
    timeout: float = 3600.0

    def version(self) -> tuple[int, int, int]:
        """Return the version of its TensorRT: major, minor, patch.

        Raises:
            BackendError: the program does not work.
        """
        # Major * 1000 + minor * 100 + patch, and from TensorRT 10 on major * 10000 + ...
        major, rest = divmod(self._about.number, 1000 if self._about.number < 10000 else 10000)
        return major, *divmod(rest, 100)

    def strongly_typed(self) -> bool:
        """Return whether precision is taken from the ONNX file alone, as from 11 on.

        Raises:
            BackendError: the program does not work.
        """
        return re.search(r"^\s*--fp16\s", self._about.options, re.MULTILINE) is None

    def command(
        self,
        model: Path,
        plan: Path,
        *,
        precision: str,
        workspace: int | None = None,
        timing_cache: Path | None = None,
    ) -> list[str]:
        """Return the command that builds an engine; see `build` for the arguments."""
        command = [str(self.program), f"--onnx={model}", f"--saveEngine={plan}", "--skipInference"]
        command += _FLAGS[precision] if not self.strongly_typed() or precision == "fp32" else ()
        if workspace is not None:
            command.append(f"--memPoolSize=workspace:{max(workspace >> 20, 1)}")  # MiB
        if timing_cache is not None:
            command.append(f"--timingCacheFile={timing_cache}")
        return command

    def build(
        self,
        model: Path,
        plan: Path,
        *,
        precision: str,
        workspace: int | None = None,
        timing_cache: Path | None = None,
    ) -> int:
        """Build an engine, which takes from seconds to many minutes.

        Args:
            model: the ONNX file, without open axes; where `strongly_typed`, in the precision that
                is wanted.
            plan: the file to write. An older file is removed, also where this fails.
            precision: "fp32", "fp16", or "int8", which is for models with Q/DQ nodes.
            workspace: bytes of GPU memory that kernels may use while they run.
            timing_cache: file of kernel timings to use and to add to; made if it does not exist.

        Returns:
            How many kernels were left out for want of memory.

        Raises:
            ModelError: the program builds no engine of the model.
            BackendError: the program, or CUDA, does not work here.
        """
        options: dict[str, Any] = {
            "precision": precision,
            "workspace": workspace,
            "timing_cache": timing_cache,
        }
        by_hand = self.command(model, Path("out.engine"), **options)
        plan.unlink(missing_ok=True)
        try:
            done = self._run(self.command(model, plan, **options), by_hand)
            if done.returncode != 0 or not plan.is_file() or not plan.stat().st_size:
                raise failure_of(done, f"for {model}", by_hand)
        except BaseException:
            plan.unlink(missing_ok=True)
            raise
        return count_skipped((done.stdout + done.stderr).decode(errors="replace"))

    def run(self, plan: Path, input_name: str, inputs: np.ndarray, output_name: str) -> np.ndarray:
        """Return an engine's outputs, with the six digits that the tool writes.

        Each batch takes a process of its own, and one more finds the shape of the engine's input.

        Args:
            plan: the engine's file.
            input_name: name of the input to feed, if the engine has several.
            inputs: (N, ...), of the engine's shape and dtype, for any number N of clips.
            output_name: name of the output to return, if the engine has several.

        Returns:
            float32 (N, classes).

        Raises:
            ModelError: the program cannot run the engine.
            SpecError: the engine has several inputs or outputs, none of that name, or takes
                another shape.
            BackendError: the program, or CUDA, does not work here.
            UsageError: the program cannot take the name of the input.
        """
        command = [str(self.program), f"--loadEngine={plan.absolute()}", *_ONCE]
        taken = self._input(command, plan, input_name)
        if taken.shape[1:] != inputs.shape[1:]:
            raise SpecError(
                f"{plan} takes {taken.shape}, but the clips are {inputs.shape[1:]}; "
                "correct clip, crop and input in the spec"
            )
        answers = [
            self._outputs(command, plan, taken.name, batch, output_name)[:size]
            for batch, size in batches(inputs, taken.shape[0])
        ]
        return np.concatenate(answers)

    def _input(self, command: list[str], plan: Path, name: str) -> _Input:
        """Return the engine's input, from the log of a run with random numbers."""
        done = self._run(command, command)
        if done.returncode != 0:
            raise failure_of(done, f"for {plan}", command)
        pattern = r"Input binding for (.*) with dimensions ([\dx]+) .*is created"
        logged = re.findall(pattern, done.stdout.decode(errors="replace"))
        if not logged:
            raise BackendError(
                f"trtexec does not print the shape that {plan} takes; expected TensorRT 8.6 to 11, "
                f"so see what {shlex.join(command)} prints"
            )
        found, sizes = logged[position("input", name, [each for each, _ in logged])]
        return _Input(found, parse_sizes(sizes))

    def _outputs(
        self, command: list[str], plan: Path, name: str, batch: np.ndarray, output: str
    ) -> np.ndarray:
        """Return the named output for one batch, (batch, classes)."""
        # Without the folder, in whose name the tool would look for colons and commas.
        files = [f"--loadInputs={_checked(name)}:input.bin", "--exportOutput=output.json"]
        with scratch_folder(plan) as folder:
            batch.tofile(folder / "input.bin")
            done = self._run([*command, *files], command, folder)
            answer = folder / "output.json"
            if done.returncode != 0 or not answer.is_file():
                raise failure_of(done, f"for {plan}", command)
            try:
                outputs = read_outputs(answer)
            except (KeyError, TypeError, ValueError) as error:
                raise BackendError(
                    f"the outputs of {plan} that trtexec wrote cannot be read ({error}); expected "
                    f"TensorRT 8.6 to 11, so see what {shlex.join(command)} does with --dumpOutput"
                ) from error
        names = list(outputs)
        return outputs[names[position("output", output, names)]]

    def _run(
        self, command: Sequence[str], by_hand: Sequence[str], folder: Path | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return run_program(
            command, name="trtexec", timeout=self.timeout, by_hand=by_hand, cwd=folder
        )

    @cached_property
    def _about(self) -> About:
        command = [str(self.program), "--help"]
        done = run_program(
            command, name="trtexec", timeout=min(self.timeout, 60.0), by_hand=command
        )
        found = about_of(done)
        if found is None:
            how = end_of(done.returncode) if done.returncode else "does not print its version"
            raise BackendError(
                f"{shlex.join(command)} {how} and said last: {last_words(done)}; check that "
                "TensorRT is installed completely"
            )
        return found


def _checked(name: str) -> str:
    """Return a tensor's name, if it can be part of an option."""
    if re.search("[,']", name):
        raise UsageError(
            f"the input is named {name!r}, and trtexec splits names at commas and quotes; rename "
            "it, or install the Python module tensorrt"
        )
    return name
