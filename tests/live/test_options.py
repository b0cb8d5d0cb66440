"""Options of single sources: which take the place of those of all, and which are refused."""

import pytest

from r2p_edge.errors import UsageError
from r2p_edge.live.options import options_of_each


def test_a_source_has_the_options_of_all_and_its_own():
    common = {"stride": 4, "timeout": 10.0, "majority": 3}
    own = {"door": {"every": 1.0, "smoothing": 0.5}, "yard": {"timeout": 2.0}}
    assert options_of_each(["door", "yard", "hall"], common, own) == {
        "door": {
            "stride": None,
            "every": 1.0,
            "timeout": 10.0,
            "majority": None,
            "smoothing": 0.5,
        },
        "yard": {"stride": 4, "timeout": 2.0, "majority": 3},
        "hall": common,
    }


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"door": {"strid": 1}}, "the options of door: there is no 'strid' .* mean stride"),
        ({"dor": {}}, "there is no 'dor' among the sources; did you mean door"),
    ],
)
def test_names_that_are_not_known(own, message):
    with pytest.raises(UsageError, match=message):
        options_of_each(["door", "yard"], {}, own)


@pytest.mark.slow
def test_each_source_is_read_by_its_own_options(predictor, clip):
    sources = {"door": clip, "yard": clip}
    options = {"door": {"stride": 4}, "yard": {"stride": 1}}
    with predictor.stream_many(sources, stride=17, options=options) as answers:
        names = [answer.live.source for answer in answers]
    assert (names.count("door"), names.count("yard")) == (5, 17)
    with pytest.raises(UsageError, match="timeout is 0"):
        predictor.stream_many(sources, options={"yard": {"timeout": 0}})
    with pytest.raises(UsageError, match=r"fps .* and yard is none"):
        predictor.stream_many(sources, options={"yard": {"fps": 25}})
