"""The error of a damaged checkpoint file."""

from __future__ import annotations

from pathlib import Path

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.read import read_checkpoint


def refusal(path: Path) -> str:
    """Return the reason why the file is rejected; "" if it is read."""
    try:
        read_checkpoint(path)
    except CheckpointError as error:
        return str(error)
    return ""
