"""The JSON file that names two models which answer together."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r2p_edge.errors import SpecError, UsageError, unreadable_model
from r2p_edge.spec.parsing import parse_dataclass, parse_json
from r2p_edge.spec.two_streams import VERBS_OF_TWO, FusionSpec

_FORMAT = 1
_LARGEST = 1 << 16  # bytes; there are two paths and two weights in it


@dataclass(frozen=True)
class PairFile:
    """Content of such a file, which has `"format": 1` too.

    Attributes:
        rgb, flow: paths of the two models; relative ones are of where the file lies.
        fusion: how their answers become one.
    """

    rgb: str
    flow: str
    fusion: FusionSpec

    @classmethod
    def read(cls, path: Path) -> PairFile:
        """Return the content of a file.

        Raises:
            SpecError: a field is missing, unknown or of the wrong type.
            ModelError: it cannot be read.
        """
        try:
            data = parse_json(path.read_bytes(), str(path))
        except OSError as error:
            raise unreadable_model(path, error) from error
        found = data.pop("format", None)
        if isinstance(found, bool) or found != _FORMAT:
            raise SpecError(
                f"{path} has the format {json.dumps(found)}, and this version of r2p_edge reads "
                f"{_FORMAT}; write it again"
            )
        try:
            return parse_dataclass(cls, data)
        except SpecError as error:
            raise SpecError(f"{path}: {error}") from error


def is_pair_file(path: Path) -> bool:
    """Return whether a file names two models: a JSON object with a fusion."""
    try:
        if path.suffix.lower() != ".json" or path.stat().st_size > _LARGEST:
            return False
        data: Any = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(data, dict) and "fusion" in data


def refuse_pair(path: Path) -> None:
    """Refuse the file of a pair where one model is needed.

    Raises:
        UsageError: it is one.
        ModelError: it is one, and wrong; see `PairFile.read`.
    """
    if is_pair_file(path):
        pair = PairFile.read(path)
        raise UsageError(
            f"{path} names two models, and one is needed here; give {path.parent / pair.rgb} or "
            f"{path.parent / pair.flow}, or use {VERBS_OF_TWO}, which take both"
        )
