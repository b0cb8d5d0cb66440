"""Lines of a list of videos, whatever its form."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

Part = tuple[float, float]
"""Seconds of a file, the end left out; it may be infinite."""

Subset = Literal["train", "test"]


@dataclass(frozen=True)
class Entry:
    """A video in a list.

    Attributes:
        line: number of the line, from 1 on.
        names: names that its file may have, `<video>` or `<folder>/<video>`, with or without a
            suffix, and the part of such a file that the line is about, None for all of it.
        label: its class, by name or by number; None where the list does not say.
    """

    line: int
    names: tuple[tuple[str, Part | None], ...]
    label: str | int | None = None

    @property
    def name(self) -> str:
        """Name in messages."""
        return self.names[0][0]

    @property
    def folder(self) -> str:
        """Name of the folder that the list has the video in; empty where it has none."""
        return PurePosixPath(self.name).parent.name


def short_name(path: str) -> str:
    """Return the last two parts of a path in a list, with forward slashes.

    A list may lie on another machine than the one that it was written on.
    """
    parts = PurePosixPath(path.replace("\\", "/")).parts[-2:]
    return "/".join(part for part in parts if part.strip("/.") and not part.endswith(":"))
