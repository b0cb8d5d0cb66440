"""A sound file's frames, listed from its packets' headers without decoding any."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from r2p_edge.video.container import VideoDecoder
    from r2p_edge.video.decoding import Packet

_NOT_CODED = 19
"""Bytes that an MPEG-4 packet may have, at most, which only repeats the picture before."""

_VOP = b"\0\0\1\xb6"  # begins each picture of MPEG-4


class PacketList(NamedTuple):
    """The frames of a file, by their times in the units of its stream, each list ascending.

    Attributes:
        stamps: those of all frames.
        keys: those of the key frames.
    """

    stamps: list[int]
    keys: list[int]


def list_packets(video: VideoDecoder) -> PacketList | None:
    """Return the frames that a file's packets promise; None if they may not be what decodes.

    The file must begin with a key frame, name a time for each packet, none of them twice, and be
    neither damaged nor broken off.
    """
    stamps: list[int] = []
    keys: list[int] = []
    sound = True
    for packet in video.packets():  # all of them, so that they are kept
        sound = sound and not packet.is_corrupt and (video.timed or _is_one_frame(video, packet))
        if not sound or packet.is_discard or _is_hidden(video, packet):
            continue
        stamp = packet.pts
        if stamp is None or not (stamps or packet.is_keyframe):
            sound = False
            continue
        stamps.append(stamp)
        if packet.is_keyframe:
            keys.append(stamp)
    # Without times, FFmpeg counts otherwise after seeking.
    sound = sound and not video.broken_off and (video.timed or video.keeps_packets)
    if not sound or not stamps or stamps[0] > min(stamps) or len(set(stamps)) < len(stamps):
        return None
    return PacketList(sorted(stamps), sorted(keys))


def _is_hidden(video: VideoDecoder, packet: Packet) -> bool:
    """Return whether a packet of VP8 is only for other frames to build on."""
    return video.codec.name == "vp8" and not bytes(packet)[0] & 0x10


def _is_one_frame(video: VideoDecoder, packet: Packet) -> bool:
    """Return whether a packet without a time is surely one frame, which is then numbered.

    A chunk of AVI is a moment, and is empty where no picture was stored. Others may hold two
    pictures, or stand for one of the chunk before; a packet is numbered by its chunk only if it has
    exactly one, which is shown in the order in which it is stored.
    """
    if packet.dts is None:
        return False
    if not video.codec.intra_only:
        if video.codec.name != "mpeg4":
            return False
        data = bytes(packet)
        start = data.find(_VOP)
        if len(data) <= _NOT_CODED or not 0 <= start < len(data) - 4:
            return False
        kind = data[start + 4] >> 6  # intra, predicted, predicted from both sides, sprite
        if kind == 2 or data.find(_VOP, start + 4) >= 0:
            return False
        packet.is_keyframe = kind == 0
    packet.pts = packet.dts
    return True
