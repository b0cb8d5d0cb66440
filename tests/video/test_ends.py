"""Long files, whose container declares another length than that of the picture."""

import contextlib
from fractions import Fraction

import av
import numpy as np
import pytest
from videos import level

from r2p_edge.video.container import VideoDecoder
from r2p_edge.video.ends import first_and_last
from r2p_edge.video.source import open_source


def with_sound(path, begin, end, sound):
    """Write pictures from `begin` to `end` seconds, 25 a second, and so many seconds of sound."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.gop_size = 25
        video.codec_context.qmin = video.codec_context.qmax = 2
        audio = container.add_stream("mp2", rate=48000)
        silence = np.zeros((1, 2 * 1152), np.int16)
        packets = []
        for k in range(round((end - begin) * 25)):
            image = np.full((48, 64, 3), 10 + k % 200, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(begin * 25) + k, Fraction(1, 25)
            packets += video.encode(frame)
        packets += video.encode()
        for k in range(round(sound * 48000 / 1152)):
            piece = av.AudioFrame.from_ndarray(silence, format="s16", layout="stereo")
            piece.sample_rate, piece.pts, piece.time_base = 48000, k * 1152, Fraction(1, 48000)
            packets += audio.encode(piece)
        packets += audio.encode()
        for packet in sorted(packets, key=lambda packet: float(packet.dts * packet.time_base)):
            container.mux(packet)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clip.mkv", "clip.ts", "clip.mp4", "clip.mpg"])
@pytest.mark.parametrize(("begin", "end"), [(70, 74), (0, 4), (3, 68)])
def test_a_picture_that_is_not_as_long_as_the_sound(tmp_path, name, begin, end):
    path = with_sound(tmp_path / name, begin, end, 80)
    with contextlib.closing(open_source(path, 25.0)) as source:
        assert source.times[-1] == pytest.approx(end - begin - 0.04, abs=1e-3)
        assert not source.truncated
        wanted = [0, len(source.times) // 2, len(source.times) - 1]
        shown = [level(image) for image in source.read(source.times[wanted])]
    assert np.abs(np.array(shown) - np.array(wanted) % 200).max() <= 1


def test_a_file_that_cannot_be_looked_at_from_its_end(tmp_path, monkeypatch):
    path = with_sound(tmp_path / "clip.mkv", 1, 3, 4)
    with contextlib.closing(VideoDecoder("clip", f"file:{path}")) as video:
        assert first_and_last(video) == pytest.approx((1.0, 2.96))

        def refuse(time):
            raise av.error.PermissionError(1, "no")

        monkeypatch.setattr(video, "packets_near", refuse)
        assert first_and_last(video) is None
