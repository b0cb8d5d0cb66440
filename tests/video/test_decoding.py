"""Decoding that goes on after packets that are refused."""

import os
import subprocess
import sys

import av
import numpy as np
import pytest
from models import spec_of_brightness
from videos import headless, written

from r2p_edge.errors import VideoError
from r2p_edge.video.clip_reader import ClipReader
from r2p_edge.video.decoding import cause_of, decode_packets, set_up_decoder


@pytest.fixture
def packets(tmp_path):
    """Yield the stream of 40 frames, a key frame every ten, and its packets."""
    path = written(tmp_path / "clip.mp4", np.arange(40) / 25, codec="libx264", b_frames=2, gop=10)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        yield stream, list(container.demux(stream))


def times(steps):
    return [frame.pts for step in steps for frame in step.frames]


def test_all_frames_come(packets):
    stream, given = packets
    steps = list(decode_packets(stream, given))
    assert steps[-1].packet is None
    assert len(times(steps)) == 40
    assert not any(step.refused for step in steps)


def test_a_refused_packet_ends_nothing(packets):
    stream, given = packets
    broken = av.Packet(b"\0\0\0\xff" + bytes(20))  # a length that goes beyond its end
    steps = list(decode_packets(stream, [*given[:15], broken, *given[15:-1]]))
    assert [step.packet is broken for step in steps if step.refused] == [True]
    assert "Invalid data" in next(step.refused for step in steps if step.refused)
    assert len(times(steps)) == 40


def test_packets_without_content_are_passed_over(packets):
    stream, given = packets
    empty = av.Packet(0)
    steps = list(decode_packets(stream, [empty, *given[:10], empty, empty, *given[10:]]))
    assert len(times(steps)) == 40
    assert not any(step.refused for step in steps)


def test_a_stream_without_headers_is_told_in_words(tmp_path):
    path = headless(tmp_path / "cut.ts")
    with pytest.raises(
        VideoError, match=r"no headers that the decoder needs.*dump_extra"
    ) as caught:
        ClipReader(spec_of_brightness()).read(path)
    assert "argument" not in str(caught.value)


def test_causes():
    assert cause_of(FileNotFoundError(2, "No such file", "x")) == "No such file"
    assert cause_of(ValueError("odd")) == "odd"


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.98])
def test_halves_of_jpegs_are_refused(tmp_path, share):
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    path = tmp_path / "clip.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuvj420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        set_up_decoder(stream)
        whole = bytes(next(container.demux(stream)))
        assert len(stream.decode(av.Packet(whole))) == 1
        with pytest.raises(av.InvalidDataError):
            stream.decode(av.Packet(whole[: int(share * len(whole))]))
        assert len(stream.decode(av.Packet(whole))) == 1


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_one_core_decodes_as_several_do(data):
    """Read a damaged file, of which FFmpeg with one thread marks 21 frames as corrupt."""
    code = (
        "import os, sys; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from r2p_edge.video.source import open_source;"
        "print(len(open_source(sys.argv[1], 25.0, count='frames').times))"
    )
    path = data / "odd/decord_corrupted.mp4"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.stdout == "49\n", done.stderr
