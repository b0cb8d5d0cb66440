"""Labels beside a list of numbers."""

from __future__ import annotations

import pytest
from video_folders import touch

from r2p_edge.calibration.ucf101 import list_videos
from r2p_edge.errors import VideoError

LABELS = ("walk", "run", "jump")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classInd.txt", "1 jump\n2 run\n3 walk\n"),
        ("label.txt", "0 jump\n1 run\n2 walk\n"),
        ("labels.txt", "jump\nrun\nwalk\n"),
    ],
)
@pytest.mark.parametrize("first", [0, 1])
def test_numbers_count_the_labels_beside_the_list(tmp_path, split, name, text, first):
    folder = touch(tmp_path / "set", "a.mp4", "b.mp4", "c.mp4")
    file = split("".join(f"{video}.mp4 {first + k}\n" for k, video in enumerate("abc")))
    with pytest.raises(VideoError, match=r"path label with classes by number, and nothing says"):
        list_videos(folder, LABELS, file)
    file.with_name(name).write_text(text)
    assert [v.label for v in list_videos(folder, LABELS, file).videos] == ["jump", "run", "walk"]


def test_labels_that_cannot_be_used(tmp_path, split):
    folder = touch(tmp_path / "set", "a.mp4")
    file = split("a.mp4 0\n")
    file.with_name("classInd.txt").write_text("1 walk\n1 run\n")
    with pytest.raises(VideoError, match=r"labels beside list .* cannot be used: .*number 1"):
        list_videos(folder, LABELS, file)
    file.with_name("classInd.txt").write_text("1 sit\n2 stand\n")
    with pytest.raises(VideoError, match=r"no video of trainlist01\.txt, such as a\.mp4"):
        list_videos(folder, LABELS, file)
