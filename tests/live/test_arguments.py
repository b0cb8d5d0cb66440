"""Numbers that configure a stream: True and False are none."""

import numpy as np
import pytest

from r2p_edge.errors import UsageError
from r2p_edge.live.arguments import check_count, check_number, is_whole


@pytest.mark.parametrize("value", [1, 30, np.int64(2)])
def test_counts(value):
    assert is_whole(value)
    check_count("stride", value)


@pytest.mark.parametrize("value", [True, False, np.True_, 0, -1, 1.0, "1", None])
def test_bad_counts(value):
    with pytest.raises(UsageError, match=r"stride is .*; it must be a whole number from 1 on"):
        check_count("stride", value)


@pytest.mark.parametrize("value", [0.5, 1, np.float32(0.5), np.int64(1)])
def test_numbers(value):
    check_number("smoothing", value, lambda x: 0 < x <= 1, "above 0 and at most 1")


@pytest.mark.parametrize("value", [True, np.True_, 0, 1.5, float("nan"), "0.5", None, 1j])
def test_bad_numbers(value):
    with pytest.raises(UsageError, match=r"smoothing is .*; it must be above 0"):
        check_number("smoothing", value, lambda x: 0 < x <= 1, "above 0 and at most 1")
