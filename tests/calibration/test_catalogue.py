"""Videos on disk."""

from __future__ import annotations

import pytest
from video_folders import touch

from r2p_edge.calibration.catalogue import Catalogue
from r2p_edge.errors import VideoError

LABELS = ("walk", "run")


def test_what_a_folder_has(tmp_path):
    folder = touch(
        tmp_path / "set",
        "walk/a.avi",
        "walk/a/1.jpg",
        "walk/.b.avi",
        "other/c.mp4",
        "d.webm",
        "frames/1.png",
        "notes.txt",
        ".hidden/e.avi",
    )
    disk = Catalogue(folder, LABELS)
    assert [video.name for video in disk] == ["other/c.mp4", "walk/a.avi", "d.webm", "frames"]
    assert [video.path.exists() for video in disk] == [True] * 4


@pytest.mark.parametrize(
    ("name", "label", "found"),
    [
        ("walk/a", 0, "walk/a.avi"),
        ("WALK/A.mp4", None, "walk/a.avi"),
        ("a", None, "walk/a.avi"),
        ("elsewhere/a.mp4", None, "walk/a.avi"),
        ("a", 1, None),
        ("d.mp4", 1, "d.webm"),
        ("run/d", 1, "d.webm"),
        ("other/c", None, "other/c.mp4"),
        ("x/c", 0, "other/c.mp4"),
        ("z", None, None),
    ],
)
def test_finding(tmp_path, name, label, found):
    disk = Catalogue(touch(tmp_path / "set", "walk/a.avi", "other/c.mp4", "d.webm"), LABELS)
    video = disk.find(name, label)
    assert (video and video.name) == found


def test_two_of_one_name(tmp_path):
    disk = Catalogue(touch(tmp_path / "set", "walk/a.avi", "run/a.avi", "x/a.avi"), LABELS)
    with pytest.raises(VideoError, match=r"has y/a.avi, which may be run/a.avi or walk/a.avi"):
        disk.find("y/a.avi", None)
    assert disk.find("x/a.mp4", 0).name == "x/a.avi"


def test_the_class_that_a_name_says(tmp_path):
    disk = Catalogue(tmp_path, LABELS)
    names = ("walk/a.avi", "v_Run_g01_c02.avi", "x/v_walk_g1_c2", "x/a.avi", "v_Sit_g01_c01", "run")
    assert [disk.class_of(name) for name in names] == [0, 1, 0, None, None, None]
