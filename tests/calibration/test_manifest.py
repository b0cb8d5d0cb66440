"""The clips drawn for a calibration, and reading the same ones again."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import shutil
import sys
import tracemalloc
from collections import Counter

import cv2
import numpy as np
import pytest
from models import brightness_model, grey_frames, spec_of_brightness

from r2p_edge import Predictor
from r2p_edge.calibration import motion
from r2p_edge.calibration.manifest import Manifest, read_clips, sample_clips
from r2p_edge.calibration.ucf101 import list_videos
from r2p_edge.errors import CalibrationWarning, UsageError, VideoError, VideoNotFoundError
from r2p_edge.export.presets import preset

CLASSES = {"a": 5, "b": 1, "c": 3}


def write(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


@pytest.fixture
def folder(tmp_path):
    names = [f"{label}/v_{n}.avi" for label, count in CLASSES.items() for n in range(count)]
    return write(tmp_path / "set", names)


@pytest.fixture
def listing(folder):
    return list_videos(folder, tuple(CLASSES))


def names(manifest):
    return [video.name for video in manifest.videos]


@pytest.mark.parametrize("num_clips", range(3, 10))
def test_classes_take_turns(listing, num_clips):
    manifest = sample_clips(listing, num_clips=num_clips)
    assert manifest.clips == num_clips == len(set(names(manifest)))
    drawn = Counter(video.label for video in manifest.videos)
    # Nobody has more than one clip over another who has videos left.
    fewest = min(drawn[label] for label in CLASSES if drawn[label] < CLASSES[label] or label == "a")
    assert all(count <= fewest + 1 for count in drawn.values())
    assert {video.clips for video in manifest.videos} == {1}


def test_the_sample_is_the_same_everywhere(listing, tmp_path):
    # By the order of printf '0/c/v_1' | sha256sum and so on.
    expected = ["c/v_1.avi", "b/v_0.avi", "a/v_0.avi", "c/v_2.avi", "a/v_4.avi", "c/v_0.avi"]
    assert names(sample_clips(listing, num_clips=6)) == expected
    first = sample_clips(listing, num_clips=3)
    assert names(first) == expected[:3]
    others = {tuple(names(sample_clips(listing, num_clips=9, seed=seed))) for seed in range(20)}
    assert len(others) == 20
    stored_otherwise = [f"{name[0].upper()}/{name[2:-4]}.mp4" for name in expected]
    again = list_videos(write(tmp_path / "again", stored_otherwise), tuple(CLASSES))
    assert names(sample_clips(again, num_clips=6)) == stored_otherwise


def test_more_clips_than_videos(listing):
    few, many = (sample_clips(listing, num_clips=count) for count in (9, 21))
    assert names(many) == names(few)
    assert [video.clips for video in many.videos] == [3] * 3 + [2] * 6
    assert many.clips == 21


def test_classes_without_clips_are_reported(listing, folder):
    with pytest.warns(CalibrationWarning, match="the 2 calibration clips show 2 of the model's 3"):
        manifest = sample_clips(listing, num_clips=2)
    assert manifest.record()["classes_covered"] == 2
    with pytest.warns(CalibrationWarning, match="show 3 of the model's 4 classes"):
        sample_clips(list_videos(folder, (*CLASSES, "d")), num_clips=9)


def test_a_test_list_is_refused(folder, tmp_path):
    split = tmp_path / "testlist01.txt"
    split.write_text("a/v_0.avi\nb/v_0.avi\nc/v_0.avi\n")
    listing = list_videos(folder, tuple(CLASSES), split)
    with pytest.raises(UsageError, match=r"testlist01.txt is a test list .* give the train list"):
        sample_clips(listing, num_clips=3)
    assert sample_clips(listing, num_clips=3, force=True).record()["subset"] == "test"
    with pytest.raises(UsageError, match="num_clips is 0"):
        sample_clips(listing, num_clips=0, force=True)


def test_the_record_of_a_spec(folder, tmp_path):
    split = tmp_path / "trainlist01.txt"
    split.write_text("a/v_0.avi 1\nb/v_0.avi 2\nb/v_9.avi 2\nc/v_0.avi 3\nd/v_0.avi 4\n")
    manifest = sample_clips(list_videos(folder, tuple(CLASSES), split), num_clips=4, seed=7)
    record = manifest.record(unreadable=1)
    assert record == {
        "subset": "train", "split": "trainlist01.txt", "split_sha256": sha256sum(split),
        "seed": 7, "videos": 3, "clips": 4, "classes": 3, "classes_covered": 3, "missing": 1,
        "foreign": 1, "unreadable": 1, "manifest_sha256": manifest.digest(),
    }  # fmt: skip
    spec = spec_of_brightness(calibration=record)
    assert type(spec).from_json(spec.to_json()).calibration == record


def sha256sum(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_stored_and_read_again(listing, folder, tmp_path):
    manifest = sample_clips(listing, num_clips=9)
    assert [video.sha256 for video in manifest.videos] == [
        sha256sum(folder / name) for name in names(manifest)
    ]
    assert str(folder) not in manifest.to_json()
    again = Manifest.from_json(manifest.to_json())
    assert again == manifest
    digests = {manifest.digest()}
    other = write(tmp_path / "other", names(manifest))
    assert sample_clips(list_videos(other, tuple(CLASSES)), num_clips=9).digest() in digests
    (other / "a/v_0.avi").write_text("re-encoded")
    for each in (
        sample_clips(list_videos(other, tuple(CLASSES)), num_clips=9),
        sample_clips(listing, num_clips=10),
        sample_clips(listing, num_clips=9, seed=1),
    ):
        assert each.digest() not in digests
        digests.add(each.digest())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_file_names_that_are_no_text(tmp_path):
    write(tmp_path, ["a/x.avi"])
    (tmp_path / "a" / "x.avi").rename(tmp_path / "a" / os.fsdecode(b"\xff.avi"))
    manifest = sample_clips(list_videos(tmp_path, ["a"]), num_clips=1)
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert len(manifest.digest()) == 64
    split = tmp_path / os.fsdecode(b"train\xff.txt")
    split.write_bytes(b"a/x.avi 1\na/y.avi 1\n")
    write(tmp_path, ["a/y.avi"])
    record = sample_clips(list_videos(tmp_path, ["a"], split), num_clips=1).record()
    assert record["split"] == "train?.txt"
    spec = spec_of_brightness(calibration=record)
    assert type(spec).from_json(spec.to_json()).calibration == record


def changed(manifest, **changes):
    return json.dumps({**json.loads(manifest.to_json()), **changes})


def test_what_is_no_manifest(listing):
    manifest = sample_clips(listing, num_clips=3)
    video = json.loads(manifest.to_json())["videos"][0]
    # Python 3.13 reads what is nested deeper than anything can write.
    deep = functools.reduce(lambda inner, _: [inner], range(500), [])
    for text in (
        "", "[]", "{}", "\xff".encode("latin-1"), "[" * 100_000,
        changed(manifest, format=2),
        changed(manifest, colour="red"),
        changed(manifest, videos=[{**video, "clips": 0}]),
        changed(manifest, videos=[{**video, "clips": 1.5}]),
        changed(manifest, videos=[{**video, "sha256": "0"}]),
        changed(manifest, videos=["a/v_0.avi"]),
        changed(manifest, split=deep),
        changed(manifest, missing=[]),
        changed(manifest, subset=None),
        changed(manifest, videos=[{**video, "label": deep}]),
    ):  # fmt: skip
        with pytest.raises(VideoError, match=r"m.json is not a manifest of calibration clips"):
            Manifest.from_json(text, "m.json")


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "v.mp4"
    motion.write_video(motion.scene("test", 0), path, height=48, width=64)
    return path


@pytest.fixture
def videos(video, tmp_path):
    """Twenty videos of two classes."""
    for number in range(20):
        path = tmp_path / "videos" / "ab"[number % 2] / f"v_{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(video, path)
    return tmp_path / "videos"


SPEC = spec_of_brightness()


def drawn(folder, num_clips=20):
    return sample_clips(list_videos(folder, ["a", "b"]), num_clips=num_clips)


def test_the_clips_are_what_a_predictor_shows(videos, tmp_path):
    manifest = drawn(videos, 50)
    clips = list(read_clips(manifest, videos, SPEC))
    assert [clip.shape for clip in clips] == [(4, 8, 8, 3)] * 50
    with Predictor(brightness_model(tmp_path / "model.onnx")) as predictor:
        expected = [
            clip
            for sampled in manifest.videos
            for clip in predictor.pixels(videos / sampled.name, clips=sampled.clips)
        ]
    np.testing.assert_array_equal(clips, expected)
    three = clips[:3]
    assert not any(np.array_equal(*pair) for pair in itertools.combinations(three, 2))


@pytest.mark.slow
def test_real_clips(data):
    spec = preset("ucf101-mindspore").spec(name="real")
    folder = data / "ucf101"
    listing = list_videos(folder, spec.labels, data / "splits/trainlist01.txt")
    with pytest.warns(CalibrationWarning, match="show 2 of the model's 101 classes"):
        manifest = sample_clips(listing, num_clips=len(listing.videos) + 3)
    clips = list(read_clips(Manifest.from_json(manifest.to_json()), folder, spec))
    assert len(clips) == manifest.clips == len(listing.videos) + 3
    assert all(clip.shape == (16, 112, 112, 3) and clip.std() > 10 for clip in clips)


def test_frame_folders(tmp_path):
    frames = grey_frames(range(0, 70, 10))
    folder = tmp_path / "a" / "v_0"
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{number}.png"), frame)
    manifest = sample_clips(list_videos(tmp_path, ["a"]), num_clips=1)
    (clip,) = read_clips(manifest, tmp_path, SPEC)
    assert clip[:, 0, 0, 0].tolist() == [0, 20, 40, 60]
    (folder / "notes.txt").touch()
    assert len(list(read_clips(manifest, tmp_path, SPEC))) == 1
    (folder / "6.png").rename(folder / "7.png")
    with pytest.raises(VideoError, match="is not the file that was sampled"):
        list(read_clips(manifest, tmp_path, SPEC))


def test_other_files_than_were_sampled(videos):
    manifest = drawn(videos)
    name = manifest.videos[4].name
    with (videos / name).open("ab") as file:
        file.write(b"\0")
    reading = read_clips(manifest, videos, SPEC)
    assert len(list(itertools.islice(reading, 4))) == 4
    with pytest.raises(VideoError, match=rf"{name} is not the file that was sampled"):
        next(reading)
    (videos / name).unlink()
    with pytest.raises(VideoNotFoundError, match=rf"there is no video .*{name}"):
        list(read_clips(manifest, videos, SPEC))


def test_unreadable_videos(videos):
    (videos / "a/v_0.mp4").write_text("no video")
    manifest, failed = drawn(videos), []
    assert len(list(read_clips(manifest, videos, SPEC, failed=failed))) == 19
    ((name, error),) = failed
    assert name == "a/v_0.mp4"
    assert "v_0.mp4 cannot be read as a video" in str(error)
    (videos / "b/v_1.mp4").write_bytes(b"")
    with pytest.raises(VideoError, match="2 of 20 videos cannot be read"):
        list(read_clips(drawn(videos), videos, SPEC))


def test_memory_does_not_grow_with_the_clips(videos):
    spec = preset("kinetics400-torchvision").spec(name="large")

    def peak(count):
        manifest = drawn(videos, count)
        tracemalloc.start()
        for _ in read_clips(manifest, videos, spec):
            pass
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(2)  # what is loaded and cached once
    assert peak(20) < 1.5 * peak(2)


def test_parts_of_videos(tmp_path):
    """The same file may be in the sample with several parts, and is read in that part again."""
    for number, image in enumerate(grey_frames(range(100))):
        (tmp_path / "set" / "long").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "set" / "long" / f"{number}.png"), image)
    split = tmp_path / "train.txt"
    spec = spec_of_brightness()
    (tmp_path / "labels.txt").write_text("\n".join(spec.labels))
    split.write_text("long 0 0.0 1.0\nlong 1 1.0 2.0\n")
    with pytest.warns(CalibrationWarning):
        manifest = sample_clips(list_videos(tmp_path / "set", spec.labels, split), num_clips=2)
    stored = json.loads(manifest.to_json())
    assert sorted(video["part"] for video in stored["videos"]) == [[0.0, 1.0], [1.0, 2.0]]
    again = Manifest.from_json(manifest.to_json())
    assert again == manifest
    clips = read_clips(again, tmp_path / "set", spec)
    assert {v.label: clip[:, 0, 0, 0].tolist() for v, clip in zip(again.videos, clips)} == {
        "frame 0": [9, 11, 13, 15], "frame 1": [34, 36, 38, 40],
    }  # fmt: skip
    split.write_text("long 0 3.5\n")  # to its end, which JSON has no number for
    with pytest.warns(CalibrationWarning):
        manifest = sample_clips(list_videos(tmp_path / "set", spec.labels, split), num_clips=1)
    assert json.loads(manifest.to_json())["videos"][0]["part"] == [3.5, None]
    again = Manifest.from_json(manifest.to_json())
    assert again == manifest
    (clip,) = read_clips(again, tmp_path / "set", spec)
    assert clip[:, 0, 0, 0].tolist() == [90, 92, 94, 96]


def test_a_manifest_without_parts_has_none(listing):
    assert "part" not in sample_clips(listing, num_clips=3).to_json()
