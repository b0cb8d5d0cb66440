"""The power mode of a Jetson, on which the times of kernels depend."""

from __future__ import annotations

import re
from pathlib import Path

_STATUS = Path("/var/lib/nvpmodel/status")
_MODES = Path("/etc/nvpmodel.conf")


def power_mode() -> str | None:
    """Return the name of the mode that is on, "MAXN_SUPER"; None on other machines.

    nvpmodel keeps the number of the mode, "pmode:0002 fmode:quiet", and reads the names, "<
    POWER_MODEL ID=2 NAME=MAXN_SUPER >", since numbers differ from board to board.
    """
    try:
        number = re.search(r"pmode:\s*(\d+)", _STATUS.read_text())
        modes = _MODES.read_text()
    except OSError:  # not a Jetson, or a container, which does not see them
        return None
    if number is None:
        return None
    name = re.search(rf"<\s*POWER_MODEL\s+ID={int(number[1])}\s+NAME=([^\s>]+)", modes)
    return name[1] if name else f"mode {int(number[1])}"
