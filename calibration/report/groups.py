"""Rows of results, put together by the model that answered and the way in which it was run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r2p_edge.archive.rows import ArchiveRow
from r2p_edge.calibration.answered import AnsweredVideo, answered_video
from r2p_edge.calibration.report.results import read_results
from r2p_edge.errors import VideoError

_IDENTITY = ("model", "runtime", "device", "precision")

_Videos = dict[tuple[Any, ...], dict[Any, ArchiveRow]]
"""Rows by video and part, and by window."""


@dataclass
class Group:
    """The rows of one model that was run in one way.

    Attributes:
        results: the first file that has them.
        identity: digest of the model, runtime, device and precision; None for what no row says.
        views: clips of each video; None if there is no answer.
        videos: the rows of each video.
        further: the other files that have some.
    """

    results: Path
    identity: tuple[Any, ...]
    views: int | None
    videos: _Videos = field(default_factory=dict)
    further: set[Path] = field(default_factory=set)

    @property
    def digest(self) -> str | None:
        """Sha256 of the model."""
        digest: str | None = self.identity[0]
        return digest

    def column(self, name: str) -> Any:
        """Return the first value that a column has; None if it has none."""
        rows = (row.get(name) for windows in self.videos.values() for row in windows.values())
        return next((value for value in rows if value is not None), None)

    def answers(self) -> list[AnsweredVideo]:
        """Return the answer to each video.

        Raises:
            VideoError: a row lacks a part of one.
        """
        found = []
        for (video, *_), windows in self.videos.items():
            try:
                found.append(answered_video(list(windows.values())))
            except (KeyError, TypeError, ValueError) as error:
                raise VideoError(
                    f"the row of {video} in {self.results} is not as predict or eval writes it "
                    f"({error!r:.100}); make the results again"
                ) from error
        return found

    def take(self, videos: _Videos) -> int:
        """Add the rows of videos; return how many of these were there before.

        An answer takes the place of an error, and nothing that of an answer.
        """
        again = 0
        for key, windows in videos.items():
            again += key in self.videos
            if key not in self.videos or _is_error(self.videos[key]):
                self.videos[key] = windows
        return again


def groups_in(results: Sequence[str | Path]) -> tuple[list[Group], int]:
    """Return the groups of the rows in files of results, and how many rows repeat a video.

    Raises:
        UsageError, VideoError, MissingDependencyError: see `read_results`.
        VideoError: no video has an answer.
    """
    groups: dict[tuple[Any, ...], Group] = {}
    failed: list[Group] = []
    again = 0
    for path in map(Path, results):
        found, repeated = _of_file(path)
        again += repeated
        for group in found:
            if group.views is None:
                failed.append(group)
                continue
            known = groups.setdefault(
                (*group.identity, group.views), Group(path, group.identity, group.views)
            )
            again += known.take(group.videos)
            known.further |= {path} - {known.results}
    if not groups:
        errors = [each.column("error") for each in failed]
        raise VideoError(
            f"no video in {', '.join(map(str, results))} has an answer; the first error is: "
            f"{errors[0]}"
        )
    for group in failed:  # a process that ended before it had opened the model says of none
        same = [each for each in groups.values() if each.identity == group.identity]
        again += (same or list(groups.values()))[0].take(group.videos)
    return list(groups.values()), again


def _of_file(path: Path) -> tuple[list[Group], int]:
    by_model: dict[tuple[Any, ...], _Videos] = {}
    again = 0
    for row in read_results(path):
        key = row["video"], row.get("start"), row.get("end")
        videos = by_model.setdefault(tuple(row.get(name) for name in _IDENTITY), {})
        windows, window = videos.setdefault(key, {}), row.get("window")
        again += window in windows
        windows.setdefault(window, row)
    groups = []
    for identity, videos in by_model.items():
        views = [_views(windows) for windows in videos.values() if not _is_error(windows)]
        groups.append(Group(path, identity, max(views, default=None), videos))
    return groups, again


def _views(windows: dict[Any, ArchiveRow]) -> int:
    first: dict[str, Any] = next(iter(windows.values()))
    return first.get("views") or len(windows)


def _is_error(windows: dict[Any, ArchiveRow]) -> bool:
    return next(iter(windows.values())).get("error") is not None
