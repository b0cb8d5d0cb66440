"""Clips to calibrate on and to compare on."""

import dataclasses
import shutil

import numpy as np
import pytest
from requirements import needs

from r2p_edge.artifact.open import open_artifact
from r2p_edge.calibration import motion
from r2p_edge.calibration.clipset import clips_for
from r2p_edge.calibration.manifest import sample_clips
from r2p_edge.calibration.ucf101 import list_videos
from r2p_edge.video.clip_reader import ClipReader

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("safetensors")]


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


SPACINGS = [{"frames": 8}, {"frames": 18}, {"interval": 1}]


@pytest.mark.parametrize(
    "changes", [{}, *(pytest.param(each, marks=pytest.mark.slow) for each in SPACINGS)], ids=str
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
