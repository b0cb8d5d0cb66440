import math

import pytest
from requirements import needs

from r2p_edge.web.metrics import Counter, Gauge, Histogram, Metrics

AWKWARD = 'a "quoted" back\\slash\nand é'


@pytest.fixture
def metrics():
    """One family of each kind, with numbers."""
    found = Metrics()
    answers = found.add(Counter("r2p_answers_total", "Answers\nof \\ all", ("source", "label")))
    answers.add(2, "door", AWKWARD)
    answers.add(1, "door", AWKWARD)
    answers.add(1, "yard", "")
    lag = found.add(Gauge("r2p_lag_seconds", "Age of the newest answer."))
    lag.set(3)
    lag.set(math.inf)
    seconds = found.add(Histogram("r2p_inference_seconds", "Time.", ("source",), (0.1, 1.0)))
    for value in (0.05, 0.1, 0.5, 7.0):
        seconds.observe(value, "door")
    found.add(Gauge("r2p_empty", "Has no number yet.", ("source",)))
    return found


def test_the_text_is_prometheus_own(metrics):
    lines = metrics.text().splitlines()
    assert r"# HELP r2p_answers_total Answers\nof \\ all" in lines
    label = r"a \"quoted\" back\\slash\nand é"
    assert f'r2p_answers_total{{source="door",label="{label}"}} 3.0' in lines
    assert "r2p_lag_seconds +Inf" in lines
    assert 'r2p_inference_seconds_bucket{source="door",le="0.1"} 2.0' in lines
    assert 'r2p_inference_seconds_bucket{source="door",le="1.0"} 3.0' in lines
    assert 'r2p_inference_seconds_bucket{source="door",le="+Inf"} 4.0' in lines
    assert 'r2p_inference_seconds_count{source="door"} 4.0' in lines
    assert metrics.text().endswith("\n")


@needs("prometheus_client")
def test_prometheus_reads_it(metrics):
    from prometheus_client.parser import text_string_to_metric_families

    families = {family.name: family for family in text_string_to_metric_families(metrics.text())}
    assert [family.type for family in families.values()] == [
        "counter",
        "gauge",
        "histogram",
        "gauge",
    ]
    first = families["r2p_answers"].samples[0]
    assert first.labels == {"source": "door", "label": AWKWARD}
    assert first.value == 3
    assert families["r2p_answers"].documentation == "Answers\nof \\ all"
    (lag,) = families["r2p_lag_seconds"].samples
    assert lag.value == math.inf
    found = {
        (each.name.removeprefix("r2p_inference_seconds"), each.labels.get("le")): each.value
        for each in families["r2p_inference_seconds"].samples
    }
    assert found == {
        ("_bucket", "0.1"): 2,
        ("_bucket", "1.0"): 3,
        ("_bucket", "+Inf"): 4,
        ("_sum", None): 7.65,
        ("_count", None): 4,
    }


def test_a_counter_never_falls():
    counter = Counter("r2p_gaps_total", "Gaps.", ("source",))
    counter.reach(5, "door")
    counter.reach(3, "door")
    assert counter.lines()[-1] == 'r2p_gaps_total{source="door"} 5.0'


def test_numbers_of_the_moment_are_asked_for_at_each_reading():
    metrics, times = Metrics(), iter([1, 2])
    age = metrics.add(Gauge("r2p_age_seconds", "Age."))
    metrics.before_reading(lambda: age.set(next(times)))
    assert metrics.text().splitlines()[-1] == "r2p_age_seconds 1.0"
    assert metrics.text().splitlines()[-1] == "r2p_age_seconds 2.0"


def test_mistakes_are_told():
    metrics = Metrics()
    counter = metrics.add(Counter("r2p_total", "Text.", ("source",)))
    with pytest.raises(ValueError, match="labels"):
        counter.add(1)
    with pytest.raises(ValueError, match="two metrics"):
        metrics.add(Gauge("r2p_total", "Text."))
