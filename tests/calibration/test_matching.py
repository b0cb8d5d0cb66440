"""The class of a listed video: by name wherever there is one, by number only without a doubt."""

from __future__ import annotations

import logging

import pytest
from video_folders import touch

from r2p_edge.calibration.ucf101 import list_videos
from r2p_edge.errors import VideoError

LABELS = ("walk", "run", "brush hair", "C", "C++")


def labels_of(listing):
    return {video.name: video.label for video in listing.videos}


@pytest.fixture(autouse=True)
def _labels_beside(tmp_path):
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))


def test_flat_videos_by_number(tmp_path, split, caplog):
    """SlowFast, VideoMAE: one folder, and numbers."""
    folder = touch(tmp_path / "set", "a.mp4", "b.mp4", "train/c.mp4", "val/c.mp4")
    with caplog.at_level(logging.INFO, "r2p_edge"):
        listing = list_videos(
            folder, LABELS, split("x/a.mp4 0\nx/b.mp4 2\nx/d.mp4 1\nval/c.mp4 4\n")
        )
    assert labels_of(listing) == {"a.mp4": "walk", "b.mp4": "brush hair", "val/c.mp4": "C++"}
    assert listing.missing == ("x/d.mp4",)
    assert "trainlist01.txt counts the labels beside it from 0 on (walk)" in caplog.messages


def test_numbers_from_1(tmp_path, split):
    folder = touch(tmp_path / "set", "a.mp4", "b.mp4")
    listing = list_videos(folder, LABELS, split("a.mp4 5\nb.mp4 1\n"))
    assert labels_of(listing) == {"a.mp4": "C++", "b.mp4": "walk"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.mp4 1\nb.mp4 3\n", "form path label with classes by number from 1 to 3, which may"),
        ("a.mp4 0\nb.mp4 5\n", "one of them 5, but the labels beside it are 5"),
        ("a.mp4 1\nb.mp4 6\n", "one of them 6, but the labels beside it are 5"),
        ("a.mp4 0\nb.mp4 1\na.mp4 1\n", "line 3 .* has a.mp4 as run, which is walk in a line"),
        ("a.mp4\nb.mp4\n", "form path and no folder of theirs is a class"),
        ("sit/a.mp4 0\nstand/b.mp4 1\n", "none of the 2 videos of .*, such as sit/a.mp4"),
        ("sit/a.mp4 0\n", "no video of trainlist01.txt, such as sit/a.mp4"),
        ("run/a.mp4,walk\n", "line 1 .* label walk for run/a.mp4, whose name is of another class"),
        ("a.mp4,sit\n", r"no video of .* \(walk, run, brush hair, \.\.\.\)"),
    ],
)  # fmt: skip
def test_doubts_are_refused(tmp_path, split, text, message):
    folder = touch(tmp_path / "set", "a.mp4", "b.mp4")
    with pytest.raises(VideoError, match=message):
        list_videos(folder, LABELS, split(text))


def test_labels_that_are_numbers(tmp_path, split):
    folder = touch(tmp_path / "set", "a.mp4", "b.mp4")
    listing = list_videos(folder, ("7", "0", "1"), split("a.mp4 0\nb.mp4 7\n"))
    assert labels_of(listing) == {"a.mp4": "0", "b.mp4": "7"}


def test_lists_without_folders_of_videos_in_folders(tmp_path, split):
    folder = touch(tmp_path / "set", "walk/a.mp4", "run/b.mp4", "run/c.mp4")
    for text in (
        "a.mp4 3\nb.mp4 7\nc.mp4 7\n",
        "a.mp4\nb.mp4\nc.mp4\n",
        "a.mp4\nb\nc.mp4\nd.mp4\n",
    ):
        listing = list_videos(folder, LABELS, split(text))
        assert labels_of(listing) == {"walk/a.mp4": "walk", "run/b.mp4": "run", "run/c.mp4": "run"}
    assert listing.missing == ("d.mp4",)
    with pytest.raises(VideoError, match="whose numbers are not those of the classes"):
        list_videos(folder, LABELS, split("a.mp4 3\nb.mp4 3\n"))
    touch(folder, "walk/b.mp4")
    with pytest.raises(VideoError, match=r"has b.mp4, which may be run/b.mp4 or walk/b.mp4"):
        list_videos(folder, LABELS, split("a.mp4\nb.mp4\n"))
    listing = list_videos(folder, LABELS, split("a.mp4,walk\nb.mp4,walk\n"))
    assert labels_of(listing) == {"walk/a.mp4": "walk", "walk/b.mp4": "walk"}


def test_lists_with_folders_of_flat_videos(tmp_path, split):
    folder = touch(tmp_path / "set", "a.mp4", "b.mp4")
    listing = list_videos(folder, LABELS, split("walk/a.mp4 9\nbrush_hair/b.mp4 4\n"))
    assert labels_of(listing) == {"a.mp4": "walk", "b.mp4": "brush hair"}


def test_names_of_ucf101_say_the_class(tmp_path, split):
    names = ("v_BrushHair_g01_c01", "v_Run_g02_c01")
    folder = touch(tmp_path / "set", *(f"{name}/img_00001.jpg" for name in names))
    expected = dict(zip(names, ("brush hair", "run")))
    listed = split("".join(f"/data/jpegs/{name} 120 {k}\n" for k, name in enumerate(names)))
    assert labels_of(list_videos(folder, LABELS, listed)) == expected
    assert labels_of(list_videos(folder, LABELS)) == expected


def test_one_name_in_class_folders_and_beside_them(tmp_path, split):
    folder = touch(tmp_path / "set", "C/0001.avi", "C++/0001.avi")
    listing = list_videos(folder, LABELS, split("0001.avi,C++\nx/0001.avi,C\n"))
    assert labels_of(listing) == {"C/0001.avi": "C", "C++/0001.avi": "C++"}
