"""Journals: what they keep of a run that ended early, and what they refuse."""

import os
import subprocess
import sys

import pytest

from r2p_edge.archive.journal import Journal
from r2p_edge.errors import OutputError, UsageError

RUN = {"model": "1" * 64, "views": 1, "device": None}
ROWS = {0: [{"video": "a", "error": None}], 2: [{"video": "c", "error": "broken"}]}


@pytest.fixture
def out(tmp_path):
    """The results' name of a run that was not finished, with two videos, the later one first."""
    out = tmp_path / "results.csv"
    with Journal(out, RUN, resume=False) as journal:
        for number in (2, 0):
            journal.add(number, ROWS[number])
    return out


def resumed(out, **changes):
    """Return the numbers that a journal has, those of them that failed, and its rows."""
    with Journal(out, {**RUN, **changes}, resume=True) as journal:
        return sorted(journal.places), sorted(journal.failed), list(journal.rows())


def test_what_was_done_is_known(out):
    assert resumed(out) == ([0, 2], [2], [*ROWS[0], *ROWS[2]])


def test_the_first_failures_are_named(out):
    with Journal(out, RUN, resume=True) as journal:
        journal.add(1, [{"video": "b", "error": "torn"}])
        assert journal.failures(1) == [{"video": "b", "error": "torn"}]
        assert journal.failures(3) == [{"video": "b", "error": "torn"}, *ROWS[2]]


def test_a_line_that_is_not_whole_is_cut_off(out):
    """A process is killed, or the power fails, at any byte."""
    file = out.with_name("results.csv.journal")
    whole = file.read_bytes()
    _, one, two, _ = whole.split(b"\n")
    begin, end = len(whole) - len(two) - 1, len(whole)
    for length in (begin, begin + 1, end - 2, end - 1):
        file.write_bytes(whole[:length])
        assert resumed(out)[0] == [2]
        assert file.read_bytes() == whole[:begin]
    file.write_bytes(whole[:begin] + bytes(len(two)) + b"\n" + one + b"\n")  # a block of zeros
    assert resumed(out)[0] == [2]
    for length in (0, 1, 20):  # within the first line
        file.write_bytes(whole[:length])
        assert resumed(out)[0] == []
        assert not file.exists()  # with nothing to go on with


def test_a_later_line_of_a_video_counts(out):
    with Journal(out, RUN, resume=True) as journal:
        journal.add(2, [{"video": "c", "error": None, "again": True}])
        assert not journal.failed
    assert resumed(out) == ([0, 2], [], [*ROWS[0], {"video": "c", "error": None, "again": True}])


def test_what_no_longer_holds_is_not_done(out):
    with Journal(out, RUN, resume=True, keep=lambda number, rows: number == 0) as journal:
        assert (sorted(journal.places), journal.failed) == ([0], set())
    with Journal(out, RUN, resume=True, keep=lambda number, rows: False) as journal:
        assert journal.places == {}
    assert resumed(out)[0] == [0, 2]  # as long as there is no other answer


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "2" * 64}, "another model, 111111111111..., and not 222222222222...; give"),
        ({"views": 10}, "another views, 1, and not 10; give the same, or another file"),
        ({"device": "cuda"}, "another device, none, and not cuda"),
        ({"new": 1}, "another new, none, and not 1"),
    ],
)
def test_another_run_is_refused(out, changes, message):
    with pytest.raises(UsageError, match=message):
        resumed(out, **changes)
    assert resumed(out)[0] == [0, 2]


def test_earlier_results_are_not_overwritten(out):
    with pytest.raises(UsageError, match=r"of a run that was not finished; go on .*--resume"):
        Journal(out, RUN, resume=False)
    out.write_text("results")
    with pytest.raises(UsageError, match=r"exists; choose another file, or go on .*--resume"):
        Journal(out, RUN, resume=False)
    assert resumed(out)[0] == [0, 2]
    out.with_name("results.csv.journal").unlink()
    with pytest.raises(UsageError, match=r"its journal results\.csv\.journal does not"):
        resumed(out)
    assert out.read_text() == "results"


def test_a_file_that_is_no_journal(out):
    file = out.with_name("results.csv.journal")
    file.write_text("my notes\nof the day\n")
    with pytest.raises(UsageError, match="is no journal"):
        resumed(out)
    assert file.read_text() == "my notes\nof the day\n"


HOLD = """
import sys
from pathlib import Path
from r2p_edge.archive.journal import Journal
with Journal(Path(sys.argv[1]), {"a": 1}, resume=True) as journal:
    journal.add(0, [{"error": None}])
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_do_not_write_one_file(tmp_path):
    out = tmp_path / "results.csv"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, out], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UsageError, match=r"another process is writing .*results.csv; wait"):
            Journal(out, {"a": 1}, resume=True)
        other.kill()
    with Journal(out, {"a": 1}, resume=True) as journal:
        assert list(journal.places) == [0]


def test_a_full_disk_leaves_whole_lines(out, monkeypatch):
    with Journal(out, RUN, resume=True) as journal:
        before = journal.path.read_bytes()
        file, short = journal._file, []

        class Full:
            def write(self, data):
                if short:
                    raise OSError(28, "No space left on device")
                short.append(file.write(data[:5]))
                return 5

            def __getattr__(self, name):
                return getattr(file, name)

        monkeypatch.setattr(journal, "_file", Full())
        with pytest.raises(OutputError, match="journal cannot be written: No space left"):
            journal.add(1, [{"video": "b", "error": None}])
        assert journal.path.read_bytes() == before
        assert sorted(journal.places) == [0, 2]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="is write-protected"):
        Journal(tmp_path / "results.csv", RUN, resume=False)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OutputError, match="there is no folder"):
        Journal(tmp_path / "absent" / "results.csv", RUN, resume=False)
