"""The video stream that is read of a file that has several, none, or one that cannot be decoded."""

import shutil
import subprocess

import av
import numpy as np
import pytest
from av.stream import Disposition
from muxed import Track, muxed, with_cover_first
from videos import read_by_index, written

from r2p_edge.errors import VideoError
from r2p_edge.video.source import open_source

SMALL, LARGE = (64, 48), (160, 120)
COVER = Disposition.attached_pic
NONE, DEFAULT = Disposition(0), Disposition.default


def level(path):
    """Return the grey of the frame that is read of the middle of a file."""
    return round(float(read_by_index(path, [5])[1][0].mean()), -1)


def test_a_cover_picture_before_the_video(tmp_path):
    cover = Track(200, 1, "png", LARGE, COVER)
    path = muxed(tmp_path / "clip.mp4", Track(100), cover)
    with_cover_first(path)
    with av.open(str(path)) as container:
        assert [stream.name for stream in container.streams.video] == ["png", "mpeg4"]
    assert level(path) == 100


@pytest.mark.parametrize("codec", ["png", "mjpeg", "mpeg4"])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "avi", "nut"])
def test_a_picture_that_no_flag_tells_of(tmp_path, codec, suffix):
    if (suffix, codec) in {("mkv", "png"), ("nut", "mjpeg"), ("nut", "mpeg4")}:
        pytest.skip("PyAV does not write the one, and nothing tells of the others")
    path = muxed(tmp_path / f"clip.{suffix}", Track(200, 1, codec, LARGE, DEFAULT), Track(100))
    assert level(path) == 100


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_a_video_of_pictures_is_a_video(tmp_path, suffix):
    """Read the colour stream of a depth camera, which is MJPEG, and not its smaller others."""
    color = Track(100, codec="mjpeg", size=LARGE, disposition=DEFAULT)
    path = muxed(tmp_path / f"clip.{suffix}", Track(200), color)
    assert level(path) == 100
    alone = muxed(tmp_path / f"alone.{suffix}", Track(100, codec="mjpeg", size=LARGE))
    assert level(alone) == 100


CASES = {
    "the larger one": ((SMALL, NONE), (LARGE, NONE)),
    "the larger one, first": ((LARGE, NONE), (SMALL, NONE)),
    "the default one": ((LARGE, NONE), (SMALL, DEFAULT)),
    "the larger of two default ones": ((SMALL, DEFAULT), (LARGE, DEFAULT)),
    "the first of equal ones": ((SMALL, NONE), (SMALL, NONE)),
}


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("case", CASES)
def test_the_stream_that_ffmpeg_chooses(tmp_path, suffix, case):
    codec = "mpeg2video" if suffix == "ts" else "mpeg4"
    tracks = [
        Track(level, codec=codec, size=size, disposition=flag)
        for level, (size, flag) in zip((100, 200), CASES[case])
    ]
    path = muxed(tmp_path / f"clip.{suffix}", *tracks)
    if shutil.which("ffmpeg"):
        command = ["ffmpeg", "-v", "error", "-i", str(path), "-frames:v", "1"]
        command += ["-f", "rawvideo", "-pix_fmt", "gray", "-"]
        done = subprocess.run(command, capture_output=True, check=True)
        expected = round(float(np.frombuffer(done.stdout, np.uint8).mean()), -1)
    else:
        with av.open(str(path)) as container:
            weights = [
                stream.width * stream.height + 5e6 * bool(stream.disposition & DEFAULT)
                for stream in container.streams.video
            ]
        expected = (100, 200)[int(np.argmax(weights))]
    assert level(path) == expected


def test_which_stream_is_read_is_logged(tmp_path, caplog):
    path = muxed(tmp_path / "clip.mkv", Track(200), Track(100, size=LARGE))
    caplog.set_level("INFO", "r2p_edge")
    open_source(path, 25.0).close()
    (record,) = (each for each in caplog.records if "several video streams" in each.message)
    assert "(#0 mpeg4 64x48, #1 mpeg4 160x120); #1 is read" in record.message


def test_a_file_with_nothing_but_a_cover(tmp_path):
    path = tmp_path / "song.mp3"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("mp3", rate=8000, layout="mono")
        cover = container.add_stream("png", rate=25)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "rgb24"
        cover.disposition = COVER.value
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.int16), "s16p", "mono")
        frame.sample_rate = 8000
        container.mux([*sound.encode(frame), *sound.encode()])
    with pytest.raises(VideoError, match="has no video stream but a cover picture"):
        open_source(path, 25.0)


UNKNOWN = {
    "avi": ("mpeg4", b"FMP4", b"ZZZZ"),
    "mp4": ("libx264", b"avc1", b"braw"),
    "mkv": ("mpeg4", b"V_MPEG4/", b"V_XPEG4/"),
}


@pytest.mark.parametrize("suffix", UNKNOWN)
def test_a_codec_that_nobody_decodes(tmp_path, suffix):
    codec, known, unknown = UNKNOWN[suffix]
    path = written(tmp_path / f"clip.{suffix}", np.arange(9) / 25, rate=25, codec=codec)
    path.write_bytes(path.read_bytes().replace(known, unknown))
    with pytest.raises(VideoError, match=rf"clip.{suffix} has video of a codec that this"):
        open_source(path, 25.0)


@pytest.mark.parametrize("codec", ["mpeg4", "png"])
def test_a_stream_beside_one_that_cannot_be_decoded(tmp_path, codec):
    frames = 1 if codec == "png" else 20
    lost = Track(200, codec="libx264", size=LARGE, disposition=DEFAULT)
    path = muxed(tmp_path / "clip.mp4", Track(100, frames, codec), lost)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"braw"))
    if codec == "mpeg4":
        assert level(path) == 100
    else:  # the cover is no video
        with pytest.raises(VideoError, match="of a codec that this FFmpeg cannot decode"):
            open_source(path, 25.0)
