"""The report of a teaching."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r2p_edge.spec import ModelSpec


@dataclass(frozen=True)
class Taught:
    """An artifact that was taught.

    Attributes:
        path: its file.
        spec: its contract; `source["head"]` says how the head was found.
        classes: number of videos of each class that was taught.
        left_out: the answers to videos that the head was found without, see `Lesson`; None where
            a class has too few to leave one out.
        test: the result of `evaluate` on the videos to measure on; None without any.
        failed: {"video", "error"} of each video that could not be read.
        warnings: what speaks against the head, in sentences.
    """

    path: Path
    spec: ModelSpec
    classes: Mapping[str, int]
    left_out: Mapping[str, Any] | None
    test: Mapping[str, Any] | None
    failed: list[dict[str, str]]
    warnings: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, as `r2p-edge teach --json` prints them."""
        spec = self.spec.to_dict()
        return {
            "path": str(self.path),
            "labels": list(self.spec.labels),
            "classes": dict(self.classes),
            "head": spec["source"]["head"],
            "left_out": None if self.left_out is None else dict(self.left_out),
            "test": None if self.test is None else dict(self.test),
            "parity": spec["parity"],
            "failed": self.failed,
            "warnings": self.warnings,
        }
