"""A sound file's frames, listed from its packets' headers without decoding any."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from r2p_edge.video.chunks import Chunks

if TYPE_CHECKING:
    from r2p_edge.video.container import VideoDecoder
    from r2p_edge.video.decoding import Packet


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
    neither damaged nor broken off. The packets of a file without times are numbered.
    """
    chunks = None if video.timed else Chunks(video.codec)
    listed: list[Packet] = []
    sound = True
    for packet in video.packets():  # all of them, so that they are kept
        sound = sound and not packet.is_corrupt and (chunks is None or chunks.add(packet))
        if not sound:
            listed.clear()
        elif not (packet.is_discard or _is_hidden(video, packet)):
            listed.append(packet)
    # Without times, FFmpeg counts otherwise after seeking.
    sound = sound and (chunks is None or video.keeps_packets)
    if chunks is not None and sound:
        chunks.number()
    if not sound or video.broken_off or not listed or not listed[0].is_keyframe:
        return None
    stamps = [packet.pts for packet in listed if packet.pts is not None]
    if len(set(stamps)) < len(listed) or stamps[0] > min(stamps):
        return None
    keys = [packet.pts for packet in listed if packet.is_keyframe and packet.pts is not None]
    return PacketList(sorted(stamps), sorted(keys))


def _is_hidden(video: VideoDecoder, packet: Packet) -> bool:
    """Return whether a packet of VP8 is only for other frames to build on."""
    return video.codec.name == "vp8" and not bytes(packet)[0] & 0x10
