"""The images of a folder that are the frames of its video."""

import os

import cv2
import numpy as np
import pytest

from r2p_edge.errors import VideoError
from r2p_edge.video.frame_folder import any_image_in, frames_in
from r2p_edge.video.source import open_source


def filled(folder, *names):
    for name in names:
        (folder / name).touch()
    return folder


def names(paths):
    return [path.name for path in paths]


def numbered(pattern, numbers):
    return [pattern.format(number) for number in numbers]


FRAMES = numbered("img_{:05d}.jpg", range(1, 21))


def test_what_is_no_frame(tmp_path):
    filled(tmp_path, *FRAMES, "._img_00003.jpg", ".thumb.png", "Thumbs.db", "notes.txt")
    (tmp_path / "img_00021.jpg").mkdir()
    (tmp_path / "thumbs").mkdir()
    filled(tmp_path / "thumbs", "img_00001.jpg")
    os.mkfifo(tmp_path / "img_00022.jpg")
    assert names(frames_in(tmp_path)) == FRAMES
    assert any_image_in(tmp_path)
    (tmp_path / "folders").mkdir()
    (tmp_path / "folders" / "1.png").mkdir()
    assert not any_image_in(tmp_path / "folders")


def test_links_are_followed(tmp_path):
    real, links = tmp_path / "real", tmp_path / "links"
    real.mkdir()
    links.mkdir()
    cv2.imwrite(str(real / "1.png"), np.zeros((8, 8, 3), np.uint8))
    (links / "00001.png").symlink_to(real / "1.png")
    (links / "00009.png").symlink_to(real)
    (links / "00002.png").symlink_to(real / "gone.png")
    (links / "00003.png").symlink_to(links / "00003.png")
    # A frame that is gone is an error where it is needed, and moves no other one.
    assert names(frames_in(links)) == ["00001.png", "00002.png", "00003.png"]
    source = open_source(links, 1.0)
    assert len(list(source.read(np.zeros(1)))) == 1
    for time in (1.0, 2.0):
        with pytest.raises(VideoError, match="cannot be read as a video"):
            list(source.read(np.full(1, time)))


SERIES = {
    "flow": numbered("flow_x_{:05d}.jpg", range(1, 20)) + numbered("flow_y_{:05d}.jpg", range(19)),
    "cameras": numbered("cam2_{}.jpg", range(5)) + numbered("cam1_{}.jpg", range(5)),
    "masks": numbered("img_{:05d}.png", range(1, 21)),
    "eyes": numbered("img_{:05d}_left.jpg", range(4)) + numbered("img_{:05d}_right.jpg", range(4)),
    "thumbnails": numbered("img_{:05d}_thumb.jpg", range(20)),
    "copies": ["img_00003 (1).jpg", "img_00004 (1).jpg"],
}


@pytest.mark.parametrize("more", SERIES)
def test_several_series_are_refused_and_listed(tmp_path, more):
    filled(tmp_path, *FRAMES, *SERIES[more])
    with pytest.raises(VideoError, match=r"has \d series of images: ") as caught:
        frames_in(tmp_path)
    assert "img_00001.jpg to img_00020.jpg (20 images)" in str(caught.value)


def test_videos_in_one_folder_are_refused(tmp_path):
    filled(tmp_path, *(f"v_YoYo_g01_c0{c}_{n:04d}.jpg" for c in (1, 2) for n in range(30)))
    with pytest.raises(VideoError, match=r"c01_0000.jpg to v_YoYo_g01_c01_0029.jpg \(30 images\)"):
        frames_in(tmp_path)


def test_many_series_are_counted(tmp_path):
    filled(tmp_path, *(f"{letter}{n}.png" for letter in "abcdefgh" for n in range(2)))
    with pytest.raises(VideoError, match=r"has 8 series .* and 3 more; give"):
        frames_in(tmp_path)


def clock(seconds, pattern="{:02d}-{:02d}-{:02d}.jpg"):
    return [pattern.format(12, 30 + second // 60, second % 60) for second in seconds]


ONE = {
    "without numbers": ["a.png", "b.png", "c.png"],
    "several suffixes": ["1.png", "2.JPG", "3.jpeg"],
    "capitals": ["Frame1.png", "frame2.PNG"],
    "two numbers": ["f1_0.00s.png", "f2_0.04s.png", "f3_0.08s.png", "f10_0.36s.png"],
    "decimals": ["0.96.png", "1.00.png", "1.04.png", "1.96.png", "2.00.png"],
    "times": clock(range(150)),
    "dates": ["IMG_20200101_120000.jpg", "IMG_20200102_120000.jpg", "IMG_20200102_120001.jpg"],
    "labels": ["0001_3.png", "0002_3.png", "0003_7.png"],
    "parts": ["p1_0001.png", "p1_0002.png", "p2_0003.png", "p2_0004.png"],
    "the name of a clip": numbered("v_YoYo_g01_c01_{:04d}.jpg", range(12)),
}


@pytest.mark.parametrize("form", ONE)
def test_one_series(tmp_path, form, caplog):
    filled(tmp_path, *reversed(ONE[form]))
    assert names(frames_in(tmp_path)) == ONE[form]
    assert not caplog.records


@pytest.mark.parametrize("single", ["thumb.jpg", "cover.png", "img_00003 (1).jpg", "preview1.png"])
def test_a_single_image_beside_a_series_is_left_out_and_told(tmp_path, single, caplog):
    filled(tmp_path, *FRAMES, single)
    assert names(frames_in(tmp_path)) == FRAMES
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "left out 1 images that do not belong to img_00001.jpg to" in record.getMessage()
    assert record.getMessage().endswith(single)


def test_as_many_single_images_as_frames_are_refused(tmp_path):
    filled(tmp_path, "a.png", "b.png", "c1.png", "c2.png")
    with pytest.raises(VideoError, match=r"3 series of images: a.png, b.png, c1.png to c2.png"):
        frames_in(tmp_path)
