"""Clips to calibrate on and to compare on."""

import dataclasses
import shutil

import numpy as np
import pytest
from requirements import needs

from r2p_edge.artifact.files import sha256_of_file
from r2p_edge.artifact.open import open_artifact
from r2p_edge.calibration import manifest, motion
from r2p_edge.calibration.clipset import clips_for
from r2p_edge.calibration.learnt import learnt_record
from r2p_edge.calibration.manifest import sample_clips
from r2p_edge.calibration.ucf101 import list_videos
from r2p_edge.video.clip_reader import ClipReader

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("safetensors")]


@pytest.mark.slow
def test_clips_of_a_folder(motion_model, videos):
    spec = open_artifact(motion_model).spec
    chosen = clips_for(spec, videos, num_clips=12, judged=6)
    calibration, judged = list(chosen.calibration()), list(chosen.judged())
    assert (len(calibration), len(judged), chosen.held_out) == (12, 6, True)
    assert chosen.record()["manifest_sha256"]
    shown = {clip.tobytes() for clip in calibration}
    assert not shown & {clip.tobytes() for clip, _ in judged}
    again = clips_for(spec, videos, num_clips=12, judged=6)
    assert {clip.tobytes() for clip in again.calibration()} == shown
    # Where none are left, they are the same ones, which is told.
    every = clips_for(spec, videos, num_clips=30, judged=6)
    assert (every.count, every.held_out, len(list(every.judged()))) == (30, False, 6)


@pytest.mark.filterwarnings("ignore::r2p_edge.errors.CalibrationWarning")
@pytest.mark.parametrize(("num_clips", "unused"), [(4, 4), (8, 0)], ids=["some", "all"])
def test_videos_outside_the_list_are_measured_on_first(
    motion_model, videos, tmp_path, num_clips, unused
):
    spec = open_artifact(motion_model).spec
    every = [video.name for video in list_videos(videos, spec.labels).videos]
    split = tmp_path / "trainlist.txt"
    split.write_text("".join(f"{name} {name.partition('/')[0]}\n" for name in every[:8]))
    outside = len(every) - 8
    for wanted in (2, outside, 1000):
        chosen = clips_for(spec, videos, split, num_clips=num_clips, judged=wanted)
        expected = min(wanted, outside + unused)
        assert (chosen.held_out, chosen.judged_count) == (True, expected)
        assert chosen.outside == min(wanted, outside)
        assert len(list(chosen.judged())) == expected
    assert clips_for(spec, videos, num_clips=num_clips).outside == 0


def taught_on(spec, videos):
    """Return the contract of a model that was trained on some videos."""
    record = learnt_record([sha256_of_file(video.path) for video in videos], None)
    return spec.replace(source={"training": record})


@pytest.mark.filterwarnings("ignore::r2p_edge.errors.CalibrationWarning")
def test_videos_that_the_model_was_trained_on_are_measured_on_where_there_are_no_others(
    motion_model, videos
):
    spec = open_artifact(motion_model).spec
    every = list_videos(videos, spec.labels).videos
    unused = {video.name for video in clips_for(spec, videos, num_clips=4)._judged}
    known = [video for video in every if video.name in unused][:5]
    mixed = clips_for(taught_on(spec, known), videos, num_clips=4)
    assert (mixed.held_out, mixed.trained_on, mixed.calibrated_on) == (True, 0, False)
    assert {video.name for video in mixed._judged} == unused - {video.name for video in known}
    alone = clips_for(taught_on(spec, every), videos, num_clips=4, judged=6)
    assert (alone.held_out, alone.trained_on, alone.calibrated_on) == (False, 6, False)
    assert len(list(alone.judged())) == 6
    both = clips_for(taught_on(spec, known), videos, num_clips=len(every), judged=len(every))
    assert (both.held_out, both.trained_on, both.calibrated_on) == (False, 5, True)


@pytest.mark.slow
def test_videos_that_cannot_be_read_are_counted(motion_model, videos, tmp_path):
    """All passes count, as the last one need not have read every clip."""
    spec = open_artifact(motion_model).spec
    folder = shutil.copytree(videos, tmp_path / "videos")
    last = sample_clips(list_videos(folder, spec.labels), num_clips=22).videos[-1]
    (folder / last.name).write_bytes(b"no video")
    chosen = clips_for(spec, folder, num_clips=22, judged=2)
    assert len(list(chosen.calibration())) == 21
    next(chosen.calibration())
    assert chosen.record()["unreadable"] == 1
    assert len(list(chosen.calibration())) == 21
    assert chosen.record()["unreadable"] == 1


@pytest.mark.filterwarnings("ignore::r2p_edge.errors.CalibrationWarning")
def test_videos_that_cannot_be_read_are_named(motion_model, videos, tmp_path, caplog):
    spec = open_artifact(motion_model).spec
    folder = shutil.copytree(videos, tmp_path / "videos")
    order = sample_clips(list_videos(folder, spec.labels), num_clips=12).videos
    sampled, judged = order[2].name, order[8].name
    for name in (sampled, judged):
        (folder / name).write_bytes(b"no video")
    chosen = clips_for(spec, folder, num_clips=6, judged=6)
    for _ in range(2):
        assert (len(list(chosen.calibration())), len(list(chosen.judged()))) == (5, 5)
    told = [record.getMessage() for record in caplog.records]
    assert [text.split(" is left out: ")[0] for text in told] == [sampled, judged]
    assert all("cannot be read as a video" in text for text in told)


@pytest.mark.filterwarnings("ignore::r2p_edge.errors.CalibrationWarning")
def test_a_video_that_may_not_be_opened_is_not_drawn(motion_model, videos, caplog, monkeypatch):
    spec = open_artifact(motion_model).spec
    before = sample_clips(list_videos(videos, spec.labels), num_clips=8).videos

    def refuse(path):
        if str(path).endswith(before[2].name):
            raise PermissionError(13, "Permission denied")
        return sha256_of_file(path)

    monkeypatch.setattr(manifest, "sha256_of_file", refuse)
    chosen = clips_for(spec, videos, num_clips=6, judged=6)
    assert len(list(chosen.calibration())) == 6
    after = sample_clips(list_videos(videos, spec.labels), num_clips=7).videos
    assert after == before[:2] + before[3:]
    assert "cannot be read (Permission denied)" in caplog.records[0].getMessage()
    assert len(list(chosen.judged())) == 6


SPACINGS = [{"frames": 8}, {"frames": 18}, {"interval": 1}]


@pytest.mark.parametrize(
    "changes",
    [{}, *(pytest.param(each, marks=pytest.mark.long) for each in SPACINGS)],
    ids=str,
)
def test_the_bundled_models_clips_move_as_fast_as_videos(motion_model, changes):
    spec = open_artifact(motion_model).spec
    spec = spec.replace(clip=dataclasses.replace(spec.clip, **changes))

    def smooth(pixels):  # sensors are noisy
        return pixels.reshape(-1, 14, 8, 14, 8, 3).mean(axis=(2, 4))

    for number, (clip, label) in zip(range(4), clips_for(spec).judged()):
        scene, fps = motion.scene("test", number), 100.0
        video = np.stack([scene.draw(float(time)) for time in motion.frame_times(fps)])
        shown = ClipReader(spec).read(video, fps=fps).pixels[0]
        assert label.startswith("slide")
        assert np.abs(smooth(clip) - smooth(shown)).mean() < 3
