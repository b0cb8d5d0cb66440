"""`r2p-edge stream`: what it prints, and how it ends."""

import dataclasses
import json
import subprocess
import sys

import av
import cv2
import pytest
from exit_codes import MODEL, USAGE
from live import free_port, senders
from models import brightness_model
from per_frame_models import write_per_frame_model

from r2p_edge.cli.stream import show
from r2p_edge.predictor import Predictor


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


def test_a_folder_of_images_has_the_rate_that_is_given(run, fails, tmp_path, clip):
    model = brightness_model(tmp_path / "model.onnx")
    folder = tmp_path / "frames"
    folder.mkdir()
    with av.open(str(clip)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            cv2.imwrite(str(folder / f"{number}.png"), frame.to_ndarray(format="bgr24"))

    def answers(source, *options):
        code, output, errors = run("stream", model, source, "--json", *options)
        assert code == 0
        events = [json.loads(line) for line in output.splitlines()]
        return [e["time"] for e in events], [e["score"] for e in events], errors

    times, scores, _ = answers(clip)
    # Pictures are in RGB, and the file's frames are not.
    same = [pytest.approx(times), pytest.approx(scores, abs=0.02)]
    assert list(answers(folder, "--fps", 25)) == [*same, ""]
    assert answers(folder, "--fps", 12.5)[0][-1] > 1.5 * times[-1]
    *unsaid, errors = answers(folder)
    assert unsaid == same
    assert errors.startswith("r2p-edge: warning: a folder of images is taken at 25 frames a second")
    for source in (clip, "0", "rtsp://camera/1"):
        fails(USAGE, f"fps is the rate of a folder of images, and {source} is none; leave it out",
              "stream", model, source, "--fps", 25)  # fmt: skip
    fails(USAGE, "fps is 0.0", "stream", model, folder, "--fps", 0)


def test_the_notes_of_an_answer_for_people(tmp_path, clip, capsys):
    with (
        Predictor(brightness_model(tmp_path / "model.onnx")) as predictor,
        predictor.stream(clip) as answers,
    ):
        answer = next(answers)
    for counts, notes in (
        ((0, 0, 0), ""),
        ((1, 1, 1), ", 1 answer skipped, 1 frame dropped, interrupted 1 time"),
        ((2, 3, 4), ", 2 answers skipped, 3 frames dropped, interrupted 4 times"),
    ):
        named = dict(zip(("skipped", "dropped", "gaps"), counts))
        live = dataclasses.replace(answer.live, age_ms=49.2, **named)
        show(dataclasses.replace(answer, live=live))
        assert capsys.readouterr().out.endswith(f"  (49 ms after the newest frame{notes})\n")


def test_an_answer_at_every_tick(run, fails, tmp_path, clip):
    model = write_per_frame_model(tmp_path, kind="logits")
    options = "stream", model, clip, "--stride", 1, "--reuse", "features"
    code, output, errors = run(*options, "--border", "wait", "--json")
    assert (code, errors) == (0, "")
    first, *later = [json.loads(line) for line in output.splitlines()]
    assert (first["exact"], first["lag"]) == (True, 0.0)
    assert {(event["exact"], event["lag"]) for event in later} == {(False, 0.08)}
    times = [event["time"] for event in (first, *later)]
    assert times == pytest.approx([0.56 + 0.08 * number for number in range(len(times))])
    _, output, _ = run(*options, "--border", "wait")
    assert "0.08 s of them awaited" in output.splitlines()[1]
    _, output, _ = run(*options, "--json")
    assert {json.loads(line)["lag"] for line in output.splitlines()} == {0.0}
    fails(USAGE, "border is 'flush', and says how features are kept; add reuse='features'",
          "stream", model, clip, "--border", "flush")  # fmt: skip
    fails(MODEL, "has no per-frame form; make one: r2p-edge export",
          "stream", brightness_model(tmp_path / "m.onnx"), clip, "--reuse", "features")  # fmt: skip
    (tmp_path / "tiny-fp32-tail.onnx").unlink()
    fails(MODEL, "is not beside it; copy all files of the export again", *options)


@pytest.mark.slow
def test_sigterm_ends_it_in_order(tmp_path):
    model, port = brightness_model(tmp_path / "model.onnx"), free_port()
    url = f"tcp://127.0.0.1:{port}?listen=1"
    command = [sys.executable, "-m", "r2p_edge", "stream", model, url, "--json"]
    with (
        senders(port) as send,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process,
    ):
        send(0, 10**6)  # so that the source does not end first, which would be a warning
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
