"""A benchmark as a whole, with rows that fail in every way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from models import brightness_model, spec_of_brightness
from per_frame_models import write_per_frame_model
from requirements import needs

from r2p_edge import _isolated
from r2p_edge.benchmark import benchmark, measure, race
from r2p_edge.benchmark.candidates import Abilities
from r2p_edge.errors import BackendError, OutputError, SpecError, UsageError
from r2p_edge.runtimes import RUNTIMES

pytestmark = needs("onnxruntime")

FAULTS = """
import os, threading
from r2p_edge.runtimes import RUNTIMES
from r2p_edge.runtimes.onnxruntime import OnnxRuntime

class Faulty(OnnxRuntime):
    runs = models = 0
    @classmethod
    def open(cls, *arguments):
        cls.models += 1
        if cls.name == "hungry" or (cls.name == "overloaded" and cls.models > 2):
            raise MemoryError
        return super().open(*arguments)
    def run(self, batch):
        self.runs += 1
        print("a library prints this", flush=True)
        os.write(1, b'["result", {}]\\n')
        if self.runs == 4 and self.name == "killed":
            os.kill(os.getpid(), 9)
        if self.runs == 4 and self.name == "hanging":
            open(os.environ["HUNG"], "w").close()
            threading.Event().wait()
        return super().run(batch)

for name in ("killed", "hanging", "hungry", "noisy", "overloaded"):
    globals()[name] = type(name, (Faulty,), {"name": name})
    RUNTIMES[name] = RUNTIMES["onnxruntime"]._replace(module=__name__, type=name)
"""


@pytest.fixture
def folder(tmp_path):
    """A folder of one artifact."""
    (tmp_path / "models").mkdir()
    brightness_model(tmp_path / "models" / "m.onnx")
    return tmp_path / "models"


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    """Runtimes that fail, here and in the processes; returns their abilities."""
    (tmp_path / "faulty_runtimes.py").write_text(FAULTS)
    monkeypatch.syspath_prepend(tmp_path)
    command = _isolated._COMMAND.replace("from r2p", "import faulty_runtimes; from r2p")
    monkeypatch.setattr(_isolated, "_COMMAND", command)
    names = ("onnxruntime", "killed", "hanging", "hungry", "noisy", "overloaded")
    row = RUNTIMES["onnxruntime"]
    for name in names[1:]:
        monkeypatch.setitem(RUNTIMES, name, row._replace(module="faulty_runtimes", type=name))
    here = {name: Abilities("1.0", {"cpu": []}) for name in names}
    monkeypatch.setattr(measure, "runtimes_here", lambda *_: (here, []))
    return here


def only(faulty, *names):
    """Leave these runtimes alone."""
    for name in faulty.keys() - set(names):
        del faulty[name]


@pytest.fixture
def bell(tmp_path, monkeypatch):
    """A timer that goes off when a process says that it hangs."""
    hung = tmp_path / "hung"
    monkeypatch.setenv("HUNG", str(hung))

    class Bell:
        def __init__(self, seconds, function):
            self._function, self._over = function, threading.Event()

        def start(self):
            threading.Thread(target=self._listen, daemon=True).start()

        def _listen(self):
            while not self._over.wait(0.02):
                if hung.exists():
                    hung.unlink()
                    self._function()

        def cancel(self):
            self._over.set()

    monkeypatch.setattr(_isolated, "Timer", Bell)


@pytest.mark.slow
def test_a_row_that_fails_tells_it_and_the_others_go_on(folder, faulty, bell, monkeypatch, capfd):
    monkeypatch.setattr(race, "_SECONDS", 0.01)
    monkeypatch.setattr(race, "_clients", lambda *_: 2)
    seen = []
    report = benchmark(folder, num_clips=4, timeout=7, progress=lambda *step: seen.append(step))
    rows = {row["runtime"]: row for row in report["results"]}
    assert rows["hungry"]["error"] == "it failed (MemoryError)"
    assert rows["hanging"]["error"] == "it did not finish within 7 s"
    killed = "it ended Python (signal 9, Killed, as where memory runs out)"
    assert rows["killed"]["error"].startswith(killed)
    for name in ("onnxruntime", "noisy", "overloaded"):
        assert rows[name]["clips"] == 4
        assert rows[name]["agreement"] == 1
        assert rows[name]["memory_mib"]["peak"] > rows[name]["memory_mib"]["above_runtime"] > 0
    assert rows["onnxruntime"]["clips_per_s"]["all_cores"] > 0
    assert rows["onnxruntime"]["all_cores_error"] is None
    assert rows["overloaded"]["clips_per_s"]["all_cores"] is None
    assert rows["overloaded"]["all_cores_error"] == "it failed (MemoryError)"
    assert "error" in rows[report["results"][-1]["runtime"]]
    assert "error" not in rows[report["recommended"]["runtime"]]
    assert capfd.readouterr().out == ""
    assert [step for step in seen if step[1] == step[2]] == [
        ("opening", 6, 6), ("asking for clips", 4, 4), ("all cores", 6, 6)
    ]  # fmt: skip


@pytest.mark.slow
def test_rows_that_do_not_fit_into_memory_together_take_turns(folder, faulty, monkeypatch):
    only(faulty, "onnxruntime", "noisy")
    monkeypatch.setattr(race, "memory_left", lambda: 1.0)
    report = benchmark(folder, num_clips=2)
    assert sorted(row["heat"] for row in report["results"]) == [1, 2]
    assert [row["clips"] for row in report["results"]] == [2, 2]
    # Nor is there memory for a second client.
    assert [row["clips_per_s"]["all_cores"] for row in report["results"]] == [None, None]


@pytest.mark.slow
def test_where_no_row_gets_to_the_end(folder, faulty):
    only(faulty, "hungry")
    with pytest.raises(BackendError, match=r"nothing could be measured: m.onnx on hungry: it fail"):
        benchmark(folder, num_clips=1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130)])
def test_ctrl_c_ends_all_processes_and_leaves_nothing(folder, tmp_path, number, code):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    words = ["benchmark", folder, "--num-clips", "100000", "--runtimes", "onnxruntime"]
    process = subprocess.Popen(
        [sys.executable, "-c", "import signal, sys; from r2p_edge.cli import main; "
         "signal.signal(signal.SIGINT, signal.default_int_handler); sys.exit(main())", *words],
        env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    while not list(scratch.glob("*/clip.npy")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert children
    process.send_signal(number)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (code, "r2p-edge: interrupted\n")
    assert [child for child in children if os.path.exists(f"/proc/{child}")] == []
    assert list(scratch.iterdir()) == []


def test_a_full_temporary_folder(folder, faulty, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(race.np, "save", full)
    monkeypatch.setattr(race, "_opened", lambda waiting, *_: [waiting.pop() for _ in [*waiting]])
    with pytest.raises(OutputError, match=r"cannot be written to \(No space left on device\); mak"):
        benchmark(folder, num_clips=1)


def test_arguments_that_are_wrong_in_themselves(folder, faulty, tmp_path):
    with pytest.raises(UsageError, match="num_clips is 0"):
        benchmark(folder, num_clips=0)
    with pytest.raises(UsageError, match="timeout is nan"):
        benchmark(folder, timeout=float("nan"))
    with pytest.raises(UsageError, match="threads is 0"):
        benchmark(folder, threads=0)
    with pytest.raises(UsageError, match="unknown runtime 'onx'; choose among onnxruntime, "):
        benchmark(folder, runtimes=["onx"])
    with pytest.raises(UsageError, match="measured as it is, so leave out keep, preset; they are"):
        benchmark(folder, keep=tmp_path, recipe={"preset": "x"})


def test_a_folder_of_several_models(folder, faulty):
    brightness_model(folder / "other.onnx", spec_of_brightness(labels=("a", "b", "c", "d")))
    with pytest.raises(SpecError, match="are not of one model, as they differ in labels; give"):
        benchmark(folder)


def test_where_nothing_runs_the_model(folder, faulty):
    faulty.clear()
    with pytest.raises(
        BackendError, match=r"^nothing here runs .* \(m.onnx: onnxruntime or .*, and is"
    ):
        benchmark(folder)


@pytest.mark.slow
def test_a_per_frame_form_has_rows_of_its_own(tmp_path):
    write_per_frame_model(tmp_path, kind="logits")
    found = benchmark(tmp_path, runtimes=["onnxruntime"], num_clips=3)
    rows = {row["border"]: row for row in found["results"]}
    assert rows.keys() == {None, "flush", "wait"}
    for border, row in rows.items():
        assert "error" not in row
        assert row["per_frame"] is (border is not None)
        assert (row["frame_ms"] is None) is (border is None)
        assert row["clips_per_s"]["one_client"] > 0
    assert rows["wait"]["lag_ms"] == 80.0
    assert found["recommended"]["file"] == "tiny-fp32.onnx"
