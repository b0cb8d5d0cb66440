"""Output, messages and exit codes that all verbs share."""

import json
import logging
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from bare_python import make_python
from exit_codes import BACKEND, DATA, MODEL, OTHER, USAGE
from paths import ROOT

from r2p_edge.cli import main
from r2p_edge.info import FolderReport
from r2p_edge.predictor import Predictor
from r2p_edge.preprocess import _frames_py, preprocessor


@pytest.mark.slow
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_full_disk_behind_stdout(model, clip, options, unbuffered):
    command = [sys.executable, "-m", "r2p_edge", "predict", str(model), str(clip), *options]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment
        )
    assert done.returncode == DATA
    assert done.stderr.splitlines()[-1].startswith("r2p-edge: error: the output cannot be written")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams(model, closed):
    line = f'exec "{sys.executable}" -m r2p_edge info "{model}" --json {closed}'
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


LONG = "n" * 300


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (MODEL, "info LONG"),
        (MODEL, "predict LONG x.mp4"),
        (DATA, "predict MODEL LONG"),
        (USAGE, "predict MODEL x.mp4 --cache LONG"),
        (USAGE, "predict MODEL x.mp4 --spec LONG"),
        (MODEL, "stream LONG x.mp4"),
        (DATA, "stream MODEL LONG"),
        (MODEL, "compare LONG MODEL"),
        (DATA, "compare MODEL MODEL --videos LONG"),
        (MODEL, "eval LONG --videos ."),
        (DATA, "eval MODEL --videos LONG"),
        (USAGE, "eval MODEL --videos . --split LONG"),
        (MODEL, "export LONG --out OUT"),
        (DATA, "export MODEL --out LONG"),
        (USAGE, "export MODEL --out OUT --spec LONG"),
        (USAGE, "export MODEL --out OUT --labels LONG"),
        (USAGE, "export MODEL --out OUT --to tensorrt --timing-cache LONG"),
        (DATA, "export MODEL --out OUT --precision int8 --videos LONG"),
        (USAGE, "export MODEL --out OUT --precision int8 --videos . --split LONG"),
        (MODEL, "calibrate LONG --out OUT/int8.onnx"),
        (DATA, "calibrate MODEL --out LONG"),
        (DATA, "calibrate MODEL --out int8.onnx --videos LONG"),
        (USAGE, "calibrate MODEL --out int8.onnx --videos . --split LONG"),
        (DATA, "demo --out LONG"),
    ],
)
def test_a_name_that_is_too_long(fails, model, tmp_path, monkeypatch, code, arguments):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("r2p_edge.demo._usable_runtimes", lambda: (["onnxruntime"], []))
    words = {"LONG": LONG, "MODEL": model, "OUT": "out"}
    shown = LONG[:100]  # of a long name, some errors show the beginning and the end
    fails(code, shown, *(words.get(word, word) for word in arguments.split()))


@pytest.mark.slow
def test_an_artifact_whose_name_is_too_long(run, model):
    code, output, _ = run("compare", model, LONG, "--num-clips", 1)
    assert code == MODEL
    assert f"{LONG}\n  error: model {LONG} " in output


@pytest.mark.parametrize(
    ("code", "arguments"),
    [(MODEL, "info FOLDER"), (DATA, "predict MODEL FOLDER"), (DATA, "eval MODEL --videos FOLDER")],
)
def test_a_folder_that_may_not_be_read(fails, model, tmp_path, monkeypatch, code, arguments):
    folder = tmp_path / "closed"
    folder.mkdir()
    for owner, name in ((Path, "iterdir"), (os, "scandir")):
        original = getattr(owner, name)

        def closed(path, original=original):
            if path == folder:  # for root every folder is open
                raise PermissionError(13, "Permission denied", str(path))
            return original(path)

        monkeypatch.setattr(owner, name, closed)
    words = {"FOLDER": folder, "MODEL": model}
    fails(code, "Permission denied", *(words.get(word, word) for word in arguments.split()))


@pytest.mark.slow
def test_an_error_of_the_system_that_nobody_expects(model, clip):
    """Name the error, and keep what was printed before."""
    program = """
import sys
from r2p_edge import Predictor
from r2p_edge.cli import main

predict = Predictor.predict

def fails_at_the_second(self, video, **options):
    if video == "second":
        raise OSError(5, "Input/output error", "/mnt/second")
    return predict(self, video, **options)

Predictor.predict = fails_at_the_second
sys.exit(main(sys.argv[1:]))
"""
    command = [sys.executable, "-c", program, "predict", model, clip, "second"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == OTHER
    assert done.stdout.startswith(str(clip))
    assert done.stderr.splitlines()[-1].startswith("r2p-edge: error: ")
    assert "Input/output error: '/mnt/second'" in done.stderr
    assert "the output cannot be written" not in done.stderr
    assert "Traceback" not in done.stderr


def test_more_than_fits_into_memory(fails, model, monkeypatch):
    monkeypatch.setattr(Predictor, "predict", lambda *_, **__: np.empty(1 << 60, np.uint8))
    fails(OTHER, "there is too little memory (Unable to allocate", "predict", model, "it.mp4")


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("verbose", [False, True])
def test_what_the_package_logs(run, tmp_path, monkeypatch, verbose, before):
    logger = logging.getLogger("r2p_edge")

    def inspect(folder):
        logger.warning("frames are %s", "dropped")
        logging.getLogger("r2p_edge.live").info("opened rtsp://me:secret@camera/1")
        logger.debug("nothing")
        return FolderReport([], [], 0, None)

    monkeypatch.setattr("r2p_edge.info.inspect_folder", inspect)
    command = ["info", tmp_path]
    if verbose:
        command = ["--verbose", *command] if before else [*command, "--verbose"]
    handlers, level = list(logger.handlers), logger.level
    code, _, errors = run(*command)
    warning = "r2p-edge: warning: frames are dropped\n"
    info = "r2p-edge: info: opened rtsp://***@camera/1\n"
    assert (code, errors) == (0, warning + info if verbose else warning)
    assert (logger.handlers, logger.level) == (handlers, level)


@pytest.mark.slow
def test_help_in_a_bare_checkout(tmp_path):
    """Run it where NumPy alone is installed, and the package lies in the current folder."""
    python = make_python(tmp_path / "bare")
    done = subprocess.run(
        [python, "-m", "r2p_edge", "export", "--help"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "openvino" in done.stdout


def test_argparse_errors_are_usage_errors(capsys):
    for arguments in ([], ["predict"], ["fly"], ["export", "motion"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == USAGE
    capsys.readouterr()


@pytest.mark.slow
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


def test_ctrl_c_while_an_extension_module_is_made(run, model, clip, monkeypatch):
    """It becomes an ImportError there, which is no fault of the module."""

    def interrupted(*_, **__):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ImportError("initialization failed") from error

    monkeypatch.setattr(Predictor, "predict", interrupted)
    code, _, errors = run("predict", model, clip)
    assert (code, errors) == (130, "r2p-edge: interrupted\n")


def test_sigterm(run, model, clip, monkeypatch):
    def terminated(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the handler runs before this")

    monkeypatch.setattr(Predictor, "predict", terminated)
    code, _, errors = run("predict", model, clip)
    assert (code, errors) == (143, "r2p-edge: terminated\n")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_command_in_another_thread(run, model):
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(run, "info", model).result()[0] == 0


@pytest.mark.slow
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
    fails(BACKEND, "pip install opencv-python-headless", "demo", "--out", tmp_path / "demo")
    monkeypatch.setattr(preprocessor, "kernel", _frames_py)
    picture = tmp_path / "frames" / "0.png"
    picture.parent.mkdir()
    picture.write_bytes(cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1])
    fails(BACKEND, "pip install opencv-python-headless", "predict", model, picture.parent)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(sys.modules, "openvino", None)
    fails(BACKEND, "pip install onnxruntime", "predict", model, clip)
