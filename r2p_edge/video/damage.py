"""Damage in a video: which of its frames cannot be shown as they were filmed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple


class Mark(NamedTuple):
    """A packet, as far as it is known without decoding it.

    Attributes:
        stamp: presentation time in the stream's own units; None if the file does not say.
        key: whether it can be decoded without the packets before it.
    """

    stamp: int | None
    key: bool


def earlier(stamp: int | None, limit: int | None) -> bool:
    """Return whether a time is before another; False if one of them is not known."""
    return stamp is not None and limit is not None and stamp < limit


def unusable(packets: Sequence[Mark], damaged: Collection[int]) -> set[int]:
    """Return the numbers of the packets whose frames are damaged, or build on what is missing.

    After damage that is everything up to the next key frame, and what is decoded after that frame
    but shown before it. A file that begins within a group of pictures lacks what comes before.

    Args:
        packets: all packets of the stream, in decoding order.
        damaged: numbers of the damaged ones.
    """
    whole = not any(packet.key for packet in packets) or packets[0].key
    shown_from: int | None = None
    found = set()
    for number, packet in enumerate(packets):
        if number in damaged:
            whole = False
        elif packet.key and not whole:
            whole, shown_from = True, packet.stamp
        if not whole or earlier(packet.stamp, shown_from):
            found.add(number)
    return found
