"""Frames counted by decoding a whole file."""

import contextlib

import av
import numpy as np
import pytest
from avi import video_chunks, with_chunks
from videos import detailed, file_levels, level, read_by_index, written

from r2p_edge.video import container, counting
from r2p_edge.video.source import open_source


def counted(path):
    """Return the times and the levels of all good frames, and the times of the lost ones."""
    with contextlib.closing(open_source(path, 25.0, count="frames")) as source:
        levels = [level(image) for image in source.read(source.times)]
        return source.times, levels, source.lost


def cut(path, first, last=None):
    """Write a part of an MPEG-TS file, in packets of it; return its path."""
    data = path.read_bytes()
    target = path.with_name("cut.ts")
    target.write_bytes(data[first * 188 : None if last is None else last * 188])
    return target


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mpeg2video"])
def test_a_file_that_begins_within_a_group_begins_with_a_key_frame(tmp_path, codec):
    path = written(tmp_path / "clip.ts", np.arange(60) / 25, codec=codec, gop=10, rate=25)
    with av.open(str(path)) as container_:
        packets = [packet for packet in container_.demux(video=0) if packet.size]
    begin = packets[4].pos // 188
    keys = [number for number, packet in enumerate(packets) if packet.is_keyframe]
    times, levels, lost = counted(cut(path, begin))
    assert abs(levels[0] - next(key for key in keys if key >= 4)) <= 2
    assert times[0] == 0
    assert len(times) == 60 - next(key for key in keys if key >= 4)
    assert not len(lost)


def test_marked_frames_take_those_along_that_build_on_them(tmp_path):
    path = detailed(tmp_path / "clip.avi")
    chunks = video_chunks(path)
    key, whole = chunks[15]
    assert not key
    chunks[15] = (False, whole[:40] + np.random.default_rng(1).bytes(len(whole) - 40))
    broken = with_chunks(path, tmp_path / "broken.avi", chunks)
    with av.open(str(broken)) as reader:
        marks = [frame.is_corrupt for frame in reader.decode(video=0)]
    assert np.flatnonzero(marks).tolist() == [15]
    times, _, lost = counted(broken)
    np.testing.assert_allclose(times * 25, [*range(15), *range(24, 30)], atol=1e-6)
    np.testing.assert_allclose(lost * 25, range(15, 24), atol=1e-6)


@pytest.mark.parametrize("b_frames", [0, 2])
def test_empty_chunks_of_avi_are_moments(tmp_path, b_frames):
    path = written(tmp_path / "clip.avi", np.arange(30) / 25, b_frames=b_frames, rate=25)
    chunks = video_chunks(path)
    empty = (False, b"")
    holes = [*chunks[:8], empty, empty, *chunks[8:], empty]
    times, levels, lost = counted(with_chunks(path, tmp_path / "holes.avi", holes))
    assert len(times) == len(counted(path)[0])
    (place,) = np.flatnonzero(np.diff(times) > 0.05)
    assert times[place + 1] - times[place] == pytest.approx(0.12)
    assert abs(levels[place] - 7) <= 1 + bool(b_frames)  # with B-frames, one chunk later
    assert not len(lost)


def test_a_refused_packet_is_one_frame_lost(tmp_path):
    path = tmp_path / "clip.avi"
    with av.open(str(path), "w") as writer:
        stream = writer.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for k in range(40):
            image = np.full((48, 64, 3), 10 + k, np.uint8)
            writer.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        writer.mux(stream.encode())
    chunks = video_chunks(path)
    chunks[20] = (True, chunks[20][1][:300])
    times, levels, lost = counted(with_chunks(path, tmp_path / "half.avi", chunks))
    np.testing.assert_allclose(times * 25, np.delete(np.arange(40), 20), atol=1e-6)
    np.testing.assert_allclose(lost * 25, [20], atol=1e-6)
    assert np.abs(np.array(levels) - np.delete(np.arange(40), 20)).max() <= 1


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv"])
def test_the_last_frames_of_a_file_that_is_cut_off(tmp_path, suffix):
    options = {"options": {"movflags": "faststart"}} if suffix == "mp4" else {}
    path = tmp_path / f"clip.{suffix}"
    written(path, np.arange(60) / 25, codec="libx264", b_frames=2, gop=20, **options)
    half = tmp_path / f"half.{suffix}"
    half.write_bytes(path.read_bytes()[: int(0.7 * path.stat().st_size)])
    decoded = []
    with av.open(str(half)) as reader:
        stream = reader.streams.video[0]
        with contextlib.suppress(av.FFmpegError):
            for packet in reader.demux(stream):
                if packet.size:
                    decoded += stream.decode(packet)
        decoded += stream.decode(None)
        stamps = np.array([frame.pts for frame in decoded if not frame.is_corrupt])
        times = (stamps - stamps[0]) * float(stream.time_base)
    np.testing.assert_allclose(counted(half)[0], times, atol=1e-3)


@pytest.mark.parametrize("b_frames", [0, 2])
def test_a_long_avi_is_counted(tmp_path, b_frames):
    path = written(tmp_path / "long.avi", np.arange(70 * 25) / 25, b_frames=b_frames, rate=25)
    wanted = [0, 1, 500, 501, 1200, 1748, 1749]
    shown = file_levels(path, wanted)
    assert np.abs(np.array(shown) - np.array(wanted) % 200).max() <= 1


@pytest.mark.parametrize("count", ["packets", "frames"])
@pytest.mark.parametrize(
    "name", ["ucf101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi", "kinetics/carving_ice_rpi.mp4"]
)
def test_frames_do_not_depend_on_the_cache(data, monkeypatch, name, count):
    path = data / name
    cached = read_by_index(path, [3, 80, 163], count=count)
    for module in (container, counting):
        monkeypatch.setattr(module, "CACHE_BYTES", 0)
    again = read_by_index(path, [3, 80, 163], count=count)
    assert cached[0] == again[0]
    np.testing.assert_array_equal(cached[1], again[1])


def test_exact_counts_by_decoding(data):
    path = data / "kinetics/carving_ice_rpi.mp4"
    assert len(read_by_index(path, range(131), count="frames")[1]) == 131
