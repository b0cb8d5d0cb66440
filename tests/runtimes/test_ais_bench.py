"""Offline models of Ascend, run by a stand-in for ais_bench with the library's traps."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest
from fake_ascend import SITE, installed, write_om
from models import brightness_model, grey_frames, levels, spec_of_brightness
from requirements import needs
from traps import (
    answers_for_other_memory_layouts,
    answers_several_threads,
    clip,
    refuses_another_shape_of_as_many_bytes,
)

from r2p_edge import Predictor
from r2p_edge.artifact.sidecar import write_sidecar
from r2p_edge.errors import BackendError, MissingDependencyError, ModelError, UsageError
from r2p_edge.runtimes.ais_bench import AisBench
from r2p_edge.runtimes.base import Options

pytestmark = [needs("onnx"), needs("onnxruntime")]

CHIP = "Ascend310P3"
HALF = spec_of_brightness(precision="fp16")


@pytest.fixture
def offline(npu, tmp_path):
    """An `.om` file and a library that runs it."""
    source = brightness_model(tmp_path / "model.onnx")
    path = write_om(tmp_path / "model.om", source, CHIP)
    path.chmod(0o644)
    write_sidecar(path, HALF)
    with installed(CHIP):
        yield path


def sessions():
    return sys.modules["ais_bench.infer.interface"].InferSession.opened


def test_an_offline_model(offline):
    with Predictor(offline, runtime="ais_bench", device="ascend:1") as predictor:
        assert (predictor.runtime, predictor.device) == ("ais_bench", "ascend:1")
        assert predictor.precision == "fp16"
        assert levels(predictor.predict(grey_frames([3, 9, 0, 6], 8, 8))) == [3, 9, 0, 6]
        assert answers_several_threads(predictor._runtime.run)
        assert refuses_another_shape_of_as_many_bytes(predictor._runtime.run)
        assert answers_for_other_memory_layouts(predictor._runtime.run)
        runtime = predictor._runtime
    (session,) = sessions()
    runtime.close()
    assert (session.device_id, session.freed) == (1, 1)
    with pytest.raises(BackendError, match="this model is closed"):
        runtime.run(clip(1, 2, 3, 4))


def test_what_cannot_be_run(offline, npu, monkeypatch):
    with pytest.raises(ModelError, match=r"model\.om was made for ascend and cannot run on cpu"):
        AisBench.open(offline, HALF, Options(device="cpu"))
    with pytest.raises(BackendError, match="Ascend computes in fp16"):
        AisBench.open(offline, spec_of_brightness(), Options())
    with pytest.raises(UsageError, match="has no threads to set on ascend; leave them out"):
        AisBench.open(offline, HALF, Options(threads=4))
    with pytest.raises(UsageError, match="keeps no compiled models"):
        AisBench.open(offline, HALF, Options(cache=offline.parent))
    runtime = AisBench.open(offline, HALF, Options())
    interface = sys.modules["ais_bench.infer.interface"]
    monkeypatch.setattr(interface.InferSession, "set_context", lambda self: None)
    runtime._session._thread = None
    with pytest.raises(BackendError, match=r"ais_bench failed on ascend \(context is not set"):
        runtime.run(clip(1, 2, 3, 4))
    offline.write_bytes(b"")
    with pytest.raises(ModelError, match=r"ais_bench cannot load .*model\.om on ascend \(load mod"):
        AisBench.open(offline, HALF, Options())
    for card in npu.glob("davinci[01]"):
        card.unlink()
    with pytest.raises(BackendError, match="ais_bench has no device 'ascend' here; it has none"):
        AisBench.open(offline, HALF, Options())
    monkeypatch.setitem(sys.modules, "ais_bench", None)
    with pytest.raises(MissingDependencyError, match=r"not installed; .* --force-reinstall 'git\+"):
        AisBench.open(offline, HALF, Options())


def test_a_model_for_another_chip(offline):
    AisBench.open(offline, HALF, Options()).close()
    opened = len(sessions())
    spec = HALF.replace(target={"device": "ascend310b", "chip": "Ascend310B4"})
    with pytest.raises(ModelError, match="was built for an Ascend310B4 and this machine has an As"):
        AisBench.open(offline, spec, Options())
    assert len(sessions()) == opened


def test_a_library_without_contexts(offline, monkeypatch):
    monkeypatch.setenv("FAKE_AIS_BENCH", "old")
    with pytest.raises(BackendError, match=r"no set_context, .* 0\.0\.2 .* --force-reinstall"):
        AisBench.open(offline, HALF, Options())


# Its rules for files, of which it tells nothing but to its log.


def refused(path):
    """Return why the file is refused; the library refuses it as well."""
    with pytest.raises(ModelError, match=r"^ais_bench refuses ") as caught:
        AisBench.open(path, HALF, Options())
    with pytest.raises(ValueError, match="illegal"):
        AisBench.library().check_model_path_legality(str(path))
    assert str(caught.value).endswith("or take the runtime acl")
    return str(caught.value)


def test_a_file_that_others_may_write(offline):
    for mode in (0o664, 0o646):
        offline.chmod(mode)
        assert f"(mode {mode:04o}); chmod 644 {offline}" in refused(offline)
    for mode in (0o600, 0o755):
        offline.chmod(mode)
        AisBench.open(offline, HALF, Options()).close()


def test_a_link(offline):
    link = offline.with_name("link.om")
    link.symlink_to(offline)
    assert f"it is a symbolic link; give the file itself, {offline}" in refused(link)


def test_a_file_of_somebody_else(offline, monkeypatch):
    owner = offline.stat()
    monkeypatch.setattr(os, "geteuid", lambda: owner.st_uid + 1)
    monkeypatch.setattr(os, "getgroups", lambda: [owner.st_gid])
    AisBench.open(offline, HALF, Options()).close()  # as one of its group
    monkeypatch.setattr(os, "getgroups", lambda: [owner.st_gid + 1])
    said = refused(offline)
    assert f"it belongs to user {owner.st_uid} and group {owner.st_gid}, and to neither" in said
    assert f"; sudo chown {owner.st_uid + 1} {offline}, or" in said


@pytest.mark.parametrize("folder", ["a b", "c++", "模型"])
def test_a_path_with_other_letters(offline, folder, monkeypatch):
    moved = offline.parent / folder / "model.om"
    moved.parent.mkdir()
    offline.rename(moved)
    said = refused(moved)
    assert "may have A-Z, a-z, 0-9, _, -, . and / only" in said
    assert repr(folder.strip("abc")[0]) in said
    # What counts is the absolute path.
    monkeypatch.chdir(moved.parent)
    refused(moved.relative_to(moved.parent))


# Its log, and what its C++ part prints, go to stdout.

PROGRAM = """
import logging, sys
from pathlib import Path
from r2p_edge.runtimes import ascend
ascend._DEVICE_FILES = Path(sys.argv[2])
from r2p_edge import Predictor
import numpy as np
with Predictor(sys.argv[1], runtime="ais_bench") as predictor:
    print(predictor.predict(np.zeros((4, 8, 8, 3), np.uint8)).label)
logging.getLogger("another").info("library's line")
print(logging.getLogger().level, logging.getLogger().handlers)
"""


@pytest.mark.slow
def test_stdout_has_the_answers_alone(offline, npu):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, offline, npu],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(SITE), *filter(None, sys.path)])},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["frame 0", f"{logging.WARNING} []"]
    for said in ("acl init success", "load model", "unload model success"):
        assert f"[INFO] {said}" in done.stderr
