"""Files as streams."""

import contextlib
import http.server
import threading
from functools import partial

import av
import numpy as np
import pytest
from live import TICK
from models import spec_of_brightness
from videos import written

from r2p_edge import Predictor
from r2p_edge.calibration import motion
from r2p_edge.errors import StreamWarning, VideoError
from r2p_edge.live.capture.file import FileCapture
from r2p_edge.video.source import open_source

pytestmark = pytest.mark.usefixtures("nothing_is_left")


@pytest.mark.slow
@pytest.mark.parametrize("fps", [25, 30, 60])
def test_a_file_gives_every_answer(motion_model, tmp_path, fps):
    clip = tmp_path / "clip.mp4"
    motion.write_video(motion.scene("test", 0), clip, motion.frame_times(fps))
    with Predictor(motion_model) as predictor:
        expected = predictor.predict(clip)
        answers = list(predictor.stream(clip, stride=1))
        times = [answer.span[0] for answer in answers]
        np.testing.assert_allclose(times, np.arange(5) * TICK, atol=0.5 / fps)
        (same,) = [a for a in answers if abs(a.span[0] - expected.span[0]) < 0.03]
        np.testing.assert_array_equal(same.scores, expected.scores)
        assert [answer.live.skipped for answer in answers] == [0] * 5
        assert answers[0].live.source == str(clip)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::r2p_edge.errors.LowFrameRateWarning")
def test_real_files_of_every_kind(predictor, data):
    truman = data / "odd/TrumanShow_wave_f_nm_np1_fr_med_26.avi"
    for file in [*sorted(data.glob("ucf101/*/*.avi"))[:3], truman]:
        answers = list(predictor.stream(file, stride=1))
        with contextlib.closing(open_source(file, 25.0, count="frames")) as source:
            ticks = np.floor((source.times[-1] + 0.002) / TICK) + 1
        assert len(answers) == ticks - 3, file.name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::r2p_edge.errors.LowFrameRateWarning")
def test_a_damaged_file_goes_on_after_the_damage(predictor, data):
    """Read 50 frames, ten a second, of which the decoder refuses number 30."""
    answers = list(predictor.stream(data / "odd/decord_corrupted.mp4", stride=1))
    told = [(answer.span[1] > 2.95, answer.live.dropped, answer.live.gaps) for answer in answers]
    assert told == sorted(told)
    # It is told as soon as it is known, which is a little ahead.
    assert set(told) == {(False, 0, 0), (False, 1, 0), (True, 1, 1)}
    assert answers[-1].span[1] == pytest.approx(4.9)


def test_times_that_are_a_century_apart(tmp_path):
    """The last frame of a damaged file; an array of all ticks before it would have 300 GB."""
    path = tmp_path / "clip.mkv"
    written(path, [*(number / 25 for number in range(20)), 3e9], codec="ffv1")
    with contextlib.closing(FileCapture(str(path), spec_of_brightness().clip, TICK)) as capture:
        found = [frame.time for frame in capture.frames()]
    np.testing.assert_allclose(found, [*(number / 25 for number in range(0, 20, 2)), 0.76, 3e9])


@pytest.mark.slow
def test_a_file_that_is_cut_off_says_so(predictor, data, tmp_path):
    whole = (data / "ucf101/YoYo/v_YoYo_g01_c01.avi").read_bytes()
    half = tmp_path / "half.avi"
    half.write_bytes(whole[: len(whole) // 2])
    with pytest.warns(StreamWarning, match="stops before"):
        assert len(list(predictor.stream(half))) > 10


@pytest.mark.slow
def test_what_is_missing_in_a_file_is_a_gap(predictor, tmp_path):
    path = tmp_path / "torn.mkv"
    times = np.concatenate([np.arange(30), 75 + np.arange(30)]) / 25
    motion.write_video(motion.scene("test", 0), path, times)
    spans = [(answer.span, answer.live.gaps) for answer in predictor.stream(path, stride=1)]
    assert [gaps for _, gaps in spans] == sorted(gaps for _, gaps in spans)
    assert {gaps for _, gaps in spans} == {0, 1}
    assert not any(start < 1.2 and end > 2.9 for (start, end), _ in spans)


@pytest.mark.slow
def test_a_file_shorter_than_a_clip(predictor, tmp_path):
    path = tmp_path / "short.mp4"
    motion.write_video(motion.scene("test", 0), path, np.arange(5) / 25)
    with pytest.raises(VideoError, match="shorter than a clip"):
        next(predictor.stream(path))


@pytest.mark.slow
def test_titles_in_another_encoding(predictor, tmp_path, clip):
    file = tmp_path / "title.mkv"
    with av.open(str(clip)) as source, av.open(str(file), "w") as copy:
        copy.metadata["title"] = "Mxller"
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    file.write_bytes(file.read_bytes().replace(b"Mxller", b"M\xfcller"))
    expected = [answer.scores for answer in predictor.stream(clip)]
    np.testing.assert_array_equal([answer.scores for answer in predictor.stream(file)], expected)


@contextlib.contextmanager
def web_server(folder):
    """Serve the files of a folder; yield the address, and the list of what was asked for."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    handler = partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_a_file_on_a_server_is_a_file(predictor, tmp_path):
    clip = tmp_path / "clip.mkv"  # whose end need not be read first: this server has no ranges
    motion.write_video(motion.scene("test", 0), clip)
    with web_server(tmp_path) as (address, asked):
        remote = [answer.scores for answer in predictor.stream(f"{address}/clip.mkv", stride=1)]
        streamed, asked[:] = len(asked), []
        capture = FileCapture(f"{address}/clip.mkv", predictor.spec.clip, TICK)
        with contextlib.closing(capture):
            list(capture.frames())
    local = [answer.scores for answer in predictor.stream(clip, stride=1)]
    np.testing.assert_array_equal(remote, local)
    assert streamed == len(asked)  # finding out that it is a file takes no connection more


@pytest.mark.slow
def test_decoding_is_timed(clip):
    capture = FileCapture(str(clip), spec_of_brightness().clip, TICK)
    with contextlib.closing(capture):
        assert all(frame.decode_ms > 0 for frame in capture.frames())
