"""The text that `trtexec` prints and writes: its version, its errors, an engine's outputs.

Read in NVIDIA/TensorRT, samples/common (sampleReporting.cpp, common.h), of 8.6, 10 and 11.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from r2p_edge.errors import BackendError, ModelError
from r2p_edge.export.targets.program import end_of

# "[09/01/2025-21:22:14] [E] [TRT] ...", up to the next such line.
_STAMP = r"\[\d\d/\d\d/[^]\n]*\] "
_ERROR = rf"^{_STAMP}\[[EF]\] (.*(?:\n(?!{_STAMP}).*)*)"


class About(NamedTuple):
    """The help text of the tool.

    Attributes:
        number: version of its TensorRT, as one number.
        options: its options with their explanations.
    """

    number: int
    options: str


def about_of(done: subprocess.CompletedProcess[bytes]) -> About | None:
    """Return what `trtexec --help` printed; None where it failed or printed no version."""
    options = done.stdout.decode(errors="replace")
    banner = re.search(r"\[TensorRT v(\d+)\]", options)
    return About(int(banner[1]), options) if done.returncode == 0 and banner else None


def read_outputs(file: Path) -> dict[str, np.ndarray]:
    """Read the file of `--exportOutput`: output name -> float32, of the output's shape.

    Raises:
        KeyError, TypeError, ValueError: the file has another format.
    """
    # NaN and infinity as C++ prints them, which JSON does not know.
    text = re.sub(r"(?<=[ ,])-?nan(?=[ ,])", "NaN", file.read_text())
    return {
        each["name"]: np.array(each["values"], np.float32).reshape(parse_sizes(each["dimensions"]))
        for each in json.loads(re.sub(r"(?<=[ ,-])inf(?=[ ,])", "Infinity", text))
    }


def parse_sizes(text: str) -> tuple[int, ...]:
    """Return the shape that the tool writes as "1x16x112x112x3"."""
    return tuple(map(int, text.split("x")))


def failure_of(
    done: subprocess.CompletedProcess[bytes], what: str, by_hand: Sequence[str]
) -> ModelError | BackendError:
    """Return the error of a process that failed.

    Args:
        done: the process.
        what: "for" and the file that it worked on.
        by_hand: command that the user can try.
    """
    words = last_words(done)
    said = f"trtexec {end_of(done.returncode)} {what} and said last: {words}"
    # Words of samples/common/common.h, and of the builder with the number of the error.
    if re.search("cuda (initialization )?failure", words, re.IGNORECASE):
        return BackendError(f"{said}; check that the GPU's driver is loaded and what else uses it")
    return ModelError(f"{said}; try {shlex.join(by_hand)} --verbose by hand to learn more")


def last_words(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return the last error of TensorRT, else the first of the tool, else the last line.

    The tool's other errors follow from its first. Errors go to stderr, each after the time and its
    severity; some have several lines.
    """
    said, other = (stream.decode(errors="replace") for stream in (done.stderr, done.stdout))
    errors = re.findall(_ERROR, said, re.MULTILINE)
    own = [error for error in errors if re.match(r"\[TRT\]|Error\[", error)]
    lines = (said if said.strip() else other).strip().split("\n")
    return " ".join((own[-1:] or errors[:1] or lines[-1:])[0].split())[:300] or "nothing"
