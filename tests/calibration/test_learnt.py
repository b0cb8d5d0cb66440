"""Videos that a model was trained on."""

import pytest

from r2p_edge.artifact.files import sha256_of_file
from r2p_edge.calibration.learnt import LearntVideos, learnt_digests, learnt_record
from r2p_edge.calibration.matching import Video


@pytest.fixture
def videos(tmp_path):
    """Three files; no video is read here."""
    found = []
    for name in "abc":
        (tmp_path / name).write_bytes(name.encode())
        found.append(Video(tmp_path / name, f"x/{name}", "x"))
    return found


def test_a_model_knows_the_videos_of_all_its_lessons(videos):
    first, second, other = videos
    training = learnt_record([sha256_of_file(first.path)], None)
    head = learnt_record([sha256_of_file(second.path)], {"training": training})
    assert len(head["video_digests"]) == 2
    learnt = LearntVideos({"head": head})
    assert learnt
    assert first in learnt
    assert second in learnt
    assert other not in learnt
    assert learnt.doubt_of([other]) is None
    assert "was trained on 2 of the 3 videos" in learnt.doubt_of(videos)
    second.path.unlink()
    assert second not in learnt


@pytest.mark.parametrize(
    "source",
    [None, {}, {"head": "linear"}, {"training": {"epoch": 3}}, {"head": {"video_digests": 3}}],
    ids=["none", "empty", "text", "before", "number"],
)
def test_records_without_the_videos_know_none(videos, source):
    assert learnt_digests(source) == frozenset()
    assert not LearntVideos(source)
    assert videos[0] not in LearntVideos(source)
    assert LearntVideos(source).doubt_of(videos) is None
    assert learnt_record([], source) == {}
