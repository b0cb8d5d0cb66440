"""Output, messages and exit codes that all verbs share."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from r2p_edge.cli import main
from r2p_edge.predictor import Predictor
from r2p_edge.preprocess import _frames_py, preprocessor

USAGE, DATA, MODEL, BACKEND = 2, 3, 4, 5


def test_a_full_disk_behind_stdout(model, clip):
    command = [sys.executable, "-m", "r2p_edge", "predict", str(model), str(clip)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == DATA
    assert done.stderr.splitlines()[-1].startswith("r2p-edge: error: the output cannot be written")
    assert "Traceback" not in done.stderr


def test_argparse_errors_are_usage_errors(capsys):
    for arguments in ([], ["predict"], ["fly"], ["export", "motion"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == USAGE
    capsys.readouterr()


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_file_names_that_are_no_text(model, clip, tmp_path, encoding):
    named = os.fsencode(tmp_path) + b"/\xff\xc3\xa9.mp4"
    clip.rename(os.fsdecode(named))
    command = [sys.executable, "-m", "r2p_edge", "predict", str(model), named, b"\xff.avi"]
    for extra in ([], ["--json"]):
        done = subprocess.run(
            [*command, *extra],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        )
        assert done.returncode == DATA, done.stderr  # of the second, which does not exist
        assert b"Traceback" not in done.stderr
        assert b"\\udcff.avi" in done.stderr
        if extra:
            first, _ = map(json.loads, done.stdout.decode(encoding).splitlines())
            assert os.fsencode(first["video"]) == named


def test_ctrl_c(run, model, clip, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "predict", interrupted)
    code, _, errors = run("predict", model, clip)
    assert (code, errors) == (130, "r2p-edge: interrupted\n")


def test_as_a_module_and_into_a_closed_pipe(model, clip):
    command = [sys.executable, "-m", "r2p_edge", "predict", str(model), *[str(clip)] * 40, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        json.loads(process.stdout.readline())
        process.stdout.close()
        errors = process.stderr.read()
    assert b"Traceback" not in errors, errors.decode()
    assert process.returncode == 1


def test_missing_packages(fails, model, clip, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    fails(BACKEND, 'pip install "r2p_edge[demo]"', "demo", "--out", tmp_path / "demo")
    monkeypatch.setattr(preprocessor, "kernel", _frames_py)
    picture = tmp_path / "frames" / "0.png"
    picture.parent.mkdir()
    picture.write_bytes(cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1])
    fails(BACKEND, 'pip install "r2p_edge[opencv]"', "predict", model, picture.parent)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(sys.modules, "openvino", None)
    fails(BACKEND, 'pip install "r2p_edge[onnxruntime]"', "predict", model, clip)
