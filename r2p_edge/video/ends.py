"""The first and the last frame of a long file, looked up at its two ends.

What a container declares is often the length of its sound, which may begin before the picture and
go on after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from r2p_edge.video.container import VideoDecoder

_BACK = (2.0, 4.0)
"""Seconds before the declared end from which the last frame is looked for, and the factor by which
they grow until there is one."""


def first_and_last(video: VideoDecoder) -> tuple[float, float] | None:
    """Return the times of the first and the last frame on the file's own clock, in seconds.

    None if they cannot be looked up: the packets have no times, or the file cannot be sought.
    """
    import av

    first = next((packet.pts for packet in video.packets() if packet.is_keyframe), None)
    end = video.declared_end()
    if first is None or end is None:
        return None
    begin, back = first * video.tick, _BACK[0]
    try:
        while True:
            time = max(end - back, begin)
            shown = (p for p in video.packets_near(time) if not (p.is_corrupt or p.is_discard))
            stamps = [packet.pts for packet in shown if packet.pts is not None]
            if stamps and not video.broken_off:
                return begin, max(stamps) * video.tick
            if time == begin or video.broken_off:
                return None
            back *= _BACK[1]
    except av.FFmpegError:
        return None
