"""The figures of the defaults, on films whose every moment has a known class."""

import itertools
import runpy

import pytest
from films import HELD_OUT, RATES, SECONDS, SEGMENTS, plan
from paths import ROOT
from requirements import needs

from r2p_edge import Predictor
from r2p_edge.calibration.motion import CLASSES

BENCHMARK = runpy.run_path(str(ROOT / "tests" / "benchmarks" / "timeline.py"))


@pytest.mark.parametrize("seed", HELD_OUT)
def test_the_films_are_as_they_are_said_to_be(seed):
    parts = plan(seed)
    assert len(parts) == SEGMENTS
    assert parts[-1].end == pytest.approx(SECONDS)
    lengths = [part.end - part.start for part in parts]
    assert min(lengths) >= 3
    assert max(lengths) <= 20
    assert all(one.label != two.label for one, two in itertools.pairwise(parts))
    counts = {name: sum(part.label == name for part in parts) for name in CLASSES}
    assert counts.pop("still") == 5
    assert set(counts.values()) <= {5, 6}


def test_figures_of_known_mistakes():
    """A boundary that is late, one that is missing, one too many, and a wrong label."""
    parts = [BENCHMARK["Part"](*each) for each in ((0, 10, "a"), (10, 20, "b"), (20, 40, "c"))]
    judge = BENCHMARK["judge"]
    assert judge([(0, 10, "a"), (10, 20, "b"), (20, 40, "c")], parts) == {
        "segments": 1.0, "boundaries": 1.0, "right": 1.0,
    }  # fmt: skip
    assert judge([(0, 11, "a"), (11, 20.4, "b"), (20.4, 40, "c")], parts) == {
        "segments": 1.0, "boundaries": 0.5, "right": 0.965,
    }  # fmt: skip
    assert judge([(0, 40, "a")], parts) == {"segments": 0.333, "boundaries": 0.0, "right": 0.25}
    wrong = [(0, 10, "a"), (10, 20, None), (20, 30, "c"), (30, 40, "b")]
    assert judge(wrong, parts) == {"segments": 1.333, "boundaries": 1.0, "right": 0.5}


@pytest.mark.long
@needs("cv2")
@pytest.mark.parametrize("rate", RATES)
def test_the_defaults_hold_on_films_that_they_were_not_chosen_on(motion_model, rate):
    with Predictor(motion_model) as predictor:
        films = [BENCHMARK["measure"](predictor, seed, rate) for seed in HELD_OUT]
    assert BENCHMARK["met"]([film["timeline"] for film in films]), films
    for film in films:
        assert film["each window"]["segments"] > 2  # which is why it takes more than that
