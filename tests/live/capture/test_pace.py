"""The pace of a network stream: who is late, the sender or the reader."""

import numpy as np
import pytest

from r2p_edge.live.capture.pace import Pace


def test_pace():
    def late(pace, times, steps, waits=0.0):
        """Read packets of `times`, `steps` seconds apart; `waits` are the shares waited for."""
        now, behind = 100.0, []
        for moment, step, share in zip(times, steps, np.broadcast_to(waits, len(steps))):
            now += step
            pace.read(moment, now - share * step, now)
            behind.append(pace.behind)
        return behind

    times = np.arange(400) / 25
    assert not any(late(Pace(0.5), times, np.full(400, 0.04)))
    assert any(late(Pace(0.5), times, np.full(400, 0.08)))
    # Late for good, because the sender paused, but not too slow: packets have to be waited for.
    pause = np.full(400, 0.04)
    pause[50] = 30.0
    assert not any(late(Pace(0.5), times, pause, waits=1.0))
    # Too slow, though it takes its time to read a packet that is there.
    assert any(late(Pace(0.5), times, np.full(400, 0.08), waits=0.1))
    # Frames are dropped until the backlog, which runs five times as fast as it was filmed, is gone.
    overrun = late(Pace(0.5), times, np.full(400, 0.08)).index(True) + 1
    behind = late(Pace(0.5), times, np.repeat([0.08, 0.008], [overrun, 400 - overrun]))
    assert behind[overrun - 1 : overrun + 35] == [True] * 36
    assert not any(behind[overrun + 45 :])
    # It stays as late as it is: that is no backlog any more.
    pieces = [overrun, 400 - overrun]
    behind = late(Pace(0.5), times, np.repeat([0.08, 0.04], pieces), np.repeat([0.0, 1.0], pieces))
    assert not any(behind[overrun + 27 :])
    # As fast as it can be read, as from a sender that does not keep time.
    assert not any(late(Pace(0.5), times, np.full(400, 0.001)))
    # The sender's clock begins anew.
    pace = Pace(0.5)
    late(pace, np.concatenate([times, times]), np.full(800, 0.04))
    assert pace.offset == pytest.approx(116.04, abs=0.05)
