"""Checks of one runtime or decoder in a process of its own."""

from __future__ import annotations

import sys

import pytest
from alarm import RING
from requirements import needs

from r2p_edge.doctor import diagnosis


@needs("mindspore")
@pytest.mark.slow
def test_mindspore_computes_both_layers():
    found = diagnosis.ask("mindspore", 120)
    assert (found["status"], found["reason"]) == ("ok", None)
    assert found["devices"] == [{"device": "cpu", "conv3d": "ok", "conv2d": "ok"}]


def test_opencv_is_as_it_is_here():
    import cv2

    found = diagnosis.ask("opencv", 60)
    assert (found["status"], found["version"]) == ("ok", cv2.__version__)
    assert isinstance(found["gstreamer"], bool)
    assert {"farneback", "dis"} <= set(found["flow"])


AV = """
from types import SimpleNamespace
__version__, library_versions = "17.0.0", {"libavcodec": (62, 1, 2)}
def find(name, mode):
    if name not in ("h264", "av1"):
        raise ValueError(name)
codec = SimpleNamespace(Codec=find)
"""


def test_av1_counts_only_where_no_gpu_is_needed(library):
    library("av", AV)
    found = diagnosis.ask("pyav", 60)
    assert (found["status"], found["libraries"]) == ("ok", {"libavcodec": "62.1.2"})
    assert {codec for codec, there in found["decoders"].items() if there} == {"h264"}


def test_an_import_that_hangs(library, alarm):
    library("openvino", RING + "import time; time.sleep(600)")
    found = diagnosis.ask("openvino", 2)
    assert (found["status"], found["reason"]) == ("broken", "it did not finish within 2 s")


def test_a_process_that_outlives_the_hanging_import(library, alarm):
    sleep = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(20)'])"
    library("openvino", f"import subprocess, sys, time; {sleep}\n{RING}time.sleep(600)")
    found = diagnosis.ask("openvino", 2)
    assert found["reason"] == "it did not finish within 2 s"


@needs("onnxruntime")
def test_what_a_library_prints_is_no_answer(library):
    chatter = 'import os; print("{}", flush=True); os.write(1, b"[1, 2")'
    library("onnxruntime", f'{chatter}; raise OSError("after the rubbish")')
    found = diagnosis.ask("onnxruntime", 60)
    assert "after the rubbish" in found["reason"]


def test_a_library_that_was_removed_by_half(library):
    library("openvino", "")
    found = diagnosis.ask("openvino", 60)
    assert found["status"] == "failing"
    assert "Core" in found["reason"]


def test_cv2_without_its_system_library(library):
    library("cv2", 'raise ImportError("libGL.so.1: cannot open shared object file")')
    found = diagnosis.ask("opencv", 60)
    assert found["status"] == "broken"
    assert "libGL.so.1" in found["reason"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("GStreamer:   YES (1.22.0)", True), ("GStreamer: NO", False), ("", None)],
)
def test_gstreamer(library, text, expected):
    library("cv2", f'__version__ = "4"\ndef getBuildInformation(): return {text!r}')
    found = diagnosis.ask("opencv", 60)
    assert (found["status"], found["gstreamer"]) == ("ok", expected)


def test_a_folder_named_like_a_library_is_not_taken_for_it(tmp_path, monkeypatch):
    (tmp_path / "av.py").write_text('raise ImportError("the one in the current folder")')
    (tmp_path / "json.py").write_text('raise ImportError("the one in the current folder")')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    assert diagnosis.ask("pyav", 60)["status"] == "ok"


@pytest.mark.slow
def test_devices_that_compute(fake):
    found = fake("cpu,rounded")
    assert (found["status"], found["version"], found["reason"]) == ("ok", "1.2.3", None)
    assert found["devices"] == [
        {"device": "cpu", "conv3d": "ok", "conv2d": "ok"},
        {"device": "rounded", "conv3d": "ok", "conv2d": "ok"},
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "conv3d", "conv2d"),
    [
        ("off", "wrong numbers: off by up to 1", "ok"),
        ("nan", "wrong numbers: off by up to nan", "wrong numbers: off by up to nan"),
        ("flat", "wrong shape: (1, 512), not (1, 2, 4, 8, 8)", "wrong shape: (1, 128), not"),
        ("fp16", "it computes in fp16 and not in fp32", "it computes in fp16 and not in fp32"),
        ("npu", "choose fp16; in fp16: no memory", "choose fp16; in fp16: no memory"),
    ],
)
def test_a_device_that_does_not_compute(fake, device, conv3d, conv2d):
    found = fake(f"cpu,{device}")
    cpu, other = found["devices"]
    assert found["status"] == "failing"
    assert cpu == {"device": "cpu", "conv3d": "ok", "conv2d": "ok"}
    assert other["device"] == device
    assert other["conv3d"] == conv3d
    assert other["conv2d"].startswith(conv2d)


@pytest.mark.slow
def test_a_device_that_hangs(fake, alarm):
    found = fake("cpu,hang", timeout=5)
    cpu, hang = found["devices"]
    assert cpu == {"device": "cpu", "conv3d": "ok", "conv2d": "ok"}
    late = "it did not finish within 5 s"
    assert hang == {"device": "hang", "conv3d": late, "conv2d": "not checked"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("devices", "reason"), [("", "fake finds no device"), ("driver", "the driver is too old")]
)
def test_no_device(fake, devices, reason):
    found = fake(devices)
    assert (found["status"], found["reason"]) == ("failing", reason)
    assert found["devices"] == []


@pytest.mark.slow
def test_pyacl_is_found_with_its_environment(library):
    """It is CANN's module `acl`, and not another one of that name."""
    found = diagnosis.ask("acl", 60)
    assert (found["status"], found["reason"]) == ("missing", "acl is not installed")
    assert found["install"].startswith("it comes with CANN and is found in its environment: source")
    library("acl", "rules = []")
    found = diagnosis.ask("acl", 60)
    assert found["status"] == "missing"
    assert "acl/__init__.py is not CANN's" in found["reason"]


def test_pyacl_without_a_card(library):
    library("acl", "mdl = rt = None")
    found = diagnosis.ask("acl", 60)
    assert (found["status"], found["reason"]) == ("failing", "acl finds no device")
