"""The videos that files, folders and patterns mean, and their names."""

from pathlib import PurePath

import pytest
from video_folders import touch

from r2p_edge.errors import VideoError, VideoNotFoundError
from r2p_edge.video.named import named_videos, videos_of

FILES = ("b.mp4", "a/c.avi", "a/deep/d.mkv", "a/notes.txt", ".hidden/e.mp4")


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A folder of videos and other files, which is the current folder."""
    monkeypatch.chdir(tmp_path)
    return touch(tmp_path, *FILES)


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
        (archive / name).touch()
        assert videos_of(name) == [name]
    assert "new\nline ü = \udcff.mp4" in videos_of(archive / "*=*")[0]


def test_a_folder_of_images_alone_is_one_video(archive):
    for number in range(3):
        touch(archive, f"frames/{number}.jpg")
    touch(archive, "frames/thumbs.db")
    assert videos_of("frames/") == ["frames/"]
    assert "frames" in videos_of(".")
    with pytest.raises(VideoError, match=r"fits 3 images, 0.jpg to 2.jpg, .* give their folder"):
        videos_of("frames/*.jpg")


def test_a_folder_of_both_is_refused(archive):
    touch(archive, "a/c.jpg")  # the thumbnail of c.avi
    touch(archive, "a/cover.jpg")
    assert videos_of("a") == ["a/c.avi", "a/deep/d.mkv"]
    for number in range(2):
        touch(archive, f"a/frame{number}.png")
    for source in ("a", "."):
        with pytest.raises(VideoError, match=r"^a has video files and the 2 images frame0.png to"):
            videos_of(source)
    assert videos_of("a/*.avi") == ["a/c.avi"]  # as the error says


def test_an_empty_folder(tmp_path):
    with pytest.raises(VideoError, match=r"has no videos .* and no images; give a folder"):
        videos_of(tmp_path)


def names(*sources):
    return [str(video.name) for video in named_videos([str(source) for source in sources])]


def test_names_of_videos(tmp_path):
    touch(tmp_path, "day/a.mp4", "day/b.mp4", "day/in/a.mp4", "day/b.avi", "night/c.1.mp4")
    assert names(tmp_path / "day") == ["a", "b.avi", "b.mp4", "in/a"]
    assert names(tmp_path / "night/c.1.mp4", "http://u:p@h/x/y%20z.mp4?key=1") == ["c.1", "y%20z"]
    assert names("http://host/") == ["video"]
    odd = "a = \n\u732b.mp4"
    touch(tmp_path, odd)
    assert names(tmp_path / odd, f"file://{tmp_path}/{odd}") == [odd, odd]
    frames = touch(tmp_path, "shots/1.png", "shots/2.png") / "shots"
    assert names(frames) == ["shots"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(VideoError, match="has no videos"):
        names(tmp_path / "empty")
    # A pattern's names begin with what it leaves open.
    assert names(f"{tmp_path}/day/**/*.mp4") == ["a", "b", "in/a"]
    assert names(f"{tmp_path}/*/a.mp4", f"{tmp_path}/n*") == ["day/a", "night/c.1"]
    assert names(f"{tmp_path}/day/in/../a*") == ["a"]
    assert names(f"file://{tmp_path}/day") == ["a", "b.avi", "b.mp4", "in/a"]


def test_names_never_leave_the_folder():
    for name in names("http://host/..", "http://host/../../x.mp4", "http://host/%2e%2e"):
        assert not PurePath(name).is_absolute()
        assert ".." not in PurePath(name).parts


def test_names_of_a_pattern_that_goes_up_stay_below(tmp_path):
    touch(tmp_path, "a/b.mp4", "c.mp4")
    assert names(f"{tmp_path}/*/../c.mp4") == ["c"]
