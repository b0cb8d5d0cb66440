"""Paths, folders and arrays as sources of frames."""

import os
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from videos import decoded_by_opencv, read_by_index, written

from r2p_edge.errors import VideoError, VideoNotFoundError
from r2p_edge.video.source import open_source


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
    fails("", "the path of the video is empty")
    fails("file:///absent/a%20b.mp4", "there is no video /absent/a b.mp4", VideoNotFoundError)
    sound = tmp_path / "sound.wav"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    fails(sound, "has no video stream")


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(VideoError, match=r"cannot be looked up \(Permission denied\)"):
        open_source(tmp_path, 25.0)


@pytest.mark.parametrize(
    "name", ["clip.mp4", "a b%20c ü #1?.mp4", "100%.mp4", "-x.mp4", "a\nb.mp4"]
)
@pytest.mark.parametrize(
    "form", [Path, str, os.fsencode, Path.as_uri, "file:{}", "file://localhost{}"]
)
def test_forms_of_a_path(tmp_path, name, form):
    path = written(tmp_path / name, np.arange(5) / 25)
    source = form.format(path) if isinstance(form, str) else form(path)
    assert len(open_source(source, 25.0).times) == 5


def test_a_name_of_bytes_that_are_no_text(tmp_path):
    path = written(tmp_path / "a.mp4", np.arange(5) / 25)
    odd = path.rename(tmp_path / os.fsdecode(b"a\xff\xfe.mp4"))
    for source in (odd, os.fsencode(odd), odd.as_uri()):
        assert len(open_source(source, 25.0).times) == 5


def test_images_with_odd_names(tmp_path):
    for name in ("%03d.png", "[0-9]%d.jpg", "a:b*.png"):
        cv2.imwrite(str(tmp_path / name), np.full((8, 8, 3), 100, np.uint8))
    source = open_source(tmp_path, 1.0)
    assert [round(float(image.mean())) for image in source.read(source.times)] == [100] * 3


@pytest.mark.parametrize("planes", [False, True])
def test_frames_that_cannot_be_converted_are_an_error_that_names_the_file(tmp_path, planes):
    path = tmp_path / "ycgco.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"colorspace": "ycgco"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(stream.encode())
    source = open_source(path, 25.0, planes=planes)
    with pytest.raises(VideoError, match=r"ycgco.mp4 cannot be converted to RGB: .*matrix 8"):
        list(source.read(source.times))
