"""Predictors that were pickled: opened once in each process, and only if the file is the same."""

import multiprocessing
import os
import pickle

import numpy as np
import pytest
from models import brightness_model, grey_frames, spec_of_brightness

from r2p_edge import Predictor
from r2p_edge.errors import ModelError, ModelNotFoundError

SOURCES = [grey_frames(np.roll([9, 5, 3, 0], k)) for k in range(6)]


@pytest.fixture
def model(tmp_path):
    return brightness_model(tmp_path / "model.onnx")


def copy_of(predictor):
    return pickle.loads(pickle.dumps(predictor))


def test_copies_in_a_process_are_one(model):
    with Predictor(model, threads=1) as predictor:
        one, other = copy_of(predictor), copy_of(predictor.predict).__self__
        assert one is other is not predictor
        expected = predictor.predict(SOURCES[0])
    np.testing.assert_array_equal(one.predict(SOURCES[0]).scores, expected.scores)
    one.close()
    again = copy_of(predictor)
    assert again is not one
    assert again.predict(SOURCES[0]).label == expected.label


def test_what_was_asked_for_goes_along(tmp_path, monkeypatch):
    brightness_model(tmp_path / "model.onnx", embed=False)
    monkeypatch.chdir(tmp_path)
    spec = spec_of_brightness(labels=tuple("abcd"))
    with Predictor("model.onnx", spec=spec, threads=1, device="cpu") as predictor:
        monkeypatch.chdir("/")  # the path was a relative one
        copy = copy_of(predictor)
    assert copy.predict(SOURCES[0]).labels == tuple("abcd")
    assert (copy.runtime, copy.device) == (predictor.runtime, "cpu")
    assert copy._options.threads == 1


def test_another_file_at_the_path_is_refused(model):
    with Predictor(model) as predictor:
        sent = pickle.dumps(predictor)
        brightness_model(model, factor=2.0)
        with pytest.raises(ModelError, match="is not the file that was opened before"):
            pickle.loads(sent)
        model.unlink()
        with pytest.raises(ModelNotFoundError, match="does not exist"):
            pickle.loads(sent)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_pool_answers_as_the_predictor_does(model, method):
    with Predictor(model) as predictor:
        expected = [predictor(source) for source in SOURCES]
        with multiprocessing.get_context(method).Pool(2) as pool:
            answers = pool.map(predictor.predict, SOURCES, chunksize=1)
            opened = set(pool.map(_identity_of, [predictor] * 6, chunksize=1))
    for answer, other in zip(answers, expected):
        np.testing.assert_array_equal(answer.scores, other.scores)
    assert len({process for process, _ in opened}) == len(opened)


def _identity_of(predictor):
    return os.getpid(), id(predictor)
