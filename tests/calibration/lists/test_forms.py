"""Lists without a header, with the lines that other programs' pages show."""

from __future__ import annotations

import math

import pytest
from video_folders import NAMES, touch

from r2p_edge.calibration.split_file import read_split
from r2p_edge.calibration.ucf101 import list_videos
from r2p_edge.errors import VideoError

LABELS = ("HandStandPushups", "Yo Yo", "Diving")


@pytest.mark.parametrize(
    ("line", "form"),
    [
        ("{name} {number}", "path label"),  # mmaction2, SlowFast, PyTorchVideo, VideoMAE
        ("{name},{number}", "path label"),  # UniFormer, Video-FocalNets
        ("{name}\t{number}", "path label"),
        ("{name};{number}", "path label"),
        ("{name}, {number}", "path label"),
        ('"{name}",{number}', "path label"),
        ('"{name}" {number}', "path label"),
        ("{name} 40 {number}", "path frames label"),  # mmaction2's and TSM's raw frames
        ("{name},40,{number}", "path frames label"),
        ("{name} {number} 0.0 1.2", "path label start end"),  # DALI
        ("{name} {number} 0 1.5", "path label start end"),
        ("{name} {number} 0.5", "path label start"),
        ("{name},{label}", "path label"),
        ("{name} {label}", "path label"),
        ("{name}\t{label}", "path label"),
        ("{name},40,{label}", "path frames label"),
        ("{name},{label},0.0,1.2", "path label start end"),
        ("/mnt/data/UCF-101/{name} {number}", "path label"),
        ("C:\\data\\UCF-101\\{back},{number}", "path label"),
        ("./{name} {number}", "path label"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["unix", "windows"])
def test_forms_of_a_line(ucf101_folder, split, line, form, end):
    numbers, words = (1, 2, 2), ("HandstandPushups", "yo yo", "yo yo")
    lines = [
        line.format(name=name, number=number, label=label, back=name.replace("/", "\\"))
        for name, number, label in zip(NAMES, numbers, words)
    ]
    file = split(b"\xef\xbb\xbf" + (end.join(lines) + end).encode(), "val.txt")
    assert read_split(file).form == form
    listing = list_videos(ucf101_folder, LABELS, file)
    assert [video.name for video in listing.videos] == list(NAMES)
    assert [video.label for video in listing.videos] == ["HandStandPushups", "Yo Yo", "Yo Yo"]
    assert (listing.missing, listing.foreign, listing.subset) == ((), (), "test")


@pytest.mark.parametrize("line", ["{} 40 2", "{},2", "{} 2", "{} 2 0.0 1.2", "{} Diving"])
def test_names_with_spaces_and_digits(tmp_path, split, line):
    folder = touch(tmp_path / "set", *(f"Diving/take {number}.mp4" for number in range(3)))
    names = [f"my dives/Diving/take {number}.mp4" for number in range(3)]
    listing = list_videos(folder, LABELS, split("\n".join(map(line.format, names))))
    assert [video.path.name for video in listing.videos] == [f"take {k}.mp4" for k in range(3)]
    assert {video.label for video in listing.videos} == {"Diving"}


def test_ranges_of_one_file(tmp_path, split):
    """DALI labels several parts of a file, which may be of several classes."""
    folder = touch(tmp_path / "set", "long.mp4")
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    text = "long.mp4 0 0.0 1.2\nlong.mp4 2 1.2 4\nlong.mp4 2 4.0 9.5\nlong.mp4 2 4.0 9.5\n"
    videos = list_videos(folder, LABELS, split(text)).videos
    assert [(video.label, video.part) for video in videos] == [
        ("HandStandPushups", (0.0, 1.2)), ("Diving", (1.2, 4.0)), ("Diving", (4.0, 9.5)),
    ]  # fmt: skip
    (open_end,) = list_videos(folder, LABELS, split("long.mp4 0 2.5\n")).videos
    assert open_end.part == (2.5, math.inf)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a.mp4 0 0 100\n",
            "may be path label start end of DALI, in seconds or in frames, or path",
        ),
        ("a.mp4,walk,0,100\n", "may be path label start end, in seconds or in frames"),
        ("a.mp4 0 -1\n", "form path number negative number; expected one of path; path label"),
        ("a.mp4 40 1 3 5\n", "form path number number number number; expected one of"),
        ("a.mp4 0 4.0 4.0\n", "path label start end; the end must come after the start"),
        ("a.mp4 0 9.5 4\n", "path label start end; the end must come after the start"),
        ("a.mp4,3.0\n", "form path seconds; expected one of"),
        ("walk,a.mp4\nrun,b.mp4\n", "with a video in column 2; expected it in the first"),
        ("a.mp4 0 1e0 2e0\n", "such as a.mp4, read as path frames label, is of a class that"),
        ("a.mp4,walk,fast\n", "form path text text; expected one of"),
        ("0 abseiling\n1 air drumming\n", "not a list of classes such as classInd.txt"),
        ("1 ApplyEyeMakeup\n2 ApplyLipstick\n", "not a list of classes such as classInd.txt"),
        ('{"a.mp4": {"label": "walk"}}', "is JSON; expected a text file with a line for each"),
        ('[{"id": "78687", "label": "walk"}]', "is JSON; expected a text file"),
        ("a.mp4 " + "1 " * 9999 + "\n", "line 1 .* has 20003 characters"),
    ],
)
def test_lines_in_doubt_are_refused_by_their_form(tmp_path, split, text, message):
    folder = touch(tmp_path / "set", "a.mp4", "walk/b.mp4")
    with pytest.raises(VideoError, match=message):
        list_videos(folder, ("walk", "run"), split(text))
