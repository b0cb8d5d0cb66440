"""The clips of a benchmark."""

from __future__ import annotations

import numpy as np
import pytest
from models import spec_of_brightness
from pairs import two_models
from requirements import needs
from videos import detailed

from r2p_edge import Predictor
from r2p_edge.artifact.files import sha256_of_file
from r2p_edge.artifact.two_streams import open_model_or_pair
from r2p_edge.benchmark.asked import AskedForClips
from r2p_edge.benchmark.clips import clips_of
from r2p_edge.calibration import motion
from r2p_edge.calibration.learnt import learnt_record
from r2p_edge.calibration.manifest import sample_clips
from r2p_edge.calibration.ucf101 import list_videos
from r2p_edge.errors import CalibrationWarning, VideoError, VideoNotFoundError
from r2p_edge.spec import OutputSpec

SPEC = spec_of_brightness()


@pytest.fixture
def folder(tmp_path):
    """Five videos of the first two classes."""
    for label, count in zip(SPEC.labels, (3, 2)):
        (tmp_path / label).mkdir()
        for number in range(count):
            detailed(tmp_path / label / f"{number}.mp4")
    return tmp_path


def test_generated_clips_of_two_streams(tmp_path):
    spec = open_model_or_pair(two_models(tmp_path), fusion="i3d").spec
    clips = [clip for clip, _ in clips_of(spec, None, 2, calibrating=False)]
    np.save(tmp_path / "clip.npy", clips[0])
    loaded = np.load(tmp_path / "clip.npy")  # as a row's process gets it
    with Predictor(two_models(tmp_path), fusion="i3d") as predictor:
        asked = AskedForClips(predictor)
        asked.start()
        scores = asked.answer(loaded)["scores"]
        np.testing.assert_array_equal(scores, predictor.scores(np.stack(clips[:1]))[0])
    assert not np.array_equal(clips[0]["rgb"], clips[1]["rgb"])


def test_labelled_videos_but_those_to_calibrate_on(folder):
    clips = clips_of(SPEC, folder, 100, calibrating=True)
    assert (clips.labelled, clips.calibrated, clips.count, clips.held_out) == (True, 2, 3, True)
    listing = list_videos(folder, SPEC.labels)
    with pytest.warns(CalibrationWarning):
        sampled = sample_clips(listing, num_clips=clips.calibrated, seed=0)
    asked = {str(each.path) for each in clips._videos}
    known = {str(folder / video.name) for video in sampled.videos}
    assert not asked & known
    assert asked | known == {str(video.path) for video in listing.videos}
    found = list(clips)
    assert [clip.shape for clip, _ in found] == [(4, 8, 8, 3)] * 3
    assert {label for _, label in found} == {"frame 0", "frame 1"}


def test_all_labelled_videos_where_nothing_is_calibrated(folder):
    assert clips_of(SPEC, folder, 100, calibrating=False).count == 5
    assert clips_of(SPEC, folder, 2, calibrating=False).count == 2


def test_a_single_video_is_calibrated_on_and_asked_for(tmp_path):
    (tmp_path / SPEC.labels[0]).mkdir()
    detailed(tmp_path / SPEC.labels[0] / "only.mp4")
    clips = clips_of(SPEC, tmp_path, 100, calibrating=True)
    assert (clips.calibrated, clips.count, clips.held_out) == (1, 1, False)


def test_a_damaged_video_is_left_out(folder):
    (folder / SPEC.labels[0] / "0.mp4").write_bytes(b"no video")
    clips = clips_of(SPEC, folder, 100, calibrating=False)
    assert len(list(clips)) == 4
    ((path, error),) = clips.failed
    assert path.name == "0.mp4"
    assert isinstance(error, VideoError)
    assert len(list(clips)) == 4  # of another heat
    assert len(clips.failed) == 1


def test_videos_without_classes(tmp_path):
    detailed(tmp_path / "any name.mp4")
    clips = clips_of(SPEC, tmp_path, 100, calibrating=True)
    assert (clips.labelled, clips.calibrated, clips.count) == (False, 0, 1)
    assert "any name" not in (clips.unlabelled_because or "any name")
    ((clip, label),) = clips
    assert (clip.shape, label) == ((4, 8, 8, 3), None)


def test_classes_do_not_matter_to_a_model_of_values(folder):
    spec = spec_of_brightness(output=OutputSpec(kind="values"))
    clips = clips_of(spec, folder, 100, calibrating=True)
    assert (clips.labelled, clips.calibrated, clips.count) == (False, 0, 5)
    assert clips.unlabelled_because == "the model gives values and no classes"


def test_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(VideoNotFoundError, match="there is no folder"):
        clips_of(SPEC, tmp_path / "absent", 1, calibrating=False)
    with pytest.raises(VideoError, match="has no videos"):
        clips_of(SPEC, tmp_path, 1, calibrating=False)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(VideoError, match="no video can be read"):
        list(clips_of(SPEC, tmp_path, 1, calibrating=False))


def test_generated_clips_differ_and_are_always_the_same():
    clips = clips_of(SPEC, None, 3, calibrating=True)
    assert (clips.labelled, clips.calibrated) == (False, 0)
    (one, _), (two, _), _ = clips
    assert not np.array_equal(one, two)
    assert np.array_equal(one, next(iter(clips))[0])


@pytest.mark.slow
@needs("cv2")
def test_the_bundled_models_clips_are_labelled(motion_model):
    from r2p_edge.artifact import open_artifact

    clips = clips_of(open_artifact(motion_model).spec, None, 3, calibrating=True)
    assert (clips.labelled, clips.calibrated) == (True, 50)
    assert [label for _, label in clips] == list(motion.CLASSES[:3])


def test_videos_that_the_model_was_trained_on_are_told(folder):
    every = [each.path for each in clips_of(SPEC, folder, 100, calibrating=False)._videos]
    for number, path in enumerate(every):  # all of the same bytes
        path.write_bytes(path.read_bytes() + bytes([number]))
    record = learnt_record([sha256_of_file(path) for path in every[:2]], None)
    taught = SPEC.replace(source={"head": record})
    assert "trained on 2 of the 5 videos" in clips_of(taught, folder, 100, calibrating=False).doubt
    assert clips_of(SPEC, folder, 100, calibrating=False).doubt is None
