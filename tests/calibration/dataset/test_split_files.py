"""Lists of a split: their text, and that eval and calibrate find the same videos by them."""

from __future__ import annotations

import re

import pytest
from datasets import report_of_names
from video_folders import touch

from r2p_edge.calibration.dataset.split_files import write_split
from r2p_edge.calibration.dataset.splitting import split_by_groups
from r2p_edge.calibration.manifest import sample_clips
from r2p_edge.calibration.ucf101 import list_videos
from r2p_edge.errors import OutputError, UsageError, VideoError
from r2p_edge.export.labels import read_labels

PLAIN = tuple(f"{label}/v_{label}_g{n:02}_c01.avi" for label in ("YoYo", "Biking") for n in (1, 2))


def splits(folder, *names):
    """Create the files; return the report on them, and a split."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    report = report_of_names(*names, folder=folder)
    return report, split_by_groups(report, test_share=0.5)


def test_the_lists_are_in_the_form_of_ucf101(tmp_path, data):
    report, split = splits(tmp_path / "videos", *PLAIN)
    files = write_split(report, split, tmp_path / "lists" / "01")
    (one, other), test = split.train, split.test
    assert [path.read_text() for path in files] == [
        f"{one.name} 1\n{other.name} 2\n",
        f"{test[0].name}\n{test[1].name}\n",
        "1 Biking\n2 YoYo\n",
    ]
    forms = (r"\w+/v_\w+_g\d\d_c\d\d\.avi \d+", r"\w+/v_\w+_g\d\d_c\d\d\.avi", r"\d+ \w+")
    for path, form in zip(files, forms):
        for text in (path.read_text(), (data / "splits" / path.name).read_text()):
            assert all(re.fullmatch(form, line.rstrip()) for line in text.splitlines()), path


ODD = (
    ("no fall/a b.mp4", "no fall/c d.mp4"),
    ("=a, b/c, d.mp4", "=a, b/e;f.mp4"),
    ("stürzt 2/ünï 3.mp4", "stürzt 2/x.mp4"),
    ("1/1.mp4", "1/2.mp4"),
    ("2/1 1.mp4", "2/2 2.mp4"),
    ("person's/it's.mp4", "person's/b.mp4"),
    ('quoted "x"/a.mp4', 'quoted "x"/b.mp4'),
    ("frames/clip 01/1.jpg", "frames/clip 02/1.jpg"),
    ("name/video/1.jpg", "name/clip/1.jpg"),
    ("# x/# y.mp4", "# x/z.mp4"),
)


@pytest.mark.parametrize("odd", [*ODD, sum(ODD, ())], ids=lambda odd: f"{odd[0]}-{len(odd)}")
def test_odd_names_are_read_as_they_were_written(tmp_path, odd):
    folder = touch(tmp_path / "videos", *odd, *PLAIN)
    names = [name.removesuffix("/1.jpg") for name in (*odd, *PLAIN)]
    report = report_of_names(*names, folder=folder)
    split = split_by_groups(report, test_share=0.5)
    train, test, index = write_split(report, split, tmp_path)
    assert read_labels(index) == read_labels(folder) == report.classes
    for path, side, subset in ((train, split.train, "train"), (test, split.test, "test")):
        listing = list_videos(folder, report.classes, path, strict=True)
        assert listing.subset == subset
        found = [(video.name, video.label) for video in listing.videos]
        assert found == [(video.name, video.label) for video in side]
        assert len(found) == len(names) // 2
    assert sample_clips(list_videos(folder, report.classes, train), num_clips=24).clips == 24


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("a/x\ny.mp4", "a/z.mp4"), r"'a/x\\ny\.mp4'"),
        (("a/x\\y.mp4", "a/z.mp4"), r"a/x\\y\.mp4"),
        (('"a"/x, y.mp4', '"a"/z.mp4'), r'"a"/x, y\.mp4'),
        (("a/x\udcff.mp4", "a/z.mp4"), r"'a/x\\udcff\.mp4'"),
        (("a/ x.mp4", " b/x.mp4", " b/y.mp4"), r"' b'"),
    ],
    ids=repr,
)
def test_a_name_that_no_list_can_have_is_told(tmp_path, names, told):
    report, split = splits(tmp_path / "videos", *PLAIN, *names)
    with pytest.raises(VideoError, match=f"cannot name .*{told}.*; rename "):
        write_split(report, split, tmp_path / "lists")
    assert not (tmp_path / "lists").exists()


def test_other_lists_are_replaced_only_if_asked(tmp_path):
    report, split = splits(tmp_path / "videos", *PLAIN)
    files = write_split(report, split, tmp_path)
    assert write_split(report, split, tmp_path) == files
    files[1].write_text("another list\n")
    with pytest.raises(UsageError, match=r"testlist01\.txt is there and is another list; give"):
        write_split(report, split, tmp_path)
    assert files[1].read_text() == "another list\n"
    write_split(report, split, tmp_path, replace=True)
    assert len(files[1].read_text().splitlines()) == 2


def test_a_place_that_cannot_be_written(tmp_path):
    report, split = splits(tmp_path / "videos", *PLAIN)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file cannot be made"):
        write_split(report, split, tmp_path / "file")
    (tmp_path / "classInd.txt").mkdir()
    with pytest.raises(OutputError, match="it is a folder; give the name of a file"):
        write_split(report, split, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.is_file() and path.name != "file"]
