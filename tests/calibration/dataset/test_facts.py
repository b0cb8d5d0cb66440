"""The facts of one video, against what is known of how it was made."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from videos import decoded_by_opencv, detailed, real_files, written

from r2p_edge.calibration.dataset.facts import facts_of_video
from r2p_edge.calibration.matching import Video


def facts(path, name="walk/v_walk_g02_c01.avi"):
    return facts_of_video(Video(Path(path), name, name.split("/")[0]))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
@pytest.mark.parametrize("rate", [25, 30])
def test_length_rate_and_size(tmp_path, suffix, rate):
    base = rate if suffix == ".avi" else 1000
    path = written(tmp_path / f"v{suffix}", np.arange(20) / rate, rate=base)
    found = facts(path)
    assert (found.frames, found.lost, found.error, found.damaged) == (20, 0, "", False)
    assert (found.width, found.height) == (64, 48)
    assert found.fps == pytest.approx(rate, rel=0.002)  # Matroska's times are whole milliseconds
    assert found.seconds == pytest.approx(20 / rate, rel=0.01)
    assert (found.label, found.group) == ("walk", "v_walk_g2")


def test_a_single_frame_has_no_rate(tmp_path):
    found = facts(written(tmp_path / "v.mp4", [0.0]))
    assert (found.frames, found.fps, found.error) == (1, None, "")


def test_damage_in_the_middle_is_found_by_decoding(tmp_path):
    path = detailed(tmp_path / "v.mp4")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    path.write_bytes(content)
    found = facts(path)
    assert found.damaged
    assert 0 < found.frames < 30
    assert found.frames + found.lost == 30


def test_a_file_that_breaks_off(tmp_path):
    path = detailed(tmp_path / "v.avi")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = facts(path)
    assert found.damaged
    assert 10 < found.frames < 20


def test_what_cannot_be_decoded_has_the_error(tmp_path):
    for name, content, message in (
        ("empty.mp4", b"", "is an empty file"),
        ("text.mp4", b"hello", "cannot be read as a video"),
    ):
        (tmp_path / name).write_bytes(content)
        found = facts(tmp_path / name)
        assert message in found.error
        assert (found.frames, found.damaged) == (0, False)
    assert "there is no video" in facts(tmp_path / "none.mp4").error


def test_a_folder_of_frames_whose_images_are_all_decoded(tmp_path):
    for number in range(5):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((48, 64, 3), 9 * number, np.uint8))
    found = facts(tmp_path)
    assert (found.frames, found.width, found.height) == (5, 64, 48)
    assert (found.seconds, found.fps, found.error) == (None, None, "")
    path = tmp_path / "3.png"
    path.write_bytes(path.read_bytes()[:40])
    assert "3.png has no frame that can be decoded" in facts(tmp_path).error


@pytest.mark.slow
def test_frames_of_real_clips_are_as_many_as_opencv_decodes(data):
    for path in real_files(data)[::20]:
        images = decoded_by_opencv(path)
        found = facts(path)
        assert found.frames == len(images), path
        assert images[0].shape == (found.height, found.width, 3), path
