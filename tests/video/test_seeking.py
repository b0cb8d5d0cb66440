"""Frames that are decoded, held against what the packets promise."""

import contextlib

import av
import numpy as np
import pytest
from avi import video_chunks, with_chunks
from models import spec_of_brightness
from videos import detailed, written

from r2p_edge.video.clip_reader import ClipReader
from r2p_edge.video.container import VideoDecoder
from r2p_edge.video.listing import list_packets
from r2p_edge.video.seeking import SeekingReader

READER = ClipReader(spec_of_brightness())  # shows frames 11, 13, 15 and 17 of 30


@pytest.fixture
def broken(tmp_path):
    """Return a function that writes 30 frames of which one is damaged."""

    def write(number):
        path = detailed(tmp_path / "clip.avi")
        chunks = video_chunks(path)
        key, whole = chunks[number]
        chunks[number] = (key, whole[:40] + np.random.default_rng(1).bytes(len(whole) - 40))
        return with_chunks(path, tmp_path / "broken.avi", chunks)

    return write


def reader_of(path):
    video = VideoDecoder(str(path), f"file:{path}")
    promised = list_packets(video)
    assert promised is not None
    return contextlib.closing(video), SeekingReader(video, 0.0, promised)


def test_damage_on_the_way_to_a_frame_is_found(broken):
    video, reader = reader_of(broken(15))
    with video:
        assert reader.nearest(11 / 25).pts == 11
        assert reader.nearest(17 / 25) is None


@pytest.mark.parametrize(("number", "coverage"), [(5, 0.75), (15, 0.5), (18, 1.0), (26, 1.0)])
def test_a_clip_with_damage_says_so(broken, number, coverage):
    clips = READER.read(broken(number))
    assert clips.coverage == coverage
    assert not clips.truncated


def test_a_frame_that_does_not_come_is_missed(tmp_path, monkeypatch):
    """Hide a frame of VP8 that the packets promise."""
    path = written(tmp_path / "clip.webm", np.arange(30) / 25, codec="libvpx", gop=30)
    with av.open(str(path)) as container:
        packet = [bytes(packet) for packet in container.demux(video=0) if packet.size][7]
    data = path.read_bytes()
    path.write_bytes(data.replace(packet, bytes([packet[0] & ~0x10]) + packet[1:]))
    monkeypatch.setattr("r2p_edge.video.listing._is_hidden", lambda video, packet: False)
    video, reader = reader_of(path)
    with video:
        assert reader.nearest(0.2) is not None
        assert reader.nearest(0.4) is None


def test_a_hole_in_a_long_file_is_found_where_it_is_read(tmp_path):
    times = np.concatenate([np.arange(40 * 25) / 25, 41 + np.arange(40 * 25) / 25])
    path = written(tmp_path / "long.mkv", times)
    clips = READER.read(path, clips=1)  # around 40.5 s
    assert clips.span == pytest.approx((40.36, 40.6), abs=0.05)
    assert clips.coverage == 0.5
    assert READER.read(path, clips=2).coverage == 1
