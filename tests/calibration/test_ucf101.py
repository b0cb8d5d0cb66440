"""The videos that are found in folders of UCF101 and of data sets like it, and the errors."""

from __future__ import annotations

import shutil
from collections import Counter

import pytest
from video_folders import LABELS, LIST, NAMES, touch

from r2p_edge.calibration.ucf101 import check_unreadable, list_videos
from r2p_edge.errors import VideoError, VideoNotFoundError
from r2p_edge.export.labels import read_labels
from r2p_edge.export.presets import preset
from r2p_edge.spec.class_names import class_finder


def names(listing):
    return [video.name for video in listing.videos]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("list_name", "subset"), [("trainlist01", "train"), ("testlist01", "test")]
)
def test_official_lists_on_real_clips(data, list_name, subset):
    file = data / "splits" / f"{list_name}.txt"
    lines = [line.split()[0] for line in file.read_text().splitlines()]
    present = [name for name in lines if (data / "ucf101" / name).is_file()]
    for labels in (preset("ucf101-mindspore").labels, read_labels(data / "splits/classInd.txt")):
        listing = list_videos(data / "ucf101", labels, file)
        assert names(listing) == present
        assert present
        assert all(video.label == video.name.split("/")[0] for video in listing.videos)
        assert len(listing.missing) == len(lines) - len(present)
        assert (listing.foreign, listing.subset, listing.classes) == ((), subset, 101)


def test_every_class_of_the_official_lists_is_in_every_preset_and_index(data):
    lines = (data / "splits/trainlist01.txt").read_text().split()
    classes = {line.split("/")[0] for line in lines if "/" in line}
    for labels in (preset("ucf101-mindspore").labels, read_labels(data / "splits/classInd.txt")):
        assert sorted(map(class_finder(labels), classes)) == list(range(101))


@pytest.mark.parametrize(
    "text",
    [
        LIST,
        LIST.replace("\n", "\r\n"),
        b"\xef\xbb\xbf" + LIST.encode(),
        "\n\n" + LIST.replace("\n", " \n\n"),
        LIST.replace("/", "\\"),
        LIST.replace(".avi", ""),
        LIST.replace(".avi", ".MP4"),
        LIST.upper(),
        LIST + LIST,
        "".join(f"UCF-101/{line}\n" for line in LIST.splitlines()),
        LIST.replace(" ", "\t"),
    ],
    ids=[
        "plain",
        "crlf",
        "bom",
        "blank",
        "backslash",
        "bare",
        "mp4",
        "upper",
        "twice",
        "deep",
        "tab",
    ],
)
def test_forms_of_a_list(ucf101_folder, split, text):
    listing = list_videos(ucf101_folder, LABELS, split(text))
    assert names(listing) == list(NAMES)
    assert [video.label for video in listing.videos] == ["HandStandPushups", "Yo Yo", "Yo Yo"]
    assert [video.path.read_text() for video in listing.videos] == list(NAMES)
    assert (listing.missing, listing.foreign, listing.subset) == ((), (), "train")


def test_forms_of_a_folder(tmp_path, split):
    folder = touch(
        tmp_path / "set",
        "handstand_pushups/V_HandStandPushups_G01_C01.AVI",
        "YoYo/v_YoYo_g01_c01/00001.jpg",
        "YoYo/v_YoYo_g01_c03.mkv",
        "YoYo/v_YoYo_g01_c03/00001.jpg",
        "YoYo/._v_YoYo_g01_c04.avi",
        "YoYo/notes.txt",
        "YoYo/empty/notes.txt",
        ".hidden/v_hidden.avi",
        "readme.avi.txt",
    )
    touch(tmp_path / "elsewhere", "a.avi", "diving/my dive 7.mp4")
    (folder / "YoYo" / "v_YoYo_g01_c02.avi").symlink_to(tmp_path / "elsewhere" / "a.avi")
    (folder / "Diving").symlink_to(tmp_path / "elsewhere" / "diving")
    (folder / "YoYo" / "v_YoYo_g01_c09.avi").symlink_to(tmp_path / "nowhere")
    everything = [
        "Diving/my dive 7.mp4",
        "YoYo/v_YoYo_g01_c02.avi",
        "YoYo/v_YoYo_g01_c03.mkv",
        "YoYo/v_YoYo_g01_c01",
        "handstand_pushups/V_HandStandPushups_G01_C01.AVI",
    ]
    listing = list_videos(folder, LABELS)
    assert names(listing) == everything
    assert (listing.subset, listing.split, listing.split_sha256) == ("all", None, None)
    listed = list_videos(folder, LABELS, split(LIST + "Diving/my dive 7.avi 3\n"))
    assert names(listed) == [everything[index] for index in (4, 3, 1, 0)]


@pytest.mark.parametrize("listed", [False, True], ids=["folder", "list"])
@pytest.mark.parametrize("labels", [("C", "C++"), ("+", "-"), ("\u0915\u093e", "\u0915\u093f")])
def test_videos_of_such_classes_are_told_apart(tmp_path, split, labels, listed):
    every = [f"{label}/0001.avi" for label in labels]
    folder = touch(tmp_path / "set", *every)
    chosen = split("".join(f"{name} 1\n" for name in every)) if listed else None
    videos = list_videos(folder, labels, chosen).videos
    assert {(video.name, video.label) for video in videos} == set(zip(every, labels))


def test_what_is_missing_and_what_is_foreign(ucf101_folder, split):
    text = LIST + "YoYo/v_YoYo_g09_c01.avi 2\nArchery/v_Archery_g01_c01.avi 5\n"
    listing = list_videos(ucf101_folder, LABELS, split(text))
    assert names(listing) == list(NAMES)
    assert listing.missing == ("YoYo/v_YoYo_g09_c01.avi",)
    assert listing.foreign == ("Archery/v_Archery_g01_c01.avi",)
    with pytest.raises(VideoError, match=r"lacks 1 of the videos of trainlist01.txt.*g09_c01"):
        list_videos(ucf101_folder, LABELS, split(text), strict=True)
    assert list_videos(ucf101_folder, LABELS, split(LIST), strict=True).missing == ()
    touch(ucf101_folder, "Archery/v_Archery_g01_c01.avi")
    assert list_videos(ucf101_folder, LABELS).foreign == ("Archery/v_Archery_g01_c01.avi",)


@pytest.mark.parametrize("listed", [False, True], ids=["folder", "list"])
def test_a_class_that_is_misspelt(tmp_path, split, caplog, listed):
    """Another class is no misspelt one, and neither is a name of other case."""
    folder = touch(tmp_path / "data", "yoyo/a.avi", "Archery/b.avi", "Divng/c.avi")
    chosen = split("yoyo/a.avi YoYo\nArchery/b.avi Archery\nDivng/c.avi Divng\n")
    listing = list_videos(folder, LABELS, chosen if listed else None)
    assert listing.foreign == ("Archery/b.avi", "Divng/c.avi")
    (said,) = [record.getMessage() for record in caplog.records]
    assert (
        said == "Divng is no class of the model, and its videos are left out; did you mean Diving?"
    )


@pytest.mark.parametrize("frames", [False, True], ids=["files", "frame folders"])
@pytest.mark.parametrize("listed", [False, True], ids=["folder", "list"])
def test_one_level_too_high_or_too_deep(tmp_path, split, frames, listed):
    high = tmp_path / "data"
    folder = touch(high / "ucf", *(n[:-4] + "/1.png" if frames else n for n in NAMES))
    touch(high, "another/Archery/thing.avi", "other/thing.avi")
    chosen = split(LIST) if listed else None
    assert len(list_videos(folder, LABELS, chosen).videos) == 3
    with pytest.raises(VideoError, match=rf"but {folder} has; give that"):
        list_videos(high, LABELS, chosen)
    with pytest.raises(VideoError, match=rf"give the one above it, {folder}$"):
        list_videos(folder / "YoYo", LABELS, chosen)


def test_folders_without_videos(tmp_path):
    with pytest.raises(VideoError, match="has no video in a folder of a class"):
        list_videos(tmp_path, LABELS)
    for absent in (tmp_path / "absent", tmp_path / ("a" * 300)):
        with pytest.raises(VideoNotFoundError, match="there is no folder"):
            list_videos(absent, LABELS)
    touch(tmp_path, "Archery/a.avi")
    with pytest.raises(VideoError, match=r"no video of .* \(--split\)$"):
        list_videos(tmp_path, LABELS)


@pytest.mark.slow
def test_real_clips_as_other_containers_and_frames(data, tmp_path):
    """A list finds the same videos in any container, and as frames."""
    source = data / "ucf101"
    for number, path in enumerate(sorted((source / "YoYo").iterdir())):
        name = tmp_path / "yoyo" / path.name
        name.parent.mkdir(exist_ok=True)
        if number % 3 == 0:
            touch(name.with_suffix(""), "0001.jpg")
        else:
            shutil.copy(path, name.with_suffix((".MP4", ".mkv")[number % 2]))
    labels = preset("ucf101-mindspore").labels
    for list_name in ("trainlist01", "testlist01"):
        file = data / "splits" / f"{list_name}.txt"
        here, there = (list_videos(folder, labels, file) for folder in (tmp_path, source))
        yoyo = [video.path.stem for video in there.videos if video.label == "YoYo"]
        assert [video.path.stem for video in here.videos] == yoyo
        assert Counter(video.label for video in here.videos) == {"YoYo": len(yoyo)}


def test_every_container_is_a_video_and_the_rest_is_told(tmp_path, split, caplog):
    suffixes = (
        "mts",
        "FLV",
        "ogv",
        "m2ts",
        "asf",
        "gif",
        "vob",
        "mxf",
        "f4v",
        "3g2",
        "divx",
        "m2v",
    )
    videos = [f"YoYo/v_{suffix}.{suffix}" for suffix in suffixes]
    others = ["YoYo/a.dat", "YoYo/notes.txt", "YoYo/deep/b.avi", "YoYo/v_FLV.avi.md5"]
    folder = touch(tmp_path / "set", *videos, *others, "YoYo/._v_1.avi", "YoYo/.git/c.avi")
    touch(folder, "YoYo/v_gif.mp4")  # of two with one name the first counts
    listing = list_videos(folder, LABELS)
    assert sorted(names(listing)) == sorted(videos)
    assert sorted(listing.left_out) == [
        "YoYo/a.dat", "YoYo/deep", "YoYo/notes.txt", "YoYo/v_FLV.avi.md5", "YoYo/v_gif.mp4"
    ]  # fmt: skip
    (record,) = caplog.records
    assert f"{folder}: left out 5 files or folders" in record.getMessage()
    listed = list_videos(folder, LABELS, split("YoYo/a.dat 1\nYoYo/v_gif.mp4 1\nYoYo/deep 1\n"))
    assert names(listed) == ["YoYo/a.dat", "YoYo/v_gif.gif"]
    assert (listed.missing, listed.left_out) == (("YoYo/deep",), ())


def test_loops_of_links(tmp_path):
    folder = touch(tmp_path / "set", "YoYo/a.avi")
    (folder / "YoYo" / "up").symlink_to(folder)
    (folder / "YoYo" / "itself.avi").symlink_to("itself.avi")
    (folder / "around").symlink_to("around")
    listing = list_videos(folder, LABELS)
    assert names(listing) == ["YoYo/a.avi"]
    assert sorted(listing.left_out) == ["YoYo/itself.avi", "YoYo/up"]


@pytest.mark.parametrize(("failed", "total"), [(1, 20), (1, 2), (5, 100), (0, 1)])
def test_a_few_unreadable_videos_are_allowed(failed, total):
    check_unreadable([("a.avi", VideoError("cut off"))] * failed, total)
    more = [("a.avi", VideoError("a.avi is cut off"))] * (failed + 1)
    with pytest.raises(VideoError, match=f"{failed + 1} of {total} .* 5%.*: a.avi is cut off"):
        check_unreadable(more, total)
