"""The contract that a checkpoint of this package has in its header, so that it needs no preset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from r2p_edge.errors import SpecError
from r2p_edge.export.recognition import HEAD, is_safetensors
from r2p_edge.spec import ModelSpec

SPEC_KEY = "r2p_edge.spec"
"""Key of the contract in the metadata of a `.safetensors` file."""


def recorded_spec(path: str | Path) -> ModelSpec | None:
    """Return the contract in a `.safetensors` file; None for any other file, or one without.

    Raises:
        SpecError: it is damaged.
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        head = file.read(HEAD)
        if not is_safetensors(head):
            return None
        file.seek(8)
        header = file.read(int.from_bytes(head[:8], "little"))
    metadata = _metadata(header)
    if SPEC_KEY not in metadata:
        return None
    text, where = metadata[SPEC_KEY], f"the contract in {path}"
    if not isinstance(text, str):
        raise SpecError(f"{where} is no text; train the network again, or give --spec")
    return ModelSpec.from_json(text, where)


def _metadata(header: bytes) -> dict[str, Any]:
    """Return the metadata of a header; none of a damaged one, which reading tensors tells."""
    try:
        found = json.loads(header).get("__metadata__")
    except (ValueError, AttributeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
