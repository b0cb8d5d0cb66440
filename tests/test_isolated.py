"""Functions in a Python process of their own: results, errors, warnings, records and ends."""

from __future__ import annotations

import sys

import pytest
from alarm import set_alarm

from r2p_edge import _isolated
from r2p_edge.errors import BackendError, LowFrameRateWarning, ModelError, R2PError, SpecError

CHILD = """
import json, logging, os, sys, threading, warnings
from r2p_edge.errors import BackendError, LowFrameRateWarning, ModelError, SpecError
class LibraryError(Exception): pass
class RuntimeOwnError(BackendError):
    def __init__(self, message, code):
        super().__init__(message)
        self.code = code
class OneOfALibraryToo(LibraryError, ModelError): pass
class OwnWarning(LowFrameRateWarning): pass
def echo(report, **arguments):
    print("a library prints this")
    os.write(1, b"and this\\n")
    report(1)
    return arguments
def refuse(report): raise SpecError("not this one")
def die(report, **_):
    print("these are", file=sys.stderr, flush=True)
    os.kill(os.getpid(), 11)
def leave(report): sys.exit(3)
def stumble(report): raise ZeroDivisionError
def fail_within_a_library(report): raise LibraryError("not\\nlike this")
def fail_on_a_device(report): raise RuntimeOwnError("the GPU is gone", 999)
def fail_in_two_ways(report): raise OneOfALibraryToo("neither like this")
def answer_what_json_lacks(report): return {1, 2}
def hang(report):
    open(os.environ["ALARM"], "w").close()
    threading.Event().wait()
def converse(report, first):
    print("a library prints this", flush=True)
    report(first)
    for line in sys.stdin:
        request = json.loads(line)
        if request == "stop":
            raise SpecError("no more")
        if request == "die":
            os.kill(os.getpid(), 11)
        if request == "hang":
            hang(report)
        report({"asked": request})
def clean_up(report):
    try:
        report("here")
        threading.Event().wait()
    finally:
        open(os.environ["CLEANED"], "w").close()
def warn(report):
    warnings.warn("only 5 frames a second", LowFrameRateWarning)
    warnings.warn("only 4", OwnWarning)
    warnings.warn("it is slow", RuntimeWarning)
def log(report):
    for name in ("r2p_edge.runtimes", "some_library"):
        logging.getLogger(name).info("opened %s", "a model")
        logging.getLogger(name).warning("fell back")
"""


@pytest.fixture
def child(tmp_path, monkeypatch):
    (tmp_path / "some_module.py").write_text(CHILD)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(_isolated, "_relayed_warnings", set())
    return lambda name, arguments, **more: _isolated.call(f"some_module:{name}", arguments, **more)


def test_a_process_of_its_own(child, capfd):
    seen = []
    assert child("echo", {"model": "é\\n"}, progress=seen.append) == {"model": "é\\n"}
    assert seen == [1]
    assert capfd.readouterr().out == ""
    with pytest.raises(SpecError, match="not this one"):
        child("refuse", {})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("die", r"it ended Python \(signal 11, .*\), which said last: these are"),
        ("leave", r"it ended Python \(exit code 3\)"),
        ("stumble", r"it failed \(ZeroDivisionError\)"),
        ("fail_within_a_library", r"it failed \(some_module.LibraryError: not like this\)"),
        ("answer_what_json_lacks", r"it failed \(TypeError: .*set is not JSON serializable\)"),
    ],
)
def test_a_process_that_fails(child, name, message):
    with pytest.raises(_isolated.ProcessFailedError, match=message) as caught:
        child(name, {})
    assert isinstance(caught.value, BackendError)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("fail_on_a_device", BackendError, "the GPU is gone"),
        ("fail_in_two_ways", ModelError, "neither like this"),
    ],
)
def test_an_error_class_of_a_runtimes_own(child, name, error, message):
    with pytest.raises(R2PError) as caught:
        child(name, {})
    assert (type(caught.value), str(caught.value)) == (error, message)


def test_the_traceback_of_a_failure_is_logged(child, caplog):
    caplog.set_level("DEBUG", "r2p_edge")
    with pytest.raises(BackendError):
        child("stumble", {})
    (record,) = caplog.records
    assert record.levelname == "DEBUG"
    assert "in stumble" in record.getMessage()


def test_a_process_that_hangs(child, tmp_path, monkeypatch):
    set_alarm(tmp_path, monkeypatch)
    with pytest.raises(BackendError, match="it did not finish within 2 s"):
        child("hang", {}, timeout=2)


def test_a_process_that_is_interrupted_cleans_up(child, tmp_path, monkeypatch):
    monkeypatch.setenv("CLEANED", str(tmp_path / "cleaned"))

    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        child("clean_up", {}, progress=interrupt)
    assert (tmp_path / "cleaned").exists()


def test_arguments_that_a_dead_process_does_not_read(child):
    with pytest.raises(BackendError, match="it ended Python"):
        child("die", {"model": "x" * 10_000_000})


def test_a_folder_with_modules_of_the_same_names(child, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('not the json that was meant')")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    sys.path.remove(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    assert child("echo", {}) == {}


def test_warnings_cross_over(child):
    with pytest.warns() as caught:
        child("warn", {})
    assert [(one.category, str(one.message)) for one in caught] == [
        (LowFrameRateWarning, "only 5 frames a second"),
        (LowFrameRateWarning, "only 4"),
        (RuntimeWarning, "it is slow"),
    ]


@pytest.mark.parametrize(
    ("level", "messages"), [("INFO", ["opened a model", "fell back"]), ("WARNING", ["fell back"])]
)
def test_records_cross_over(child, caplog, level, messages):
    caplog.set_level(level, "r2p_edge")
    child("log", {})
    found = [(record.name, record.getMessage()) for record in caplog.records]
    assert found == [("r2p_edge.runtimes", message) for message in messages]


def test_a_warning_of_several_processes_is_logged_once(child, caplog):
    caplog.set_level("INFO", "r2p_edge")
    child("log", {})
    child("log", {})
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["opened a model", "fell back", "opened a model"]


@pytest.fixture
def talking(child):
    with _isolated.Child("some_module:converse", {"first": [1]}) as found:
        assert found.hear() == [1]
        yield found


def test_a_process_is_asked(talking, capfd):
    assert talking.ask("é\n") == {"asked": "é\n"}
    assert talking.ask({"a": [1.5]}) == {"asked": {"a": [1.5]}}
    assert capfd.readouterr().out == ""
    with pytest.raises(SpecError, match="no more"):
        talking.ask("stop")
    with pytest.raises(_isolated.ProcessFailedError, match=r"it ended Python \(exit code 0\)"):
        talking.ask("another")
    talking.close()
    talking.close()


def test_a_process_that_ends_while_it_is_asked(talking):
    with pytest.raises(_isolated.ProcessFailedError, match=r"it ended Python \(signal 11"):
        talking.ask("die")


def test_a_process_that_hangs_while_it_is_asked(child, tmp_path, monkeypatch):
    monkeypatch.setenv("ALARM", str(tmp_path / "alarm"))
    with _isolated.Child("some_module:converse", {"first": 1}) as talking:
        talking.hear()
        set_alarm(tmp_path, monkeypatch)
        with pytest.raises(_isolated.ProcessFailedError, match="it did not finish within 2 s"):
            talking.ask("hang", timeout=2)
