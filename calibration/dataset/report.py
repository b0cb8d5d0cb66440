"""The report on a folder of labelled videos."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from r2p_edge.calibration.dataset.facts import VideoFacts
from r2p_edge.calibration.matching import Video


@dataclass(frozen=True)
class DatasetReport:
    """A folder of videos with a folder for each class, and each of its videos decoded.

    Attributes:
        folder: the folder.
        classes: names of the folders with videos in them, in the order of `sorted`, which is the
            order of the labels that `export --labels` makes of them.
        videos: by class and name.
        copies: sets of videos that are the same bytes.
        left_out: names in the folders of classes that are no videos, or have the name of another,
            and links that lead nowhere.
        beside: names of videos that lie beside the folders of classes and so have none.
        empty: names of folders without videos.
        errors: sentences on what must be put right before the folder is of use.
        warnings: sentences on what is odd and does no harm, or little.
    """

    folder: Path
    classes: tuple[str, ...]
    videos: tuple[VideoFacts, ...]
    copies: tuple[tuple[Video, ...], ...] = ()
    left_out: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def usable(self) -> list[VideoFacts]:
        """The videos that can be decoded, at least in part."""
        return [video for video in self.videos if not video.error]

    def of_class(self, label: str) -> list[VideoFacts]:
        """Return the videos of one class."""
        return [video for video in self.videos if video.label == label]

    def to_dict(self) -> dict[str, Any]:
        """Return the report in plain JSON types."""
        return {
            "folder": str(self.folder),
            "classes": [{"name": label, **summary(self.of_class(label))} for label in self.classes],
            "all": summary(self.videos),
            "videos": [dataclasses.asdict(video) for video in self.videos],
            "copies": [[video.name for video in same] for same in self.copies],
            "left_out": list(self.left_out),
            "beside": list(self.beside),
            "empty": list(self.empty),
            "errors": list(self.errors),
            "warnings": list(self.warnings),
        }


def summary(videos: Sequence[VideoFacts]) -> dict[str, Any]:
    """Return the figures of some videos together, of those that can be decoded.

    Returns:
        {"videos", "groups", "broken", "damaged": their numbers, broken ones among the videos;
        "frames", "seconds": {"min", "median", "max", "total"}, None where no video has any;
        "fps", "sizes": {text: number of videos}, such as {"29.97": 3} and {"320x240": 40}, the
        most frequent first}.
    """
    good = [video for video in videos if not video.error]
    return {
        "videos": len(videos),
        "groups": len({video.group for video in good}),
        "broken": len(videos) - len(good),
        "damaged": sum(video.damaged for video in good),
        "frames": _spread(video.frames for video in good),
        "seconds": _spread(video.seconds for video in good if video.seconds is not None),
        "fps": _counted(f"{round(video.fps, 2):g}" for video in good if video.fps is not None),
        "sizes": _counted(f"{video.width}x{video.height}" for video in good),
    }


def _spread(numbers: Iterable[float]) -> dict[str, float] | None:
    found = [round(number, 3) for number in numbers]
    if not found:
        return None
    total = round(sum(found), 3)
    return {"min": min(found), "median": median(found), "max": max(found), "total": total}


def _counted(texts: Iterable[str]) -> dict[str, int]:
    return dict(Counter(texts).most_common())
