"""Videos of the same bytes."""

from __future__ import annotations

import os

import pytest
from video_folders import touch

from r2p_edge.calibration.dataset.duplicates import in_two_classes, same_videos
from r2p_edge.calibration.matching import Video


def videos(folder, *names):
    return [Video(folder / name, name, name.split("/")[0]) for name in names]


def files(folder, **texts):
    for name, text in texts.items():
        path = folder / name.replace("_", "/", 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return videos(folder, *(name.replace("_", "/", 1) for name in texts))


def names(found):
    return [[video.name for video in same] for same in found]


def test_the_same_bytes_and_those_of_two_classes(tmp_path):
    listed = files(tmp_path, b_1="one", b_2="two", a_1="one", c_1="six", b_3="one", a_2="two")
    found = same_videos(listed)
    assert names(found) == [["b/1", "a/1", "b/3"], ["b/2", "a/2"]]
    assert [video.name for video in in_two_classes(found[0])] == ["b/1", "a/1"]
    assert in_two_classes(same_videos(files(tmp_path, d_1="one", d_2="one"))[0]) is None


def test_links_are_the_same_bytes_and_parts_of_a_file_are_not(tmp_path):
    first, _ = listed = files(tmp_path, a_1="one", a_2="two")
    (tmp_path / "a/3").symlink_to(tmp_path / "a/1")
    os.link(tmp_path / "a/1", tmp_path / "a/4")
    listed += videos(tmp_path, "a/3", "a/4")
    listed += [Video(first.path, first.name, "b", (0.0, 1.0))]
    assert names(same_videos(listed)) == [["a/1", "a/3", "a/4"]]


def test_folders_of_frames(tmp_path):
    for name, text in (("x", "one"), ("y", "one"), ("z", "two")):
        touch(tmp_path / "a" / name, "1.jpg", "2.jpg")
        (tmp_path / "a" / name / "2.jpg").write_text(text)
    assert names(same_videos(videos(tmp_path, "a/x", "a/y", "a/z"))) == [["a/x", "a/y"]]


def test_empty_and_missing_files_are_the_same_as_nothing(tmp_path):
    listed = files(tmp_path, a_1="", b_1="", a_2="two", b_2="two")
    (tmp_path / "b/2").unlink()
    assert same_videos(listed + videos(tmp_path, "c/none")) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_left_out(tmp_path):
    listed = files(tmp_path, a_1="one", b_1="one")
    (tmp_path / "b/1").chmod(0)
    assert same_videos(listed) == []
