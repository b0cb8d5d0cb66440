"""Events: when they begin and end, and with which times."""

import itertools

import pytest
from watching import answer

from r2p_edge.watch.events import EventDetector
from r2p_edge.watch.rules import parse_rule


def detector(rule="fall>0.8", **more):
    numbers = map(str, itertools.count(1))
    return EventDetector(parse_rule(rule, **more), "door", "digest", new_id=lambda: next(numbers))


def told(found, scores, **more):
    """Return (type, moment, id) of the events of answers a second apart."""
    events = []
    for second, score in enumerate(scores):
        events += [(e.type, second, e.id) for e in found.add(answer(score, second, **more))]
    return events


def test_an_event_begins_above_its_threshold_and_ends_below_the_hysteresis():
    found = detector(hysteresis=0.1)
    scores = [0.5, 0.79, 0.81, 0.79, 0.71, 0.9, 0.69, 0.75, 0.81, 0.1]
    assert told(found, scores) == [
        ("begin", 2, "1"),
        ("end", 6, "1"),
        ("begin", 8, "2"),
        ("end", 9, "2"),
    ]
    assert not found.active


def test_without_hysteresis_the_threshold_is_the_end():
    assert told(detector(hysteresis=0), [0.81, 0.79]) == [("begin", 0, "1"), ("end", 1, "1")]


def test_an_event_that_is_too_short_is_none():
    found = detector(min_length=2, hysteresis=0)
    assert told(found, [0.9, 0.9, 0.1, 0.9, 0.9, 0.9, 0.9, 0.1]) == [
        ("begin", 5, "1"),
        ("end", 7, "1"),
    ]


def test_no_event_begins_while_it_cools_down():
    found = detector(cool_down=3, hysteresis=0)
    # The event's last window ended at 1; one that goes on after the cool-down begins then.
    assert told(found, [0.9, 0.9, 0.1, 0.9, 0.9, 0.1]) == [
        ("begin", 0, "1"),
        ("end", 2, "1"),
        ("begin", 4, "2"),
        ("end", 5, "2"),
    ]


def test_a_cool_down_outlasts_a_gap_by_the_wall_clock():
    found = detector(cool_down=3)
    assert [e.type for e in found.add(answer(0.9, 1000.0, wall=50.0))] == ["begin"]
    assert [e.ended_by for e in found.add(answer(0.9, 1.0, wall=52.0, gaps=1))] == ["gap"]
    assert [e.type for e in found.add(answer(0.9, 2.0, wall=53.0, gaps=1))] == ["begin"]


def test_an_event_has_its_times_and_its_highest_score():
    found = detector(min_length=1)
    assert found.add(answer(0.85, 10.0, wall=1000.0)) == []
    (begin,) = found.add(answer(0.95, 11.0, wall=1001.0))
    assert found.active
    assert found.add(answer(0.9, 12.0, wall=1002.0)) == []
    (end,) = found.add(answer(0.2, 13.0, wall=1003.0))
    assert begin.to_dict() == {
        "id": "1",
        "type": "begin",
        "source": "door",
        "rule": "fall",
        "label": "fall",
        "score": pytest.approx(0.95),
        "scores": {"fall": pytest.approx(0.95), "walk": pytest.approx(0.05)},
        "wall": "1970-01-01T00:16:39.000Z",  # a window lasts a second
        "start": 9.0,
        "end": 11.0,
        "model": "digest",
        "ended_by": None,
        "snapshot": None,
        "clip": None,
    }
    assert end.to_dict() == {
        **begin.to_dict(),
        "type": "end",
        "wall": "1970-01-01T00:16:42.000Z",
        "end": 12.0,
        "ended_by": "score",
    }


def test_a_gap_ends_an_event_and_may_begin_another():
    found = detector()
    assert told(found, [0.9, 0.9]) == [("begin", 0, "1")]
    end, begin = found.add(answer(0.9, 0.5, gaps=1))
    assert (end.type, end.id, end.ended_by, end.end) == ("end", "1", "gap", 1.0)
    assert (begin.type, begin.id, begin.start) == ("begin", "2", -0.5)


def test_where_nothing_moves_an_event_ends():
    found = detector()
    assert told(found, [0.9]) == [("begin", 0, "1")]
    assert told(found, [0.9], still=True) == [("end", 0, "1")]


def test_an_event_is_ended_from_outside_once():
    found = detector(min_length=1)
    assert told(found, [0.9]) == []
    assert found.interrupt("lost") == []  # it was too short to be told
    assert told(found, [0.9, 0.9]) == [("begin", 1, "1")]
    assert [event.ended_by for event in found.interrupt("lost")] == ["lost"]
    assert found.interrupt("lost") == []
