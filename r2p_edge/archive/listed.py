"""One video of an archive, or a part of it."""

from __future__ import annotations

import math
from typing import NamedTuple


class Listed(NamedTuple):
    """A video, or the part of it that a list names.

    Attributes:
        video: path or address.
        start, end: seconds of the video from which and before which frames are taken; None for
            its own start and end.
    """

    video: str
    start: float | None = None
    end: float | None = None

    @property
    def part(self) -> tuple[float, float] | None:
        """Seconds of the part, as `ClipReader.read` takes them; None for the whole video."""
        if self.start is None and self.end is None:
            return None
        return self.start or 0.0, math.inf if self.end is None else self.end
