"""MindSpore Lite's converter: finding it, running it, and how it fails."""

import os
import shutil
import subprocess
import sys

import pytest
from requirements import needs

from r2p_edge.artifact.open import open_artifact
from r2p_edge.errors import (
    BackendError,
    ModelError,
    OutputError,
    UsageError,
)
from r2p_edge.export.targets.mindspore_lite.converter import Converter, find_converter
from r2p_edge.export.targets.mindspore_lite.export import mindspore_lite_from_onnx

pytestmark = [needs("onnx"), needs("onnxruntime")]


def test_which_converter_is_taken(tmp_path, program, monkeypatch):
    assert find_converter() == Converter(program)
    assert Converter(program).environment()["LD_LIBRARY_PATH"].split(":")[0] == str(
        program.parents[1] / "lib"
    )
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/cann/lib64")
    assert Converter(program).environment()["LD_LIBRARY_PATH"].endswith("/lib:/opt/cann/lib64")
    monkeypatch.delenv("FAKE_LITE_WITHOUT_CONVERTER")
    assert find_converter() == Converter(None)
    monkeypatch.setenv("R2P_CONVERTER_LITE", str(tmp_path / "absent"))
    with pytest.raises(UsageError, match=r"R2P_CONVERTER_LITE is .*absent, which is not a program"):
        find_converter()
    monkeypatch.delenv("R2P_CONVERTER_LITE")
    monkeypatch.setitem(sys.modules, "mindspore_lite", None)
    assert find_converter() == Converter(program)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert find_converter() is None


FAILURES = {
    "exit1": r"ended with exit code \d+ for .* and said: \[ERROR\] LITE: Unsupported to conv",
    "nothing": r"wrote no file for .* said: CONVERT RESULT SUCCESS:0; try .* by hand",
    "empty": r"wrote no file for ",
    "crash": r"ended with exit code 1 .* said: encounter an unknown error, please verify",
    "abort": r"was killed by SIGABRT for ",
    "worker": r"was killed by SIGSEGV .*BrokenPipeError; .* want of memory: add swap, .*; or try ",
    "python": r"ended with exit code .*EC0010.*; .* first on PATH lacks .* scipy requests absl-py;",
}


@pytest.mark.slow
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("kind", ["class", "program"])
def test_a_conversion_that_fails_leaves_what_was_there(
    tmp_path, source, program, monkeypatch, kind, failure
):
    if kind == "class":
        monkeypatch.delenv("FAKE_LITE_WITHOUT_CONVERTER")
    path = tmp_path / "other.mindir"
    mindspore_lite_from_onnx(source, path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    monkeypatch.setenv("FAKE_LITE_CONVERTER", failure)
    name = "converter_lite" if kind == "program" else r"mindspore_lite\.Converter"
    of_cann = failure in ("worker", "python")  # whose compiler is at work for Ascend alone
    kind, device = (BackendError, "ascend310p") if of_cann else (ModelError, "cpu")
    with pytest.raises(kind, match=f"^{name} {FAILURES[failure]}") as caught:
        mindspore_lite_from_onnx(source, path, device=device)
    assert "\n" not in str(caught.value)
    after = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    assert after == before
    assert open_artifact(path).verified


@pytest.mark.slow
def test_no_room_where_the_converter_works(tmp_path, source, lite, monkeypatch):
    path = tmp_path / "other.mindir"
    with monkeypatch.context() as patch:
        patch.setenv("FAKE_LITE_CONVERTER", "late")
        text = r"Converter cannot write into .*: \[ERROR\] .*Failed to write .*; make room there"
        with pytest.raises(OutputError, match=text):
            mindspore_lite_from_onnx(source, path)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:  # and so full that nothing is said of it
        patch.setenv("FAKE_LITE_CONVERTER", "nothing")
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="cannot be written: No space left on device; make"):
            mindspore_lite_from_onnx(source, path)
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OutputError, match="cannot be written: No space left on device; make room"):
        mindspore_lite_from_onnx(source, path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("kind", ["class", "program"])
def test_a_converter_that_hangs(tmp_path, source, program, monkeypatch, kind):
    if kind == "class":
        monkeypatch.delenv("FAKE_LITE_WITHOUT_CONVERTER")
    started = []

    def time_is_up(process, timeout=None):
        if timeout is None:
            return wait(process)
        started.append(process)
        raise subprocess.TimeoutExpired(process.args, timeout)

    wait = subprocess.Popen.wait
    monkeypatch.setenv("FAKE_LITE_CONVERTER", "hang")
    monkeypatch.setattr(subprocess.Popen, "wait", time_is_up)
    with pytest.raises(BackendError, match=r"did not finish within 2 s; .* try .*out.* by hand$"):
        mindspore_lite_from_onnx(source, tmp_path / "other.mindir", timeout=2)
    (process,) = started
    assert process.wait() == -9
    assert not (tmp_path / "other.mindir").exists()


@pytest.mark.slow
def test_the_command_to_try_by_hand_can_be_tried(tmp_path, source, program, monkeypatch):
    for kind in ("program", "class"):
        with monkeypatch.context() as patch:
            patch.setenv("FAKE_LITE_CONVERTER", "nothing")
            with pytest.raises(ModelError) as caught:
                mindspore_lite_from_onnx(source, tmp_path / "other.mindir")
        command = str(caught.value).partition("; try ")[2].partition(" by hand")[0]
        environment = find_converter().environment()
        subprocess.run(command, shell=True, cwd=tmp_path, env=environment, check=True)
        (tmp_path / "out.mindir").unlink()
        if kind == "program":
            monkeypatch.delenv("FAKE_LITE_WITHOUT_CONVERTER")


def test_programs_that_cannot_be_started(tmp_path, source, program, monkeypatch):
    other = tmp_path / "other"
    other.write_bytes(b"\x7fELF for another machine")
    other.chmod(0o755)
    monkeypatch.setenv("R2P_CONVERTER_LITE", str(other))
    with pytest.raises(BackendError, match=r"other cannot be started \(.*\); check that it may"):
        mindspore_lite_from_onnx(source, tmp_path / "other.mindir")
    # Away from its libraries, as where only the program was copied.
    alone = tmp_path / "a" / "b" / "converter_lite"
    alone.parent.mkdir(parents=True)
    alone.write_bytes(program.read_bytes())
    alone.chmod(0o755)
    monkeypatch.setenv("R2P_CONVERTER_LITE", str(alone))
    with pytest.raises(ModelError, match=r"exit code 127 .* error while loading shared libraries"):
        mindspore_lite_from_onnx(source, tmp_path / "other.mindir")


# int8.


def test_the_process_that_converts_knows_nothing_of_the_exporter(lite):
    code = "import sys, r2p_edge.export.targets.mindspore_lite.child\nprint(*sys.modules)"
    environment = Converter(None).environment()
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    found = {name.split(".")[0] for name in done.stdout.split()}
    assert not found & {"onnx", "onnxruntime", "google"}
