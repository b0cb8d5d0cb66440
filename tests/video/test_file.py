"""Frames of video files, compared with OpenCV's own decoder on real files."""

import contextlib
import os

import av
import numpy as np
import pytest
from videos import (
    assert_same,
    decoded_by_opencv,
    file_levels,
    level,
    read_by_index,
    real_files,
    written,
)

from r2p_edge.errors import VideoError
from r2p_edge.video.container import VideoDecoder
from r2p_edge.video.file import VideoFile
from r2p_edge.video.sampling import ShorterThanDeclaredError
from r2p_edge.video.source import open_source


@pytest.mark.slow
def test_every_frame_is_opencvs(data):
    rng = np.random.default_rng(0)
    for path in real_files(data):
        reference = decoded_by_opencv(path)
        picked = np.sort(rng.choice(len(reference), min(9, len(reference)), replace=False))
        indices, images = read_by_index(path, picked)
        assert indices == picked.tolist(), path.name
        for index, image in zip(indices, images):
            assert_same(image, reference[index], f"{path.name} {index}")


def test_counts_are_those_of_decoding(data):
    declared_differently = {
        "TrumanShow_wave_f_nm_np1_fr_med_26.avi": 48,
        "v_YoYo_g11_c04.avi": 194,
    }
    for path in real_files(data):
        if path.name in declared_differently:
            with contextlib.closing(open_source(path, 25.0)) as source:
                assert len(source.times) == declared_differently[path.name]
                assert not source.truncated


def test_one_refused_packet_ends_nothing(data):
    """Read a file of 50 frames, of which the decoder refuses number 30 and shows the others."""
    with contextlib.closing(open_source(data / "odd/decord_corrupted.mp4", 25.0)) as source:
        assert len(source.times) == 50  # what it promises
        with pytest.raises(ShorterThanDeclaredError):
            list(source.read(source.times[20:40]))
        np.testing.assert_allclose(source.times, np.delete(np.arange(50), 30) / 10)
        np.testing.assert_allclose(source.lost, [3.0])
        assert not source.truncated
        assert len(list(source.read(source.times[20:]))) == 29


def test_a_rotated_file_is_upright(data):
    path = data / "odd/decord_video_90.mov"
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0))
    (image,) = read_by_index(path, [0])[1]
    assert (stored.width, stored.height) == image.shape[:2]  # a quarter turn exchanges them
    assert_same(image, decoded_by_opencv(path)[0], path.name)


def test_half_a_file_is_truncated(data, tmp_path):
    whole = (data / "ucf101/Basketball/v_Basketball_g01_c01.avi").read_bytes()
    half = tmp_path / "half.avi"
    half.write_bytes(whole[: len(whole) // 2])
    with contextlib.closing(open_source(half, 25.0)) as source:
        assert source.truncated
        assert 0 < len(source.times) < 141
        assert len(list(source.read(source.times[:1]))) == 1


def test_uneven_times_are_kept(tmp_path):
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.integers(10, 90, 60)) / 1000
    path = written(tmp_path / "uneven.mp4", times)
    with contextlib.closing(open_source(path, 25.0)) as source:
        np.testing.assert_allclose(source.times, times - times[0], atol=1e-3)
        wanted = np.arange(0, source.times[-1], 0.08)
        nearest = [int(np.abs(source.times - moment).argmin()) for moment in wanted]
        shown = [level(image) for image in source.read(wanted)]
    assert np.abs(np.array(shown) - nearest).max() <= 1  # a grey level off by coding


def test_one_frame_near_several_moments_is_one_array(tmp_path):
    path = written(tmp_path / "slow.mp4", np.arange(10) / 5)
    with contextlib.closing(open_source(path, 25.0)) as source:
        images = list(source.read(np.array([0.0, 0.05, 0.08, 0.2, 0.21])))
    assert images[0] is images[1] is images[2]
    assert images[3] is images[4]
    assert images[2] is not images[3]


@pytest.mark.parametrize("count", ["trust", "packets", "frames"])
@pytest.mark.parametrize(
    ("suffix", "codec", "b_frames"),
    [
        ("mp4", "libx264", 2),
        ("mkv", "libx264", 2),
        ("ts", "libx264", 2),
        ("ts", "mpeg2video", 2),
        ("m2v", "mpeg2video", 2),
        ("h264", "libx264", 2),
        ("avi", "mpeg4", 2),
        ("avi", "mpeg4", 0),
        ("flv", "libx264", 0),
        ("webm", "libvpx", 0),
    ],
)
def test_every_container_gives_the_same_frames(tmp_path, suffix, codec, b_frames, count):
    times = np.arange(60) / 25
    path = written(tmp_path / f"clip.{suffix}", times, codec=codec, b_frames=b_frames, rate=25)
    shown = file_levels(path, range(60), count=count)
    assert np.abs(np.array(shown) - np.arange(60)).max() <= 2
    some = [0, 29, 30, 59]
    assert np.abs(np.array(file_levels(path, some, count=count)) - some).max() <= 2


@pytest.mark.parametrize("start", [-0.48, 0.48, 3600.0, 200000.0])
def test_files_need_not_start_at_zero(tmp_path, start):
    path = tmp_path / "clip.mkv"
    options = {"avoid_negative_ts": "disabled"}
    written(path, start + np.arange(40) / 25, options=options, codec="libx264", b_frames=2)
    with contextlib.closing(open_source(path, 25.0)) as source:
        assert len(source.times) == 40
        assert not source.truncated
        shown = [level(image) for image in source.read(source.times)]
    assert np.abs(np.array(shown) - np.arange(40)).max() <= 2


def test_uneven_long_file_by_index(tmp_path):
    """Read 30 s at 5 fps, then 40 s at 50: frame 100 is not where an even file has it."""
    times = np.concatenate([np.arange(150) / 5, 30 + np.arange(2000) / 50])
    path = written(tmp_path / "uneven.mp4", times)
    wanted = [0, 100, 149, 150, 151, 2149]
    shown = file_levels(path, wanted, count="packets")
    assert np.abs(np.array(shown) - np.array(wanted) % 200).max() <= 1


@pytest.mark.parametrize("suffix", ["mkv", "webm"])
def test_a_cut_matroska_is_truncated(tmp_path, suffix):
    codec = "libvpx" if suffix == "webm" else "libx264"
    whole = written(tmp_path / f"whole.{suffix}", np.arange(100) / 25, codec=codec)
    with contextlib.closing(open_source(whole, 25.0)) as source:
        assert not source.truncated
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(whole.read_bytes()[: int(0.6 * whole.stat().st_size)])
    with contextlib.closing(open_source(cut, 25.0)) as source:
        assert 0 < len(source.times) < 100
        assert source.truncated


class CountingContainer:
    """Container that counts the frames decoded from it."""

    def __init__(self, container, decoded):
        self._container, self._decoded = container, decoded

    def __getattr__(self, name):
        return getattr(self._container, name)

    def decode(self, stream):
        for frame in self._container.decode(stream):
            self._decoded.append(frame.pts)
            yield frame


@pytest.fixture
def decoded(monkeypatch):
    """Return a list that gets the times of the frames that are decoded from now on."""
    found, opened = [], av.open
    monkeypatch.setattr(
        av, "open", lambda *args, **options: CountingContainer(opened(*args, **options), found)
    )
    return found


@pytest.fixture(scope="module")
def two_hours(tmp_path_factory):
    """Write two hours at 25 fps: the packets of ten seconds repeated, a key frame every second."""
    folder = tmp_path_factory.mktemp("long")
    loop = written(folder / "loop.mp4", np.arange(250) / 25, gop=25)
    path = folder / "two-hours.mp4"
    with av.open(str(loop)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        packets = [packet for packet in source.demux(stream) if packet.size]
        data = [(bytes(p), p.pts, p.dts, p.is_keyframe) for p in packets]
        step, base = round(10 / stream.time_base), stream.time_base
        for turn in range(720):
            for payload, pts, dts, key in data:
                packet = av.Packet(payload)
                packet.pts, packet.dts = pts + turn * step, dts + turn * step
                packet.time_base, packet.is_keyframe, packet.stream = base, key, copy
                target.mux(packet)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.0, 1.0, 3599.96, 7199.0])
def test_a_long_file_is_sought(two_hours, moment, decoded):
    with contextlib.closing(open_source(two_hours, 25.0)) as source:
        assert isinstance(source, VideoFile)
        assert source.times[-1] == pytest.approx(7200, abs=0.1)
        moments = moment + np.arange(16) * 0.04
        shown = [level(image) for image in source.read(moments)]
        wanted = [round(time * 25) % 250 % 200 for time in moments]
        assert np.abs(np.array(shown) - wanted).max() <= 1
        assert len(decoded) <= 16 + 2 * 25


def test_a_long_file_cut_in_half_still_answers(two_hours, tmp_path, monkeypatch):
    half = tmp_path / "half.mkv"
    with av.open(str(two_hours)) as source, av.open(str(half), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.pts is None or packet.pts * stream.time_base > 100:
                break
            packet.stream = copy
            target.mux(packet)
    monkeypatch.setattr(VideoDecoder, "declared_seconds", lambda self, of_stream: 200.0)
    with contextlib.closing(open_source(half, 25.0)) as source:
        assert source.times[-1] == pytest.approx(100, abs=1)
        assert len(list(source.read(np.array([50.0, source.times[-1]])))) == 2


def test_a_video_without_frames(tmp_path, data):
    # The header and index of a real file, its pictures overwritten.
    broken = bytearray((data / "odd/torchcodec_h265_video.mp4").read_bytes())
    start = broken.index(b"mdat") + 4
    end = broken.index(b"moov") - 4 if broken.index(b"moov") > start else len(broken)
    broken[start:end] = os.urandom(end - start)
    path = tmp_path / "noise.mp4"
    path.write_bytes(broken)
    with (
        pytest.raises((VideoError, ShorterThanDeclaredError)),
        contextlib.closing(open_source(path, 25)) as source,
    ):
        list(source.read(source.times[:1]))
