"""Label files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from paths import ROOT
from video_folders import touch

from r2p_edge.errors import SpecError
from r2p_edge.export.labels import read_labels
from r2p_edge.export.presets import preset

KINETICS = ("abseiling", "air drumming", "tying bow tie")


def test_ucf101_labels_in_both_orders(data: Path) -> None:
    official = read_labels(data / "splits" / "classInd.txt")
    shipped = ROOT / "r2p_edge" / "assets" / "labels" / "ucf101.txt"
    assert read_labels(shipped) == official
    mindspore = preset("ucf101-mindspore").labels
    # research/cv/r2plus1d/src/dataset.py: sorted directory names, so capitals come first.
    assert mindspore == tuple(sorted(official))
    swapped = [i for i, pair in enumerate(zip(mindspore, official)) if pair[0] != pair[1]]
    assert swapped == [34, 35, 46, 47]


def test_kinetics_labels_in_the_data_sets_order(data: Path) -> None:
    expected = read_labels(data / "splits" / "kinetics400_label_map.txt")
    assert preset("kinetics400-gluoncv").labels == expected


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("walk\nrun\n", ("walk", "run")),
        ("\ufeff# source: a paper\n# two\n\n walk \r\n\r\n#1 fan\n", ("walk", "#1 fan")),
        ("1 ApplyEyeMakeup\r\n2 ApplyLipstick\r\n", ("ApplyEyeMakeup", "ApplyLipstick")),
        ("1 b\n0 a\n", ("a", "b")),
        ("100 metres\n200 metres\n", ("100 metres", "200 metres")),
        ("1 mile\n100 metres\n", ("1 mile", "100 metres")),
        ("3 pointers\n4 pointers\n", ("3 pointers", "4 pointers")),
        ("1 on 1\n2 on 2\n", ("1 on 1", "2 on 2")),
        ("0 abseiling\n1 air drumming\n2 tying bow tie\n", KINETICS),
        ("1 abseiling\n3 tying bow tie\n2 air drumming\n", KINETICS),
        ("0\tabseiling\n1\tair drumming\n2\ttying bow tie\n", KINETICS),
        ("0: abseiling\n1: air drumming\n2: tying bow tie\n", KINETICS),
        ("1. abseiling\n2. air drumming\n3. tying bow tie\n", KINETICS),
        ("id,name\n0,abseiling\n1,air drumming\n2,tying bow tie\n", KINETICS),
        ('label,id\r\n"tying bow tie",2\r\nabseiling,0\r\nair drumming,1\r\n', KINETICS),
        ("class_id class_name\n0 abseiling\n1 air drumming\n2 tying bow tie\n", KINETICS),
        ("abseiling 0\ntying bow tie 2\nair drumming 1\n", KINETICS),
        ('"abseiling" 0\n"air drumming" 1\n"tying bow tie" 2\n', KINETICS),
        ('"abseiling"\n"air drumming"\n"tying bow tie"\n', KINETICS),
        ('0,"cut, fast"\n1,wait\n', ("cut, fast", "wait")),
        ("0 no fall\n1 fall down\n", ("no fall", "fall down")),
        ("player 1\nplayer 2\n", ("player 1", "player 2")),
        ("left hand 1\nright hand 1\n", ("left hand 1", "right hand 1")),
        ("turn 90\nturn 180\n", ("turn 90", "turn 180")),
        ("cut, fast\nwait, then cut\n", ("cut, fast", "wait, then cut")),
        ("class name\nwalk\n", ("class name", "walk")),
        ('["walk", "run"]', ("walk", "run")),
        ('["0", "1"]', ("0", "1")),
        ('["walk, slowly"]', ("walk, slowly",)),
        ("- walk\nrun -\n", ("- walk", "run -")),
        ('{"\\"air drumming\\"": 1, "abseiling": 0, "tying bow tie": 2}', KINETICS),
        ('{"air_drumming": "1", "abseiling": "0"}', ("abseiling", "air_drumming")),
        ('{"1": "run", "0": "walk"}', ("walk", "run")),
        ('{"run": 1, "walk": 0}', ("walk", "run")),
    ],
)
def test_label_files(tmp_path: Path, text: str, labels: tuple[str, ...]) -> None:
    (tmp_path / "labels.txt").write_bytes(text.encode())
    assert read_labels(tmp_path / "labels.txt") == labels


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no label"),
        ("# only a header\n", "no label"),
        ("[]", "no label"),
        ("walk\nrun\nwalk\n", "walk occurs more than once"),
        ("1 walk\n2 run\n4 jump\n", r"number 4 \(jump\) was found where 3 was expected"),
        ("1 walk\n1 run\n", r"number 1 \(walk\) was found where 2 was expected"),
        ("1 walk fast\n2 run\n4 jump up\n", r"number 4 \(jump up\) was found where 3"),
        ("walk fast 0\nrun 1\njump up 3\n", r"number 3 \(jump up\) was found where 2"),
        ("0,walk fast\n7,run\n", r"number 7 \(run\) was found where 1 was expected"),
        ("0,cut, fast\n1,wait, then cut\n", "has 3 columns; expected a number and a name"),
        ('{"0": "walk", "2": "run"}', "where 1 was expected"),
        ('{"walk": 0, "run": 0}', "where 1 was expected"),
        ('{"walk": 1, "run": 2}', "where 0 was expected"),
        ('{"walk": true}', "JSON labels are"),
        ("[1, 2]", "JSON labels are"),
        ('["walk",', "not valid JSON"),
        ('{"' + "9" * 5000 + '": "walk"}', "an index has 5000 digits"),
        ('{"walk": ' + "9" * 5000 + "}", "not valid JSON|where 0 was expected"),
        ("9" * 5000 + " walk\n", "an index has 5000 digits"),
        ("0\n1\n2\n3\n4\n", r"lines are numbers alone \(0, 1, 2\), and names .*JSON list"),
        ("walk,sit,fall\n", "a single line with commas .*; write each name on a line of its own"),
        ("nc: 2\nnames: [walk, sit]\n", "it is YAML, which is not read here; write the names"),
        ("path: data\nnames:\n  0: walk\n  1: sit\n", "it is YAML"),
        ("- walk\n- sit\n", "it is YAML"),
    ],
)
def test_label_files_with_mistakes(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(text)
    with pytest.raises(SpecError, match=message) as caught:
        read_labels(path)
    assert "labels.txt" in str(caught.value)
    assert "\n" not in json.dumps(str(caught.value))


def test_label_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match=r"none\.txt cannot be read \(No such file.*\); check the p"
    ):
        read_labels(tmp_path / "none.txt")
    (tmp_path / "labels.txt").write_bytes(b"PK\x03\x04\x00\x00name")
    with pytest.raises(
        SpecError, match=r"labels\.txt cannot be read: it has bytes of zero, as no te"
    ):
        read_labels(tmp_path / "labels.txt")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_labels_that_windows_saved(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "labels.txt").write_bytes("gehen\r\nfüllen\r\n".encode(encoding))
    assert read_labels(tmp_path / "labels.txt") == ("gehen", "füllen")


def test_a_folder_of_classes_in_place_of_a_label_file(tmp_path: Path) -> None:
    folder = tmp_path / "data set"
    touch(folder, "walk/1.mp4", "Sit down/a/2.jpg", "Sit down/b/2.jpg", ".cache/3.mp4", "list.txt")
    (tmp_path / "elsewhere").mkdir()
    touch(tmp_path / "elsewhere", "4.avi")
    (folder / "fällt").symlink_to(tmp_path / "elsewhere")
    assert read_labels(folder) == ("Sit down", "fällt", "walk")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a/1.mp4", "b/2.mp4", "lists/c.txt"), r"without a video in them: 'lists'; move them"),
        (("Walk/1.mp4", "walk/2.mp4"), r"classes 'Walk' and 'walk', which are one name but for"),
        (("1.mp4", "2.mp4"), r"2 videos beside each other, such as '1\.mp4'; put each into a fo"),
        (("train/a/1.mp4", "train/b/2.mp4"), r"no folder for each class, but .*train has; give"),
        (("a/1.txt",), r"has no video in a folder of a class; expected files such as <Class>/<v"),
    ],
)
def test_folders_that_are_refused(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(SpecError, match=f"cannot be taken from this folder: .*{message}"):
        read_labels(touch(tmp_path, *names))
