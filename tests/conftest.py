"""Fixtures that several test modules share."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from junit import case_of, passed_cases
from requirements import import_torchvision, is_required

from r2p_edge.calibration import motion
from r2p_edge.cli import main


def pytest_addoption(parser):
    parser.addoption(
        "--unless-passed",
        metavar="JUNIT.XML",
        help="leave out the tests that passed in another run (--junitxml), in which libraries "
        "that others need were missing",
    )


@pytest.hookimpl(tryfirst=True)  # before pytest's own, which leaves out what -m does not name
def pytest_collection_modifyitems(config, items):
    """Take long tests for slow ones, and leave out those that --unless-passed names as passed."""
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.slow)
    if (report := config.getoption("--unless-passed")) is None:
        return
    passed = passed_cases(Path(report))
    kept, left_out = [], []
    for item in items:
        (left_out if case_of(item.nodeid) in passed else kept).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(autouse=True)
def _ctrl_c_is_heard():
    """Tests send it to themselves. What a shell starts in the background ignores it, and MindSpore,
    where a test has run it, ends the process at it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real clips: R2P_TEST_DATA, or ../shared/data beside the checkout."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("R2P_TEST_DATA", beside))
    if not folder.is_dir():
        message = f"needs the test clips in {folder}; set R2P_TEST_DATA"
        if is_required("data"):
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def torchvision() -> ModuleType:
    """The torchvision package."""
    return import_torchvision()


@pytest.fixture(scope="session")
def motion_model(tmp_path_factory) -> Path:
    """The bundled model as an ONNX artifact."""
    from r2p_edge.export.build import build

    (artifact,) = build("motion", targets=["onnx"], out=tmp_path_factory.mktemp("motion")).built
    return artifact.path


@pytest.fixture(scope="session")
def lowered_motion_model(tmp_path_factory) -> Path:
    """The bundled model as an ONNX artifact without 3-D convolutions."""
    from r2p_edge.export.build import build

    out = tmp_path_factory.mktemp("lowered")
    (artifact,) = build("motion", targets=["onnx"], graph="conv2d", out=out).built
    return artifact.path


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory) -> Path:
    """A file of the weights of a small R(2+1)D with random weights, `networks.SMALL`."""
    from networks import SMALL, random_parameters
    from safetensors.numpy import save_file

    path = tmp_path_factory.mktemp("small") / "net.safetensors"
    save_file(random_parameters(**SMALL), path)
    return Path(path)


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> tuple[dict[str, Any], Path]:
    """Run `demo`; return its report on every installed runtime, and the folder that it leaves."""
    from r2p_edge.demo import run_demo

    folder = tmp_path_factory.mktemp("demo") / "r2p-edge-demo"
    return run_demo(folder, 24), folder


@pytest.fixture
def out(tmp_path) -> Path:
    """An empty folder."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def clip(tmp_path) -> Path:
    """A video of the bundled model's first class."""
    path = tmp_path / "clip.mp4"
    motion.write_video(motion.scene("test", 0), path)
    return path


@pytest.fixture
def no_trtexec(monkeypatch):
    """No trtexec but the ones that a test installs."""
    monkeypatch.delenv("R2P_TRTEXEC", raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr("r2p_edge.export.targets.tensorrt.trtexec._JETPACK", "/absent/trtexec")


@pytest.fixture
def run(capsys):
    """Runs one command; returns its exit code, its output and its errors."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def fails(run):
    """Asserts that a command fails with this code and one sentence that says this."""

    def fails(code, message, *arguments):
        found, _, errors = run(*arguments)
        assert found == code, errors
        lines = [line for line in errors.splitlines() if "warning" not in line]
        (line,) = lines
        assert line.startswith("r2p-edge: error: ")
        assert message in line
        assert "Traceback" not in errors

    return fails
