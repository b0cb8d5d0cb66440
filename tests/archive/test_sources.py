"""The videos that files, folders and patterns mean."""

import os

import pytest
from video_folders import touch

from r2p_edge.archive.listed import Listed
from r2p_edge.archive.sources import list_archive
from r2p_edge.errors import UsageError, VideoNotFoundError

FILES = ("b.mp4", "a/c.avi", "a/deep/d.mkv", "a/notes.txt", ".hidden/e.mp4")


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A folder of videos and other files, which is the current folder."""
    monkeypatch.chdir(tmp_path)
    return touch(tmp_path, *FILES)


def names(listed):
    return [each.video for each in listed]


def test_each_video_counts_once(archive, caplog):
    assert names(list_archive(["b.mp4", "a", "a/c.avi", "b.mp4"])) == [
        *("b.mp4", "a/c.avi", "a/deep/d.mkv")
    ]
    assert "2 videos are named twice" in caplog.text
    with pytest.raises(UsageError, match="there is no video to look at"):
        list_archive()


def test_shards_share_all_videos(archive):
    for number in range(20):
        touch(archive, f"{number:02}.mp4")
    every = names(list_archive(["."]))
    shards = [names(list_archive(["."], shard=(number, 3))) for number in (1, 2, 3)]
    assert sorted(name for shard in shards for name in shard) == every
    assert {len(shard) for shard in shards} == {7, 8}
    for shard in ((0, 3), (4, 3), (1, 0)):
        with pytest.raises(UsageError, match="does not exist; the first is 1/"):
            list_archive(["."], shard=shard)


def test_a_list_begins_in_a_folder(archive, tmp_path):
    (tmp_path / "list.txt").write_text("c.avi\t1.5\t2\n/abs/x.mp4\nhttps://host/y.mp4\n")
    assert list_archive(["a"], "list.txt") == [
        Listed("a/c.avi", 1.5, 2.0),
        Listed("/abs/x.mp4"),
        Listed("https://host/y.mp4"),
    ]
    with pytest.raises(UsageError, match="give one folder, or none"):
        list_archive(["a", "."], "list.txt")
    with pytest.raises(UsageError, match=r"b\.mp4 can only be the folder"):
        list_archive(["b.mp4"], "list.txt")


def test_a_list_of_absent_videos_is_refused(archive):
    (archive / "list.txt").write_text("c.avi\nd.avi\n")
    with pytest.raises(
        VideoNotFoundError, match=r"none of the 2 videos .* paths start from the current folder"
    ):
        list_archive([], "list.txt")
    os.chdir("a")
    assert names(list_archive([], "../list.txt")) == ["c.avi", "d.avi"]  # one of them is there
