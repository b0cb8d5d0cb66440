"""Times of frames as files have them."""

import math

import numpy as np
import pytest

from r2p_edge.video.timestamps import ascending

UNEVEN = np.cumsum([0, 0.04, 0.04, 0.04, 0.04, 5.0, 0.04, 0.1, 0.04, 0.04, 0.04])
NAN = math.nan


def test_good_times_stay():
    np.testing.assert_array_equal(ascending(UNEVEN, 0.04), UNEVEN)


@pytest.mark.parametrize("wrong", [NAN, -1.0, 999.0, 0.0])
@pytest.mark.parametrize("number", [2, 3, 7])
def test_a_wrong_time_spoils_itself_alone(wrong, number):
    stamps = UNEVEN.copy()
    stamps[number] = wrong
    mended = ascending(stamps, 0.04)
    others = np.arange(len(UNEVEN)) != number
    np.testing.assert_allclose(mended[others], UNEVEN[others])
    assert UNEVEN[number - 1] < mended[number] < UNEVEN[number + 1]


@pytest.mark.parametrize("number", range(1, 10))
@pytest.mark.parametrize("shift", [-1, 1])
def test_a_time_that_stands_twice_goes_where_there_is_room(number, shift):
    """Find the right one of even times, whichever of the two was overwritten."""
    times = np.arange(11) * 0.04
    stamps = times.copy()
    stamps[number] = stamps[number + shift]
    np.testing.assert_allclose(ascending(stamps, 0.04), times)


def test_a_time_that_stands_twice_before_a_hole():
    stamps = UNEVEN.copy()
    stamps[4] = stamps[3]
    mended = ascending(stamps, 0.04)
    np.testing.assert_allclose(np.delete(mended, 4), np.delete(UNEVEN, 4))
    assert mended[3] < mended[4] < mended[5]


@pytest.mark.parametrize("stamps", [[NAN] * 4, [0.2] * 4, [0.3, 0.2, 0.1, 0.0]])
def test_without_good_times_frames_are_even(stamps):
    mended = ascending(np.array(stamps), 0.1)
    np.testing.assert_allclose(mended - mended[0], [0, 0.1, 0.2, 0.3])


def test_missing_times_at_both_ends():
    stamps = np.array([NAN, NAN, 0.2, 0.3, 0.4, 0.5, NAN])
    np.testing.assert_allclose(ascending(stamps, 0.1), np.arange(7) / 10, atol=1e-9)


@pytest.mark.parametrize("stamps", [[], [0.5], [NAN]])
def test_few_frames(stamps):
    mended = ascending(np.array(stamps, np.float64), 0.1)
    assert len(mended) == len(stamps)
    assert not np.isnan(mended).any()
