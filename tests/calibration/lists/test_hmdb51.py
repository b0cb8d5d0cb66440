"""HMDB51's split files."""

from __future__ import annotations

import pytest
from video_folders import touch

from r2p_edge.calibration.ucf101 import list_videos
from r2p_edge.errors import VideoError

LABELS = ("brush_hair", "cartwheel")
FILES = {
    "brush_hair": "April_09_brush_hair_u_nm_np1_ba_goo_0.avi 1 \n"
    "[Brushing]_hair;_one_brush_hair_f_nm_np2_ba_goo_2.avi 2 \n"
    "sarah_brush_hair_h_cm_np1_ri_goo_0.avi 0 \n",
    "cartwheel": "Acrobacias_de_un_fenomeno_cartwheel_f_cm_np1_ba_bad_8.avi 2 \n",
}


@pytest.fixture
def videos(tmp_path):
    names = [f"{label}/{line.split()[0]}" for label, text in FILES.items()
             for line in text.splitlines()]  # fmt: skip
    return touch(tmp_path / "hmdb51_org", *names)


@pytest.fixture
def splits(tmp_path):
    folder = tmp_path / "splits"
    folder.mkdir()
    for label, text in FILES.items():
        (folder / f"{label}_test_split1.txt").write_text(text)
    return folder


def test_a_folder_of_them(videos, splits):
    test = list_videos(videos, LABELS, splits)
    assert [(video.name[:15], video.label) for video in test.videos] == [
        ("brush_hair/[Bru", "brush_hair"), ("cartwheel/Acrob", "cartwheel"),
    ]  # fmt: skip
    assert (test.subset, test.split, test.missing) == ("test", "splits", ())
    train = list_videos(videos, LABELS, splits, subset="train")
    assert [video.name[:16] for video in train.videos] == ["brush_hair/April"]
    assert train.subset == "train"
    assert len(train.split_sha256) == 64
    (splits / "cartwheel_test_split1.txt").write_text("other.avi 2\n")
    assert list_videos(videos, LABELS, splits).split_sha256 != test.split_sha256


def test_one_of_them(videos, splits):
    listing = list_videos(videos, LABELS, splits / "brush_hair_test_split1.txt")
    assert [video.name[:13] for video in listing.videos] == ["brush_hair/[B"]


def test_flat_videos(tmp_path, splits):
    names = [line.split()[0] for text in FILES.values() for line in text.splitlines()]
    listing = list_videos(touch(tmp_path / "flat", *names), LABELS, splits)
    assert [video.label for video in listing.videos] == ["brush_hair", "cartwheel"]


def test_what_is_refused(videos, splits, tmp_path):
    (splits / "chew_test_split1.txt").write_text("a.avi 3\n")
    with pytest.raises(VideoError, match=r"'a.avi 3'; expected the name of a video and 0, 1"):
        list_videos(videos, LABELS, splits)
    (splits / "chew_test_split2.txt").write_text("a.avi 1\n")
    with pytest.raises(VideoError, match=r"the splits 1, 2; give a folder with those of one"):
        list_videos(videos, LABELS, splits)
    with pytest.raises(VideoError, match="a folder without split files such as HMDB51's"):
        list_videos(videos, LABELS, videos)


@pytest.mark.parametrize("name", ["{}", "brush_hair/{}"])
def test_the_same_lines_under_another_name(videos, split, name):
    """Their 1 and 2 are train and test, and no class."""
    text = "".join(name.format(line) + "\n" for line in FILES["brush_hair"].splitlines())
    with pytest.raises(VideoError, match=r"of the form path label, whose numbers are not those of"):
        list_videos(videos, LABELS, split(text, "val.txt"))
