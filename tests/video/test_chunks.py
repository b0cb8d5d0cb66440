"""Chunks of AVI that are numbered without decoding, against what FFmpeg decodes."""

from __future__ import annotations

import contextlib

import av
import numpy as np
import pytest
from avi import video_chunks, with_chunks
from videos import detailed

from r2p_edge.video.container import VideoDecoder
from r2p_edge.video.listing import list_packets
from r2p_edge.video.source import open_source

_BEGINNING = b"\0\0\1\xb6"  # of a picture
_PACKED = b"\0\0\1\xb2DivX503b1393p"  # by which FFmpeg knows that pictures are packed
_PLACEHOLDER = (False, _BEGINNING + b"\x50\0")


def kind(data):
    return data[data.index(_BEGINNING) + 4] >> 6


def packed(chunks, *, noted=True):
    """Return the chunks as DivX packs them: a picture with the first of those that follow it."""
    found = []
    waiting, others = None, []
    for number, (key, data) in enumerate([*chunks, (False, None)]):
        if data is not None and (number == 0 or (kind(data) == 0 and noted)):
            start = data.index(_BEGINNING)
            data = data[:start] + _PACKED + data[start:]
        if data is not None and kind(data) == 2:
            others.append(data)
            continue
        if others:
            waiting = (waiting[0], waiting[1] + others[0])
        if waiting is not None:
            found.append(waiting)
        found += [*((False, other) for other in others[1:])]
        found += [_PLACEHOLDER] * bool(others)
        waiting, others = (key, data), []
    return found


@pytest.fixture
def chunks(tmp_path):
    """Chunks of 30 pictures, up to two of which lie between those that they build on."""
    path = detailed(tmp_path / "b.avi", b_frames=2)
    return path, video_chunks(path)


def read(path, **options):
    with contextlib.closing(open_source(path, 25.0, **options)) as source:
        return source.times, list(source.read(source.times))


def assert_listed_as_decoded(path):
    video = VideoDecoder(str(path), f"file:{path}")
    assert list_packets(video) is not None
    video.close()
    (times, frames), (decoded_times, decoded) = read(path), read(path, count="frames")
    np.testing.assert_array_equal(times, decoded_times)
    np.testing.assert_array_equal(frames, decoded)
    with contextlib.closing(open_source(path, 25.0)) as source:  # from the key frame that it needs
        np.testing.assert_array_equal(list(source.read(times[20:25])), decoded[20:25])


def test_pictures_that_are_shown_before_an_earlier_one(chunks):
    path, found = chunks
    assert 2 in {kind(data) for _, data in found}
    assert_listed_as_decoded(path)


@pytest.mark.parametrize("noted", [True, False])
def test_packed_pictures(chunks, tmp_path, noted):
    """Note that pictures are packed at every key frame, or at the first alone."""
    path, found = chunks
    path = with_chunks(path, tmp_path / "packed.avi", packed(found, noted=noted))
    with av.open(str(path)) as container:
        assert len(list(container.decode(video=0))) == 30
    assert_listed_as_decoded(path)


@pytest.mark.slow
def test_a_real_file(data):
    assert_listed_as_decoded(data / "ucf101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi")


def test_chunks_in_doubt_are_decoded(chunks, tmp_path):
    path, found = chunks
    pair = packed(found)
    twice = [(key, data + data[data.index(_BEGINNING) :]) for key, data in found]
    for name, doubtful in {
        "placeholder.avi": [*found[:9], _PLACEHOLDER, *found[9:]],
        "twice.avi": twice,
        "two.avi": [pair[0], (False, pair[1][1] + found[3][1]), *pair[2:]],
    }.items():
        doubted = with_chunks(path, tmp_path / name, doubtful)
        video = VideoDecoder(str(doubted), f"file:{doubted}")
        assert list_packets(video) is None, name
        video.close()
