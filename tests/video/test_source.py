"""Paths, folders and arrays as sources of frames."""

import os
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from videos import decoded_by_opencv, read_by_index, written

from r2p_edge.errors import VideoError, VideoNotFoundError
from r2p_edge.video.source import open_source, videos_in


def test_folder_in_the_order_of_its_numbers(tmp_path):
    for number in (0, 1, 2, 9, 10, 11):
        cv2.imwrite(str(tmp_path / f"frame{number}.png"), np.full((8, 9, 3), number, np.uint8))
    (tmp_path / "notes.txt").write_text("not a frame")
    source = open_source(tmp_path, 10.0)
    assert source.times.tolist() == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert [int(image[0, 0, 0]) for image in source.read(source.times)] == [0, 1, 2, 9, 10, 11]


def test_odd_digits_in_names_are_letters(tmp_path):
    for name in ("1²3", "12"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((8, 8, 3), np.uint8))
    assert len(open_source(tmp_path, 25.0).times) == 2


def test_folder_is_read_as_opencv_reads_it(tmp_path, data):
    image = decoded_by_opencv(data / "ucf101/YoYo/v_YoYo_g01_c01.avi")[0]
    cv2.imwrite(str(tmp_path / "0.png"), image[:, :, ::-1])
    (read,) = open_source(tmp_path, 25.0).read(np.zeros(1))
    np.testing.assert_array_equal(read, image)


def test_colons_and_spaces_in_names(tmp_path):
    path = written(tmp_path / "12:30 %03d.mp4", np.arange(5) / 25)
    assert len(read_by_index(path, range(5))[1]) == 5


def test_bad_sources(tmp_path, data):
    def fails(source, message, kind=VideoError):
        with pytest.raises(kind, match=message):
            open_source(source, 25.0)

    fails(tmp_path / "absent.avi", "there is no video", VideoNotFoundError)
    assert issubclass(VideoNotFoundError, FileNotFoundError)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    fails(empty, "is an empty file")
    for name in ("text.avi", "text.txt", "text.mp4"):
        (tmp_path / name).write_text("Hello, I am a text.\n" * 400)
        fails(tmp_path / name, rf"{name} (cannot be read as a video|has no video stream)")
    (tmp_path / "folder").mkdir()
    fails(tmp_path / "folder", "has no images")
    fails("rtsp://camera/1", "live stream")
    os.mkfifo(tmp_path / "pipe")
    fails(tmp_path / "pipe", "is a device or a pipe")
    fails("x" * 5000, "cannot be looked up")
    sound = tmp_path / "sound.wav"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    fails(sound, "has no video stream")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((112, 112, 3), np.uint8), r"shape \(112, 112, 3\)"),
        (np.zeros((16, 3, 112, 112), np.uint8), r"expected \(T, H, W, 3\)"),
        (np.zeros((16, 8, 8, 4), np.uint8), r"shape \(16, 8, 8, 4\)"),
        (np.zeros((16, 8, 8, 3), np.float32), "dtype float32; expected uint8"),
        (np.zeros((0, 8, 8, 3), np.uint8), "at least one frame"),
        (np.zeros((4, 0, 8, 3), np.uint8), "at least one frame"),
        (None, "shape"),
        ([[1], [2, 3]], "cannot be converted to an array"),
    ],
)
def test_bad_arrays(array, message):
    with pytest.raises(VideoError, match=message):
        open_source(array, 25.0)


@pytest.mark.parametrize("name", ["x" * 300, "x" * 5000, "nul\0byte"])
def test_folders_that_cannot_be_looked_up(tmp_path, name):
    with pytest.raises(VideoError):
        videos_in(tmp_path / name)


def test_videos_of_a_folder_are_sorted(tmp_path):
    for name in ("b.MP4", "a/c.avi", "a.mkv", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "folder.mp4").mkdir()
    found = [str(path.relative_to(tmp_path)) for path in videos_in(tmp_path)]
    assert found == ["a/c.avi", "a.mkv", "b.MP4"]


def test_a_folder_without_videos(tmp_path):
    with pytest.raises(VideoError, match="has no videos"):
        videos_in(tmp_path)
    with pytest.raises(VideoNotFoundError, match="there is no folder"):
        videos_in(tmp_path / "absent")


def test_folders_that_may_not_be_read(tmp_path, monkeypatch):
    closed = tmp_path / "closed"
    closed.mkdir()
    (tmp_path / "clip.mp4").touch()

    def refuses(function):
        def guarded(path):
            if os.fspath(path) == str(closed):
                raise PermissionError(13, "Permission denied", str(path))
            return function(path)

        return guarded

    monkeypatch.setattr(os, "scandir", refuses(os.scandir))
    monkeypatch.setattr(Path, "iterdir", refuses(Path.iterdir))
    for folder in (closed, tmp_path):  # one video is there, and others may be
        with pytest.raises(VideoError, match=r"closed cannot be read \(Permission denied\)"):
            videos_in(folder)
    with pytest.raises(VideoError, match=r"cannot be looked up \(Permission denied\)"):
        open_source(closed, 25.0)
