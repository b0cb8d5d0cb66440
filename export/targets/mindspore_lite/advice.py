"""Advice on failures of CANN's compilers, whose errors name the effect and rarely the cause.

Both ATC and MindSpore Lite's converter start the compiler of operators (TBE) as Python workers, in
the python3 that is first on PATH.
"""

from __future__ import annotations

import re
from typing import NamedTuple

PACKAGES = (
    "attrs cython \"numpy>=1.19.2,<1.25;python_version<'3.12'\" "
    "\"numpy<2;python_version>='3.12'\" decorator sympy cffi pyyaml pathlib2 psutil "
    "protobuf==3.20.0 scipy requests absl-py"
)
"""Python packages that CANN's compiler imports, as a shell's arguments of pip install (CANN 8.5,
Software Installation, instg_0094 and instg_0045; NumPy of CANN 8.0 and older: at most 1.24)."""

_LITTLE_MEMORY = (
    "a worker of the compiler ended, most often for want of memory: add swap, close what else uses "
    "memory, or build on another machine"
)


class Advice(NamedTuple):
    """Advice on a failure.

    Attributes:
        text: as part of a sentence.
        of_model: the model may be at fault; otherwise the machine is, for every model.
    """

    text: str
    of_model: bool


_CAUSES = (
    # EC0010 in CANN's list of errors; the module's own name follows.
    (
        r"EC0010|Failed to import Python module|No module named",
        "the python3 that is first on PATH lacks what CANN's compiler imports: python3 -m pip "
        f"install {PACKAGES}",
        False,
    ),
    (
        "Descriptors cannot be created directly",
        "this Python has a newer protobuf than CANN's compiler takes: build from a kit with the "
        "system's python3, or set PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python",
        False,
    ),
    (r"BrokenPipeError|E40024", _LITTLE_MEMORY, False),
    (
        r"libascend_hal\.so",
        "there is no driver here, so put <arch>-linux/devlib of CANN's folder on LD_LIBRARY_PATH",
        False,
    ),
    (
        r"support list of \{\}|No supported Ops kernel",
        "either the chip lacks an operator, or CANN its operators: from CANN 8.5 on these are a "
        "package of their own for each chip (Ascend-cann-310b-ops, ...), to install beside the "
        "toolkit",
        True,
    ),
    (r"No space left on device", "make room there, and in /tmp", False),
)


def advice_for(said: str, end: str = "") -> Advice | None:
    """Return advice on a compiler's failure; None where its words tell nothing.

    Args:
        said: all that it printed.
        end: how it ended, as `program.end_of` says it.
    """
    found = (Advice(text, of_model) for words, text, of_model in _CAUSES if re.search(words, said))
    # The kernel ends the largest process when memory runs out.
    return next(found, Advice(_LITTLE_MEMORY, False) if "SIGKILL" in end else None)
