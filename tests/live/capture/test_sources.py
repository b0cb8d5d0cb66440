"""Streams from files, the network and cameras: what comes, what is lost, what is left behind."""

import contextlib
import gc
import http.server
import io
import json
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import nullcontext
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from models import brightness_model, grey_frames, levels
from paths import HELPERS

from r2p_edge import Predictor
from r2p_edge.calibration import motion
from r2p_edge.errors import (
    MissingDependencyError,
    StreamWarning,
    UsageError,
    VideoError,
    VideoNotFoundError,
)
from r2p_edge.live.buffer import Shot
from r2p_edge.live.capture import open as capture_open
from r2p_edge.live.capture import reconnecting
from r2p_edge.live.capture.network import AddressCapture, Pace
from r2p_edge.live.capture.open import CameraCapture, open_capture
from r2p_edge.live.predictions import Answers, Feed
from r2p_edge.live.stream import Stream
from r2p_edge.live.systemd import Notifier
from r2p_edge.video.source import open_source

SENDER = HELPERS / "mpegts_sender.py"


@pytest.fixture
def predictor(tmp_path):
    with Predictor(brightness_model(tmp_path / "model.onnx")) as opened:
        yield opened


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    motion.write_video(motion.scene("test", 0), path)
    return path


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch):
    """No thread and no open file is left by any of these tests; and none waits long."""
    monkeypatch.setattr(reconnecting, "BACK_OFF", (0.01, 0.1))
    before = set(threading.enumerate()), handles()
    yield
    gc.collect()
    assert set(threading.enumerate()) <= before[0]
    assert not handles() - before[1]


def handles():
    """What the process has open, but for what ONNX Runtime opens once."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the folder's own
            found.append(str(link.readlink()))
    return Counter(name for name in found if "onnxruntime" not in name)


class Camera:
    """A live source that shows frames when it is told to, frame k of level k at k / 25 seconds."""

    name, live, truncated = "camera", True, False

    def __init__(self, frames=range(10**6)):
        self._frames = frames
        self._go, self._stopped = threading.Semaphore(0), False
        self.shown, self.closed = threading.Event(), False

    def show(self, count):
        self._go.release(count)

    def shots(self):
        for k in self._frames:
            self.shown.set()
            self._go.acquire()
            if self._stopped:
                return
            yield Shot(k / 25, 0.0, (10, 12), partial(frame, k))

    def stop(self):
        self._stopped = True
        self._go.release()

    def close(self):
        self.closed = True


def frame(k):
    return grey_frames([k % 250])[0]


def watch(predictor, *captures, policy="latest", patience=60.0, notifier=None, **options):
    feeds = [
        Feed(Stream(predictor, name=capture.name, **options), capture, policy, patience)
        for capture in captures
    ]
    return Answers(feeds, notifier=notifier)


def wait_for(answers, condition):
    """Until the readers have got so far."""
    with answers._changed:
        assert answers._changed.wait_for(condition, 60)


@pytest.mark.parametrize("fps", [25, 30, 60])
def test_a_file_gives_every_answer(motion_model, tmp_path, fps):
    clip = tmp_path / "clip.mp4"
    motion.write_video(motion.scene("test", 0), clip, motion.frame_times(fps))
    with Predictor(motion_model) as predictor:
        expected = predictor.predict(clip)
        answers = list(predictor.stream(clip, stride=1))
        times = [answer.span[0] for answer in answers]
        np.testing.assert_allclose(times, np.arange(5) * 0.08, atol=0.5 / fps)
        (same,) = [a for a in answers if abs(a.span[0] - expected.span[0]) < 0.03]
        np.testing.assert_array_equal(same.scores, expected.scores)
        assert [answer.live.skipped for answer in answers] == [0] * 5
        assert answers[0].live.source == str(clip)


@pytest.mark.filterwarnings("ignore::r2p_edge.errors.LowFrameRateWarning")
def test_real_files_of_every_kind(predictor, data):
    names = ("decord_corrupted.mp4", "TrumanShow_wave_f_nm_np1_fr_med_26.avi")
    files = [*sorted(data.glob("ucf101/*/*.avi"))[:3], *(data / "odd" / name for name in names)]
    for file in files:
        cut = file.name == "decord_corrupted.mp4"  # of 50 frames it holds 28
        with pytest.warns(StreamWarning, match="stops before") if cut else nullcontext():
            answers = list(predictor.stream(file, stride=1))
        with contextlib.closing(open_source(file, 25.0, count="frames")) as source:
            ticks = np.floor((source.times[-1] + 0.002) / 0.08) + 1
        assert len(answers) == ticks - 3, file.name


def test_what_is_missing_in_a_file_is_a_gap(predictor, tmp_path):
    path = tmp_path / "torn.mkv"
    times = np.concatenate([np.arange(30), 75 + np.arange(30)]) / 25
    motion.write_video(motion.scene("test", 0), path, times)
    spans = [(answer.span, answer.live.gaps) for answer in predictor.stream(path, stride=1)]
    assert [gaps for _, gaps in spans] == sorted(gaps for _, gaps in spans)
    assert {gaps for _, gaps in spans} == {0, 1}
    assert not any(start < 1.2 and end > 2.9 for (start, end), _ in spans)


def test_a_file_shorter_than_a_clip(predictor, tmp_path):
    path = tmp_path / "short.mp4"
    motion.write_video(motion.scene("test", 0), path, np.arange(5) / 25)
    with pytest.raises(VideoError, match="shorter than a clip"):
        next(predictor.stream(path))


def test_a_loop_that_is_left_leaves_nothing(predictor, clip):
    for _ in predictor.stream(clip, stride=1):
        break

    def consume():
        for _ in predictor.stream(clip, stride=1):
            raise RuntimeError("of the consumer")

    with pytest.raises(RuntimeError, match="of the consumer"):
        consume()


def test_the_model_fails(tmp_path, clip):
    with Predictor(brightness_model(tmp_path / "nan.onnx", factor=np.nan)) as predictor:
        answers = predictor.stream(clip)
        with pytest.raises(ValueError, match="nan"):
            next(answers)


def test_close_ends_a_consumer_that_waits(predictor):
    camera, found = Camera(), []
    answers = watch(predictor, camera)
    consumer = threading.Thread(target=lambda: found.extend(answers))
    consumer.start()
    assert camera.shown.wait(60)  # it reads, and nothing comes
    answers.close()
    answers.close()
    consumer.join(60)
    assert not consumer.is_alive()
    assert (found, camera.closed) == ([], True)
    assert list(answers) == []


def test_a_source_that_stalls_for_ever(predictor):
    camera = Camera()
    with (
        watch(predictor, camera, patience=0.05) as answers,
        pytest.raises(VideoError, match=r"no frame for 0\.05 s"),
    ):
        next(answers)


def test_latest_skips_answers_and_no_frames(predictor):
    camera = Camera()
    with watch(predictor, camera, stride=1) as answers:
        camera.show(7)
        first = next(answers)
        camera.show(30)  # the consumer is busy meanwhile
        wait_for(answers, lambda: answers._feeds[0].stream.buffer._tick == 18)
        second = next(answers)
    assert (levels(first), levels(second)) == ([0, 2, 4, 6], [0, 2, 4, 6])
    assert second.span == (pytest.approx(30 / 25), pytest.approx(36 / 25))
    assert (first.live.skipped, second.live.skipped, second.live.gaps) == (0, 14, 0)


def test_a_source_that_hangs_where_nothing_is_skipped(predictor):
    camera = Camera()
    with watch(predictor, camera, policy="all", patience=0.3, stride=1) as answers:
        camera.show(9)
        for _ in range(2):
            next(answers)
            time.sleep(0.5)  # which is the consumer's own time
        with pytest.raises(VideoError, match=r"camera has given no frame for 0\.3 s"):
            next(answers)


def test_a_source_that_others_kept_waiting_is_not_hung(predictor):
    camera = Camera()
    feed = Feed(Stream(predictor, stride=1), camera, "latest", 60.0)
    feed.seen -= 100
    with Answers([feed]) as answers:
        camera.show(7)
        assert next(answers).live.gaps == 0


def test_a_source_too_slow_for_a_window_warns(predictor):
    camera = Camera(range(0, 500, 25))
    camera.show(21)
    message = r"camera gives no answer: .* 0\.32 seconds of a clip"
    with watch(predictor, camera) as answers, pytest.warns(StreamWarning, match=message) as told:
        assert list(answers) == []
    assert len(told) == 1


def test_all_lets_the_source_wait(predictor):
    camera = Camera()
    camera.show(200)
    with watch(predictor, camera, stride=1, policy="all") as answers:
        ends = [next(answers).span[1] for _ in range(50)]
    np.testing.assert_allclose(ends, (6 + 2 * np.arange(50)) / 25)


def test_two_consumers_share_the_answers(predictor, clip):
    alone = [answer.span for answer in predictor.stream(clip, stride=1)]
    answers, found = predictor.stream(clip, stride=1), []
    consumers = [
        threading.Thread(target=lambda: found.extend(a.span for a in answers)) for _ in range(2)
    ]
    for consumer in consumers:
        consumer.start()
    for consumer in consumers:
        consumer.join()
    assert sorted(found) == alone


def test_several_sources_take_turns(predictor, clip):
    with predictor.stream_many({"one": clip, "two": clip}, stride=1) as answers:
        names = [answer.live.source for answer in answers]
    assert sorted(names) == ["one"] * 17 + ["two"] * 17
    two = Camera(), Camera()
    two[1].name = "other"
    with watch(predictor, *two, stride=1, policy="all") as answers:
        names = []
        for camera in two:
            camera.show(100)
        for _ in range(10):
            wait_for(answers, lambda: all(feed.stream.buffer.due for feed in answers._feeds))
            names.append(next(answers).live.source)
    assert names == ["camera", "other"] * 5


def test_one_of_several_is_lost(predictor, clip, tmp_path):
    short = tmp_path / "short.mp4"
    motion.write_video(motion.scene("test", 0), short, np.arange(5) / 25)
    with predictor.stream_many({"short": short, "long": clip}, stride=1) as answers:
        found = []
        with pytest.warns(StreamWarning, match="shorter than a clip"):
            found.extend(answers)
    assert {answer.live.source for answer in found} == {"long"}


# The network.


@pytest.fixture
def port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def send(port):
    """Starts senders of live video, processes of their own, and ends them."""
    with contextlib.ExitStack() as ends:

        def send(first, count, codec="libx264"):
            command = [sys.executable, str(SENDER), f"tcp://127.0.0.1:{port}", str(first)]
            process = subprocess.Popen([*command, str(count), codec])
            ends.callback(process.wait)
            ends.callback(process.kill)
            return process

        yield send


def shown_numbers(answer):
    """The numbers of the frames that a window holds, from the newest one's own grey."""
    newest = round((float(answer.live.image.mean()) - 20) / 2)
    shown = np.array(levels(answer)) / 2
    return (newest - shown.max() + shown).round().astype(int).tolist()


def test_a_network_stream_is_cut_and_goes_on(predictor, send, port):
    """Frames 0 to 44, and from another sender, whose clock begins anew, 60 to 99."""
    send(0, 45)
    with predictor.stream(f"tcp://127.0.0.1:{port}?listen=1", stride=1, policy="all") as answers:
        found = []
        for answer in answers:
            found.append(answer)
            if len(found) == 10:
                send(60, 40)
            if shown_numbers(answer)[-1] >= 96:
                break
    windows = [shown_numbers(answer) for answer in found]
    # Every window holds frames of one piece, two apart, in their order: nothing is made up.
    assert all(np.diff(window).tolist() == [2, 2, 2] for window in windows)
    before, after = ([w for w in windows if (w[-1] < 50) == early] for early in (True, False))
    assert before == [[k, k + 2, k + 4, k + 6] for k in range(0, before[-1][0] + 1, 2)]
    assert before[-1][-1] >= 40
    assert after[0] == [60, 62, 64, 66]
    assert {answer.live.gaps for answer in found if shown_numbers(answer)[-1] < 50} == {0}
    assert {answer.live.gaps for answer in found if shown_numbers(answer)[-1] > 50} == {1}


def test_a_network_stream_that_ends_and_is_not_awaited(predictor, send, port):
    send(0, 45)
    answers = predictor.stream(
        f"tcp://127.0.0.1:{port}?listen=1", stride=1, policy="all", reconnect=0
    )
    windows = [shown_numbers(answer) for answer in answers]
    assert windows[0] == [0, 2, 4, 6]
    assert len(windows) >= 18


def test_nothing_is_shown_before_a_key_frame(predictor, send, port):
    """A connection that begins in the middle of a group of pictures."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        send(0, 95, "mpeg4")  # whose decoder shows what it lacks all the same
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as sent:
            whole = sent.read()

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.sendall(whole[len(whole) // 188 // 2 * 188 :])

        server = threading.Thread(target=serve)
        server.start()
        url = f"tcp://127.0.0.1:{port}"
        answers = list(predictor.stream(url, stride=1, policy="all", reconnect=0))
        server.join()
    first = shown_numbers(answers[0])
    assert first == [first[0], first[0] + 2, first[0] + 4, first[0] + 6]
    with av.open(io.BytesIO(whole)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    keys = [number for number, packet in enumerate(packets) if packet.is_keyframe]
    assert first[0] in keys


def test_a_camera_whose_sound_goes_on_without_pictures(predictor, port):
    sent = io.BytesIO()
    with av.open(sent, "w", format="mpegts") as container:
        video = container.add_stream("mpeg4", rate=25)
        audio = container.add_stream("mp2", rate=48000)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for k in range(25):
            picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            picture.pts, picture.time_base = k, Fraction(1, 25)
            container.mux(video.encode(picture))
        for k in range(100):
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 2304), np.int16), "s16", "stereo")
            sound.sample_rate, sound.pts, sound.time_base = 48000, k * 1152, Fraction(1, 48000)
            container.mux(audio.encode(sound))
    stopped = threading.Event()

    def serve():
        connection, _ = listener.accept()
        with connection, contextlib.suppress(ConnectionError):
            whole = sent.getvalue()
            half = len(whole) // 2 // 188 * 188
            connection.sendall(whole[:half])
            while not stopped.wait(0.01):  # sound alone, for ever
                connection.sendall(whole[half:][:1504])

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        server = threading.Thread(target=serve)
        server.start()
        url = f"tcp://127.0.0.1:{port}"
        answers = predictor.stream(url, stride=1, policy="all", timeout=0.4, reconnect=0)
        with answers, pytest.raises(VideoError, match=r"no picture came for 0\.4 s, though sound"):
            list(answers)
        stopped.set()
        server.join()


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


def test_frames_that_build_on_a_damaged_one_are_not_shown(predictor, port):
    """A packet of MPEG-TS is lost in the middle of a group of pictures."""
    noise = np.random.default_rng(0).integers(0, 255, (60, 48, 64, 1), np.uint8).repeat(3, axis=3)
    sent = io.BytesIO()
    with av.open(sent, "w", format="mpegts") as container:
        options = {"tune": "zerolatency", "qp": "9", "sc_threshold": "0"}
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.gop_size = 10
        for k, picture in enumerate(noise):
            image = av.VideoFrame.from_ndarray(picture, format="rgb24")
            image.pts, image.time_base = k, Fraction(1, 25)
            container.mux(stream.encode(image))
        container.mux(stream.encode())
    whole = sent.getvalue()
    pieces = [whole[k : k + 188] for k in range(0, len(whole), 188)]
    del pieces[len(pieces) // 2]

    def serve():
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"".join(pieces))

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        server = threading.Thread(target=serve)
        server.start()
        capture = open_capture(
            f"tcp://127.0.0.1:{port}",
            predictor.spec.clip,
            0.08,
            timeout=10,
            reconnect=0,
            transport="tcp",
        )
        shots = [(shot, shot.image()) for shot in capture.shots()]
        server.join()
    first = shots[0][0].time
    numbers = [round((shot.time - first) * 25) for shot, _ in shots]
    (lost,) = np.flatnonzero(np.diff(numbers) > 1)
    assert numbers[lost + 1] % 10 == 0
    assert shots[lost + 1][0].dropped == numbers[lost + 1] - numbers[lost] - 1
    assert [shot.joined for shot, _ in shots] == [k not in (0, lost + 1) for k in range(len(shots))]
    for number, (_, image) in zip(numbers, shots):
        assert np.abs(image.astype(int) - noise[number]).mean() < 10, number


def test_a_sender_that_falls_silent(predictor, port):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        with pytest.raises(VideoError, match=r"nothing came for 0\.2 s"):
            predictor.stream(f"tcp://127.0.0.1:{port}", timeout=0.2)


def test_nobody_sends(predictor, port):
    with pytest.raises(VideoError, match=r"cannot be opened .*refused"):
        predictor.stream(f"tcp://127.0.0.1:{port}")
    with pytest.raises(VideoError, match="cannot be opened"):
        predictor.stream(f"rtsp://127.0.0.1:{port}/camera")


def test_a_file_on_a_server_is_a_file(predictor, tmp_path):
    clip = tmp_path / "clip.mkv"  # whose end need not be read first: this server has no ranges
    motion.write_video(motion.scene("test", 0), clip)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=clip.parent)
    handler.func.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/{clip.name}"
        remote = [answer.scores for answer in predictor.stream(url, stride=1)]
        server.shutdown()
        thread.join()
    local = [answer.scores for answer in predictor.stream(clip, stride=1)]
    np.testing.assert_array_equal(remote, local)


def test_a_reader_that_cannot_keep_up_drops_and_tells(send, port, predictor):
    """The clock runs on between the frames as if each took 0.2 s, five times what it may."""
    send(0, 200)
    now = 0.0
    capture = open_capture(
        f"tcp://127.0.0.1:{port}?listen=1",
        predictor.spec.clip,
        0.08,
        timeout=10,
        reconnect=0,
        transport="tcp",
        clock=lambda: now,
    )
    assert isinstance(capture, AddressCapture)
    shots = []
    for shot in capture.shots():
        shots.append(shot)
        now += 0.2
    dropped = sum(shot.dropped for shot in shots)
    assert dropped > 0
    broken = [k for k, shot in enumerate(shots) if shot.dropped]
    # Where frames are missing the stream begins anew, with a key frame.
    assert all(not shots[k].joined for k in broken)
    assert all(round(shots[k].time * 25) % 10 == 0 for k in broken)
    assert len(shots) + dropped <= 200


def test_pace():
    def late(pace, times, steps, waits=0.0):
        """Packets at `times`, after one another in `steps` seconds, these shares waited for."""
        now, behind = 100.0, []
        for moment, step, share in zip(times, steps, np.broadcast_to(waits, len(steps))):
            now += step
            pace.read(moment, now - share * step, now)
            behind.append(pace.behind)
        return behind

    times = np.arange(400) / 25
    assert not any(late(Pace(0.5), times, np.full(400, 0.04)))
    assert any(late(Pace(0.5), times, np.full(400, 0.08)))
    # Late for good, because the sender paused, but not too slow: packets have to be waited for.
    pause = np.full(400, 0.04)
    pause[50] = 30.0
    assert not any(late(Pace(0.5), times, pause, waits=1.0))
    # Too slow, though it takes its time to read a packet that is there.
    assert any(late(Pace(0.5), times, np.full(400, 0.08), waits=0.1))
    # Frames are dropped until the backlog, which runs five times as fast as it was filmed, is gone.
    overrun = late(Pace(0.5), times, np.full(400, 0.08)).index(True) + 1
    behind = late(Pace(0.5), times, np.repeat([0.08, 0.008], [overrun, 400 - overrun]))
    assert behind[overrun - 1 : overrun + 35] == [True] * 36
    assert not any(behind[overrun + 45 :])
    # It stays as late as it is: that is no backlog any more.
    pieces = [overrun, 400 - overrun]
    behind = late(Pace(0.5), times, np.repeat([0.08, 0.04], pieces), np.repeat([0.0, 1.0], pieces))
    assert not any(behind[overrun + 27 :])
    # As fast as it can be read, as from a sender that does not keep time.
    assert not any(late(Pace(0.5), times, np.full(400, 0.001)))
    # The sender's clock begins anew.
    pace = Pace(0.5)
    late(pace, np.concatenate([times, times]), np.full(800, 0.04))
    assert pace.offset == pytest.approx(116.04, abs=0.05)


# Cameras.


class FakeCapture:
    """OpenCV's VideoCapture of a camera that gives so many frames each time it is opened."""

    opened = ()

    def __init__(self, *arguments):
        type(self).opened = (*self.opened, arguments)
        self._left = self.frames.pop(0) if self.frames else 0
        self.number = 0

    def isOpened(self):  # noqa: N802
        return self._left is not None

    def grab(self):
        self._left -= 1
        return self._left >= 0

    def retrieve(self):
        self.number += 1
        return True, frame(self.number)

    def release(self):
        pass


@pytest.fixture
def camera(monkeypatch):
    """Puts a camera that gives these numbers of frames in the place of OpenCV's."""

    def camera(*frames, gstreamer=True):
        kind = type("Fake", (FakeCapture,), {"frames": list(frames)})
        cv2 = SimpleNamespace(
            VideoCapture=kind,
            CAP_GSTREAMER=1800,
            videoio_registry=SimpleNamespace(hasBackend=lambda _: gstreamer),
        )
        monkeypatch.setattr(capture_open, "import_library", lambda *_: cv2)
        monkeypatch.setattr(capture_open.Path, "exists", lambda _: True)
        return kind

    return camera


def test_a_camera_is_lost_and_found(camera):
    kind = camera(3, None, 0, 4)
    now = iter(range(10**6))
    capture = CameraCapture(2, reconnect=1e9, clock=lambda: next(now) / 25)
    shots = []
    for shot in capture.shots():
        shots.append(shot)
        if len(shots) == 7:
            capture.stop()
    capture.close()
    assert [shot.joined for shot in shots] == [False, True, True, False, True, True, True]
    assert [shot.color for shot in shots] == ["BGR"] * 7
    assert kind.opened == ((2,),) * 4


def test_a_camera_is_lost_for_good(camera):
    camera(3, *[None] * 9)
    now = iter(range(10**6))
    capture = CameraCapture("/dev/video3", reconnect=5, clock=lambda: float(next(now)))
    shots = capture.shots()
    assert [next(shots).size for _ in range(3)] == [(10, 12)] * 3
    with pytest.raises(VideoError, match=r"video3 gives no frames .*cannot be opened.*video"):
        next(shots)


def test_a_camera_that_returns_no_frame(camera, predictor):
    camera(0)
    with predictor.stream(0) as answers, pytest.raises(VideoError, match="video0 gives no frames"):
        next(answers)


def test_a_camera_that_cannot_be_opened(camera, predictor):
    camera(None)
    with pytest.raises(VideoError, match="no other program uses it"):
        predictor.stream(0)


def test_there_is_no_such_camera(predictor):
    with pytest.raises(VideoNotFoundError, match="there is no camera /dev/video97"):
        predictor.stream(97)
    with pytest.raises(VideoNotFoundError, match="there is no camera /dev/video98"):
        predictor.stream("/dev/video98")


PIPELINE = "v4l2src ! videoconvert ! video/x-raw,format=BGR ! appsink"


def test_gstreamer(camera, predictor):
    kind = camera(8)
    now = iter(range(10**6))
    capture = open_capture(
        PIPELINE,
        predictor.spec.clip,
        0.08,
        timeout=1,
        reconnect=0,
        transport="tcp",
        clock=lambda: next(now) / 25,
    )
    with watch(predictor, capture, policy="all", stride=1) as answers:
        found = list(answers)
    assert kind.opened == ((PIPELINE, 1800),)
    assert [answer.live.source for answer in found] == [PIPELINE] * 5


def test_opencv_without_gstreamer(camera, predictor):
    camera(gstreamer=False)
    with pytest.raises(MissingDependencyError, match=r"without GStreamer.*python3-opencv"):
        predictor.stream(PIPELINE)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (np.zeros((4, 8, 8, 3), np.uint8), {}, "push frames of your own"),
        (0, {"policy": "newest"}, "policy is 'newest'"),
        (0, {"timeout": 0}, "timeout is 0"),
        (0, {"reconnect": -1}, "reconnect is -1"),
        (0, {"transport": "http"}, "transport is 'http'"),
        (0, {"stride": 0}, "stride is 0"),
    ],
)
def test_bad_arguments(predictor, source, options, message):
    with pytest.raises(UsageError, match=message):
        predictor.stream(source, **options)


def test_a_file_cannot_be_latest(predictor, clip):
    with pytest.raises(UsageError, match="leave out policy"):
        predictor.stream(clip, policy="latest")
    with pytest.raises(UsageError, match="no sources"):
        predictor.stream_many({})


# systemd.


@pytest.fixture(params=["file", "abstract"])
def manager(request, tmp_path):
    """A service manager's socket, and its address as systemd writes it."""
    path = str(tmp_path / "notify") if request.param == "file" else f"@{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(path.replace("@", "\0", 1))
        receiver.setblocking(False)
        yield receiver, path


def messages(receiver):
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(receiver.recv(100).decode())
    return found


def test_systemd_is_told(manager, predictor, clip):
    receiver, path = manager
    now = iter(range(10**6))
    environment = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2000000"}
    notifier = Notifier(environment, clock=lambda: float(next(now)))
    capture = open_capture(clip, predictor.spec.clip, 0.08, timeout=1, reconnect=0, transport="tcp")
    with watch(predictor, capture, policy="all", stride=1, notifier=notifier) as answers:
        told = [message for _ in answers for message in messages(receiver)]
    told += messages(receiver)
    assert told.count("READY=1") == 1
    assert told.count("WATCHDOG=1") >= 17
    assert told[-1] == "STOPPING=1"


def test_the_watchdog_is_fed_as_often_as_it_wants(manager):
    receiver, path = manager
    now = 0.0
    environment = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "10000000"}
    notifier = Notifier(environment, clock=lambda: now)
    for now in np.arange(0, 20.5, 0.5):  # noqa: B007
        notifier.alive()
    assert messages(receiver) == ["WATCHDOG=1"] * 5
    Notifier({**environment, "WATCHDOG_PID": "1"}).alive()  # another process is watched
    Notifier({"NOTIFY_SOCKET": path}).alive()
    assert messages(receiver) == []


def test_a_manager_that_is_busy_is_told_later(manager):
    receiver, path = manager
    notifier = Notifier({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "10000000"}, clock=lambda: 0.0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                other.sendto(b"full", path.replace("@", "\0", 1))
    notifier.ready()
    notifier.alive()
    assert set(messages(receiver)) == {"full"}
    for _ in range(2):
        notifier.ready()
        notifier.alive()
    assert messages(receiver) == ["READY=1", "WATCHDOG=1"]


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere"}])
def test_nobody_is_told(environment):
    notifier = Notifier(environment)
    notifier.ready()
    notifier.alive()


# The command line.


def test_json(run, tmp_path, clip):
    model = brightness_model(tmp_path / "model.onnx")
    code, output, errors = run("stream", model, clip, "--stride", 8, "--json", "--top", 2)
    assert (code, errors) == (0, "")
    events = [json.loads(line) for line in output.splitlines()]
    assert [event["time"] for event in events] == pytest.approx([0.24, 0.88, 1.52])
    assert {key: events[0][key] for key in ("source", "still", "skipped", "dropped", "gaps")} == {
        "source": str(clip), "still": False, "skipped": 0, "dropped": 0, "gaps": 0
    }  # fmt: skip
    assert len(events[0]["top"]) == 2
    assert events[0]["age_ms"] > 0


def test_sigterm_ends_it_in_order(tmp_path, send, port):
    model = brightness_model(tmp_path / "model.onnx")
    url = f"tcp://127.0.0.1:{port}?listen=1"
    command = [sys.executable, "-m", "r2p_edge", "stream", model, url, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        send(0, 95)
        assert json.loads(process.stdout.readline())["gaps"] == 0
        process.terminate()
        _, errors = process.communicate()
    assert (process.returncode, errors) == (0, b"")


def test_for_people(run, fails, tmp_path, clip):
    model = brightness_model(tmp_path / "model.onnx")
    code, output, _ = run("stream", model, clip, "--stride", 8, "--min-score", 1)
    assert code == 0
    assert all("(no label)" in line for line in output.splitlines())
    fails(3, "there is no camera", "stream", model, 97)
    fails(2, "stride is 0", "stream", model, clip, "--stride", 0)
    fails(2, "top is 0", "stream", model, clip, "--top", 0)
