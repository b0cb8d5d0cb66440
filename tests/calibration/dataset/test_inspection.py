"""The inspection of folders: what is found in them, and each fault in a sentence."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest
from datasets import record
from video_folders import touch
from videos import detailed

from r2p_edge.calibration.dataset.inspection import inspect_dataset
from r2p_edge.calibration.dataset.report import summary
from r2p_edge.calibration.dataset.tables import print_dataset
from r2p_edge.calibration.ucf101 import list_videos
from r2p_edge.errors import VideoError, VideoNotFoundError

SOUND = ("sit/v_g01_c01.mp4", "sit/v_g01_c02.mp4", "sit/v_g02_c01.mp4", "walk/x.mp4", "walk/y.mp4")


@pytest.fixture
def folder(tmp_path):
    """A sound data set of two classes, to which faults are added."""
    return record(tmp_path / "videos", *SOUND)


def test_a_sound_folder_has_no_fault(folder):
    seen = []
    report = inspect_dataset(folder, progress=lambda *step: seen.append(step))
    assert (report.errors, report.warnings) == ((), ())
    assert report.classes == ("sit", "walk")
    assert [video.name for video in report.videos] == sorted(SOUND)
    assert seen == [(done, 5) for done in range(1, 6)]
    sit, walk = (summary(report.of_class(label)) for label in report.classes)
    assert (sit["videos"], sit["groups"], walk["groups"]) == (3, 2, 2)
    assert sit["frames"] == {"min": 4, "median": 5, "max": 6, "total": 15}
    assert sit["seconds"]["total"] == pytest.approx(15 / 25)
    assert (sit["fps"], sit["sizes"]) == ({"25": 3}, {"64x48": 3})


def test_its_videos_are_those_of_eval(folder):
    record(folder, "sit/.hidden.mp4", ".cache/a.mp4", "sit/v_sit.mp4", "sit/v_sit.avi")
    (folder / "sit/down").mkdir()
    cv2.imwrite(str(folder / "sit/down/1.png"), np.zeros((48, 64, 3), np.uint8))
    record(folder.parent / "elsewhere", "a.mp4", "b.mp4")
    (folder / "run").symlink_to(folder.parent / "elsewhere")
    (folder / "walk/linked.mp4").symlink_to(folder.parent / "elsewhere/b.mp4")
    report = inspect_dataset(folder)
    listing = list_videos(folder, report.classes)
    assert {video.name for video in report.videos} == {video.name for video in listing.videos}
    assert report.left_out == listing.left_out == ("sit/v_sit.mp4",)
    assert report.classes == ("run", "sit", "walk")


def test_the_same_bytes_in_two_classes_are_an_error_with_both_paths(folder):
    shutil.copy(folder / "sit/v_g01_c01.mp4", folder / "walk/z.mp4")
    (error,) = inspect_dataset(folder).errors
    assert error.startswith("1 video is the same bytes in two classes, ")
    assert f"{folder}/sit/v_g01_c01.mp4 and {folder}/walk/z.mp4; delete the one in" in error


def test_the_same_bytes_in_one_class_are_a_warning(folder):
    shutil.copy(folder / "walk/x.mp4", folder / "walk/copy of x.mp4")
    report = inspect_dataset(folder)
    (warning,) = report.warnings
    assert report.errors == ()
    assert "more than once in one class, walk/copy of x.mp4 = walk/x.mp4; keep" in warning


@pytest.mark.parametrize("other", ["Walk", "walk ", "WALK"])
def test_two_classes_of_one_name_are_an_error(folder, other):
    record(folder, f"{other}/1.mp4", f"{other}/2.mp4", rate=30.0)
    (error,) = inspect_dataset(folder).errors
    assert f"{other!r}" in error
    assert "'walk'" in error
    assert "one name but for case, spaces or" in error


def test_broken_and_damaged_videos_are_told(folder):
    touch(folder, "walk/broken.mp4")
    path = detailed(folder / "sit/v_g03_c01.avi")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    report = inspect_dataset(folder)
    assert report.errors == ()  # one may be broken
    broken, damaged = report.warnings
    assert broken.startswith("1 video cannot be decoded and will not be used: ")
    assert "walk/broken.mp4 cannot be read as a video" in broken
    assert damaged.startswith("1 damaged video is used without its bad frames: sit/v_g03_c01.avi (")
    assert len(report.usable) == 6
    assert summary(report.videos)["broken"] == 1


def test_many_broken_videos_and_a_class_without_a_good_one_are_errors(folder):
    touch(folder, "run/1.mp4", "run/2.mp4")
    errors = inspect_dataset(folder).errors
    assert errors[0].startswith("no video of run can be decoded; ")
    assert errors[1].startswith("2 of 7 videos cannot be decoded, and no more than 5% may be; ")


def test_what_lies_elsewhere_is_told(folder):
    record(folder, "beside.mp4")
    touch(folder, "lists/train.txt")
    (folder / "walk/gone.mp4").symlink_to(folder / "nowhere")
    (folder / "gone").symlink_to(folder / "nowhere")
    assert inspect_dataset(folder).warnings == (
        "2 links lead nowhere: walk/gone.mp4, gone",
        "1 video lies in no folder of a class and so has no label: beside.mp4",
        "lists has no video in it and is not counted as a class",
    )


def test_one_class_and_classes_of_one_group_are_told(tmp_path):
    record(tmp_path, "sit/a_g1_c1.mp4", "sit/a_g1_c2.mp4")
    one, alone = inspect_dataset(tmp_path).warnings
    assert one == "sit is the only class, and a model tells apart two"
    assert alone.startswith("all videos of sit are of one group, so that none can be kept back")


def test_a_name_that_no_label_can_be_is_an_error(folder):
    record(folder, "two\nlines/1.mp4", "two\nlines/2.mp4", rate=30.0)
    (error,) = inspect_dataset(folder).errors
    assert error == (
        "'two\\nlines' cannot be the name of a class, which is one line of text; rename the folder"
    )


def test_a_link_to_another_class_is_the_same_bytes(folder):
    (folder / "run").symlink_to(folder / "walk")
    (error,) = inspect_dataset(folder).errors
    assert error.startswith("2 videos are the same bytes in two classes, ")


def test_flat_folders_and_folders_that_are_not_there(tmp_path):
    with pytest.raises(VideoNotFoundError, match="there is no folder"):
        inspect_dataset(tmp_path / "none")
    record(tmp_path, "walk_1.mp4", "sit_1.mp4")
    with pytest.raises(VideoError, match=r"2 videos beside each other, such as 'sit_1\.mp4'; put"):
        inspect_dataset(tmp_path)


def test_the_table(folder, capsys):
    touch(folder, "walk/broken.mp4")
    record(folder, "[red]/a\nb.mp4", "[red]/c.mp4", rate=12.5)
    print_dataset(inspect_dataset(folder))
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    frames = ["4", "to", "5", "(4)"]
    assert rows[2] == [
        "[red]",
        "2",
        "2",
        "0.3",
        "to",
        "0.4",
        "(0.4)",
        *frames,
        "12.5",
        "64x48",
        *"--",
    ]
    assert rows[4][:3] == ["walk", "3", "2"]
    assert rows[4][-1] == "1"
    assert rows[5][:4] == ["all", "3", "8", "6"]
