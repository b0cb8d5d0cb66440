"""NVIDIA's command line tool `trtexec`: engines where Python has no module `tensorrt`.

Nothing here needs onnx, because it also runs on the target, out of a kit (`kit.py`). What is said
of the tool was read in NVIDIA/TensorRT, samples/common (sampleOptions.cpp, sampleInference.cpp,
sampleReporting.cpp) and samples/trtexec, of 8.6, 10 and 11.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from r2p_edge.agreement import agreement
from r2p_edge.errors import BackendError, ModelError, SpecError, UsageError
from r2p_edge.export.targets.program import end_of, find_program, run_program
from r2p_edge.export.verify.ort_session import batches
from r2p_edge.export.verify.parity import ParityReference, parity_record
from r2p_edge.runtimes.base import position
from r2p_edge.spec import ModelSpec

PROGRAM = "R2P_TRTEXEC"
"""Environment variable that names the program `trtexec`."""

_JETPACK = "/usr/src/tensorrt/bin/trtexec"

# TF32, on by default, leaves ten bits of a number. Whatever is not quantised should not fall back
# to fp32.
_FP32 = ("--noTF32",)
_FLAGS = {"fp32": _FP32, "fp16": ("--fp16",), "int8": ("--int8", "--fp16")}

# Unless told, it would run for seconds.
_ONCE = ("--iterations=1", "--warmUp=0", "--duration=0")

# "[09/01/2025-21:22:14] [E] [TRT] ...", up to the next such line.
_STAMP = r"\[\d\d/\d\d/[^]\n]*\] "
_ERROR = rf"^{_STAMP}\[[EF]\] (.*(?:\n(?!{_STAMP}).*)*)"


class _Input(NamedTuple):
    name: str
    shape: tuple[int, ...]


def find_trtexec() -> Path | None:
    """The program that R2P_TRTEXEC names, else the one on PATH, else JetPack's.

    Raises:
        UsageError: R2P_TRTEXEC names no program.
    """
    return find_program(PROGRAM, "trtexec", _JETPACK)


@dataclass(frozen=True)
class Trtexec:
    """The tool, run as a process: it may crash and may not return.

    Attributes:
        program: its path.
        timeout: seconds that a process may take.
    """

    program: Path
    timeout: float = 3600.0

    def version(self) -> tuple[int, int, int]:
        """Of its TensorRT: major, minor, patch.

        Raises:
            BackendError: it does not work.
        """
        # Major * 1000 + minor * 100 + patch, and from TensorRT 10 on major * 10000 + ...
        major, rest = divmod(self._about.number, 1000 if self._about.number < 10000 else 10000)
        return major, *divmod(rest, 100)

    def strongly_typed(self) -> bool:
        """Whether it takes a network's precision from the ONNX file alone, as from 11 on.

        Raises:
            BackendError: it does not work.
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
        """What builds an engine of an ONNX file; for the arguments see `build`."""
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
    ) -> None:
        """Builds an engine, which takes from seconds to many minutes.

        Args:
            model: the ONNX file, without open axes; where `strongly_typed`, in the precision that
                is wanted.
            plan: the file to write. What was there is removed, and nothing is left there where
                this fails.
            precision: "fp32", "fp16", or "int8", which is for models with Q/DQ nodes.
            workspace: bytes of GPU memory that kernels may use while they run.
            timing_cache: file of kernel timings to use and to add to; made where there is none.

        Raises:
            ModelError: it builds no engine of the model.
            BackendError: it, or CUDA, does not work here.
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
                raise _failure(done, f"for {model}", by_hand)
        except BaseException:
            plan.unlink(missing_ok=True)
            raise

    def run(self, plan: Path, input_name: str, inputs: np.ndarray, output_name: str) -> np.ndarray:
        """An engine's outputs, each to the six digits that the tool writes.

        Every batch is a process of its own, and one more asks the engine for its shape.

        Args:
            plan: the engine.
            input_name: of its input, if it has several.
            inputs: (N, ...), of the engine's shape and dtype; the number of clips may be any.
            output_name: of the output, if it has several.

        Returns:
            float32 (N, classes).

        Raises:
            ModelError: it cannot run the engine.
            SpecError: the engine has several inputs or outputs, none of that name, or takes
                another shape.
            BackendError: it, or CUDA, does not work here.
            UsageError: the input has a name that the tool cannot be told.
        """
        command = [str(self.program), f"--loadEngine={plan.absolute()}", *_ONCE]
        taken = self._input(command, plan, input_name)
        if taken.shape[1:] != inputs.shape[1:]:
            raise SpecError(
                f"{plan} takes {taken.shape} and is to be shown clips of {inputs.shape[1:]}; "
                "correct clip, crop and input in the spec"
            )
        answers = [
            self._outputs(command, plan, taken.name, batch, output_name)[:size]
            for batch, size in batches(inputs, taken.shape[0])
        ]
        return np.concatenate(answers)

    def _input(self, command: list[str], plan: Path, name: str) -> _Input:
        """The engine's input, from what the tool tells of a run with random numbers."""
        done = self._run(command, command)
        if done.returncode != 0:
            raise _failure(done, f"for {plan}", command)
        pattern = r"Input binding for (.*) with dimensions ([\dx]+) .*is created"
        told = re.findall(pattern, done.stdout.decode(errors="replace"))
        if not told:
            raise BackendError(
                f"trtexec does not tell which shape {plan} takes; expected TensorRT 8.6 to 11, so "
                f"see what {shlex.join(command)} prints"
            )
        found, sizes = told[position("input", name, [each for each, _ in told])]
        return _Input(found, _sizes(sizes))

    def _outputs(
        self, command: list[str], plan: Path, name: str, batch: np.ndarray, output: str
    ) -> np.ndarray:
        """The named output for one batch, (batch, classes)."""
        # Without the folder, in whose name the tool would look for colons and commas.
        files = [f"--loadInputs={_told(name)}:input.bin", "--exportOutput=output.json"]
        with tempfile.TemporaryDirectory() as folder:
            batch.tofile(Path(folder) / "input.bin")
            done = self._run([*command, *files], command, Path(folder))
            answer = Path(folder) / "output.json"
            if done.returncode != 0 or not answer.is_file():
                raise _failure(done, f"for {plan}", command)
            try:
                outputs = _read_outputs(answer)
            except (KeyError, TypeError, ValueError) as error:
                raise BackendError(
                    f"what trtexec wrote of the outputs of {plan} cannot be read ({error}); "
                    f"expected TensorRT 8.6 to 11, so see what {shlex.join(command)} does with "
                    "--dumpOutput"
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
    def _about(self) -> _About:
        command = [str(self.program), "--help"]
        done = run_program(
            command, name="trtexec", timeout=min(self.timeout, 60.0), by_hand=command
        )
        options = done.stdout.decode(errors="replace")
        banner = re.search(r"\[TensorRT v(\d+)\]", options)
        if done.returncode != 0 or banner is None:
            how = end_of(done.returncode) if done.returncode else "does not tell its version"
            raise BackendError(
                f"{shlex.join(command)} {how} and said last: {_last_words(done)}; check that "
                "TensorRT is installed completely"
            )
        return _About(int(banner[1]), options)


class _About(NamedTuple):
    """What the tool says of itself: its version as a number, and its options with their help."""

    number: int
    options: str


def prove_by_trtexec(
    draft: Path, spec: ModelSpec, proof: ParityReference, tool: Trtexec
) -> dict[str, Any]:
    """`verify.prove` of an engine, by the tool.

    Raises:
        ParityError: the tolerance of `spec.precision` is exceeded.
        ModelError, BackendError, SpecError, UsageError: see `Trtexec.run`.
    """
    outputs = tool.run(draft, spec.input.name, proof.inputs, spec.output.name)
    found = agreement(proof.outputs, outputs)
    return {
        **parity_record(found, spec.precision, reference="onnx", artifact="the TensorRT engine"),
        "runtime": f"trtexec {'.'.join(map(str, tool.version()))} on cuda",
        "computed_in": spec.precision,
        "onnx": proof.of_source,
    }


def _told(name: str) -> str:
    """A tensor's name as part of an option.

    Raises:
        UsageError: it has what the tool takes for its own.
    """
    if re.search("[,']", name):
        raise UsageError(
            f"the input is named {name!r}, and trtexec splits names at commas and quotes; rename "
            "it, or install the Python module tensorrt"
        )
    return name


def _read_outputs(file: Path) -> dict[str, np.ndarray]:
    """What `--exportOutput` wrote: name -> float32, of the output's shape.

    Raises:
        KeyError, TypeError, ValueError: it is something else.
    """
    # Numbers are as C++ prints them, which JSON has no words for.
    text = re.sub(r"(?<=[ ,])-?nan(?=[ ,])", "NaN", file.read_text())
    return {
        each["name"]: np.array(each["values"], np.float32).reshape(_sizes(each["dimensions"]))
        for each in json.loads(re.sub(r"(?<=[ ,-])inf(?=[ ,])", "Infinity", text))
    }


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split("x")))


def _failure(
    done: subprocess.CompletedProcess[bytes], what: str, by_hand: Sequence[str]
) -> ModelError | BackendError:
    words = _last_words(done)
    said = f"trtexec {end_of(done.returncode)} {what} and said last: {words}"
    # samples/common/common.h; the builder's own words, which tell the number of the error.
    if re.search("cuda (initialization )?failure", words, re.IGNORECASE):
        return BackendError(f"{said}; check that the GPU's driver is loaded and what else uses it")
    return ModelError(f"{said}; try {shlex.join(by_hand)} --verbose by hand to learn more")


def _last_words(done: subprocess.CompletedProcess[bytes]) -> str:
    """The last error of TensorRT; else the tool's first, which the others follow from; else the
    last line.

    Errors go to stderr, each after the time and its severity; some have several lines.
    """
    said, told = (stream.decode(errors="replace") for stream in (done.stderr, done.stdout))
    errors = re.findall(_ERROR, said, re.MULTILINE)
    own = [error for error in errors if re.match(r"\[TRT\]|Error\[", error)]
    lines = (said if said.strip() else told).strip().split("\n")
    return " ".join((own[-1:] or errors[:1] or lines[-1:])[0].split())[:300] or "nothing"
