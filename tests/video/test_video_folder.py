"""The videos that are found in a folder, and what is told of the rest."""

import os

import pytest

from r2p_edge.errors import VideoError, VideoNotFoundError
from r2p_edge.video.video_folder import entries_of, videos_in


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def found_in(folder):
    return [str(path.relative_to(folder)) for path in videos_in(folder)]


@pytest.mark.parametrize("name", ["x" * 300, "x" * 5000, "nul\0byte"])
def test_folders_that_cannot_be_looked_up(tmp_path, name):
    with pytest.raises(VideoError):
        videos_in(tmp_path / name)


def test_videos_of_a_folder_are_sorted(tmp_path):
    touch(tmp_path, "b.MP4", "a/c.avi", "a.mkv", "folder.mp4/notes.txt")
    assert found_in(tmp_path) == ["a/c.avi", "a.mkv", "b.MP4"]


def test_what_is_left_out_is_told(tmp_path, caplog):
    touch(tmp_path, "a.mp4", "b.dat", "c/d.dat", "c/notes.txt", "c/README", "a.jpg")
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere")
    assert found_in(tmp_path) == ["a.mp4"]
    (record,) = caplog.records
    assert f"{tmp_path}: left out 6 files" in record.getMessage()
    assert "2 .dat" in record.getMessage()
    assert "1 without a suffix" in record.getMessage()
    caplog.clear()
    assert found_in(touch(tmp_path / "clean", "a.mp4", ".hidden/b.dat", "._a.dat")) == ["a.mp4"]
    assert not caplog.records


def test_hidden_files_and_folders_are_left_out(tmp_path):
    touch(tmp_path, "a/x.mp4", "a/._x.mp4", ".cache/y.mp4", "__MACOSX/a/._x.mp4")
    assert found_in(tmp_path) == ["a/x.mp4"]


def test_folders_of_frames_are_videos(tmp_path, caplog):
    touch(tmp_path, "a/v_1/1.png", "a/v_1/2.png", "a/v_2.mp4", "b/v_3.mp4", "b/v_3.jpg")
    touch(tmp_path, "c/._1.png", "preview.png", "d/1.png", "d/2.png", "d/thumbs/1.png")
    touch(tmp_path, "e/cover.png", "e/v_4/1.png")
    assert found_in(tmp_path) == ["a/v_1", "a/v_2.mp4", "b/v_3.mp4", "d", "e/v_4"]
    assert videos_in(tmp_path / "a/v_1") == [tmp_path / "a/v_1"]
    assert caplog.messages[0].endswith("b/v_3.jpg, d/thumbs/1.png, e/cover.png, preview.png")


def test_links_are_followed_once(tmp_path):
    real = touch(tmp_path / "real", "a/x.mp4", "b/y.mp4")
    links = tmp_path / "links"
    links.mkdir()
    (links / "a").symlink_to(real / "a")
    (links / "z.mp4").symlink_to(real / "b/y.mp4")
    assert found_in(links) == ["a/x.mp4", "z.mp4"]


@pytest.mark.parametrize("count", [1, 30])
def test_loops_of_links_end(tmp_path, count):
    touch(tmp_path, "a/x.mp4", "b/y.mp4")
    for number in range(count):
        (tmp_path / "a" / f"up{number}").symlink_to(tmp_path)
        (tmp_path / "b" / f"across{number}").symlink_to(tmp_path / "a")
        (tmp_path / "b" / f"itself{number}").symlink_to(f"itself{number}")
    assert len(videos_in(tmp_path)) == 2


def test_a_folder_without_videos(tmp_path):
    with pytest.raises(VideoError, match="has no videos"):
        videos_in(tmp_path)
    with pytest.raises(VideoNotFoundError, match="there is no folder"):
        videos_in(tmp_path / "absent")


def test_folders_that_may_not_be_read(tmp_path, monkeypatch):
    closed = tmp_path / "closed"
    closed.mkdir()
    (tmp_path / "clip.mp4").touch()
    scandir = os.scandir

    def guarded(path):
        if os.fspath(path) == str(closed):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    for folder in (closed, tmp_path):  # one video is there, and others may be
        with pytest.raises(VideoError, match=r"closed cannot be read \(Permission denied\)"):
            videos_in(folder)


def test_a_folder_that_is_none_is_said_to_be_none(tmp_path):
    (tmp_path / "a.mp4").touch()
    for name in ("absent", "a.mp4"):
        with pytest.raises(VideoNotFoundError, match=f"there is no folder .*{name}; check the"):
            entries_of(tmp_path / name)
