"""A part of a video, as if it were all of it."""

from __future__ import annotations

import contextlib
import math

import cv2
import numpy as np
import pytest
from models import grey_frames, spec_of_brightness
from videos import assert_same, decoded_by_opencv, level, written

from r2p_edge.errors import VideoError
from r2p_edge.video.clip_reader import ClipReader
from r2p_edge.video.excerpt import Excerpt
from r2p_edge.video.source import ArraySource, open_source


@pytest.fixture
def folder(tmp_path):
    """A hundred frames, each of the level of its number."""
    (tmp_path / "frames").mkdir()
    for number, image in enumerate(grey_frames(range(100))):
        cv2.imwrite(str(tmp_path / "frames" / f"{number}.png"), image)
    return tmp_path / "frames"


@pytest.mark.parametrize(
    "file",
    [
        "ucf101/YoYo/v_YoYo_g01_c01.avi",
        "ucf101/Biking/v_Biking_g05_c02.avi",
        "kinetics/R6llTwEh07w.mp4",
        "kinetics/carving_ice_rpi.mp4",
    ],
)
@pytest.mark.parametrize("part", [(0, 20), (40, 90), (100, math.inf)], ids=str)
def test_frames_of_a_part_are_those_of_opencv(data, file, part):
    with contextlib.closing(open_source(data / file, 25.0)) as video:
        rate = 1 / float(np.median(np.diff(video.times)))
        excerpt = Excerpt(video, *(number / rate for number in part))
        frames = list(excerpt.read(excerpt.times))
        assert excerpt.times[0] == 0.0
        assert (excerpt.name, excerpt.truncated) == (str(data / file), False)
    expected = decoded_by_opencv(data / file)
    expected = expected[part[0] : None if math.isinf(part[1]) else part[1]]
    assert len(frames) == len(expected)
    for number, (frame, reference) in enumerate(zip(frames, expected)):
        assert_same(frame, reference, f"frame {number} of {file}")


@pytest.mark.parametrize(
    ("part", "clips", "numbers"),
    [
        ((0.0, 4.0), 1, [[46, 48, 50, 52]]),
        ((1.0, 2.0), 1, [[34, 36, 38, 40]]),
        ((1.0, 2.0), 2, [[25, 27, 29, 31], [43, 45, 47, 49]]),
        ((1.0, 1.12), 1, [[25, 27, 27, 27]]),  # shorter than a clip
    ],
)
def test_clips_of_a_part(folder, part, clips, numbers):
    read = ClipReader(spec_of_brightness()).read(folder, part=part, clips=clips)
    assert np.rint(read.pixels.mean(axis=(2, 3, 4))).astype(int).tolist() == numbers
    assert read.coverage == (0.5 if numbers[0][-1] == 27 else 1.0)


@pytest.mark.parametrize("part", [(4.0, 5.0), (84.0, 94.0), (3.0, 5.5), (9.0, math.inf)])
def test_a_part_that_the_file_does_not_have(tmp_path, part):
    path = written(tmp_path / "a.mp4", np.arange(100) / 25)
    with pytest.raises(VideoError, match=r"a\.mp4 is 4\.00 s long, but the list has the part from"):
        ClipReader(spec_of_brightness()).read(path, part=part)


def test_neighbouring_parts_share_no_frame():
    video = ArraySource(grey_frames(range(50)), np.arange(50) / 25)
    every = [Excerpt(video, k / 10, (k + 1) / 10) for k in range(20)]
    frames = [level(image) + 10 for part in every for image in part.read(part.times)]
    assert frames == list(range(50))


def test_what_is_lost_of_a_part():
    video = ArraySource(grey_frames(range(50)), np.arange(50) / 25)
    video.lost = np.array([0.1, 0.5, 1.5])
    np.testing.assert_allclose(Excerpt(video, 0.4, 1.0).lost, [0.1])
    np.testing.assert_allclose(Excerpt(video, 0.4, math.inf).lost, [0.1, 1.1])
