"""The videos that a head is taught on: those in a folder, and those whose features are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from r2p_edge.artifact.files import sha256_of_file
from r2p_edge.artifact.open import Artifact
from r2p_edge.errors import UsageError, VideoError, count_of
from r2p_edge.spec.checks import plain
from r2p_edge.teaching.classes import LabelledVideo, check_enough, labelled_videos
from r2p_edge.teaching.feature_file import FeatureSet, load_features, record_of_video
from r2p_edge.teaching.reading import Read
from r2p_edge.video.class_folders import check_names

_LONGEST_NAME = 200  # of a file in a record


@dataclass(frozen=True)
class Material:
    """Videos of several classes.

    Attributes:
        labels: the classes; those of `known` first.
        listed: videos to be read.
        known: features of videos that need not be read; None without any.
        views: clips of each video.
        model: {"file", "sha256"} of the artifact.
    """

    labels: tuple[str, ...]
    listed: list[LabelledVideo]
    known: FeatureSet | None
    views: int
    model: Mapping[str, str]

    def check(self, *, measured: bool) -> None:
        """Raise VideoError if there are too few classes or videos; see `check_enough`."""
        groups = {} if self.known is None else self.known.groups_by_class()
        for each in self.listed:
            groups.setdefault(each.video.label, set()).add(each.group)
        check_enough(self.labels, groups, measured=measured)

    def check_apart(self, others: list[LabelledVideo]) -> None:
        """Raise VideoError if one of the other videos, to be measured on, is among these."""
        known = () if self.known is None else self.known.videos
        mine = {each.sha256 for each in self.listed} | {video["sha256"] for video in known}
        shared = [each.video.name for each in others if each.sha256 in mine]
        if shared:
            raise VideoError(
                f"{len(shared)} of the {len(others)} videos to measure on are taught too, such as "
                f"{plain(shared[0])}; measure on others, as a head knows those it was taught on"
            )

    def with_read(self, read: Read | None) -> FeatureSet:
        """Return the features of all videos.

        Args:
            read: those of `listed`; None if there are none.

        Raises:
            UsageError, VideoError: see `FeatureSet.joined`.
        """
        if read is None:
            assert self.known is not None
            return self.known
        labels = self.labels
        if self.known is not None:
            found = {each.video.label for each in read.videos}
            labels = tuple(name for name in labels if name in found)
        fresh = FeatureSet(
            labels,
            np.array([labels.index(each.video.label) for each in read.videos], np.intp),
            read.features,
            tuple(
                record_of_video(_text(each.video.name), each.video.label, each.group, each.sha256)
                for each in read.videos
            ),
            self.model,
        )
        return fresh if self.known is None else self.known.joined(fresh)


def material_of(
    artifact: Artifact,
    videos: Path | None,
    split: Path | None,
    features: Path | None,
    views: int | None,
) -> Material:
    """Return the videos of a folder, and those of a file of features.

    Args:
        artifact: the model that is taught.
        videos, split, features, views: see `teach`.

    Raises:
        UsageError: neither is given, or a list without a folder, or the features are of another
            model, or another number of views.
        VideoError: the folder or list cannot be used.
    """
    if videos is None and features is None:
        raise UsageError(
            "there is nothing to learn from; give a folder with a folder of videos for each class "
            "(--videos DIR)"
        )
    if videos is None and split is not None:
        raise UsageError(
            f"the list {split} names videos to learn from, and {features} has features of all of "
            "its videos; leave the list out (--split), or give the folder of its videos (--add DIR)"
        )
    model = {"file": _text(artifact.path.name), "sha256": sha256_of_file(artifact.path)}
    known = None
    if features is not None:
        known = load_features(features)
        _check_model(features, known, artifact, model["sha256"])
        kept = known.features.shape[1]
        if views not in (None, kept):
            raise UsageError(
                f"{features} has {count_of(kept, 'clip')} of each video, and not {views}; leave "
                "--views out, or teach from the videos"
            )
        views = kept
    labels: tuple[str, ...] = () if known is None else known.labels
    listed: list[LabelledVideo] = []
    if videos is not None:
        more, listed = labelled_videos(videos, split, flat=known is not None)
        check_names((*labels, *more), f"{features} and {videos}" if labels else str(videos))
        labels = (*labels, *(name for name in more if name not in labels))
    return Material(labels, listed, known, views or 1, model)


def _check_model(path: Path, known: FeatureSet, artifact: Artifact, sha256: str) -> None:
    """Raise UsageError unless features are of a model, or of the one that it was taught from."""
    parent = (artifact.spec.source or {}).get("parent")
    parents = {sha256, parent.get("sha256") if isinstance(parent, Mapping) else None}
    if known.model["sha256"] not in parents:
        raise UsageError(
            f"{path} has features of {plain(known.model['file'])} (sha256 "
            f"{known.model['sha256'][:12]}...), and {artifact.path} is another model "
            f"({sha256[:12]}...); give that one, or teach from the videos"
        )


def _text(name: str) -> str:
    """Return a file's name as a record can have it: its bytes may be no text."""
    return name.encode(errors="replace").decode()[:_LONGEST_NAME]
