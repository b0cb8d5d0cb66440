"""Decoding of strangers' files: the clip of `Predictor.pixels`, and limits on what it may take."""

import os
import threading

import numpy as np
import pytest
from models import spec_of_brightness

from r2p_edge.calibration import motion
from r2p_edge.errors import VideoError
from r2p_edge.serve.decoding import DecodingLimits, IsolatedDecoder
from r2p_edge.video.clip_reader import ClipReader

pytestmark = pytest.mark.slow

SPEC = spec_of_brightness()


@pytest.fixture(scope="module")
def decoder():
    made = IsolatedDecoder(SPEC)
    yield made
    made.close()


def test_the_clip_is_that_of_the_reader(decoder, clip):
    found, expected = decoder.decode(clip.read_bytes()), ClipReader(SPEC).read(clip)
    assert np.array_equal(found.pixels, expected.pixels)
    assert (found.coverage, found.span) == (expected.coverage, expected.span)


def test_one_process_decodes_video_after_video(decoder, clip):
    decoder.decode(clip.read_bytes())
    first = decoder._child.pid
    with pytest.raises(VideoError, match="the video"):
        decoder.decode(b"no video")
    decoder.decode(clip.read_bytes())
    assert decoder._child.pid == first


def test_bytes_are_never_a_path_or_an_address(decoder, clip, tmp_path):
    for content in (os.fsencode(clip), f"file://{clip}".encode(), b"http://127.0.0.1:1/x.mp4"):
        with pytest.raises(VideoError, match="the video"):
            decoder.decode(content)


def test_a_playlist_opens_no_other_file(decoder, clip):
    for playlist in (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{clip}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{clip}'\n",
    ):
        with pytest.raises(VideoError):
            decoder.decode(playlist.encode())


def test_a_video_that_takes_too_long_is_given_up_and_the_next_is_decoded(clip):
    decoder = IsolatedDecoder(SPEC, DecodingLimits(seconds=1e-4))
    try:
        with pytest.raises(VideoError, match=r"did not finish within 0\.0001 s; send a shorter"):
            decoder.decode(clip.read_bytes())
        decoder._limits = DecodingLimits()
        assert decoder.decode(clip.read_bytes()).coverage == 1
    finally:
        decoder.close()


def test_large_frames_are_refused_before_they_are_decoded(clip):
    decoder = IsolatedDecoder(SPEC, DecodingLimits(pixels=100))
    try:
        with pytest.raises(VideoError, match=r"has frames of \d+x\d+ pixels; .* at most 100"):
            decoder.decode(clip.read_bytes())
    finally:
        decoder.close()


def test_memory_is_limited(tmp_path):
    """The frames of this file are small in it, and 64 MB each when they are decoded."""
    import av

    path = tmp_path / "large.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 8000, 5600, "yuv420p"
        for _ in range(8):
            grey = np.full((5600 * 3 // 2, 8000), 128, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, "yuv420p")))
        container.mux(stream.encode(None))
    limits = DecodingLimits(memory=64 << 20, pixels=10**9)
    decoder = IsolatedDecoder(SPEC, limits)
    try:
        with pytest.raises(VideoError, match="the video"):
            decoder.decode(path.read_bytes())
        clip = tmp_path / "small.mp4"
        motion.write_video(motion.scene("test", 0), clip)
        assert decoder.decode(clip.read_bytes()).coverage == 1
    finally:
        decoder.close()


def test_a_process_that_dies_is_replaced(decoder, clip):
    decoder.start()
    os.kill(decoder._child.pid, 9)
    with pytest.raises(VideoError, match="could not be decoded: it ended Python"):
        decoder.decode(clip.read_bytes())
    assert decoder.decode(clip.read_bytes()).coverage == 1


def test_threads_share_it(decoder, clip):
    found = []
    content = clip.read_bytes()
    threads = [
        threading.Thread(target=lambda: found.append(decoder.decode(content))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({each.pixels.tobytes() for each in found}) == 1
    assert len(found) == 4


def test_nothing_is_said_of_strangers_videos(decoder, tmp_path, caplog, recwarn):
    slow = tmp_path / "slow.mp4"
    motion.write_video(motion.scene("test", 0), slow, np.arange(4.0))
    assert decoder.decode(slow.read_bytes()).coverage < 1
    assert not caplog.records
    assert not recwarn.list


def test_closing_twice_is_allowed(clip):
    decoder = IsolatedDecoder(SPEC)
    decoder.start()
    decoder.close()
    decoder.close()
