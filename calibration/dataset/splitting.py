"""Splits of a data set by groups, so that no recording is on both sides."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from r2p_edge.calibration.dataset.facts import VideoFacts
from r2p_edge.calibration.dataset.report import DatasetReport
from r2p_edge.errors import UsageError, VideoError

TEST_SHARE = 0.3
"""Share of the videos that go into the test list, about that of UCF101's lists."""


@dataclass(frozen=True)
class GroupSplit:
    """The two sides of a split.

    Attributes:
        train, test: videos by class and name.
        train_only: classes of which no video is on the test side, since they have one group, or
            share their groups with such classes.
    """

    train: tuple[VideoFacts, ...]
    test: tuple[VideoFacts, ...]
    train_only: tuple[str, ...]


def split_by_groups(
    report: DatasetReport, *, test_share: float = TEST_SHARE, seed: int = 0
) -> GroupSplit:
    """Split the videos that can be decoded into two sides, with whole groups on each.

    Videos of the same bytes count as one group. The sides depend on the seed and on the names of
    the videos, not on the machine; of each class they have as near the share as whole groups allow,
    and at least one group, where the class has two.

    Args:
        report: see `inspect_dataset`.
        test_share: share of each class's videos for the test side, between 0 and 1.
        seed: another seed makes another split.

    Raises:
        UsageError: `test_share` is not between 0 and 1.
        VideoError: the report has errors, or no class has two groups.
    """
    check_share(test_share)
    if report.errors:
        raise VideoError(
            f"{report.folder} cannot be split before its errors are put right: {report.errors[0]}"
        )
    units = _units(report)
    labels = {unit: [video.label for video in videos] for unit, videos in units.items()}
    chosen = units_held_out(labels, test_share, seed)
    test = {video.name for unit in chosen for video in units[unit]}
    split = GroupSplit(
        train=tuple(video for video in report.usable if video.name not in test),
        test=tuple(video for video in report.usable if video.name in test),
        train_only=tuple(
            label
            for label in report.classes
            if not any(video.name in test for video in report.of_class(label))
        ),
    )
    if not split.test:
        raise VideoError(
            f"{report.folder} has one group of videos for each class, and a group cannot be on "
            "both sides of a split; record each class at least twice"
        )
    return split


def check_share(test_share: float) -> None:
    """Raise UsageError for a share of the test side that leaves one side empty."""
    if not 0 < test_share < 1:
        raise UsageError(f"test share is {test_share:g}; it must lie between 0 and 1")


def _units(report: DatasetReport) -> dict[str, list[VideoFacts]]:
    """Return the videos that must stay together: groups, joined where they share a video."""
    unit_of = {video.group: video.group for video in report.usable}
    group_of_name = {video.name: video.group for video in report.usable}
    for same in report.copies:
        joined = {unit_of[group_of_name[video.name]] for video in same}
        first = min(joined)
        unit_of = {group: first if unit in joined else unit for group, unit in unit_of.items()}
    units: dict[str, list[VideoFacts]] = defaultdict(list)
    for video in report.usable:
        units[unit_of[video.group]].append(video)
    return units


def units_held_out(units: Mapping[str, Sequence[str]], share: float, seed: int) -> list[str]:
    """Return the units for the test side: those that fit, by the seed, and one for each class.

    Args:
        units: labels of the videos that must stay together, by a key.
        share: of each class's videos for the test side.
        seed: another seed chooses others.
    """

    def shuffled(unit: str) -> bytes:
        return hashlib.sha256(f"{seed}/{unit}".encode("utf-8", "surrogateescape")).digest()

    order = sorted(units, key=shuffled)
    sizes = {unit: Counter(units[unit]) for unit in order}
    wanted: Counter[str] = sum(sizes.values(), Counter())
    wanted = Counter({label: round(share * number) for label, number in wanted.items()})
    left = Counter(label for size in sizes.values() for label in size)
    have: Counter[str] = Counter()
    chosen: list[str] = []

    def take(unit: str) -> None:
        chosen.append(unit)
        have.update(sizes[unit])
        left.subtract(list(sizes[unit]))

    for unit in order:
        fits = all(have[label] + more <= wanted[label] for label, more in sizes[unit].items())
        if fits and all(left[label] > 1 for label in sizes[unit]):
            take(unit)
    for label in sorted(left):
        spare = [unit for unit in order if label in sizes[unit]]
        spare = [unit for unit in spare if all(left[other] > 1 for other in sizes[unit])]
        if not have[label] and spare:
            take(min(spare, key=lambda unit: sizes[unit].total()))
    return chosen
