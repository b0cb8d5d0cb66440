"""Network streams: what is shown of what a sender sends."""

import contextlib
import io
import socket
import threading
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from live import TICK, Clock, shown_numbers, watch
from models import spec_of_brightness
from muxed import Track, muxed
from videos import headless

from r2p_edge.errors import VideoError
from r2p_edge.live.capture.network import AddressCapture
from r2p_edge.live.open import open_capture

pytestmark = pytest.mark.usefixtures("nothing_is_left")


def opened(url, *, clock=None, timeout=60.0, reconnect=0.0):
    """Open a network stream on a clock that stands still, so that no reader is ever too slow."""
    clip = spec_of_brightness().clip
    return open_capture(
        url,
        clip,
        TICK,
        timeout=timeout,
        reconnect=reconnect,
        transport="tcp",
        clock=clock or Clock(),
    )


@contextlib.contextmanager
def served(send_to):
    """Serve one connection, in a thread, with a function of it; yield the address."""

    def serve():
        connection, _ = listener.accept()
        with connection, contextlib.suppress(ConnectionError):
            send_to(connection)

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = threading.Thread(target=serve)
        server.start()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        server.join()


@pytest.mark.slow
def test_a_network_stream_is_cut_and_goes_on(predictor, send, port):
    """Send frames 0 to 44, and from another sender, whose clock begins anew, 60 to 99."""
    send(0, 45)
    capture = opened(f"tcp://127.0.0.1:{port}?listen=1", reconnect=60.0)
    with watch(predictor, capture, stride=1, policy="all") as answers:
        found = []
        for answer in answers:
            found.append(answer)
            if len(found) == 10:
                send(60, 40)
            if shown_numbers(answer)[-1] >= 96:
                break
    windows = [shown_numbers(answer) for answer in found]
    # Every window has frames of one sender, two apart, in their order: nothing is made up.
    assert all(np.diff(window).tolist() == [2, 2, 2] for window in windows)
    before, after = ([w for w in windows if (w[-1] < 50) == early] for early in (True, False))
    assert before == [[k, k + 2, k + 4, k + 6] for k in range(0, before[-1][0] + 1, 2)]
    assert before[-1][-1] >= 40
    assert after[0] == [60, 62, 64, 66]
    assert {answer.live.gaps for answer in found if shown_numbers(answer)[-1] < 50} == {0}
    assert {answer.live.gaps for answer in found if shown_numbers(answer)[-1] > 50} == {1}


@pytest.mark.slow
def test_a_network_stream_that_ends_and_is_not_awaited(predictor, send, port):
    send(0, 45)
    capture = opened(f"tcp://127.0.0.1:{port}?listen=1")
    answers = watch(predictor, capture, stride=1, policy="all")
    windows = [shown_numbers(answer) for answer in answers]
    assert windows[0] == [0, 2, 4, 6]
    assert len(windows) >= 18


@pytest.mark.slow
def test_nothing_is_shown_before_a_key_frame(predictor, send, port):
    """Connect in the middle of a group of pictures."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        send(0, 95, "mpeg4")  # whose decoder shows what it lacks all the same
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as sent:
            whole = sent.read()
    half = whole[len(whole) // 188 // 2 * 188 :]
    with served(lambda connection: connection.sendall(half)) as url:
        answers = list(watch(predictor, opened(url), stride=1, policy="all"))
    first = shown_numbers(answers[0])
    assert first == [first[0], first[0] + 2, first[0] + 4, first[0] + 6]
    with av.open(io.BytesIO(whole)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    keys = [number for number, packet in enumerate(packets) if packet.is_keyframe]
    assert first[0] in keys


@pytest.mark.slow
def test_a_camera_whose_sound_goes_on_without_pictures(predictor):
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
    whole, clock = sent.getvalue(), Clock()
    half = len(whole) // 2 // 188 * 188

    def sound_alone(connection):
        connection.sendall(whole[:half])
        while True:  # until the reader hangs up
            connection.sendall(whole[half:][:1504])
            clock.now += 1.0

    with served(sound_alone) as url:
        answers = watch(predictor, opened(url, clock=clock), stride=1, policy="all")
        with answers, pytest.raises(VideoError, match=r"no picture came for 60 s, though sound"):
            list(answers)


@pytest.mark.slow
def test_frames_that_build_on_a_damaged_one_are_not_shown():
    """Lose a packet of MPEG-TS in the middle of a group of pictures."""
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

    with served(lambda connection: connection.sendall(b"".join(pieces))) as url:
        frames = [(frame, frame.image()) for frame in opened(url).frames()]
    first = frames[0][0].time
    numbers = [round((frame.time - first) * 25) for frame, _ in frames]
    (lost,) = np.flatnonzero(np.diff(numbers) > 1)
    assert numbers[lost + 1] % 10 == 0
    assert frames[lost + 1][0].dropped == numbers[lost + 1] - numbers[lost] - 1
    joined = [frame.joined for frame, _ in frames]
    assert joined == [k not in (0, lost + 1) for k in range(len(frames))]
    for number, (_, image) in zip(numbers, frames):
        assert np.abs(image.astype(int) - noise[number]).mean() < 10, number


@pytest.mark.slow
def test_of_several_video_streams_the_one_of_files_is_read(tmp_path, caplog):
    caplog.set_level("INFO", "r2p_edge")
    tracks = [Track(200, 40, "mpeg2video"), Track(100, 40, "mpeg2video", (160, 120))]
    path = muxed(tmp_path / "two.ts", *tracks)
    with served(lambda connection: connection.sendall(path.read_bytes())) as url:
        frames = [frame.image() for frame in opened(url).frames()]
    assert len(frames) > 20
    for image in frames:
        assert image.shape == (120, 160, 3)
        assert abs(image.mean() - 100) < 3
    assert "#1 is read" in caplog.text


@pytest.mark.slow
def test_a_stream_that_cannot_be_decoded(tmp_path):
    path = muxed(tmp_path / "clip.mkv", Track(100))
    data = path.read_bytes().replace(b"V_MPEG4/", b"V_XPEG4/")
    refused = pytest.raises(VideoError, match="of a codec that this FFmpeg cannot decode")
    with served(lambda connection: connection.sendall(data)) as url, refused:
        opened(url)


@pytest.mark.slow
def test_a_stream_without_headers_is_told_in_words(tmp_path):
    content = headless(tmp_path / "cut.ts").read_bytes()
    with served(lambda connection: connection.sendall(content)) as url:
        capture = opened(url)
        with contextlib.closing(capture), pytest.raises(VideoError, match="has no headers") as told:
            list(capture.frames())
    assert "argument" not in str(told.value)


def test_halves_of_jpegs_are_dropped_and_interrupt_nothing(predictor):
    """Send every fourth picture of a camera cut in half, as PIL says of it too."""

    def send_to(connection):
        connection.recv(4096)
        connection.sendall(
            b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=f\r\n\r\n"
        )
        for number in range(40):
            image = np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8)
            data = cv2.imencode(".jpg", image)[1].tobytes()
            if number % 4 == 1:
                data = data[: len(data) // 2]
            head = f"--f\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            connection.sendall(head.encode() + data + b"\r\n")

    frames = []
    with served(send_to) as url, contextlib.suppress(VideoError):  # of the end
        for frame in opened(url.replace("tcp:", "http:")).frames():
            frames.append(frame)
    assert len(frames) >= 28
    assert sum(frame.dropped for frame in frames) >= 9
    assert [frame.joined for frame in frames] == [False] + [True] * (len(frames) - 1)
    for frame in frames:
        assert frame.image()[-8:].std() > 20  # and not grey at its end


@pytest.mark.slow
def test_a_sender_that_falls_silent(predictor):
    """Let FFmpeg, whose clock is its own, give up the first time that it has to wait."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(VideoError, match="nothing came for 1e-06 s"):
            predictor.stream(f"tcp://127.0.0.1:{port}", timeout=1e-6)


@pytest.mark.slow
def test_nobody_sends(predictor, port):
    with pytest.raises(VideoError, match=r"cannot be opened .*refused"):
        predictor.stream(f"tcp://127.0.0.1:{port}")
    with pytest.raises(VideoError, match="cannot be opened"):
        predictor.stream(f"rtsp://127.0.0.1:{port}/camera")


@pytest.mark.slow
def test_errors_and_the_log_show_no_password(predictor, port):
    url = f"rtsp://admin:secret@127.0.0.1:{port}/camera"
    with pytest.raises(VideoError, match=r"rtsp://\*\*\*@127") as caught:
        predictor.stream(url)
    assert "secret" not in str(caught.value)


@pytest.mark.slow
def test_a_reader_that_cannot_keep_up_drops_and_says_so(send, port):
    """Let 0.2 s pass between two frames, five times what a frame of 25 fps may take."""
    send(0, 200)
    clock = Clock()
    capture = opened(f"tcp://127.0.0.1:{port}?listen=1", clock=clock)
    assert isinstance(capture, AddressCapture)
    frames = []
    for frame in capture.frames():
        frames.append(frame)
        clock.now += 0.2
    dropped = sum(frame.dropped for frame in frames)
    assert dropped > 0
    broken = [k for k, frame in enumerate(frames) if frame.dropped]
    # Where frames are missing the stream begins anew, with a key frame.
    assert all(not frames[k].joined for k in broken)
    assert all(round(frames[k].time * 25) % 10 == 0 for k in broken)
    assert len(frames) + dropped <= 200


@pytest.mark.slow
def test_decoding_is_timed(send, port):
    send(0, 20)
    frames = list(opened(f"tcp://127.0.0.1:{port}?listen=1").frames())
    assert all(frame.decode_ms > 0 for frame in frames)
