"""The videos that files, folders and patterns mean."""

import os

import pytest

from r2p_edge.archive.listed import Listed
from r2p_edge.archive.sources import list_archive, videos_of
from r2p_edge.errors import UsageError, VideoError, VideoNotFoundError


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A folder of empty files, which is the current folder."""
    for name in ("b.mp4", "a/c.avi", "a/deep/d.mkv", "a/notes.txt", ".hidden/e.mp4"):
        touch(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def names(listed):
    return [each.video for each in listed]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (".", ["a/c.avi", "a/deep/d.mkv", "b.mp4"]),
        ("a", ["a/c.avi", "a/deep/d.mkv"]),
        ("**/*.mkv", ["a/deep/d.mkv"]),
        ("*.mp4", ["b.mp4"]),
        ("[ab].mp4", ["b.mp4"]),
        ("a/*", ["a/c.avi", "a/notes.txt"]),  # as a shell says it
        ("dee*", None),
        ("a/dee*", ["a/deep/d.mkv"]),
        ("absent.mp4", ["absent.mp4"]),
        ("https://host/*.mp4", ["https://host/*.mp4"]),
    ],
)
def test_sources(archive, source, expected):
    if expected is None:
        with pytest.raises(VideoNotFoundError, match=r"no file fits dee\*; check the pattern"):
            videos_of(source)
    else:
        assert videos_of(source) == expected


def test_a_name_that_looks_like_a_pattern_is_itself(archive):
    for name in ("[b].mp4", "a*.mp4", "new\nline ü = \udcff.mp4"):
        touch(archive / name)
        assert videos_of(name) == [name]
    assert "new\nline ü = \udcff.mp4" in videos_of(archive / "*=*")[0]


def test_a_folder_of_images_alone_is_one_video(archive):
    for number in range(3):
        touch(archive / "frames" / f"{number}.jpg")
    touch(archive / "frames" / "thumbs.db")
    assert videos_of("frames/") == ["frames/"]
    assert "frames" in videos_of(".")
    with pytest.raises(VideoError, match=r"fits 3 images, 0.jpg to 2.jpg, .* give their folder"):
        videos_of("frames/*.jpg")


def test_a_folder_of_both_is_refused(archive):
    touch(archive / "a" / "c.jpg")  # the thumbnail of c.avi
    touch(archive / "a" / "cover.jpg")
    assert videos_of("a") == ["a/c.avi", "a/deep/d.mkv"]
    for number in range(2):
        touch(archive / "a" / f"frame{number}.png")
    for source in ("a", "."):
        with pytest.raises(VideoError, match=r"^a has video files and the 2 images frame0.png to"):
            videos_of(source)
    assert videos_of("a/*.avi") == ["a/c.avi"]  # as the error says


def test_an_empty_folder(tmp_path):
    with pytest.raises(VideoError, match=r"has no videos .* and no images; give a folder"):
        videos_of(tmp_path)


def test_each_video_counts_once(archive, caplog):
    assert names(list_archive(["b.mp4", "a", "a/c.avi", "b.mp4"])) == [
        *("b.mp4", "a/c.avi", "a/deep/d.mkv")
    ]
    assert "2 videos are named twice" in caplog.text
    with pytest.raises(UsageError, match="there is no video to look at"):
        list_archive()


def test_shards_share_all_videos(archive):
    for number in range(20):
        touch(archive / f"{number:02}.mp4")
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
