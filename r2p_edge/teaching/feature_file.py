"""Features of labelled videos, and the file that keeps them for a class that is added later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge.artifact.atomic import atomic_file
from r2p_edge.errors import UsageError, VideoError, one_line
from r2p_edge.spec.checks import plain
from r2p_edge.spec.parsing import parse_json

_FORMAT = 1
_COLUMNS = ("name", "label", "group", "sha256")


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Features of labelled videos.

    Attributes:
        labels: the classes; those of the first videos first.
        targets: (videos,), index of each video's class.
        features: float32 (videos, views, C).
        videos: {"name", "label", "group", "sha256"} of each video.
        model: {"file", "sha256"} of the artifact whose features they are.
    """

    labels: tuple[str, ...]
    targets: npt.NDArray[np.intp]
    features: npt.NDArray[np.float32]
    videos: tuple[Mapping[str, str], ...]
    model: Mapping[str, str]

    @property
    def groups(self) -> list[str]:
        """Group of each video."""
        return [video["group"] for video in self.videos]

    def groups_by_class(self) -> dict[str, set[str]]:
        """Return the groups of each class that has a video."""
        found: dict[str, set[str]] = {}
        for video in self.videos:
            found.setdefault(video["label"], set()).add(video["group"])
        return found

    def joined(self, more: FeatureSet) -> FeatureSet:
        """Return these videos and others of the same model, whose new classes come last.

        Raises:
            UsageError: the others have another number of views.
            VideoError: a video of the same bytes is in both, in another class.
        """
        if self.features.shape[1:] != more.features.shape[1:]:
            raise UsageError(
                f"the features kept are {self.features.shape[1:]} (views, features) for each video "
                f"and the new ones {more.features.shape[1:]}; give --views "
                f"{self.features.shape[1]}"
            )
        known = {video["sha256"]: video for video in self.videos}
        for video in more.videos:
            other = known.get(video["sha256"], video)
            if other["label"] != video["label"]:
                raise VideoError(
                    f"{plain(video['name'])} is the same file as {plain(other['name'])}, which is "
                    f"kept as {plain(other['label'])}; keep it in one class"
                )
        fresh = [n for n, video in enumerate(more.videos) if video["sha256"] not in known]
        labels = (*self.labels, *(name for name in more.labels if name not in self.labels))
        videos = (*self.videos, *(more.videos[number] for number in fresh))
        return FeatureSet(
            labels,
            np.array([labels.index(video["label"]) for video in videos], np.intp),
            np.concatenate([self.features, more.features[fresh]]),
            videos,
            self.model,
        )

    def save(self, path: Path) -> None:
        """Write the features to an .npz file: `features`, and `record`, a text of JSON.

        Raises:
            OutputError: it cannot be written.
        """
        record = {
            "format": _FORMAT,
            "model": dict(self.model),
            "labels": list(self.labels),
            "videos": [dict(video) for video in self.videos],
        }
        with atomic_file(path) as draft:
            np.savez(draft, features=self.features, record=np.array(json.dumps(record)))


def load_features(path: Path) -> FeatureSet:
    """Read the features that `FeatureSet.save` has written.

    Raises:
        UsageError: there is no such file, or it is none of these.
    """
    try:
        # Opened here, as NumPy leaves a file open that is no archive.
        with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
            features, text = file["features"], str(file["record"])
        record = parse_json(text, str(path))
        labels, videos = tuple(record["labels"]), tuple(record["videos"])
        model = {name: str(record["model"][name]) for name in ("file", "sha256")}
        right = (
            record["format"] == _FORMAT
            and features.dtype == np.float32
            and features.ndim == 3
            and 0 not in features.shape
            and len(features) == len(videos)
            and bool(np.isfinite(features).all())
            and all(isinstance(video[name], str) for video in videos for name in _COLUMNS)
            and sorted(labels) == sorted({video["label"] for video in videos})
        )
        targets = np.array([labels.index(video["label"]) for video in videos], np.intp)
    except OSError as error:
        raise UsageError(
            f"features {path} cannot be read ({error.strerror or one_line(error)}); give the file "
            "that --save-features wrote"
        ) from error
    # Of a damaged file NumPy, zipfile and Python's tokenizer raise whatever they stumble over.
    except Exception as error:
        raise _no_features(path, one_line(error)) from error
    if not right:
        raise _no_features(path, "its fields do not fit each other")
    return FeatureSet(labels, targets, features, videos, model)


def _no_features(path: Path, reason: str) -> UsageError:
    return UsageError(
        f"{path} is no file of features ({reason}); give the file that --save-features wrote, or "
        "write it again"
    )


def record_of_video(name: str, label: str, group: str, sha256: str) -> dict[str, Any]:
    """Return what a `FeatureSet` keeps of a video."""
    return dict(zip(_COLUMNS, (name, label, group, sha256)))
