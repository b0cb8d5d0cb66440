"""The state of a training between its epochs, from which it goes on after a power cut."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from r2p_edge.artifact.atomic import atomic_file
from r2p_edge.errors import UsageError


class TrainingState:
    """A file with what was reached.

    Args:
        path: the file.
        settings: all that the training depends on, as JSON; a state of others is refused.
        resume: go on from the file, if it is there.

    Raises:
        UsageError: it is there and `resume` was not given, or it is of other settings, or it is
            damaged.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, resume: bool) -> None:
        self._path, self._settings = path, json.loads(json.dumps(settings))
        if path.exists() and not resume:
            raise UsageError(
                f"{path} is the state of a training that did not end; go on from it (--resume), or "
                "remove it"
            )
        self._found: dict[str, Any] | None = None
        if path.exists():
            self._found, other = _read(path)
            differ = [key for key in self._settings if other.get(key) != self._settings[key]]
            if differ:
                raise UsageError(
                    f"{path} is the state of a training with another {', '.join(differ)}; give the "
                    "same options and videos as then, or remove it"
                )

    def load(self) -> dict[str, Any] | None:
        """Return what was reached; None at the beginning."""
        return self._found

    def save(self, reached: Mapping[str, Any]) -> None:
        """Keep what was reached.

        Raises:
            OutputError: it cannot be written; what was kept before is still there.
        """
        with atomic_file(self._path) as draft:
            torch.save({"settings": self._settings, **reached}, draft)

    def remove(self) -> None:
        """Forget it, once the result is written."""
        self._path.unlink(missing_ok=True)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what was reached, and the settings that it is of."""
    try:
        found = dict(torch.load(path, map_location="cpu", weights_only=True))
        return found, dict(found.pop("settings"))
    # Of a damaged file PyTorch raises whatever it stumbles over, in many lines.
    except Exception as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
        raise UsageError(
            f"{path} is damaged, or no state of a training ({reason}); remove it and begin anew"
        ) from error


def digest_of(names: Mapping[str, str]) -> str:
    """Return a digest of names and labels, so that a state is of the same videos."""
    return hashlib.sha256(json.dumps(names, sort_keys=True).encode()).hexdigest()[:16]
