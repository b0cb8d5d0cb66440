"""The pipelines of `run_camera.sh`, in the real GStreamer, with stand-ins for NVIDIA's elements."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from boards import Board
from live import rtsp_servers
from models import brightness_model
from paths import EXAMPLES, STANDINS
from requirements import require

pytestmark = pytest.mark.slow

JETSON = EXAMPLES / "jetson"
CAMERA = JETSON / "run_camera.sh"

# What is not about the camera: asked about the model, and told the source.
R2P_EDGE = f"""#!/bin/sh
if [ "$1" = stream ]; then echo "$3"; else exec {sys.executable} -m r2p_edge "$@"; fi
"""


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    """The environment with NVIDIA's elements, and their `v4l2src` in place of GStreamer's own."""
    require("gst_python")
    folder = tmp_path_factory.mktemp("gstreamer")
    asked = ["gst-inspect-1.0", "coreelements"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    (core,) = [Path(line.split()[1]) for line in said.splitlines() if " Filename " in line]
    for plugin in core.parent.glob("*.so"):
        if plugin.name != "libgstvideo4linux2.so":
            (folder / plugin.name).symlink_to(plugin)
    return {
        "GST_PLUGIN_SYSTEM_PATH": str(folder),
        "GST_PLUGIN_PATH": str(STANDINS / "gst_nvidia"),
        "GST_REGISTRY": str(folder / "registry.bin"),
    }


@pytest.fixture
def board(tmp_path):
    board = Board(tmp_path / "board")
    board.file("/proc/device-tree/compatible", "nvidia,p3768-0000+p3767-0005\0nvidia,tegra234\0")
    board.file("/dev/video0")
    (board.programs / "r2p-edge").write_text(R2P_EDGE)
    (board.programs / "r2p-edge").chmod(0o755)
    return board


@pytest.fixture
def camera(board, plugins, tmp_path):
    """Runs the script, or another one; the source that is chosen, and what is said before."""
    model = brightness_model(tmp_path / "model.onnx")

    def camera(*arguments, fault="", script=CAMERA, patience="60"):
        environment = {**plugins, "FAKE_NVIDIA": fault, "R2P_PATIENCE": patience}
        done = board.run(script, model, *arguments, **environment)
        *said, last = done.stderr.splitlines()
        assert (done.returncode == 0) == (last[0] == "+"), done.stderr
        return done.stdout.strip() or last, said

    return camera


CSI = "nvarguscamerasrc sensor-id=0 ! video/x-raw(memory:NVMM),width=1280,height=720"
USB = "v4l2src device=/dev/video0 io-mode=2 ! image/jpeg,width=1280,height=720,framerate=30/1 ! "
SCALED = "! nvvidconv interpolation-method=1 ! video/x-raw,format=BGRx,width=8,height=8 ! "


@pytest.mark.parametrize(
    ("arguments", "begin"),
    [
        (["--csi", "0"], CSI),
        (["--usb", "/dev/video0"], f"{USB}jpegparse ! nvv4l2decoder mjpeg=1 !"),
    ],
)
def test_the_first_pipeline_gives_frames(camera, arguments, begin):
    source, said = camera(*arguments)
    assert source.startswith(begin)
    assert SCALED in source
    assert said == []


def test_where_the_board_is_not_known_the_cpu_decodes(board, camera):
    shutil.rmtree(board.root / "proc")
    source, said = camera("--usb", "/dev/video0")
    assert source.startswith(f"{USB}jpegdec {SCALED}")
    assert said == []


@pytest.mark.long
@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_a_network_camera_gives_frames(camera, codec):
    require("gst_rtsp")
    with rtsp_servers(codec) as (url, serve):
        serve(0)
        source, said = camera("--rtsp", url, "--codec", codec, "--size", "64x48")
        assert said == []
        assert source.startswith(f'rtspsrc location="{url}" protocols=tcp latency=200 ! rtp{codec}')
        assert SCALED in source
        source, said = camera("--rtsp", url, "--codec", codec, fault="nvv4l2decoder=fails")
        assert source == url
    assert "nvv4l2decoder ! nvvidconv" in said[0]
    assert said[1:] == [
        "run_camera.sh: no decoder or scaler of the board works here; the CPU does it"
    ]


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "fault", "begin", "warnings"),
    [
        (["--usb", "/dev/video0"], "nvv4l2decoder=fails", f"{USB}jpegdec {SCALED}", 1),
        (["--usb", "/dev/video0"], "nvvidconv=fails", "/dev/video0", 2),
        (["--usb", "/dev/video0", "--size", "320x200"], "", "/dev/video0", 2),  # it has no such
        (["--csi", "0"], "nvvidconv=fails", "run_camera.sh: error: camera 0 gives no frame", 2),
    ],
)
def test_what_gives_no_frame_is_not_chosen(camera, arguments, fault, begin, warnings):
    source, said = camera(*arguments, fault=fault)
    assert source.startswith(begin)
    tried = [line for line in said if "warning: no frame comes through '" in line]
    assert len(tried) == warnings
    assert all("' (ERROR: " in line or "' (WARNING: " in line for line in tried)


@pytest.mark.long
def test_a_pipeline_that_ends_at_once(camera):
    """As where Argus has no camera: GStreamer takes it for one that is through."""
    source, said = camera("--csi", "0", fault="nvarguscamerasrc=ends")
    assert source.startswith("run_camera.sh: error: camera 0 gives no frame; it may be in use")
    assert [line.rpartition(" (")[2] for line in said] == ["it ended without one)"] * 2


@pytest.mark.long
def test_a_pipeline_that_hangs(camera):
    source, said = camera("--csi", "0", fault="nvarguscamerasrc=hangs", patience="2")
    assert source.startswith("run_camera.sh: error: camera 0 gives no frame; it may be in use")
    assert [line.rpartition(" (")[2] for line in said] == ["none in 2 s)"] * 2


@pytest.mark.long
@pytest.mark.parametrize(
    ("right", "wrong", "arguments"),
    [
        (",format=NV12", ",format=BGRx", ["--csi", "0"]),
        ("(memory:NVMM)", "", ["--csi", "0"]),
        ("format=BGRx", "format=BGR", ["--csi", "0"]),
        ("interpolation-method", "interpolation", ["--csi", "0"]),
        ("jpegparse ! ", "", ["--usb", "/dev/video0"]),
        (" mjpeg=1", " mjpg=1", ["--usb", "/dev/video0"]),
        ("image/jpeg,", "video/x-raw,", ["--usb", "/dev/video0"]),
        ("nvv4l2decoder mjpeg=1 ! $scale", "nvv4l2decoder mjpeg=1", ["--usb", "/dev/video0"]),
    ],
)
def test_a_mistake_in_the_script_is_found(camera, tmp_path, right, wrong, arguments):
    """These tests see what is spelled wrong: the pipeline is not the one that is chosen."""
    good = CAMERA.read_text()
    assert right in good
    script = tmp_path / "run_camera.sh"
    script.write_text(good.replace(right, wrong))
    script.chmod(0o755)
    shutil.copy(JETSON / "common.sh", tmp_path)
    _, said = camera(*arguments, script=script)
    assert said[0].startswith("run_camera.sh: warning: no frame comes through '")


def test_a_camera_is_watched(plugins, board, tmp_path):
    """The whole way, from a camera to answers, through the OpenCV that has GStreamer."""
    require("gstreamer")
    edge = board.programs / "r2p-edge"
    edge.write_text(f'#!/bin/sh\nexec {sys.executable} -m r2p_edge "$@"\n')
    model = brightness_model(tmp_path / "model.onnx")
    environment = {
        "PATH": f"{board.programs}:/usr/bin:/bin",
        "R2P_ROOT": str(board.root),
        **plugins,
    }
    stream = subprocess.Popen(
        [CAMERA, model, "--csi", "0", "--", "--json"],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    found = [json.loads(stream.stdout.readline()) for _ in range(5)]
    stream.send_signal(signal.SIGTERM)
    _, errors = stream.communicate(timeout=60)
    assert stream.returncode == 0, errors
    assert {answer["source"].split(" ")[0] for answer in found} == {"nvarguscamerasrc"}
