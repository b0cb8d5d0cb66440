"""Processes that share videos: what happens where a video ends or hangs one of them."""

from pathlib import Path

import pytest

from r2p_edge.archive import pool as module
from r2p_edge.archive.pool import WorkerPool
from r2p_edge.archive.sources import list_archive
from r2p_edge.errors import BackendError, ModelNotFoundError

pytestmark = pytest.mark.slow

DEADLY = """
import os, signal, sys, tempfile, threading
from pathlib import Path
from r2p_edge.archive import classifier, worker

class Deadly(classifier.ClipReader):
    def read(self, source, **options):
        where = os.environ["DEADLY"]
        if "kill" in Path(source).name:
            os.kill(os.getpid(), signal.SIGKILL)
        if "once" in Path(source).name and not os.path.exists(f"{where}/once"):
            Path(where, "once").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if "hang" in Path(source).name:
            Path(where, f"alarm-{os.getpid()}").touch()
            threading.Event().wait()
        if "raise" in Path(source).name:
            raise ZeroDivisionError("a bug")
        return super().read(source, **options)

classifier.ClipReader = Deadly
answer_tasks = worker.answer_tasks
def never_ready(report, **_): os.kill(os.getpid(), signal.SIGKILL)
"""


class Clock:
    """A clock that stands, and goes on by 400 s at each look while a process says that it hangs."""

    def __init__(self, folder):
        self.folder, self.now = folder, 0.0

    def __call__(self):
        alarms = [file.name.split("-")[1] for file in self.folder.glob("alarm-*")]
        self.now += 400.0 * any(Path("/proc", process).exists() for process in alarms)
        return self.now


@pytest.fixture
def answers(tmp_path, model, monkeypatch):
    """Runs a pool over videos; returns the rows by number."""
    (tmp_path / "deadly.py").write_text(DEADLY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("DEADLY", str(tmp_path))
    monkeypatch.setattr(module, "ANSWER", "deadly:answer_tasks")
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.05)
    options = dict.fromkeys(["runtime", "device", "precision", "cache", "spec"], None)
    arguments = {"model": str(model), "options": {**options, "threads": 1}}
    arguments |= {"digest": "d1", "views": 1, "top": 2, "fps": None}

    def answers(videos, workers=1, **changes):
        rows = {}

        def answered(number, found):
            assert number not in rows
            rows[number] = found

        WorkerPool(
            {**arguments, **changes},
            workers=workers,
            timeout=600,
            opened=lambda identity: None,
            answered=answered,
            clock=Clock(tmp_path),
        ).run(enumerate(list_archive(videos)))
        return [rows[number] for number in sorted(rows)]

    return answers


@pytest.fixture
def video(clips, tmp_path):
    """Makes copies of a video under names that the workers look at."""

    def video(name):
        copy = tmp_path / name
        copy.write_bytes((clips / "a.mp4").read_bytes())
        return copy

    return video


@pytest.mark.parametrize("workers", [1, 2])
def test_each_video_once(answers, clips, workers):
    rows = answers([clips], workers)
    assert [row["video"] for (row,) in rows] == [each.video for each in list_archive([clips])]
    assert [bool(row.get("error")) for (row,) in rows] == [False, True, False, False, False]


def test_a_video_that_ends_its_process_is_a_row(answers, video, clips):
    good = clips / "b.mp4"
    rows = answers([good, video("kill.mp4"), *(video(f"{n}.mp4") for n in range(4))])
    errors = [row.get("error") for (row,) in rows]
    said = (
        "kill.mp4 ended its process twice: it ended Python (signal 9, Killed, as where memory "
        "runs out); try it by itself"
    )
    assert errors.pop(1).endswith(said)
    assert errors == [None] * 5
    assert rows[1][0]["runtime"] == "onnxruntime"
    assert rows[1][0]["size"] > 0


@pytest.mark.long
def test_a_process_that_is_killed_once_loses_nothing(answers, video, tmp_path):
    rows = answers([video("once.mp4"), *(video(f"{n}.mp4") for n in range(3))], workers=2)
    assert (tmp_path / "once").exists()
    assert [row.get("error") for (row,) in rows] == [None] * 4


def test_a_video_that_hangs_is_a_row(answers, video, tmp_path):
    rows = answers([video("0.mp4"), video("hang.mp4"), video("1.mp4"), video("2.mp4")])
    errors = [row.get("error") for (row,) in rows]
    assert "hang.mp4 ended its process twice: it did not finish within 600 s" in errors.pop(1)
    assert errors == [None] * 3
    assert len(list(tmp_path.glob("alarm-*"))) == 2


@pytest.mark.long
def test_a_bug_is_a_row(answers, video):
    rows = answers([video("raise.mp4"), video("0.mp4")])
    assert "it failed (ZeroDivisionError: a bug)" in rows[0][0]["error"]
    assert rows[1][0].get("error") is None


@pytest.mark.long
def test_processes_that_always_end_are_no_fault_of_the_videos(answers, video, monkeypatch):
    monkeypatch.setattr(module, "_IN_A_ROW", 2)
    with pytest.raises(BackendError, match="2 videos in a row ended twice each, the last one on"):
        answers([video(f"kill{n}.mp4") for n in range(3)])


@pytest.mark.long
def test_a_process_that_never_begins(answers, clips, monkeypatch):
    monkeypatch.setattr(module, "ANSWER", "deadly:never_ready")
    with pytest.raises(BackendError, match=r"ended before its first one: .*signal 9"):
        answers([clips], workers=2)


@pytest.mark.long
def test_a_model_that_cannot_be_opened(answers, clips, tmp_path):
    with pytest.raises(ModelNotFoundError, match="does not exist"):
        answers([clips], model=str(tmp_path / "absent.onnx"))
