"""The log of one run through the decoder."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from r2p_edge.video.decode_log import DecodeLog
from r2p_edge.video.decoding import Decoded


def logged(*steps, timed):
    """Return the log of packets (time or chunk, key frame, refused), each with one frame."""
    log = DecodeLog(SimpleNamespace(timed=timed, tick=0.04, rate=25.0))
    for number, key, refused in steps:
        stamp = number if timed else None
        packet = SimpleNamespace(pts=stamp, dts=number, is_keyframe=key, is_corrupt=False)
        frames = [] if refused else [SimpleNamespace(pts=stamp, is_corrupt=False)]
        log.add(Decoded(packet, frames, "it is damaged" if refused else ""))
    return log


@pytest.mark.parametrize("timed", [True, False])
def test_a_refused_packet_takes_itself_along(timed):
    steps = [(number, number == 0, number == 2) for number in range(5)]
    log = logged(*steps, timed=timed)
    good, times, lost = log.judge()
    assert (good, log.damaged, log.cause) == ([0, 1, 2, 3], True, "it is damaged")
    np.testing.assert_allclose(times, [0, 0.04, 0.12, 0.16])
    np.testing.assert_allclose(lost, [0.08])


def test_an_empty_chunk_is_a_moment_without_a_picture():
    log = logged((0, True, False), (1, False, False), (3, False, False), timed=False)
    good, times, lost = log.judge()
    assert (good, log.damaged, len(lost)) == ([0, 1, 2], False, 0)
    np.testing.assert_allclose(times, [0, 0.04, 0.12])


def test_a_refused_key_frame_takes_along_what_follows():
    steps = [(number, number in (0, 2, 4), number == 2) for number in range(6)]
    good, _, lost = logged(*steps, timed=True).judge()
    assert good == [0, 1, 3, 4]  # of the five frames that came, those of packets 0, 1, 4 and 5
    np.testing.assert_allclose(lost, [0.08, 0.12])
