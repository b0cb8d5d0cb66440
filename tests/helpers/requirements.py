"""Requirements of some tests: without them a test is skipped, or fails if R2P_REQUIRE lists them.

R2P_REQUIRE is a comma-separated list of module names, `data` for the clips, and the names of
`PROBES`; a test that needs one of them then fails where it would have been skipped.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
from paths import HELPERS

SYSTEM_PYTHON = "/usr/bin/python3"
"""The Python that has the distribution's GObject bindings, and with them GStreamer."""


@functools.cache
def has_gstreamer() -> bool:
    """Return True if the OpenCV of this Python reads GStreamer's pipelines."""
    if importlib.util.find_spec("cv2") is None:
        return False
    import cv2

    return bool(cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER))


@functools.cache
def has_rtsp_server() -> bool:
    """Return True if the system's Python can serve RTSP with GStreamer."""
    with contextlib.suppress(FileNotFoundError):
        asked = [SYSTEM_PYTHON, HELPERS / "rtsp_server.py"]
        return subprocess.run(asked, capture_output=True).returncode == 0
    return False


@functools.cache
def has_gst_python() -> bool:
    """Return True if GStreamer's programs are here, and load plug-ins that are in Python."""
    with contextlib.suppress(FileNotFoundError):
        return subprocess.run(["gst-inspect-1.0", "python"], capture_output=True).returncode == 0
    return False


def has_sanitizers() -> bool:
    """Return whether g++ is here, with the libraries of its sanitizers."""
    compiler = shutil.which("g++")
    if compiler is None:
        return False
    command = [compiler, "-print-file-name=libasan.so"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return Path(found).is_absolute()


@functools.cache
def has_strace() -> bool:
    """Return True if strace is here, and this user may trace processes."""
    with contextlib.suppress(FileNotFoundError):
        asked = ["strace", "-f", "--seccomp-bpf", "-e", "trace=connect", "true"]
        return subprocess.run(asked, capture_output=True).returncode == 0
    return False


def has_mosquitto() -> bool:
    """Return True if Mosquitto is here, the broker of MQTT, which Debian puts beside /usr/bin."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is not None


def has_bare_root() -> bool:
    """Return whether R2P_BARE_ROOT names a root file system of Debian's, and chroot is allowed."""
    return bool(os.environ.get("R2P_BARE_ROOT")) and os.geteuid() == 0


@functools.cache
def has_real_triton() -> bool:
    """Return whether a Triton server is here, and its clients."""
    from triton_server import has_triton

    return importlib.util.find_spec("tritonclient") is not None and has_triton()


BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""Names of Chromium's programs on the PATH."""


def chromium() -> str | None:
    """Return the path of a Chromium: R2P_CHROMIUM, or one on the PATH; None if there is none.

    Playwright's own download comes from no registry, so it is not used.
    """
    if named := os.environ.get("R2P_CHROMIUM"):
        return named
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def has_chromium() -> bool:
    """Return whether a Chromium is here, with Playwright to drive it."""
    return chromium() is not None and importlib.util.find_spec("playwright") is not None


def has_opencv_contrib() -> bool:
    """Return whether OpenCV is here, of the contrib build, which has TV-L1."""
    if importlib.util.find_spec("cv2") is None:
        return False
    import cv2

    return hasattr(getattr(cv2, "optflow", None), "DualTVL1OpticalFlow_create")


PROBES = {
    "bare_root": has_bare_root,
    "chromium": has_chromium,
    "gstreamer": has_gstreamer,
    "gst_rtsp": has_rtsp_server,
    "gst_python": has_gst_python,
    "mosquitto": has_mosquitto,
    "opencv_contrib": has_opencv_contrib,
    "sanitizers": has_sanitizers,
    "strace": has_strace,
    "triton": has_real_triton,
}
"""Functions that find out whether something is here that is no module."""


def needs(name: str) -> pytest.MarkDecorator:
    """Return a mark for a test, or a module's `pytestmark`, that needs the module `name`.

    The test itself imports it; here it is only looked for.
    """
    reason = f"needs {name}, which is not installed"
    absent = importlib.util.find_spec(name) is None
    return pytest.mark.skipif(absent and not is_required(name), reason=reason)


def require(name: str) -> None:
    """Skip the running test if a module, or what one of `PROBES` looks for, is missing."""
    found = PROBES[name]() if name in PROBES else importlib.util.find_spec(name) is not None
    if not found and not is_required(name):
        pytest.skip(f"needs {name}, which is not installed")


@functools.cache
def import_torchvision() -> ModuleType:
    """Import torchvision, even if its compiled operators do not fit the installed torch.

    Built for another torch it imports only once two of its operators are declared; none of the
    video models and transforms uses them.
    """
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        with contextlib.suppress(RuntimeError):  # torchvision has its own
            library.define(f"{operator}(Tensor dets, Tensor scores, float threshold) -> Tensor")
    _kept.append(library)  # what it declares goes when it goes
    import torchvision

    return torchvision


_kept: list[object] = []


def is_required(name: str) -> bool:
    """Return whether R2P_REQUIRE lists the name."""
    return name in os.environ.get("R2P_REQUIRE", "").replace(" ", "").split(",")
