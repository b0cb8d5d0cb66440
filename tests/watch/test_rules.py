"""Rules of events: how they are written, and which are refused."""

import pytest

from r2p_edge.errors import UsageError
from r2p_edge.watch.rules import EventRule, check_rules, parse_rule

LABELS = ("walk", "fall", "a > b")


@pytest.mark.parametrize(
    ("text", "label", "threshold", "name"),
    [
        ("fall>0.8", "fall", 0.8, "fall"),
        (" fall > .8 ", "fall", 0.8, "fall"),
        ("alarm-1=fall>0", "fall", 0.0, "alarm-1"),
        ("a > b>0.5", "a > b", 0.5, "a > b"),
        ("two words=x>0.5", "two words=x", 0.5, "two words=x"),
    ],
)
def test_what_a_rule_is(text, label, threshold, name):
    rule = parse_rule(text, min_length=1, cool_down=2, hysteresis=0.2)
    assert rule == EventRule(label, threshold, name, 1, 2, 0.2)
    assert parse_rule("fall>0.8", name="alarm").name == "alarm"


@pytest.mark.parametrize(
    "text", ["fall", ">0.8", "fall>", "fall>high", "fall>=0.8", "fall<0.8", ""]
)
def test_what_is_no_rule(text):
    with pytest.raises(UsageError, match=r"is no event; expected a label .* 'fall>0\.8'"):
        parse_rule(text)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min_length": -1}, "min_length is -1"),
        ({"cool_down": float("inf")}, "cool_down is inf"),
        ({"hysteresis": "much"}, "hysteresis is 'much'"),
        ({"min_length": True}, "min_length is True"),
    ],
)
def test_numbers_out_of_range(values, message):
    with pytest.raises(UsageError, match=message):
        parse_rule("fall>0.8", **values)
    with pytest.raises(UsageError, match="the score of an event is nan"):
        parse_rule("fall>nan")


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (["fal>0.8"], "no label 'fal' in the model; did you mean fall"),
        (["fall>0.8", "fall>0.9"], r"two events are named 'fall'; .* 'fall2=fall>0\.9'"),
        (["fall>1"], "needs a score above 1; scores are probabilities"),
        (["fall>-1"], "needs a score above -1"),
        (["fall>0.1"], r"would begin above 0\.1 and never end, with a hysteresis of 0\.1; give a"),
    ],
)
def test_rules_that_do_not_fit_the_model(rules, message):
    with pytest.raises(UsageError, match=message):
        check_rules([parse_rule(each) for each in rules], LABELS, classes=True)


def test_values_may_be_any_number():
    check_rules([parse_rule("fall>37.5"), parse_rule("low=fall>-1")], LABELS, classes=False)
