"""What both test modules of checkpoint files ask of a damaged one."""

from __future__ import annotations

from pathlib import Path

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.read import read_checkpoint


def refusal(path: Path) -> str:
    """Why the file is not read, empty where it is."""
    try:
        read_checkpoint(path)
    except CheckpointError as error:
        return str(error)
    return ""
