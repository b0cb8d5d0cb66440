"""Releases of trtexec, and clips whose answers are known, for the tests of engines by trtexec."""

from __future__ import annotations

import numpy as np

RELEASES = {
    "8.6.1": (8, 6, 1),
    "10.3.0": (10, 3, 0),
    "10.13.3": (10, 13, 3),
    "10.16.1": (10, 16, 1),
    "11.4": (11, 4, 0),
}


def frames(*levels):
    """Return uint8 clips, (N, 4, 8, 8, 3), frame t of which is all `levels[n][t]`."""
    values = np.array(levels, np.uint8)[:, :, None, None, None]
    return np.broadcast_to(values, (*values.shape[:2], 8, 8, 3)).copy()


CLIPS = frames((3, 250, 0, 17), (40, 30, 20, 10))
