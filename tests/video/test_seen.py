"""The frames behind an answer: the same ones again, or a refusal; and what they cost till then."""

import pickle
import tracemalloc

import numpy as np
import pytest
from models import brightness_model, grey_frames
from videos import written

from r2p_edge import Predictor
from r2p_edge.errors import VideoError


@pytest.fixture
def predictor(tmp_path):
    with Predictor(brightness_model(tmp_path / "model.onnx")) as opened:
        yield opened


@pytest.mark.parametrize("clips", [1, 3])
def test_the_frames_of_a_file_are_those_that_the_model_saw(predictor, tmp_path, clips):
    path = written(tmp_path / "a.mp4", np.arange(30) / 25)
    answer = predictor.predict(path, clips=clips)
    np.testing.assert_array_equal(answer.frames(), predictor.pixels(path, clips=clips))


def test_another_file_of_the_name_is_not_shown(predictor, tmp_path):
    path = written(tmp_path / "a.mp4", np.arange(30) / 25)
    answer = predictor.predict(path)
    written(path, np.arange(50) / 50)
    with pytest.raises(VideoError, match=r"a\.mp4 has changed since this answer"):
        answer.frames()
    path.unlink()
    with pytest.raises(VideoError, match="there is no video"):
        answer.frames()


def test_frames_are_kept_where_that_is_asked_for(predictor):
    frames = grey_frames([3, 1, 4, 1])
    answer = predictor.predict(frames, keep_frames=True)
    np.testing.assert_array_equal(answer.frames(), predictor.pixels(frames))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(answer)).frames(), answer.frames())
    with pytest.raises(VideoError, match="keeps no frames"):
        predictor.predict(frames).frames()


def test_a_pickled_answer_takes_no_reader_along(predictor, tmp_path):
    path = written(tmp_path / "a.mp4", np.arange(5) / 25)
    answer = pickle.loads(pickle.dumps(predictor.predict(path)))
    with pytest.raises(VideoError, match="keeps no frames"):
        answer.frames()


@pytest.mark.slow
def test_an_answer_holds_on_to_no_clip(predictor, tmp_path):
    path = str(written(tmp_path / "a.mp4", np.arange(5) / 25))
    predictor.predict(path)
    tracemalloc.start()
    kept = [predictor.predict(path) for _ in range(50)]
    each = tracemalloc.get_traced_memory()[0] / len(kept)
    tracemalloc.stop()
    assert each < 2000  # bytes; its clip has 768, one of 16 frames of 112x112 has 602,112
