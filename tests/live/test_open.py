"""Opening the sources of a prediction stream: which arguments are refused."""

import inspect

import numpy as np
import pytest

from r2p_edge import Predictor, Stream
from r2p_edge.errors import UsageError

pytestmark = pytest.mark.usefixtures("nothing_is_left")


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (np.zeros((4, 8, 8, 3), np.uint8), {}, "push frames of your own"),
        (0, {"policy": "newest"}, "policy is 'newest'"),
        (0, {"timeout": 0}, "timeout is 0"),
        (0, {"reconnect": -1}, "reconnect is -1"),
        (0, {"transport": "http"}, "transport is 'http'"),
        (0, {"stride": 0}, "stride is 0"),
        (0, {"timeout": True}, "timeout is True"),
        (0, {"reconnect": False}, "reconnect is False"),
        (0, {"motion": True}, "motion is True"),
    ],
)
def test_bad_arguments(predictor, source, options, message):
    with pytest.raises(UsageError, match=message):
        predictor.stream(source, **options)


def test_a_file_cannot_be_latest(predictor, clip):
    with pytest.raises(UsageError, match="leave out policy"):
        predictor.stream(clip, policy="latest")
    with pytest.raises(UsageError, match="no sources"):
        predictor.stream_many({})


@pytest.mark.parametrize("method", ["stream", "stream_many"])
def test_every_option_is_a_keyword_with_a_default(method):
    parameters = list(inspect.signature(getattr(Predictor, method)).parameters.values())[2:]
    assert {parameter.kind for parameter in parameters} == {inspect.Parameter.KEYWORD_ONLY}
    assert all(parameter.default is not inspect.Parameter.empty for parameter in parameters)
    stream = inspect.signature(Stream).parameters
    names = ("stride", "every", "smoothing", "majority", "hysteresis", "min_score", "motion")
    defaults = {parameter.name: parameter.default for parameter in parameters}
    assert {name: defaults[name] for name in names} == {
        name: stream[name].default for name in names
    }
