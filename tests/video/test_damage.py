"""The frames that damage takes along."""

import pytest

from r2p_edge.video.damage import Mark, unusable

# Two groups with frames between references that are decoded after them, the second one open:
# the last two frames before its key frame in time are decoded after it.
OPEN = [Mark(s, s in (0, 8)) for s in (0, 3, 1, 2, 5, 4, 8, 6, 7, 11, 9, 10)]


@pytest.mark.parametrize(
    ("damaged", "lost"),
    [
        ([], []),
        ([1], [1, 2, 3, 4, 5, 7, 8]),  # also what is shown before the damaged frame
        ([5], [5, 7, 8]),  # and before the key frame
        ([0], [0, 1, 2, 3, 4, 5, 7, 8]),
        ([6], [6, 7, 8, 9, 10, 11]),
        ([1, 10], [1, 2, 3, 4, 5, 7, 8, 10, 11]),
    ],
)
def test_what_follows_up_to_a_key_frame_is_lost(damaged, lost):
    assert unusable(OPEN, damaged) == set(lost)


def test_a_file_that_begins_within_a_group():
    assert unusable(OPEN[4:], []) == {0, 1, 3, 4}


def test_a_file_without_key_frames_or_packets():
    assert unusable([Mark(k, False) for k in range(3)], [1]) == {1, 2}
    assert unusable([Mark(None, k == 2) for k in range(4)], []) == {0, 1}
    assert unusable([], []) == set()
