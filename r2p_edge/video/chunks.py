"""Chunks of AVI, which have no times, numbered by the pictures in them without decoding any."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from r2p_edge.video.container import CACHE_BYTES

if TYPE_CHECKING:
    from av.codec.codec import Codec

    from r2p_edge.video.decoding import Packet

_NOT_CODED = 19
"""Bytes that a chunk of MPEG-4 may have, at most, which has no picture of its own."""

_PICTURE = re.compile(b"\0\0\1\xb6(.)", re.DOTALL)
"""Beginning of a picture of MPEG-4; the two highest bits that follow are its kind."""

_PACKED = re.compile(b"\0\0\1\xb2DivX[0-9]+(?:Build|b)[0-9]+p")
"""Note by which FFmpeg's decoder knows, from there on, that pictures are packed."""

_INTRA, _BIDIRECTIONAL = 0, 2  # of the kinds; the others are predicted, and sprites


class Chunks:
    """The chunks of an AVI file, in the order in which they are stored.

    A chunk is a moment, and is empty where no picture was stored. Where it surely has one picture,
    its number tells when that is shown: pictures that others build on, and which are shown after
    these, are stored before them. MPEG-4 may pack such another into the chunk before its own, which
    is a placeholder or holds the next one: FFmpeg's decoder gives one picture for each chunk.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._packets: list[Packet] = []
        self._kinds: list[int] = []  # of their pictures
        self._notes: set[int] = set()  # numbers of the chunks that say that pictures are packed
        self._waiting: list[int] = []  # kind of a packed picture, if one waits for its chunk
        self._packs = False
        self._size = 0

    def add(self, packet: Packet) -> bool:
        """Take the next chunk that is not empty; return False if its picture is in doubt."""
        self._size += packet.size
        found = self._found(packet)
        if self._size > CACHE_BYTES or packet.dts is None or found is None:
            return False
        pictures = [*self._waiting, *found]
        if not pictures or pictures[1:] not in ([], [_BIDIRECTIONAL]):
            return False
        self._kinds.append(pictures[0])
        self._waiting = pictures[1:]
        self._packs = self._packs or bool(self._waiting)
        self._packets.append(packet)
        return True

    def number(self) -> None:
        """Give each packet the number of its picture, in the order in which they are shown."""
        shown: list[Packet] = []
        held: Packet | None = None  # until what is shown before it has come
        for number, (packet, kind) in enumerate(zip(self._packets, self._kinds)):
            # A decoder that begins behind the note would give other pictures.
            known = not self._packs or number in self._notes
            packet.is_keyframe = kind == _INTRA and known
            if kind == _BIDIRECTIONAL:
                shown.append(packet)
                continue
            if held is not None:
                shown.append(held)
            held = packet
        if held is not None:
            shown.append(held)
        chunks = [packet.dts for packet in self._packets]
        for packet, chunk in zip(shown, chunks):
            packet.pts = chunk

    def _found(self, packet: Packet) -> list[int] | None:
        """Return the kinds of the pictures in a chunk; None if they cannot be told."""
        if self._codec.intra_only:
            return [_INTRA]
        if self._codec.name != "mpeg4":
            return None
        data = bytes(packet)
        if len(data) <= _NOT_CODED:
            return []
        if _PACKED.search(data):
            self._notes.add(len(self._packets))
        return [found[1][0] >> 6 for found in _PICTURE.finditer(data)]
