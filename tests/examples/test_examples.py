"""The examples run as their docstrings say."""

import importlib.util
import json
import re
import subprocess
import sys

import av
import cv2
import numpy as np
import pytest
from networks import SMALL, spec_for
from paths import EXAMPLES
from requirements import needs

from r2p_edge.calibration import motion


def run(*arguments):
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded(name):
    """Return an example as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_classify_video(motion_model, tmp_path):
    video = tmp_path / "clip.mp4"
    motion.write_video(motion.scene("test", 6), video, motion.frame_times(25))
    output = run(EXAMPLES / "classify_video.py", motion_model, video)
    assert output.split("%", 1)[1].split("\n")[0].strip() == motion.CLASSES[6]


@pytest.mark.slow
def test_webcam_on_a_file(motion_model, tmp_path):
    video, movie, shot = (tmp_path / name for name in ("clip.mp4", "out.mp4", "shot.png"))
    seconds = len(motion.frame_times(25)) / 25
    motion.write_video(motion.scene("test", 6), video, motion.frame_times(25))
    options = ("--no-window", "--json", "--save", movie, "--screenshot", shot)
    answers = run(EXAMPLES / "webcam.py", motion_model, video, *options).splitlines()
    assert json.loads(answers[-1])["label"] == motion.CLASSES[6]
    with av.open(str(movie)) as container:
        frames = [
            (frame.time, frame.to_ndarray(format="bgr24")) for frame in container.decode(video=0)
        ]
    # One for each answer, at its own time; the first comes when a clip is full.
    times = [json.loads(answer)["time"] for answer in answers]
    assert [time for time, _ in frames] == pytest.approx(
        [time - times[0] for time in times], abs=2e-3
    )
    assert seconds - times[-1] < 0.1
    picture = cv2.imread(str(shot))
    assert picture.shape == frames[-1][1].shape
    assert np.abs(picture.astype(int) - frames[-1][1]).mean() < 6
    # The bar of the best class is as long as its probability; of the last shown there is none.
    bars = (picture[-7 * 26 :] == (190, 130, 60)).all(axis=2).any(axis=0)
    assert bars.sum() > 200 * json.loads(answers[-1])["score"]


@pytest.mark.slow
def test_webcam_ended_by_sigterm_leaves_a_whole_movie(motion_model, tmp_path):
    movie = tmp_path / "out.mp4"
    video = tmp_path / "clip.mp4"
    motion.write_video(motion.scene("test", 6), video, np.arange(500) / 25)
    command = [sys.executable, EXAMPLES / "webcam.py", motion_model, video, "--json"]
    command += ["--no-window", "--save", movie]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        for _ in range(2):
            process.stdout.readline()
        process.terminate()
        _, errors = process.communicate()
    assert (process.returncode, errors) == (0, b"")
    with av.open(str(movie)) as container:
        assert 1 <= len(list(container.decode(video=0))) < 230


def test_webcam_saves_a_camera_whose_time_stands_still_or_jumps_back(tmp_path):
    movie = loaded("webcam").Movie(tmp_path / "out.mp4")
    for seconds in (70.0, 70.08, 70.08, 0.5, 0.58):
        movie.add(np.zeros((64, 64, 3), np.uint8), seconds)
    movie.close()
    with av.open(str(tmp_path / "out.mp4")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([0, 0.08, 0.081, 0.082, 0.162], abs=5e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "options", "code", "message"),
    [
        ("nothing.mp4", [], 3, "there is no video nothing.mp4"),
        ("n" * 300, [], 3, "'nnn"),
        ("7777", [], 3, "there is no camera /dev/video7777"),
        ("clip.mp4", ["--save", "out.xyz"], 3, "out.xyz cannot be written: FFmpeg knows no videos"),
        (
            "clip.mp4",
            ["--save", "absent/o.mp4"],
            3,
            "absent/o.mp4 cannot be written: there",
        ),
        ("clip.mp4", ["--screenshot", "s.xyz"], 3, "s.xyz cannot be written: OpenCV knows no pict"),
        ("clip.mp4", ["--screenshot", "s"], 3, "s cannot be written: OpenCV knows no pictures"),
        ("clip.mp4", ["--screenshot", "absent/s.png"], 3, "absent/s.png cannot be written: there"),
        ("clip.mp4", ["--screenshot", "/proc/s.png"], 3, "/proc/s.png cannot be written"),
    ],
)
def test_webcam_that_cannot(motion_model, tmp_path, source, options, code, message):
    motion.write_video(motion.scene("test", 6), tmp_path / "clip.mp4", motion.frame_times(25))
    command = [sys.executable, EXAMPLES / "webcam.py", motion_model, source, "--no-window"]
    command += options or ["--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == code
    assert done.stderr.startswith(f"webcam.py: {message}")
    assert len(done.stderr.splitlines()) == 1


def test_webcam_that_would_show_nothing(motion_model):
    command = [sys.executable, EXAMPLES / "webcam.py", motion_model, "0", "--no-window"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "add --json, --save or --screenshot" in done.stderr


@pytest.mark.long
@needs("torch")
def test_train_motion(tmp_path):
    out = tmp_path / "weights.safetensors"
    run(EXAMPLES / "train_motion.py", "--quick", "--test-clips", 12, "--out", out)
    assert out.with_suffix(".json").is_file()
    # What it writes is what the exporter reads.
    command = ("export", out, "--preset", "motion", "--out", tmp_path)
    run("-m", "r2p_edge", *command)


@pytest.mark.slow
@needs("torch")
@needs("safetensors")
def test_distil_in_two_steps(small_checkpoint, tmp_path):
    (tmp_path / "hall").mkdir()
    spec = tmp_path / "net.json"
    spec.write_text(spec_for(SMALL["classes"], frames=8).to_json())
    for number in range(5):
        drawn = motion.scene("train", number)
        motion.write_video(drawn, tmp_path / "hall" / f"{number}.mp4", np.arange(60) / 25)
    out = tmp_path / "causal.npz"
    words = [
        *(small_checkpoint, "--spec", spec, "--videos", tmp_path / "hall", "--out", out),
        *("--min-agreement", "0", "--steps", "2", "--ticks", "24", "--keep"),
    ]
    printed = run(EXAMPLES / "distil.py", *words)
    assert "step 1: loss " in printed
    assert re.search(r"^cuts: \d+ of \d+ held-out windows", printed, re.MULTILINE), printed
    assert list((tmp_path / "causal.distilling").glob("material-*.features"))
    from r2p_edge.export.causal_weights import read_causal_weights

    weights = read_causal_weights(out)
    assert (weights.stages, weights.wait) == (1, 0)
    assert weights.record["recipe"]["steps"] == 2
    out.unlink()
    run(EXAMPLES / "distil.py", *words[:-1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["causal.npz", "hall", "net.json"]


@pytest.mark.slow
@needs("torch")
@needs("safetensors")
def test_finetune_in_two_steps(tmp_path):
    for index, label in ((0, "here"), (1, "there")):
        (tmp_path / "videos" / label).mkdir(parents=True)
        for number in range(2):
            drawn = motion.scene("train", index + 12 * number)
            motion.write_video(drawn, tmp_path / "videos" / label / f"{number}.mp4")
    out = tmp_path / "mine.safetensors"
    words = run(
        EXAMPLES / "finetune.py", "motion", "--videos", tmp_path / "videos", "--out", out,
        "--quick", "--test", tmp_path / "videos",
    )  # fmt: skip
    assert "2 classes, 2 videos to train on, 2 held out" in words
    assert re.search(r"^epoch 2: loss .*minutes left$", words, re.MULTILINE), words
    assert re.search(r"^test: [\d.]+% of 4 \(", words, re.MULTILINE), words
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.safetensors", "videos"]
    from r2p_edge.export.build import build

    (built,) = build(out, targets=["onnx"], out=tmp_path / "models").built
    assert built.spec.labels == ("here", "there")
    assert built.spec.parity["top1"] == 1


@pytest.mark.slow
@needs("torch")
@needs("safetensors")
@pytest.mark.parametrize(
    ("program", "options", "code", "message"),
    [
        ("distil", ("--min-agreement", "nan"), 2, "least agreement is nan"),
        ("distil", ("--device", "cuda"), 5, "finds no GPU of CUDA"),
        ("distil", ("--work", "taken"), 3, "taken cannot be made"),
        ("finetune", ("--device", "cuda"), 5, "finds no GPU of CUDA"),
        ("finetune", ("--work", "taken"), 3, "taken cannot be made"),
        ("finetune", ("--seed", "-1"), 2, "seed is -1"),
        ("finetune", ("--test", "absent"), 3, "there is no folder absent"),
        ("finetune", ("--teacher", "absent.onnx"), 4, "absent.onnx"),
    ],
)
def test_trainings_that_cannot_begin(
    tmp_path, monkeypatch, capsys, program, options, code, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").touch()
    for label in ("here", "there"):
        (tmp_path / "videos" / label).mkdir(parents=True)
        (tmp_path / "videos" / label / "1.mp4").write_text(label)
    out = {"distil": "o.npz", "finetune": "o.safetensors"}[program]
    words = [program, "motion", "--out", out, *options, "--videos", "videos"]
    monkeypatch.setattr(sys, "argv", words)
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        loaded(program).main()
    said = capsys.readouterr().err
    assert ended.value.code == code, said
    assert said.startswith(f"{program}.py: ")
    assert message in said
    assert len(said.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken", "videos"]
