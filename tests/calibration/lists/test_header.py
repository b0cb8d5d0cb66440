"""Lists whose first line names the columns."""

from __future__ import annotations

import pytest
from video_folders import touch

from r2p_edge.calibration.split_file import read_split
from r2p_edge.calibration.ucf101 import list_videos
from r2p_edge.errors import VideoError

KINETICS = """label,youtube_id,time_start,time_end,split
"tying knot (not on a tie)",--4-0ihtnBU,58,68,validate
abseiling,--56QUhyDQM,185,195,validate
air drumming,-1IlTIWPNs4,1,11,validate
"""
LABELS = ("abseiling", "air drumming", "tying knot (not on a tie)")
ORDER = [LABELS[2], LABELS[0], LABELS[1]]


def test_kinetics_trimmed_and_flat(tmp_path, split):
    folder = touch(
        tmp_path / "set",
        "--4-0ihtnBU_000058_000068.mp4",
        "--56QUhyDQM_185_195.mkv",
        "-1IlTIWPNs4_000001_000011.mp4",
    )
    listing = list_videos(folder, LABELS, split(KINETICS, "validate.csv"))
    assert [video.label for video in listing.videos] == ORDER
    assert {video.part for video in listing.videos} == {None}  # cut already
    assert listing.subset == "test"


def test_kinetics_in_folders_of_classes(tmp_path, split):
    folder = touch(
        tmp_path / "set",
        "tying_knot_(not_on_a_tie)/--4-0ihtnBU_000058_000068.mp4",
        "abseiling/--56QUhyDQM_000185_000195.mp4",
    )
    listing = list_videos(folder, LABELS, split(KINETICS.replace("validate", "train"), "k.csv"))
    assert [video.label for video in listing.videos] == ORDER[:2]
    assert listing.missing == ("-1IlTIWPNs4_000001_000011",)
    assert listing.subset == "train"


def test_kinetics_whole_videos_have_the_range(tmp_path, split):
    folder = touch(tmp_path / "set", "--4-0ihtnBU.mp4", "--56QUhyDQM.mp4", "-1IlTIWPNs4.mp4")
    videos = list_videos(folder, LABELS, split(KINETICS, "val.csv")).videos
    assert [video.part for video in videos] == [(58.0, 68.0), (185.0, 195.0), (1.0, 11.0)]


@pytest.mark.parametrize(
    ("text", "label", "part"),
    [
        ("path,label\na.mp4,1\nb.mp4,0\n", "run", None),
        ("path label\na.mp4 1\nb.mp4 0\n", "run", None),
        ("video_name n_frames label\nb 40 0\na 40 1\n", "run", None),
        (",video_path,class_name\n0,x/a.mp4,Run\n", "run", None),
        ("clip_name,clip_path,label\na,/train/Run/a.mp4,run\n", "run", None),  # UCF101 on Kaggle
        ("filename\tclass_id\tclass\na.mp4\t0\trun\n", "run", None),
        ("video;label;start_time;end_time\na;run;2;7\n", "run", (2.0, 7.0)),
        ("video,label,start,end\na.mp4,run,2.0,7\n", "run", (2.0, 7.0)),
        ("YouTube Identifier,Start time,End time,Class label\na,2,7,run\n", "run", (2.0, 7.0)),
    ],
)
def test_names_of_columns(tmp_path, split, text, label, part):
    folder = touch(tmp_path / "set", "a.mp4", "b.mp4")
    (tmp_path / "labels.txt").write_text("walk\nrun\n")
    videos = {
        video.name: video for video in list_videos(folder, ("walk", "run"), split(text)).videos
    }
    assert (videos["a.mp4"].label, videos["a.mp4"].part) == (label, part)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "original_vido_id video_id frame_id path labels\na 0 0 a/1.jpg 3\n",
            "a line for each fra",
        ),
        ("org_video,label,start_frm,video_id\na.mp4,3,7,0\n", "whose ranges are in frames"),
        ("video,label,start,end\na.mp4,run,2,7\n", "may be in seconds or in frames; name the col"),
        ("video,label,start_time,end_time\na.mp4,run,7,2\n", "line 2 .* an end after it"),
        ("video,label,start_time,end_time\na.mp4,run,,\n", "line 2 .* expected a start in seconds"),
        ("path,label,split\na.mp4,run,train\nb.mp4,run,val\n", "of the splits train, val; give"),
        ("path,label\n", "there is no line of a video after it"),
    ],
)
def test_headers_that_are_refused(tmp_path, split, text, message):
    folder = touch(tmp_path / "set", "a.mp4", "b.mp4")
    with pytest.raises(VideoError, match=message):
        list_videos(folder, ("walk", "run"), split(text))


def test_a_list_without_labels_is_of_test_videos(split):
    assert (
        read_split(split("youtube_id,time_start,time_end\na,1,11\n", "k400.csv")).subset == "test"
    )
