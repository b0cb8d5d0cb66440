"""Sources of frames, held against OpenCV's own decoder on real files."""

import contextlib
import os
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from r2p_edge.errors import VideoError, VideoNotFoundError
from r2p_edge.video import file as video_file
from r2p_edge.video.file import ShorterThanDeclaredError, VideoFile
from r2p_edge.video.source import open_source


def decoded_by_opencv(path):
    """All frames of a file as RGB, upright, in the order in which they are shown."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        good, image = capture.read()
        if not good:
            return frames
        frames.append(image[:, :, ::-1])


def assert_same(image, reference, name):
    """Byte for byte, or within what another FFmpeg rounds differently in the colour conversion."""
    difference = np.abs(image.astype(int) - reference)
    allowed = 0 if int(cv2.__version__.split(".")[0]) >= 5 else 3
    assert difference.max() <= allowed, name


def real_files(data):
    files = [*data.glob("ucf101/*/*.avi"), *data.glob("kinetics/*.mp4"), *data.glob("odd/*.*")]
    assert len(files) > 40
    return sorted(files)


def read_by_index(path, indices, **options):
    """Frames by number; a file that turns out shorter is asked again for what it has."""
    with contextlib.closing(open_source(path, 25.0, **options)) as source:
        for _ in range(2):
            wanted = [i for i in indices if i < len(source.times)]
            with contextlib.suppress(ShorterThanDeclaredError):
                return wanted, list(source.read(source.times[wanted]))
    raise AssertionError(f"{path} never gave its frames")


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


def test_a_file_that_stops_early_is_counted_and_called_truncated(data):
    with contextlib.closing(open_source(data / "odd/decord_corrupted.mp4", 25.0)) as source:
        assert len(source.times) == 50  # what it declares
        with pytest.raises(ShorterThanDeclaredError):
            list(source.read(source.times[20:40]))
        assert source.truncated
        assert len(source.times) == 28  # what it holds
        assert len(list(source.read(source.times[20:28]))) == 8


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


def written(path, times, gop=12, codec="mpeg4", b_frames=0, rate=1000, **options):
    """A file whose frame k is a flat grey of level 10 + k % 200 at times[k] seconds."""
    width, height = 64, 48
    with av.open(str(path), "w", **options) as container:
        stream = container.add_stream(codec, rate=Fraction(rate))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, rate)
        stream.codec_context.max_b_frames = b_frames
        stream.codec_context.gop_size = gop
        if codec.startswith("mpeg"):
            stream.codec_context.qmin = stream.codec_context.qmax = 2
        for number, time in enumerate(times):
            level = np.full((height, width, 3), 10 + number % 200, np.uint8)
            frame = av.VideoFrame.from_ndarray(level, format="rgb24")
            frame.pts, frame.time_base = round(time * rate), Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def levels(path, indices, **options):
    return [level(image) for image in read_by_index(path, indices, **options)[1]]


def level(image):
    return round(float(image.mean())) - 10


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
    shown = levels(path, range(60), count=count)
    assert np.abs(np.array(shown) - np.arange(60)).max() <= 2
    some = [0, 29, 30, 59]
    assert np.abs(np.array(levels(path, some, count=count)) - some).max() <= 2


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


@pytest.mark.parametrize("b_frames", [0, 2])
def test_a_long_avi_is_counted(tmp_path, b_frames):
    path = written(tmp_path / "long.avi", np.arange(70 * 25) / 25, b_frames=b_frames, rate=25)
    wanted = [0, 1, 500, 501, 1200, 1748, 1749]
    shown = levels(path, wanted)
    assert np.abs(np.array(shown) - np.array(wanted) % 200).max() <= 1


def test_uneven_long_file_by_index(tmp_path):
    """30 s at 5 fps, then 40 s at 50: the hundredth frame is not where an even file has it."""
    times = np.concatenate([np.arange(150) / 5, 30 + np.arange(2000) / 50])
    path = written(tmp_path / "uneven.mp4", times)
    wanted = [0, 100, 149, 150, 151, 2149]
    shown = levels(path, wanted, count="packets")
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


def test_a_live_playlist_is_refused(tmp_path):
    written(tmp_path / "part.ts", np.arange(50) / 25, codec="libx264", rate=25)
    playlist = tmp_path / "live.m3u8"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\npart.ts\n")
    with pytest.raises(VideoError, match="live playlist"):
        open_source(playlist, 25.0)


class CountingContainer:
    """A container that counts the frames decoded from it."""

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
    """Times of the frames that are decoded from now on."""
    found, opened = [], av.open
    monkeypatch.setattr(
        av, "open", lambda *args, **options: CountingContainer(opened(*args, **options), found)
    )
    return found


@pytest.fixture(scope="module")
def two_hours(tmp_path_factory):
    """Two hours at 25 fps: the packets of ten seconds, again and again, a key frame a second."""
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
    monkeypatch.setattr(VideoFile, "_declared_seconds", lambda self, of_stream: 200.0)
    with contextlib.closing(open_source(half, 25.0)) as source:
        assert source.times[-1] > 199
        with pytest.raises(ShorterThanDeclaredError):
            list(source.read(np.array([50.0, 150.0])))
        assert source.truncated
        assert source.times[-1] == pytest.approx(100, abs=1)


def test_counting_does_not_depend_on_the_cache(data, monkeypatch):
    path = data / "ucf101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi"
    cached = read_by_index(path, [3, 80, 163])
    monkeypatch.setattr(video_file, "CACHE_BYTES", 0)
    again = read_by_index(path, [3, 80, 163])
    assert cached[0] == again[0]
    np.testing.assert_array_equal(cached[1], again[1])


def test_exact_counts_by_decoding(data):
    path = data / "kinetics/carving_ice_rpi.mp4"
    assert len(read_by_index(path, range(131), count="frames")[1]) == 131


def test_folder_in_the_order_of_its_numbers(tmp_path):
    for number in (0, 1, 2, 9, 10, 11):
        cv2.imwrite(str(tmp_path / f"frame{number}.png"), np.full((8, 9, 3), number, np.uint8))
    (tmp_path / "notes.txt").write_text("not a frame")
    source = open_source(tmp_path, 10.0)
    assert source.times.tolist() == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert [int(image[0, 0, 0]) for image in source.read(source.times)] == [0, 1, 2, 9, 10, 11]


def test_odd_digits_in_names_are_letters(tmp_path):
    for name in ("1²3", "12"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((8, 8, 3), np.uint8))
    assert len(open_source(tmp_path, 25.0).times) == 2


def test_folder_is_read_as_opencv_reads_it(tmp_path, data):
    image = decoded_by_opencv(data / "ucf101/YoYo/v_YoYo_g01_c01.avi")[0]
    cv2.imwrite(str(tmp_path / "0.png"), image[:, :, ::-1])
    (read,) = open_source(tmp_path, 25.0).read(np.zeros(1))
    np.testing.assert_array_equal(read, image)


def test_colons_and_spaces_in_names(tmp_path):
    path = written(tmp_path / "12:30 %03d.mp4", np.arange(5) / 25)
    assert len(read_by_index(path, range(5))[1]) == 5


def test_bad_sources(tmp_path, data):
    def fails(source, message, kind=VideoError):
        with pytest.raises(kind, match=message):
            open_source(source, 25.0)

    fails(tmp_path / "absent.avi", "there is no video", VideoNotFoundError)
    assert issubclass(VideoNotFoundError, FileNotFoundError)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    fails(empty, "is an empty file")
    for name in ("text.avi", "text.txt", "text.mp4"):
        (tmp_path / name).write_text("Hello, I am a text.\n" * 400)
        fails(tmp_path / name, rf"{name} (cannot be read as a video|has no video stream)")
    (tmp_path / "folder").mkdir()
    fails(tmp_path / "folder", "has no images")
    fails("rtsp://camera/1", "live stream")
    os.mkfifo(tmp_path / "pipe")
    fails(tmp_path / "pipe", "is a device or a pipe")
    fails("x" * 5000, "cannot be looked up")
    sound = tmp_path / "sound.wav"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    fails(sound, "has no video stream")


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


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((112, 112, 3), np.uint8), r"shape \(112, 112, 3\)"),
        (np.zeros((16, 3, 112, 112), np.uint8), r"expected \(T, H, W, 3\)"),
        (np.zeros((16, 8, 8, 4), np.uint8), r"shape \(16, 8, 8, 4\)"),
        (np.zeros((16, 8, 8, 3), np.float32), "dtype float32; expected uint8"),
        (np.zeros((0, 8, 8, 3), np.uint8), "at least one frame"),
        (np.zeros((4, 0, 8, 3), np.uint8), "at least one frame"),
        (None, "shape"),
        ([[1], [2, 3]], "cannot be taken as an array"),
    ],
)
def test_bad_arrays(array, message):
    with pytest.raises(VideoError, match=message):
        open_source(array, 25.0)
