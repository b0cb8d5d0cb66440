"""The repository on a real Triton server: the answers are those of `Predictor`, bit for bit.

The wheel of the server lacks the backend onnxruntime, in whose place a Python model calls bare
ONNX Runtime on the exported file. The models of files and streams run as they are exported.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
from requirements import require
from triton_server import TritonServer, with_bare_onnxruntime
from videos import real_files

from r2p_edge import Predictor, Stream
from r2p_edge.serve_export import write_repository
from r2p_edge.video.arrays import frames_from_array
from r2p_edge.video.source import open_source

pytestmark = pytest.mark.slow

TICK = 0.08  # seconds from frame to frame, of the bundled model
LENGTH = 16  # frames of its clips
FRAMES = 40  # of a stream


@pytest.fixture(scope="module")
def predictor(motion_model):
    with Predictor(motion_model) as opened:
        yield opened


@pytest.fixture(scope="module")
def server(motion_model, tmp_path_factory):
    require("triton")
    repository = tmp_path_factory.mktemp("triton") / "repository"
    write_repository(motion_model, "triton", repository)
    with_bare_onnxruntime(repository, "motion")
    with TritonServer(repository, tmp_path_factory.mktemp("scratch")) as running:
        running.repository = repository
        yield running


@pytest.fixture(scope="module", params=["http", "grpc"])
def client(request, server):
    """The package of a client, and a client of it."""
    package = __import__(f"tritonclient.{request.param}", fromlist=["*"])
    with package.InferenceServerClient(getattr(server, request.param)) as opened:
        yield package, opened


@pytest.fixture(scope="module")
def clips(data):
    """Twenty real videos."""
    return [file for file in real_files(data) if file.parent.parent.name == "ucf101"][:20]


def asked(client, model, inputs, outputs, **more):
    """Ask for outputs of a model, and return them by their names.

    `inputs` has arrays by their names, and the datatype of those that NumPy has no name for.
    """
    package, opened = client
    tensors = []
    for name, (array, datatype) in inputs.items():
        tensors.append(package.InferInput(name, array.shape, datatype))
        tensors[-1].set_data_from_numpy(array)
    wanted = [package.InferRequestedOutput(name) for name in outputs]
    answer = opened.infer(model, tensors, outputs=wanted, **more)
    return {name: answer.as_numpy(name) for name in outputs}


def test_the_model_itself(client, predictor, clips):
    assert len(clips) == 20
    for clip in clips:
        pixels = predictor.pixels(clip)
        answer = asked(client, "motion", {"frames": (pixels, "UINT8")}, ["logits"])
        assert np.array_equal(answer["logits"], predictor.outputs_of(pixels)), clip


def test_the_bytes_of_files(client, predictor, clips):
    for clip in clips:
        content = np.array([clip.read_bytes()], np.object_)
        names = ["logits", "scores", "coverage"]
        answer = asked(client, "motion_files", {"video": (content, "BYTES")}, names)
        result = predictor.predict(clip)
        assert np.array_equal(answer["logits"], predictor.outputs(clip)[0]), clip
        np.testing.assert_allclose(answer["scores"], result.scores, rtol=1e-6)
        assert answer["coverage"] == [np.float32(result.coverage)]


def test_clips_as_streams(client, predictor, clips):
    """The frames of one clip, at the model's own rate, are a stream with one answer, the clip's."""
    for number, clip in enumerate(clips, 1):
        frames = frames_of(clip)[:LENGTH]
        answers = [
            pushed(client, number, index, frame, begins=index == 0, ends=index == LENGTH - 1)
            for index, frame in enumerate(frames)
        ]
        assert [bool(each["answered"][0]) for each in answers] == [False] * (LENGTH - 1) + [True]
        assert np.array_equal(answers[-1]["logits"], predictor.outputs(frames)[0]), clip


def pushed(client, stream, number, frame, *, begins, ends):
    """Add a frame to a stream of the server; return its outputs."""
    inputs = {"frame": (frame, "UINT8"), "time": (np.array([number * TICK]), "FP64")}
    return asked(
        client,
        "motion_stream",
        inputs,
        ["answered", "logits", "scores", "label", "span"],
        sequence_id=stream,
        sequence_start=begins,
        sequence_end=ends,
    )


def test_two_interleaved_streams(client, predictor, clips):
    videos = [frames_of(clip) for clip in (clips[0], clips[10])]
    streams = [Stream(predictor) for _ in videos]
    answers = 0
    for number in range(FRAMES):
        edge = {"begins": number == 0, "ends": number == FRAMES - 1}
        for index, (video, stream) in enumerate(zip(videos, streams)):
            told = pushed(client, 1001 + index, number, video[number], **edge)
            expected = stream.push(video[number], number * TICK)
            assert bool(told["answered"][0]) == (expected is not None)
            if expected is not None:
                answers += 1
                assert np.array_equal(told["scores"], expected.scores)
                assert told["label"][0].decode() == expected.label
                assert tuple(told["span"]) == expected.span
    assert answers >= 6


def frames_of(clip):
    """Return the first frames of a video, uint8 (n, H, W, 3)."""
    video = open_source(clip, 25.0)
    try:
        return frames_from_array(np.stack(list(video.read(video.times[:FRAMES]))))
    finally:
        video.close()


def test_what_is_no_video_is_an_error_and_the_next_is_answered(client, predictor, clips, tmp_path):
    package = client[0]
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    names = [b"", b"no video", str(clips[0]).encode(), str(secret).encode()]
    for content in names:
        video = np.array([content], np.object_)
        with pytest.raises(package.InferenceServerException, match="the video"):
            asked(client, "motion_files", {"video": (video, "BYTES")}, ["scores"])
    good = np.array([clips[0].read_bytes()], np.object_)
    answer = asked(client, "motion_files", {"video": (good, "BYTES")}, ["logits"])
    assert np.array_equal(answer["logits"], predictor.outputs(clips[0])[0])


def test_classes_have_their_names(client, predictor, clips):
    package, opened = client
    video = package.InferInput("video", [1], "BYTES")
    video.set_data_from_numpy(np.array([clips[0].read_bytes()], np.object_))
    wanted = [package.InferRequestedOutput("scores", class_count=3)]
    answer = opened.infer("motion_files", [video], outputs=wanted).as_numpy("scores")
    found = [text.decode().split(":") for text in answer.reshape(-1)]
    expected = predictor.predict(clips[0]).top(3)
    assert [label for _, _, label in found] == [label for label, _ in expected]
    assert [float(score) for score, _, _ in found] == pytest.approx(
        [p for _, p in expected], abs=1e-5
    )


def test_the_contract_can_be_asked_for(server, predictor):
    with urllib.request.urlopen(f"http://{server.http}/v2/models/motion/config") as response:
        parameters = json.load(response)["parameters"]
    spec = json.loads(parameters["r2p_edge.spec"]["string_value"])
    assert spec == predictor.spec.to_dict()
    assert parameters["r2p_edge.softmax"]["string_value"] == "to be taken by the client"


def test_the_client_of_the_repository(server, predictor, clips):
    client = server.repository / "motion" / "client.py"
    command = [sys.executable, client, clips[0], server.http]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    first = printed.splitlines()[0].split(maxsplit=1)
    assert first[1] == predictor.predict(clips[0]).label
    assert float(first[0]) == pytest.approx(predictor.outputs(clips[0]).max(), abs=1e-3)
