"""Splits by groups: what must hold for every data set, and one split to the letter."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from datasets import report_of_names

from r2p_edge.calibration.dataset.splitting import split_by_groups
from r2p_edge.calibration.matching import Video
from r2p_edge.errors import UsageError, VideoError


def names(videos):
    return [video.name for video in videos]


def groups(videos):
    return {video.group for video in videos}


def drawn_names(rng):
    """Draw the names of a data set: some clips alone, some of groups, some of shared groups."""
    found = []
    for label in "abcd"[: rng.integers(1, 5)]:
        for number in range(rng.integers(1, 7)):
            series = rng.choice([f"v_{label}", "shared"])
            for clip in range(rng.integers(1, 5)):
                found.append(f"{label}/{series}_g{number:02}_c{clip:02}.avi")
        found += [f"{label}/{number}.avi" for number in range(rng.integers(0, 4))]
    return found


@pytest.mark.parametrize("seed", range(60))
def test_no_group_and_no_copy_is_on_both_sides(tmp_path, seed):
    rng = np.random.default_rng(seed)
    found = drawn_names(rng)
    one, other = rng.choice(found, 2)
    copies = ((Video(tmp_path, one, one[0]), Video(tmp_path, other, one[0])),)
    report = report_of_names(*found, copies=copies if one[0] == other[0] else ())
    share = rng.uniform(0.05, 0.6)
    try:
        split = split_by_groups(report, test_share=share, seed=seed)
    except VideoError:  # every class has but one group
        assert all(len(groups(report.of_class(label))) <= 2 for label in report.classes)
        return
    assert sorted(names(split.train + split.test)) == sorted(found)
    assert not groups(split.train) & groups(split.test)
    if report.copies:
        assert len({name in names(split.test) for name in (one, other)}) == 1
    assert {video.label for video in split.train} == set(report.classes)
    tested = {video.label for video in split.test}
    assert set(split.train_only) == set(report.classes) - tested
    for label in split.train_only:  # it has one group, or may be bound to a class that has
        own = [group for group in groups(report.of_class(label)) if "shared" not in group]
        assert len(own) <= 1 + bool(report.copies)


def test_a_class_of_two_groups_is_on_both_sides_whatever_the_share():
    report = report_of_names(*(f"{label}/{n}.avi" for label in "ab" for n in (1, 2)))
    for share in (0.01, 0.5, 0.99):
        split = split_by_groups(report, test_share=share)
        assert Counter(video.label for video in split.test) == {"a": 1, "b": 1}
        assert split.train_only == ()


def test_a_class_of_one_group_is_for_training_and_told():
    report = report_of_names("a/1.avi", "a/2.avi", "b/v_g01_c01.avi", "b/v_g01_c02.avi")
    split = split_by_groups(report)
    assert split.train_only == ("b",)
    with pytest.raises(VideoError, match="one group of videos for each class, and a group cannot"):
        split_by_groups(report_of_names("b/v_g01_c01.avi", "b/v_g01_c02.avi"))


def test_the_split_is_the_same_on_every_machine():
    report = report_of_names(*(f"{label}/{n}.avi" for label in ("sit", "wälk") for n in range(6)))
    test = ["sit/0.avi", "sit/3.avi", "wälk/0.avi", "wälk/4.avi"]
    assert names(split_by_groups(report).test) == test
    assert names(split_by_groups(report, seed=1).test) != test


def test_on_the_official_names_it_is_as_near_the_share_as_the_official_split(data):
    lines = [
        line.split()[0]
        for side in ("train", "test")
        for line in (data / f"splits/{side}list01.txt").read_text().splitlines()
    ]
    report = report_of_names(*lines)
    assert (len(report.videos), len(report.classes)) == (13320, 101)
    split = split_by_groups(report, test_share=0.3, seed=7)
    assert not groups(split.train) & groups(split.test)
    assert abs(len(split.test) / 13320 - 0.3) < 0.02
    whole = Counter(video.label for video in report.videos)
    for label, number in Counter(video.label for video in split.test).items():
        assert 0.25 < number / whole[label] <= 0.31, label


@pytest.mark.parametrize("share", [0.0, 1.0, -0.2, float("nan")])
def test_a_share_that_leaves_a_side_empty(share):
    with pytest.raises(UsageError, match="it must lie between 0 and 1"):
        split_by_groups(report_of_names("a/1.avi", "a/2.avi"), test_share=share)


def test_data_with_errors_are_not_split():
    report = report_of_names("a/1.avi", "a/2.avi", errors=("copies",))
    with pytest.raises(VideoError, match="cannot be split before its errors are put right: copies"):
        split_by_groups(report)
