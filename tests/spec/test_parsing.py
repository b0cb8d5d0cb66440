"""Parsing of specs: what is missing, unknown or of another type."""

from __future__ import annotations

import pytest

from r2p_edge.errors import SpecError
from r2p_edge.spec import ModelSpec


def test_integer_is_a_number(spec):
    data = spec.to_dict()
    data["clip"]["fps"] = 25
    assert ModelSpec.from_dict(data) == spec


@pytest.mark.parametrize(
    "name", ["name", "labels", "clip", "resize", "crop", "scale", "mean", "std"]
)
def test_a_missing_field_is_named(spec, name):
    data = spec.to_dict()
    del data[name]
    with pytest.raises(SpecError, match=f"missing field {name}"):
        ModelSpec.from_dict(data)


@pytest.mark.parametrize("data", [None, [], "spec", 3])
def test_not_an_object(data):
    with pytest.raises(SpecError, match="JSON object"):
        ModelSpec.from_dict(data)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[" * 100_000 + "]" * 100_000, "not valid JSON"),
        ("[" * 900 + "]" * 900, "must be of type int"),
        ("9" * 5000, "not valid JSON|clip.frames is a very large int|clip.frames is 9"),
        ("Infinity", "must be of type int"),
    ],
)
def test_json_of_extremes(spec, value, message):
    text = spec.to_json().replace('"frames": 16', f'"frames": {value}')
    with pytest.raises(SpecError, match=message) as caught:
        ModelSpec.from_json(text)
    assert len(str(caught.value)) < 300
