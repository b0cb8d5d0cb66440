"""The classes of a folder: which folders count, in which order, and what is refused."""

from __future__ import annotations

import pytest
from video_folders import touch

from r2p_edge.errors import VideoError, VideoNotFoundError
from r2p_edge.video.class_folders import alike, class_folders, class_names


def test_folders_with_videos_are_classes_in_the_order_of_sorted(tmp_path):
    touch(tmp_path, "b/1.mp4", "a/1.AVI", "B/frames/1.jpg", ".hidden/1.mp4", "beside.mp4")
    touch(tmp_path, "é\n=/1.mp4", "notes/x.txt", "deep/er/1.mp4", "c/.1.mp4")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    found = class_folders(tmp_path)
    assert found.names == ("B", "a", "b", "é\n=")
    assert found.empty == ("c", "deep", "notes")


def test_a_link_that_leads_back_is_no_endless_way(tmp_path):
    touch(tmp_path, "a/1.mp4", "b/2.mp4")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert class_names(tmp_path) == ("a", "b")


def test_names_that_are_alike():
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    names = ["Walk", "sit", composed, "walk ", decomposed, "C", "C++", "stand up", "stand  up"]
    assert alike(names) == [("Walk", "walk "), (composed, decomposed), ("stand up", "stand  up")]


def test_there_is_no_such_folder(tmp_path):
    with pytest.raises(VideoNotFoundError, match=r"there is no folder .*none; give one with"):
        class_names(tmp_path / "none")
    with pytest.raises(VideoError, match="cannot be looked up"):
        class_names(tmp_path / ("n" * 300))
    with pytest.raises(VideoNotFoundError):
        class_names(touch(tmp_path, "file") / "file")


def test_the_folder_of_one_class_names_the_one_above(tmp_path):
    touch(tmp_path, "walk/1.mp4", "walk/2.mp4")
    with pytest.raises(VideoError, match=f"give the one above it, {tmp_path}$"):
        class_names(tmp_path / "walk")


def test_real_classes_are_those_of_the_official_index(data):
    named = {line.split()[1] for line in (data / "splits/classInd.txt").read_text().splitlines()}
    names = class_names(data / "ucf101")
    assert list(names) == sorted(names)
    assert len(names) == 6
    assert set(names) <= named
