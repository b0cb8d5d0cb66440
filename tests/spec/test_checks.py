"""Checks of the records of a spec."""

from __future__ import annotations

import numpy as np
import pytest

from r2p_edge.errors import SpecError
from r2p_edge.spec import ModelSpec


def nested(depth):
    return {"a": nested(depth - 1)} if depth else {}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"a": np.float32(1)}, "parity.a is"),
        ({"a": {1, 2}}, "parity.a is"),
        ({1: 2}, "has the key 1"),
        ([1], "must be a dict"),
    ],
)
def test_a_record_that_json_cannot_hold_is_refused_at_once(spec, record, message):
    with pytest.raises(SpecError, match=message):
        spec.replace(parity=record)


def test_records_of_plain_types_are_kept(spec):
    record = {"a": [1, 2.5, None, True, {"b": "ü"}], "n": -(2**63) + 1, "deep": nested(20)}
    kept = spec.replace(accuracy=record)
    assert ModelSpec.from_json(kept.to_json().encode()) == kept
