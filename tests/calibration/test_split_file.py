"""Lists of videos in every form that they are found in."""

from __future__ import annotations

import pytest
from video_folders import LABELS, LIST, NAMES

from r2p_edge.calibration.ucf101 import list_videos
from r2p_edge.errors import VideoError


@pytest.mark.parametrize(
    ("name", "with_ids", "subset"),
    [
        ("trainlist01.txt", True, "train"),
        ("mine.txt", True, "train"),
        ("latest.txt", True, "train"),
        ("interval.txt", True, "train"),
        ("testlist01.txt", True, "test"),
        ("ucf101_val_split_1.txt", True, "test"),
        ("UCF101Test.txt", True, "test"),
        ("trainlist01.txt", False, "test"),
        ("mine.txt", False, "test"),
    ],
)
def test_what_is_a_test_list(ucf101_folder, split, name, with_ids, subset):
    text = LIST if with_ids else "\n".join(NAMES)
    listing = list_videos(ucf101_folder, LABELS, split(text, name))
    assert (listing.subset, listing.split) == (subset, name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "names no video"),
        (b"\xef\xbb\xbf\r\n \r\n", "names no video"),
        (b"1 ApplyEyeMakeup\n2 ApplyLipstick\n", "line 1 of .* is '1 ApplyEyeMakeup'; expected"),
        (b"YoYo/a.avi 1\n\nYoYo/b.avi\n", "line 3 of .* is 'YoYo/b.avi'; expected"),
        ("Straße/a.avi 1\n".encode("latin-1"), r"no text in UTF-8 .*; write it anew: iconv -f CP1"),
        (b"Archery/a.avi 1\nBowling/b.avi 2\n", r"none of the 2 videos of .* \(HandStandPushups, "),
        (b"YoYo/a.avi 1\nBowling/b.avi 2\n", "has no video that trainlist01.txt lists"),
        (b"YoYo/a.avi 40 1\n", "lists, YoYo/a.avi and so on, read as path frames label; give the"),
    ],
)
def test_bad_lists(ucf101_folder, split, text, message):
    with pytest.raises(VideoError, match=message):
        list_videos(ucf101_folder, LABELS, split(text))


def test_a_list_that_windows_saved(ucf101_folder, split):
    read, saved = (
        list_videos(ucf101_folder, LABELS, split(text))
        for text in (LIST.encode(), LIST.replace("\n", "\r\n").encode("utf-16"))
    )
    assert [video.path for video in saved.videos] == [video.path for video in read.videos]


def test_a_list_that_is_not_there(ucf101_folder, tmp_path):
    for absent in (tmp_path / "absent.txt", tmp_path):
        with pytest.raises(VideoError, match="cannot be read"):
            list_videos(ucf101_folder, LABELS, absent)
