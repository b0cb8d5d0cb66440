"""RKNN-Toolkit2's process: the simulator's answers and ends, and what is left of it."""

import gc
import hashlib
import logging
import os
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from kserve import until
from models import grey_frames, levels
from requirements import needs
from traps import answers_for_other_memory_layouts, clip

from r2p_edge import Predictor
from r2p_edge.errors import BackendError, MissingDependencyError, ModelError
from r2p_edge.runtimes.base import Options
from r2p_edge.runtimes.rknn.runtime import Rknn
from r2p_edge.runtimes.rknn.toolkit import toolkit_python, toolkit_reason

pytestmark = [needs("onnx"), needs("onnxruntime")]


def test_the_simulator(pc, caplog):
    with Predictor(pc) as predictor:
        assert (predictor.device, predictor.precision) == ("simulator", "fp16")
        assert levels(predictor.predict(grey_frames([3, 9, 0, 6], 8, 8))) == [3, 9, 0, 6]
        assert answers_for_other_memory_layouts(predictor._runtime.run)
        process = predictor._runtime._session._simulation._process
    assert process.poll() is not None
    assert "runs on RKNN-Toolkit2's simulator, which computes the NPU's answers and" in caplog.text


def test_a_simulator_that_was_asked_for_says_nothing(pc, caplog):
    caplog.set_level(logging.WARNING)
    with Predictor(pc, device="simulator"):
        pass
    assert caplog.text == ""


def test_a_simulator_that_ends(pc, monkeypatch):
    monkeypatch.setenv("FAKE_RKNN", "dies")
    with Predictor(pc) as predictor:
        message = "simulator ended and said: inference: the simulator ran out of memory"
        with pytest.raises(BackendError, match=message):
            predictor._runtime.run(clip(1, 2, 3, 4))


def test_a_simulator_that_does_not_start(pc, monkeypatch):
    monkeypatch.setenv("FAKE_RKNN", "stuck")
    with pytest.raises(BackendError, match=r"simulator ended and said: build: the compiler failed"):
        Predictor(pc)


def test_a_simulator_that_has_ended_stays_so(pc, monkeypatch):
    monkeypatch.setenv("FAKE_RKNN", "dies")
    with Predictor(pc) as predictor:
        for _ in range(2):
            with pytest.raises(BackendError, match=r"simulator ended and said: inference: the sim"):
                predictor._runtime.run(clip(1, 2, 3, 4))


@pytest.mark.parametrize("classes", [3, 5])
def test_a_contract_of_other_classes_on_the_simulator(pc, classes):
    with Predictor(pc) as predictor:
        spec = predictor.spec
    labels = tuple(f"frame {number}" for number in range(classes))
    runtime = Rknn.open(pc, spec.replace(labels=labels), Options())
    for _ in range(2):
        with pytest.raises(BackendError, match=rf"of shape \(4,\) for {classes} classes"):
            runtime.run(clip(1, 2, 3, 4))
    runtime.close()


def interrupted_soon(process):
    """Stop a process, and interrupt this one, which is about to wait for it."""
    process.send_signal(signal.SIGSTOP)
    main = threading.main_thread().ident
    threading.Timer(0.3, signal.pthread_kill, [main, signal.SIGINT]).start()


def test_an_interrupted_answer_is_not_the_next_ones(pc):
    with Predictor(pc) as predictor:
        run = predictor._runtime.run
        process = predictor._runtime._session._simulation._process
        interrupted_soon(process)
        with pytest.raises(KeyboardInterrupt):
            run(clip(9, 9, 9, 9))
        assert process.poll() is not None
        with pytest.raises(BackendError, match=r"ended when a call was interrupted; open the mod"):
            run(clip(1, 2, 3, 4))


def test_an_interrupted_opening_ends_the_toolkit(pc, monkeypatch):
    started = []

    def popen(*arguments, **options):
        started.append(subprocess.Popen(*arguments, **options))
        interrupted_soon(started[0])
        return started[0]

    with Predictor(pc) as predictor:
        spec = predictor.spec
    fake = SimpleNamespace(**{**vars(subprocess), "Popen": popen})
    monkeypatch.setattr("r2p_edge.runtimes.rknn.toolkit.subprocess", fake)
    with pytest.raises(KeyboardInterrupt):
        Rknn.open(pc, spec, Options())
    assert started[0].poll() is not None


def test_a_simulator_ends_with_a_predictor_that_is_not_closed(pc, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    predictor = Predictor(pc)
    number = predictor._runtime._session._simulation._process.pid
    assert list(tmp_path.glob("r2p_edge-*"))
    del predictor
    gc.collect()
    assert not is_running(number)
    assert not list(tmp_path.glob("r2p_edge-*"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_copy_of_a_fork_leaves_the_simulator_alone(pc):
    with Predictor(pc) as predictor:
        run = predictor._runtime.run
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                run(clip(9, 9, 9, 9))
            except BackendError as error:
                os.write(writing, str(error).encode())
            predictor.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert b"belongs to the process that opened the model" in os.read(reading, 1000)
        assert run(clip(1, 2, 3, 4)).tolist() == [[1, 2, 3, 4]]
        os.close(reading)
        os.close(writing)


_BUILD = """
import sys
from r2p_edge.export.targets.program import run_program
from r2p_edge.runtimes.rknn import toolkit
command = toolkit.toolkit_command(toolkit.toolkit_python(), "build", sys.argv[1])
run_program(command, name="it", timeout=60, environment=toolkit.toolkit_environment())
"""


def test_a_build_ends_with_a_parent_that_is_killed(pc, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_RKNN", "slow")
    folder = tmp_path / "build"
    with zipfile.ZipFile(pc.with_name("model.rknn-source")) as archive:
        archive.extractall(folder)
    parent = subprocess.Popen([sys.executable, "-c", _BUILD, folder])
    until((folder / "begun").is_file)
    parent.kill()
    parent.wait()
    until(lambda: not is_running(int((folder / "begun").read_text() or 1)))


def test_what_the_toolkit_leaves_goes_with_the_model(pc, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    with Predictor(pc):
        assert len(list(temporary.iterdir())) == 1
        assert list(temporary.rglob("check.onnx"))
    assert list(temporary.iterdir()) == []


def is_running(number):
    try:
        state = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda file: file.unlink(), r"builds model\.rknn again from model\.rknn-source, which is"),
        (lambda file: file.write_bytes(b"other"), r"is not the file that model\.rknn was built"),
    ],
)
def test_the_file_of_the_simulator(pc, tmp_path, spoil, message):
    for file in pc.parent.glob("model.rknn*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    spoil(tmp_path / "model.rknn-source")
    with pytest.raises(ModelError, match=message):
        Predictor(tmp_path / "model.rknn")


def test_another_toolkit_than_the_one_that_built(pc, copied, caplog):
    with Predictor(copied(rknn_toolkit2="2.3.2"), device="simulator"):
        pass
    (said,) = caplog.messages
    assert "was built by RKNN-Toolkit2 2.3.2 and is built again by 2.5.0 here" in said


@pytest.mark.parametrize("file", ["", "/", 7, None])
def test_a_record_that_names_no_file_of_the_simulator(pc, copied, file):
    path = copied(simulated_from={"file": file, "sha256": "0" * 64})
    with pytest.raises(ModelError, match=r"names no file for the simulator; export the model"):
        Predictor(path)


def test_a_file_of_the_simulator_that_is_damaged_within(pc, copied):
    content = bytearray(pc.with_name("model.rknn-source").read_bytes())
    content[100] ^= 0xFF  # of the compressed model
    name, digest = "damaged.rknn-source", hashlib.sha256(content).hexdigest()
    path = copied(simulated_from={"file": name, "sha256": digest})
    path.with_name(name).write_bytes(content)
    with pytest.raises(ModelError, match=r"damaged\.rknn-source is damaged \(.*copy all files of"):
        Predictor(path)


def test_neither_is_here(exported, monkeypatch):
    monkeypatch.delenv("R2P_RKNN_PYTHON", raising=False)
    with pytest.raises(
        MissingDependencyError, match=r"pip install rknn-toolkit-lite2; or, for the"
    ):
        Predictor(exported)


def test_a_folder_that_is_called_like_the_package(tmp_path, monkeypatch):
    """The page's name for the toolkit's environment, in whose parent Python is started."""
    (tmp_path / "rknn").mkdir()
    monkeypatch.delenv("R2P_RKNN_PYTHON", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"RKNN-Toolkit2 is not here"):
        toolkit_python()


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (
            "E RKNN: [12:00:00.1] Unkown op target: 0\nE RKNN: [1:2:3.4] Not Support\n",
            "Not Support",
        ),
        ("\x1b[1;31mE\x1b[0m \x1b[1;31mbuild: no dataset\x1b[0m\nmore", "build: no dataset"),
        ("Traceback ...\nValueError: bad\nI the end", "ValueError: bad"),
        ("first\nlast\n\n", "last"),
        ("", "nothing"),
    ],
)
def test_the_reason_in_a_log(log, reason):
    assert toolkit_reason(log) == reason
