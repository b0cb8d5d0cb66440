"""examples/atlas: its scripts on boards that are not here, each step of theirs for real or checked.

The tables of `npu-smi info` have the form of those in Syllo/nvtop, issue 421 (310P3),
youyve/nputop, tests (310B4) and the manual of npu-smi 22.0 (310).
"""

import json
import os
import pwd
import re
import shlex
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import onnx.version_converter
import pytest
from boards import Board
from exit_codes import BACKEND, MODEL
from fake_ascend import SITE
from fake_mindspore_lite import FOLDER, install_program
from networks import SMALL, random_parameters, spec_for
from paths import EXAMPLES, ROOT
from requirements import is_required, needs

from r2p_edge.artifact.bundle import check as bundle_check
from r2p_edge.artifact.open import open_artifact
from r2p_edge.artifact.sidecar import write_sidecar
from r2p_edge.calibration import motion
from r2p_edge.export.build import build
from r2p_edge.export.targets.mindspore_lite.advice import PACKAGES

pytestmark = [pytest.mark.slow, needs("onnx"), needs("onnxruntime"), needs("safetensors")]

ATLAS = EXAMPLES / "atlas"
SCRIPTS = ("setup.sh", "build_mindir.sh", "build_om.sh", "run_camera.sh")
README = (ATLAS / "README.md").read_text(encoding="utf-8")
# The chip's name for npu-smi -> ATC's, r2p-edge's, and whether it runs 3-D convolutions.
CHIPS = {
    "310": ("Ascend310", "ascend310", True),
    "310P3": ("Ascend310P3", "ascend310p", True),
    "310B1": ("Ascend310B1", "ascend310b", False),
    "310B4": ("Ascend310B4", "ascend310b", False),
}
CARD_TABLE = """\
+--------------------------------------------------------------------------------------------------------+
| npu-smi 23.0.0                                   Version: 23.0.0                                       |
+-------------------------------+-----------------+------------------------------------------------------+
| NPU     Name                  | Health          | Power(W)     Temp(C)           Hugepages-Usage(page) |
| Chip    Device                | Bus-Id          | AICore(%)    Memory-Usage(MB)                        |
+===============================+=================+======================================================+
{cards}"""  # noqa: E501
CARD = """\
| {number:<7} {name:<21} | {health:<15} | 8.0          51                15    / 15            |
| 0       {number:<21} | {bus:<15} | 0            2100 / 7759                             |
+===============================+=================+======================================================+
"""
# Drivers for training cards have narrower columns and a name with Ascend in it.
TABLE_910 = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 25.2.1                   Version: 25.2.1                                               |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip  Phy-ID              | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     Ascend910           | OK            | 166.5       38                0    / 0             |
| 0     0                   | 0000:9D:00.0  | 0           0    / 0          3131 / 65536         |
+===========================+===============+====================================================+
"""


# NumPy and protobuf are this machine's own.
CANN_MODULES = """
attr decorator sympy cffi yaml pathlib2 psutil scipy requests absl"""


def table(*names, health="OK", bus="NA"):
    cards = [
        CARD.format(number=number, name=name, health=health, bus=bus)
        for number, name in enumerate(names)
    ]
    return CARD_TABLE.format(cards="".join(cards))


NPU_SMI = """
if arguments != ["info"]:
    sys.exit("usage: npu-smi info")
print({table!r}, end="")
sys.exit({code})
"""

# The flags that ATC defines (CANN's ge, api/atc/atc_flags.cc) and the manual describes.
_ATC_OPTIONS = """
model output framework weight input_shape input_hint_shape input_shape_range help cal_conf
insert_op_conf op_name_map target om json mode out_nodes op_precision_mode allow_hf32
precision_mode precision_mode_v2 modify_mixlist keep_dtype input_format check_report
input_fp16_nodes is_output_adjust_hw_layout is_input_adjust_hw_layout output_type
op_select_implmode optypelist_for_implmode singleop disable_reuse_memory auto_tune_mode
soc_version virtual_type core_type aicore_num buffer_optimize fusion_switch_file
compression_optimize_conf customize_dtypes op_debug_config save_original_model dynamic_batch_size
dynamic_image_size dynamic_dims enable_small_channel enable_compress_weight compress_weight_conf
sparsity enable_single_stream log dump_mode op_debug_level enable_scope_fusion_passes debug_dir
status_check op_compiler_cache_dir op_compiler_cache_mode mdl_bank_path op_bank_path
display_model_info device_id external_weight deterministic host_env_os host_env_cpu"""

# What CANN's ATC manual says of the options that occur here, and of ONNX models.
ATC = """
import os, pathlib, re, subprocess

root = pathlib.Path(os.environ["R2P_ROOT"])
libraries = os.environ.get("LD_LIBRARY_PATH", "").split(":")
if not (root / "dev/davinci0").exists() and not any(
    folder and pathlib.Path(folder, "libascend_hal.so").exists() for folder in libraries
):
    sys.exit(
        "atc: error while loading shared libraries: libascend_hal.so: cannot open shared object "
        "file: No such file or directory"
    )
print("ATC start working now, please wait for a moment.", flush=True)
# Its compiler of operators is imported by the python3 that is first on the PATH.
tbe = subprocess.run(
    ["python3", "-c", "import attr, decorator, scipy, psutil, sympy, cffi, yaml, absl"],
    capture_output=True, text=True,
)
if tbe.returncode:
    print("ATC run failed, Please check the detail log, Try 'atc --help' for more information")
    reason = tbe.stderr.strip().splitlines()[-1]
    sys.exit("EC0010: Failed to import Python module [" + reason + "]")
import onnx

def fail(text):
    print("ATC run failed, Please check the detail log, Try 'atc --help' for more information")
    print(text)
    sys.exit(1)

given = {"input_format": "NCHW", "precision_mode": "force_fp16", "log": "null"}
given |= dict(word[2:].split("=", 1) for word in arguments)
for name in ("model", "output", "framework", "soc_version"):
    if name not in given:
        fail(f"E10054: The requied parameter [--{name}] for ATC is empty.")
allowed = {
    "framework": ["5"],
    "soc_version": ["Ascend310"] + ["Ascend310P%d" % n for n in (1, 3, 5, 7)]
    + ["Ascend310B%d" % n for n in (1, 2, 3, 4)],
    "host_env_os": ["linux"],
    "host_env_cpu": ["aarch64", "x86_64"],
    "input_format": ["NCHW", "NCDHW", "ND"],
    "precision_mode": ["force_fp16", "force_fp32", "allow_mix_precision", "must_keep_origin_dtype"],
    "output_type": ["FP32", "FP16", "UINT8"],
    "log": ["debug", "info", "warning", "error", "null"],
}
for name, values in allowed.items():
    if name in given and given[name] not in values:
        fail(f"E10001: Value [{given[name]}] for parameter [--{name}] is invalid.")
for name in ("model", "output"):
    if not re.fullmatch(r"[\\w./-]+", given[name]):
        fail(f"E10001: the path [--{name}] has characters that are not allowed")
if not pathlib.Path(given["model"]).is_file():
    fail("E10001: the model does not exist")
model = onnx.load(given["model"])
shapes = {
    each.name: [size.dim_value for size in each.type.tensor_type.shape.dim]
    for each in model.graph.input
}
told = {
    name: [int(size) for size in sizes.split(",")]
    for name, sizes in (part.rsplit(":", 1) for part in given["input_shape"].split(";"))
}
if told != shapes:
    fail(f"E10049: input_shape is {told} and the model's {shapes}")
if given["input_format"] == "ND" and any(len(shape) > 4 for shape in shapes.values()):
    fail("E10001: ND is for four dimensions at most")
if any(each.type.tensor_type.elem_type != onnx.TensorProto.FLOAT for each in model.graph.input):
    fail("E10001: an ONNX model takes FP32")
if not 9 <= model.opset_import[0].version <= 18:
    fail("E19010: the opset is not supported")
ranks = {weight.name: len(weight.dims) for weight in model.graph.initializer}
convolutions = {ranks[node.input[1]] for node in model.graph.node if node.op_type == "Conv"}
kind = re.match("Ascend310[BP]?", given["soc_version"])[0].lower()
if not any(pathlib.Path(os.environ["ASCEND_HOME_PATH"], "opp").rglob(kind)):
    fail("E10001: Value [linux] for --host_env_os is not in the support list of {}")
if ("310B" in given["soc_version"] or os.environ.get("FAKE_ATC") == "conv3d") and 5 in convolutions:
    fail("EZ3003: No supported Ops kernel and engine are found for [Conv3D].")
if os.environ.get("FAKE_ATC") == "fail":
    fail("E40024: Failed to call Python Func: BrokenPipeError")
if os.environ.get("FAKE_ATC") == "wrong":
    for weight in model.graph.initializer:
        if weight.name.startswith("fc"):
            values = onnx.numpy_helper.to_array(weight)
            weight.CopyFrom(onnx.numpy_helper.from_array(-values, weight.name))
if os.environ.get("FAKE_ATC") == "dies":  # and leaves a worker with its output
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    os.kill(os.getpid(), 9)
pathlib.Path("kernel_meta").mkdir()
pathlib.Path("fusion_result.json").write_text("{}")
head = f"OM {given['soc_version']} {given['output_type']}\\n".encode()
# GE's FileSaver opens it with S_IRUSR | S_IWUSR (graphengine, common/auth/file_saver.cc).
host = "".join("_" + given[each] for each in ("host_env_os", "host_env_cpu") if each in given)
descriptor = os.open(f"{given['output']}{host}.om", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
with open(descriptor, "wb") as file:
    file.write(head + model.SerializeToString())
print("ATC run success, welcome to the next use.")
"""

# The card's device files are looked for in /dev by the package, too.
CUSTOMIZE = """
import os
import pathlib
import sys
sys.modules["openvino"] = None  # it is for other processors
glob = pathlib.Path.glob

def in_root(self, *rest, **named):
    root = os.environ["R2P_ROOT"] if str(self) == "/dev" else ""
    return glob(pathlib.Path(f"{root}{self}"), *rest, **named)

pathlib.Path.glob = in_root
"""

# The system's Python. It makes environments of what lies ready, and pip is only listened to.
PYTHON3 = """
import os, pathlib, shutil
if arguments[:2] == ["-m", "venv"]:
    shutil.copytree({ready!r}, arguments[-1], dirs_exist_ok=True)
    sys.exit()
if arguments[:3] == ["-m", "pip", "wheel"]:
    # A name without a slash is one on PyPI.
    assert "/" in arguments[-1] and pathlib.Path(arguments[-1], "pyproject.toml").is_file()
    folder = pathlib.Path(arguments[arguments.index("--wheel-dir") + 1])
    folder.mkdir(exist_ok=True)
    (folder / "r2p_edge-0.1.0-py3-none-any.whl").touch()
if arguments[:2] == ["-m", "pip"]:
    sys.exit()
if arguments[:2] == ["-c", "import ensurepip"]:
    sys.exit(1 if os.environ.get("FAKE_PYTHON") == "without venv" else 0)
if os.environ.get("FAKE_PYTHON") == "old":
    arguments[1] = "import sys; sys.version_info = (3, 9, 2)\\n" + arguments[1]
os.environ["PYTHONPATH"] = {path!r}
os.execv({python!r}, [{python!r}, *arguments])
"""


class Atlas(Board):
    """A board with a driver, CANN and MindSpore Lite, and the scripts in ~/r2p-edge."""

    def __init__(self, root, name="310P3", memory=16, set_up=True):
        super().__init__(root)
        self.name = name
        self.soc, self.target, self.conv3d = CHIPS.get(name, (f"Ascend{name}", None, None))
        self.graph = "conv3d" if self.conv3d else "conv2d"
        self.suffix = "" if self.conv3d else "-conv2d"
        self.home = root / "home"
        self.folder = self.home / "r2p-edge"
        self.venv = self.folder / "venv"
        self.driver(table(name))
        self.file("/dev/davinci0")
        self.file("/dev/davinci_manager")
        self.memory(memory)
        self.program("uname", ["-m"], 'print("aarch64")')
        self.cann("ascend-toolkit")
        self.packages()
        self.site = root / "site"
        shutil.copytree(SITE, self.site, ignore=shutil.ignore_patterns("__pycache__"))
        self.file("/site/sitecustomize.py", CUSTOMIZE)
        self.file("/system/cv2.py", "raise ImportError")  # it has none, whatever this machine has
        self.python()
        if set_up:
            shutil.copytree(ATLAS, self.folder)
            shutil.copytree(root / "ready", self.venv)

    def memory(self, size, swap=0):
        """Gigabytes of memory, and of swap."""
        sizes = {"MemTotal": size, "MemFree": 0, "SwapTotal": swap}
        lines = [f"{name}:       {each * 1000 * 1000} kB\n" for name, each in sizes.items()]
        self.file("/proc/meminfo", "".join(lines))

    def packages(self):
        """Install what CANN's compiler imports, for the system's Python alone."""
        for name in CANN_MODULES.split():
            self.file(f"/system/{name}.py")

    def driver(self, text, code=0):
        self.program("npu-smi", body=NPU_SMI.format(table=text, code=code))

    def cann(self, package, atc=True, version="8.0.0", operators=True, alone=True):
        """CANN's environment, with the liberties that its own takes."""
        folder = self.root / "usr/local/Ascend" / package
        if alone:
            shutil.rmtree(self.root / "usr/local/Ascend", ignore_errors=True)
        kind = "toolkit" if atc else "nnrt"
        self.file(
            f"/usr/local/Ascend/{package}/latest/aarch64-linux/ascend_{kind}_install.info",
            f"package_name=Ascend-cann-{kind}\nversion={version}\n",
        )
        self.file(f"/usr/local/Ascend/{package}/latest/lib64/libascendcl.so")
        if operators and self.target:
            kernels = "opp/built-in/op_impl/ai_core/tbe/kernel"
            self.file(f"/usr/local/Ascend/{package}/latest/{kernels}/{self.target}/conv.o")
        lines = [
            f"export LD_LIBRARY_PATH={folder}/latest/lib64:$LD_LIBRARY_PATH",
            f"export PATH={folder}/latest/bin:$PATH",
            "[ -d /no/such/folder ] && export ASCEND_EXTRA=1",
            f"export ASCEND_HOME_PATH={folder}/latest",
            "false",
        ]
        self.file(f"/usr/local/Ascend/{package}/set_env.sh", "\n".join(lines) + "\n")
        if atc:
            options = {f"--{name}" for name in _ATC_OPTIONS.split()}
            self.program("atc", options, ATC, f"/usr/local/Ascend/{package}/latest/bin/atc")

    def python(self, lite=True):
        """The system's Python, and what an environment made by it has."""
        path = os.pathsep.join(map(str, [self.site, *([FOLDER] if lite else [])]))
        self.file("/ready/bin/python", _VENV_PYTHON.format(path=path, python=sys.executable))
        options = {"-", "-m", "-c", "--system-site-packages", "--no-deps", "--wheel-dir"}
        body = PYTHON3.format(
            ready=str(self.root / "ready"),
            path=f"{self.root / 'system'}{os.pathsep}{path}",
            python=sys.executable,
        )
        self.program("python3", options, body)
        self.file("/ready/bin/r2p-edge", _R2P_EDGE.format(path=path, python=sys.executable))
        for name in ("python", "r2p-edge"):
            (self.root / "ready/bin" / name).chmod(0o755)
        if self.venv.is_dir():
            shutil.copytree(self.root / "ready", self.venv, dirs_exist_ok=True)

    def run(self, script, *arguments, **environment):
        if isinstance(script, str):
            script = self.folder / script
        here = {"FAKE_LITE_CHIP": self.soc, "FAKE_LITE_VERSION": "2.7.0"}
        return super().run(script, *arguments, **here, **environment)

    def files(self):
        # Libraries leave caches.
        return {path for path in self.home.rglob("*") if ".cache" not in path.parts}

    def plan(self, script, *arguments):
        """The commands that a dry run prints, without the root's name."""
        before = self.files()
        done = self.run(script, *arguments, "--dry-run")
        assert done.returncode == 0, done.stderr
        assert self.files() == before  # nothing was made
        return done.stdout.replace(str(self.root), "").splitlines()


_VENV_PYTHON = """\
#!/bin/sh
[ "$1 $2" = "-m pip" ] || PYTHONPATH={path} exec {python} "$@"
"""
_R2P_EDGE = """\
#!{python}
import os, sys
arguments = sys.argv[1:]
if arguments[0] in ("stream", "watch"):  # the camera shows a film
    film = os.environ.get("FAKE_CAMERA", "")
    arguments = [{{"0": film, "camera=0": "camera=" + film}}.get(word, word) for word in arguments]
if arguments == ["doctor"] and "FAKE_DOCTOR" in os.environ:
    sys.exit(int(os.environ["FAKE_DOCTOR"]))
os.environ["PYTHONPATH"] = {path!r}
os.execv(sys.executable, [sys.executable, "-m", "r2p_edge", *arguments])
"""


@pytest.fixture
def board(tmp_path):
    return Atlas(tmp_path)


@pytest.fixture(params=CHIPS)
def each(request, tmp_path):
    """Each of the boards."""
    return Atlas(tmp_path, request.param)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A small network as an ONNX file that takes float32, and kits of it for all of Lite."""
    from safetensors.numpy import save_file

    folder = tmp_path_factory.mktemp("bundle")
    weights = folder / "net.safetensors"
    save_file(random_parameters(**SMALL), weights)
    targets = ["onnx", "mindspore-lite", "ascend310", "ascend310p", "ascend310b"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "mindspore_lite", None)
        patch.delenv("R2P_CONVERTER_LITE", raising=False)
        patch.setenv("PATH", "/usr/bin:/bin")
        spec = spec_for(SMALL["classes"], name="net")
        build(weights, spec=spec, targets=targets, out=folder / "b", input="float32")
    return folder / "b"


@pytest.fixture
def given(board, bundle):
    return Path(shutil.copytree(bundle, board.home / "b"))


@pytest.fixture
def model(board, bundle):
    return Path(shutil.copy(bundle / "net-fp32.onnx", board.home))


def refused(done, message, code=1):
    """It ended with this code and one sentence of its own that says this."""
    assert done.returncode == code, done.stdout + done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "error: " in line]
    assert message in line
    assert "Traceback" not in done.stderr


SOURCE = "source /usr/local/Ascend/ascend-toolkit/set_env.sh"
HERE = "/home/r2p-edge"


# Plans.


def test_the_plan_of_setup(each):
    wheel = each.file("/home/r2p_edge-0.1.0.whl")
    assert each.plan("setup.sh", "--wheel", wheel) == [
        SOURCE,
        f"python3 -m venv --system-site-packages {HERE}/venv",
        f"env PYTHONNOUSERSITE=1 {HERE}/venv/bin/python -m pip install numpy\\<2 "
        "/home/r2p_edge-0.1.0.whl\\[export\\,opencv\\]",
        f"env PYTHONNOUSERSITE=1 {HERE}/venv/bin/python -m pip install --no-deps --force-reinstall "
        "/home/r2p_edge-0.1.0.whl",
        f"{HERE}/venv/bin/r2p-edge doctor",
    ]


def test_the_plan_of_an_offline_model(each, bundle):
    shutil.copytree(bundle, each.home / "b")
    venv, work = f"{HERE}/venv/bin", "/home/out/.build"
    steps = f"{venv}/python {HERE}/steps.py"
    planned = [
        SOURCE,
        "mkdir -p /home/out",
        f"rm -rf {work}",
        f"mkdir {work}",
        f"{venv}/r2p-edge export b/net-fp32.onnx --to onnx --graph {each.graph} "
        f"--input float32 --batch 1 --out {work}",
        f"mv {work}/net-fp32{each.suffix}.onnx {work}/model.onnx",
        f"{steps} check {work}/model.onnx {each.target}",
        f"{steps} atc b/net-fp32.onnx\\ for\\ {each.soc} {work} "
        "atc --framework=5 --model=model.onnx --output=model "
        "--input_shape=frames:1\\,3\\,4\\,32\\,32 --input_format=NCDHW "
        f"--soc_version={each.soc} --precision_mode=force_fp16 --output_type=FP32 --log=error",
        f"{steps} sidecar {work}/model.onnx {work}/model.om {each.soc} {each.target}",
        f"chmod 644 {work}/model.om",
        f"{venv}/r2p-edge compare {work}/model.onnx {work}/model.om",
        f"mv {work}/model.om /home/out/net-fp16{each.suffix}-{each.target}.om",
        f"mv {work}/model.om.json /home/out/net-fp16{each.suffix}-{each.target}.om.json",
        f"{steps} record /home/out net-fp16{each.suffix}-{each.target}.om",
    ]
    assert each.plan("build_om.sh", "b/net-fp32.onnx", "--out", "out") == planned


def test_the_plan_of_an_offline_model_elsewhere(tmp_path, bundle):
    """Where the memory is small, and of what else than an ONNX file."""
    board = Atlas(tmp_path, "310B4", memory=4)
    shutil.copytree(bundle, board.home / "b")
    kit = "b/net-fp16-conv2d-ascend310b-kit"
    first, second, *rest = board.plan("build_om.sh", kit, "--out", "out")
    assert (first, second) == (SOURCE, "export TE_PARALLEL_COMPILER=1 MAX_COMPILE_CORE_NUMBER=1")
    assert f"export {kit}/model.onnx --to onnx --graph conv2d" in rest[3]
    whole = [first, second, f"{HERE}/venv/bin/r2p-edge info b", *rest]
    assert board.plan("build_om.sh", "b", "--out", "out") == whole


def test_the_plan_of_a_mindir(each, bundle):
    shutil.copytree(bundle, each.home / "b")
    stem = f"net-fp16{each.suffix}-{each.target}"
    work = ["mkdir -p /home/out", "rm -rf /home/out/.build", "mkdir /home/out/.build"]
    edge = f"{HERE}/venv/bin/r2p-edge"
    kit = each.plan("build_mindir.sh", f"b/{stem}-kit", "--out", "out")
    whole = each.plan("build_mindir.sh", "b", "--out", "out")
    alone = each.plan("build_mindir.sh", "b/net-fp32.onnx", "--out", "out")
    assert whole == [SOURCE, f"{edge} info b", *kit[1:]]
    if each.name == "310B1":  # whatever r2p-edge compiles for by itself
        assert alone == [
            SOURCE,
            *work,
            f"{edge} export b/net-fp32.onnx --to onnx --graph conv2d --input float32 --batch 1 "
            "--out /home/out/.build",
            "mv /home/out/.build/net-fp32-conv2d.onnx /home/out/.build/model.onnx",
            f"{HERE}/venv/bin/python {HERE}/steps.py check /home/out/.build/model.onnx ascend310b",
            f"{HERE}/venv/bin/python {HERE}/steps.py mindir /home/out/.build/model.onnx "
            f"/home/out/{stem}.mindir Ascend310B1 ascend310b",
            f"{HERE}/venv/bin/python {HERE}/steps.py record /home/out {stem}.mindir",
        ]
        assert kit == [
            line.replace("b/net-fp32.onnx", f"b/{stem}-kit/model.onnx") for line in alone
        ]
        return
    assert kit == [
        SOURCE,
        *work,
        f"cp -r b/{stem}-kit /home/out/.build/kit",
        "python3 /home/out/.build/kit/build.py",
        f"mv /home/out/.build/kit/{stem}.mindir /home/out/.build/kit/{stem}.mindir.json /home/out",
        "env PYTHONPATH=/home/out/.build/kit/r2p_edge.zip "
        f"python3 {HERE}/steps.py record /home/out {stem}.mindir",
    ]
    assert alone == [
        SOURCE,
        *work,
        f"{edge} export b/net-fp32.onnx --to {each.target} --strict --out /home/out",
    ]


def test_the_plan_of_a_mindir_for_the_cpu(board, given):
    shutil.rmtree(board.root / "usr")  # CANN is not needed
    general = ("--out", "out", "--optimize", "general")
    work = ["mkdir -p /home/out", "rm -rf /home/out/.build", "mkdir /home/out/.build"]
    edge = f"{HERE}/venv/bin/r2p-edge"
    assert board.plan("build_mindir.sh", "b", *general) == [
        f"{edge} info b",
        *work,
        "cp -r b/net-fp32-conv2d-mindspore-lite-kit /home/out/.build/kit",
        "python3 /home/out/.build/kit/build.py",
        "mv /home/out/.build/kit/net-fp32-conv2d.mindir "
        "/home/out/.build/kit/net-fp32-conv2d.mindir.json /home/out",
        "env PYTHONPATH=/home/out/.build/kit/r2p_edge.zip "
        f"python3 {HERE}/steps.py record /home/out net-fp32-conv2d.mindir",
    ]
    int8 = ("--int8", "videos", "--split", "train list.txt")
    assert board.plan("build_mindir.sh", "b/net-fp32.onnx", *general, *int8) == [
        *work,
        f"{edge} export b/net-fp32.onnx --to mindspore-lite --strict --precision int8 "
        "--videos videos --split train\\ list.txt --out /home/out",
    ]


def test_the_plan_of_a_camera(each, bundle):
    path = each.home / "net.om"
    spec = open_artifact(bundle / "net-fp32.onnx").spec
    target = {"runtime": "mindspore_lite", "device": each.target, "chip": each.soc}
    path.write_bytes(b"OM")
    write_sidecar(path, spec.replace(precision="fp16", target=target))
    each.file("/dev/video0")
    for source in ("0", "rtsp://camera/1?a=b&c=d"):
        done = each.run("run_camera.sh", "--dry-run", path, source, "--json", "--min-score", "0.5")
        assert done.returncode == 0, done.stderr
        sourced, command = done.stdout.replace(str(each.root), "").splitlines()
        assert sourced == SOURCE
        assert shlex.split(command) == [
            *("exec", f"{HERE}/venv/bin/r2p-edge", "stream", "/home/net.om", source),
            *("--json", "--min-score", "0.5"),
        ]


def test_the_plan_of_a_camera_that_is_watched(board, bundle):
    path = board.home / "net.onnx"
    shutil.copyfile(bundle / "net-fp32.onnx", path)
    words = ("--dry-run", "--watch", "door", path, "rtsp://camera/1", "--json")
    done = board.run("run_camera.sh", *words)
    assert done.returncode == 0, done.stderr
    command = shlex.split(done.stdout.replace(str(board.root), "").splitlines()[-1])
    assert command[1:] == [
        *(f"{HERE}/venv/bin/r2p-edge", "watch", "/home/net.onnx", "door=rtsp://camera/1", "--json")
    ]
    done = board.run("run_camera.sh", "--watch", "a b", path, "0")
    assert "--watch a b is not a name such as door" in done.stderr


def test_a_camera_needs_no_npu_smi(board, bundle):
    """As in a container, or as a user who may not run it: CANN tells the chip."""
    path = board.home / "net.om"
    path.write_bytes(b"OM")
    spec = open_artifact(bundle / "net-fp32.onnx").spec.replace(precision="fp16")
    write_sidecar(path, spec.replace(target={"device": board.target, "chip": board.soc}))
    board.driver("dcmi module initialize failed. ret is -8005", code=1)
    done = board.run("run_camera.sh", "--dry-run", path, "rtsp://camera/1")
    assert (done.returncode, "warning" in done.stderr) == (0, False), done.stderr
    (board.site / "acl.py").unlink()  # nobody tells
    done = board.run("run_camera.sh", "--dry-run", path, "rtsp://camera/1")
    assert done.returncode == 0, done.stderr
    assert "warning: neither CANN nor npu-smi tells which chip this is" in done.stderr


@pytest.mark.parametrize("package", ["cann", "ascend-toolkit", "nnrt"])
@pytest.mark.parametrize("place", [pytest.param("usr/local", marks=pytest.mark.long), "home"])
def test_where_cann_may_be(board, package, place):
    board.cann(package)
    if place == "home":
        (board.root / "usr/local/Ascend").rename(board.home / "Ascend")
    wheel = board.file("/home/r2p_edge.whl")
    first = board.plan("setup.sh", "--wheel", wheel)[0]
    assert first == f"source /{place}/Ascend/{package}/set_env.sh"


def test_a_cann_that_is_in_use_stays(board):
    wheel = board.file("/home/r2p_edge.whl")
    shutil.rmtree(board.root / "usr/local/Ascend")
    done = board.run("setup.sh", "--wheel", wheel, "--dry-run", ASCEND_HOME_PATH="/no/such/folder")
    refused(done, "CANN is not here: there is no set_env.sh in cann, ascend-toolkit or nnrt")
    library = board.file("/opt/lib64/libascendcl.so")
    own = {"ASCEND_HOME_PATH": str(library.parents[1]), "LD_LIBRARY_PATH": f"/x:{library.parent}"}
    done = board.run("setup.sh", "--wheel", wheel, "--dry-run", **own)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("python3 -m venv")
    assert f"setup.sh: CANN of unknown version in {library.parents[1]}\n" in done.stderr


def test_a_variable_alone_is_no_environment(board, model):
    """As where .bashrc exports it without the rest, or names a CANN that is gone."""
    board.cann("ascend-toolkit", version="8.2.RC1")
    home = board.root / "usr/local/Ascend/ascend-toolkit/latest"
    done = board.run("build_om.sh", model, "--out", "o", "--dry-run", ASCEND_HOME_PATH=str(home))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"source {home}/../set_env.sh\n")  # the one that is named


def test_which_cann_is_taken_is_said(board):
    wheel = board.file("/home/r2p_edge.whl")
    done = board.run("setup.sh", "--wheel", wheel, "--dry-run")
    folder = board.root / "usr/local/Ascend"
    assert f"setup.sh: CANN 8.0.0 in {folder}/ascend-toolkit/latest\n" in done.stderr
    assert "there are several" not in done.stderr
    board.cann("cann", version="9.0.0", alone=False)
    done = board.run("setup.sh", "--wheel", wheel, "--dry-run")
    assert f"setup.sh: CANN 9.0.0 in {folder}/cann/latest\n" in done.stderr
    assert "warning: there are several, ascend-toolkit cann under /usr/local/Ascend" in done.stderr


@pytest.mark.parametrize(
    "shown",
    [
        table("310P3", "310P3", bus="0000:01:00.0"),
        table("310P3", health="Alarm"),
        table("310P3").replace("                  | ", "       | "),
    ],
)
def test_tables_of_the_card(board, shown):
    board.driver(shown)
    done = board.run("setup.sh", "--wheel", board.file("/home/r2p_edge.whl"), "--dry-run")
    assert "setup.sh: the chip is Ascend310P3 (ascend310p)\n" in done.stderr


# The real thing.


@pytest.mark.parametrize("name", ["310P3", pytest.param("310B4", marks=pytest.mark.long)])
@pytest.mark.parametrize("runtime", ["acl", "ais_bench"])
def test_an_offline_model_is_built_and_verified(tmp_path, bundle, name, runtime):
    board = Atlas(tmp_path, name)
    out = "out put (1)"  # which ATC and ais_bench could not read
    if runtime == "ais_bench":
        (board.site / "acl.py").unlink()
        out = "out"
    done = board.run("build_om.sh", bundle / "net-fp32.onnx", "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ATC run success, welcome to the next use." in done.stdout
    path = board.home / out / f"net-fp16{board.suffix}-{board.target}.om"
    names = {path.name, f"{path.name}.json", "manifest.json"}
    assert {file.name for file in path.parent.iterdir()} == names
    assert bundle_check(path.parent) == 2
    # For others to read and, as ais_bench wants it, for nobody else to write.
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    artifact = open_artifact(path)
    assert (artifact.verified, artifact.spec.precision, artifact.spec.graph) == (
        *(True, "fp16"),
        board.graph,
    )
    assert artifact.spec.target["chip"] == board.soc
    # It answers as the ONNX file does; an independent session says so too.
    answers = board.run(board.venv / "bin/r2p-edge", "compare", bundle / "net-fp32.onnx", path,
                        "--json")  # fmt: skip
    (result,) = json.loads(answers.stdout)["results"]
    assert (result["runtime"], result["device"], result["within"]) == (runtime, "ascend", True)
    assert 0 < result["max_rel"] < 1e-2


def test_an_offline_model_that_answers_otherwise_is_not_written(board, model):
    done = board.run("build_om.sh", model, "--out", "out", FAKE_ATC="wrong")
    assert done.returncode == MODEL, done.stdout + done.stderr
    assert not list((board.home / "out").iterdir())


def test_an_ais_bench_that_is_too_old(board, model):
    (board.site / "acl.py").unlink()
    done = board.run("build_om.sh", model, "--out", "out", FAKE_AIS_BENCH="old")
    assert done.returncode == BACKEND, done.stdout + done.stderr
    assert "has no set_context, which came in May 2024" in " ".join(done.stdout.split())


def test_an_offline_model_for_another_chip(board, model):
    board.target = "ascend310b"
    board.cann("ascend-toolkit")
    for _ in range(2):
        done = board.run("build_om.sh", model, "--out", "out", "--soc", "Ascend310B1")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "not verified: there is no Ascend310B1 here" in done.stderr
    path = board.home / "out/net-fp16-conv2d-ascend310b.om"
    assert open_artifact(path).spec.target["chip"] == "Ascend310B1"


@pytest.mark.parametrize(
    "name", ["310P3", *(pytest.param(name, marks=pytest.mark.long) for name in ("310B1", "310B4"))]
)
def test_a_mindir_of_a_bundle(tmp_path, bundle, name):
    board = Atlas(tmp_path, name)
    done = board.run("build_mindir.sh", bundle, "--out", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    path = board.home / f"out/net-fp16{board.suffix}-{board.target}.mindir"
    assert {file.name for file in path.parent.iterdir()} >= {path.name, f"{path.name}.json"}
    assert not (board.home / "out/.build").exists()
    spec = open_artifact(path).spec
    assert (spec.target["chip"], spec.precision, spec.graph) == (board.soc, "fp16", board.graph)
    assert bundle_check(path.parent) == 2
    assert spec.parity["runtime"] == "mindspore_lite 2.7.0 on ascend"  # on the card
    assert not list(bundle.rglob("*.mindir"))  # the kit is as it was


@pytest.mark.parametrize("how", ["class", "program"])
def test_a_mindir_of_a_model(board, model, how):
    environment = {}
    if how == "program":
        converter = install_program(board.root / "lite")
        environment = {"R2P_CONVERTER_LITE": str(converter), "FAKE_LITE_WITHOUT_CONVERTER": "1"}
    done = board.run("build_mindir.sh", model, "--out", "out", **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    spec = open_artifact(board.home / "out/net-fp16-ascend310p.mindir").spec
    found = {"class": "mindspore_lite.Converter", "program": "converter_lite"}[how]
    assert (spec.target["converter"], spec.target["chip"]) == (found, "Ascend310P3")


def test_a_mindir_of_a_kit_needs_no_r2p_edge(board, given):
    shutil.rmtree(board.venv)
    shutil.rmtree(board.root / "site/ais_bench")
    (board.site / "acl.py").unlink()
    kit = given / "net-fp32-conv2d-mindspore-lite-kit"
    for _ in range(2):
        done = board.run("build_mindir.sh", kit, "--out", "out", "--optimize", "general")
        assert done.returncode == 0, done.stdout + done.stderr
    assert open_artifact(board.home / "out/net-fp32-conv2d.mindir").spec.parity["top1"] == 1.0


def test_setup(tmp_path):
    board = Atlas(tmp_path, "310B4")
    shutil.rmtree(board.venv)
    wheel = board.file("/home/r2p_edge.whl")
    for _ in range(2):
        done = board.run("setup.sh", "--wheel", wheel, FAKE_DOCTOR="0")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "setup.sh: MindSpore Lite 2.7.0\n" in done.stderr
    made = [call for call in board.calls if call[1:3] == ["-m", "venv"]]
    assert made == [["python3", "-m", "venv", "--system-site-packages", str(board.venv)]] * 2
    done = board.run("setup.sh", "--wheel", wheel, FAKE_DOCTOR="5")
    refused(done, "r2p-edge cannot run a model here; see what doctor says above")
    # OpenCV of the system stays what is imported.
    board.file("/system/cv2.py")
    command = board.plan("setup.sh", "--checkout", ROOT)[2]
    assert command.endswith(f"{ROOT}\\[export\\]")


@pytest.mark.parametrize("runtime", ["acl", "ais_bench"])
def test_setup_without_mindspore_lite(board, runtime):
    board.python(lite=False)
    if runtime == "ais_bench":
        (board.site / "acl.py").unlink()
    done = board.run("setup.sh", "--wheel", board.file("/home/r2p_edge.whl"), "--dry-run")
    assert done.returncode == 0, done.stderr
    named = {"acl": "CANN's acl", "ais_bench": "ais_bench"}[runtime]
    assert f"MindSpore Lite is not here; {named} is, so that .om files can run" in done.stderr


# Refusals.

KIT = "b/net-fp32-conv2d-mindspore-lite-kit"
EVERY = [
    ("setup.sh", ["--checkout", str(ROOT)]),
    ("build_mindir.sh", ["MODEL", "--out", "out"]),
    ("build_om.sh", ["MODEL", "--out", "out"]),
]


@pytest.fixture(params=EVERY, ids=lambda case: case[0])
def call(request, board, model):
    """Runs each script that builds, as it would be called."""
    script, arguments = request.param
    arguments = [str(model) if word == "MODEL" else word for word in arguments]

    def call(*more, **environment):
        done = board.run(script, *arguments, *more, **environment)
        assert not (board.home / "out").exists()
        return done

    return call


def test_unknown_chips(board, call):
    for shown, name in (
        (TABLE_910, "Ascend910"),
        (table("910B4"), "Ascend910B4"),
        (table("610"), "Ascend610"),
    ):
        board.driver(shown)
        refused(call(), f"the chip is {name}; known here are Ascend310, Ascend310P3 (Atlas 300I")
    refused(call("--soc", "Ascend910B"), "the chip is Ascend910B; known here are")


def test_no_card(board, call):
    board.driver(table())
    refused(call(), "npu-smi lists no card; check that it is plugged in")
    message = "dcmi model initialized failed, because the device is used. ret is -8020"
    board.driver(message + "\n", code=1)
    refused(call(), f"npu-smi sees no card ({message}); check the driver")
    (board.programs / "npu-smi").unlink()
    (board.site / "acl.py").unlink()
    refused(call(), "npu-smi is not here; install the driver of the card, or name the chip by")


def test_no_cann(board, call):
    shutil.rmtree(board.root / "usr")
    refused(call(), "CANN is not here: there is no set_env.sh in cann, ascend-toolkit or nnrt")


def test_a_full_disk(board, call):
    board.program(
        "df",
        ["-Pm"],
        'print("Filesystem 1048576-blocks Used Available Capacity Mounted on")\n'
        'print("/dev/mmcblk0p2 29000 28500 500 99% /")',
    )
    refused(call(), "has 500 MiB left and 1024 are needed; make room")


def test_no_atc(board, model):
    board.cann("nnrt", atc=False)
    refused(board.run("build_om.sh", model, "--out", "out"), "atc is not here; it comes with CANN")


def test_atc_fails(board, model):
    done = board.run("build_om.sh", model, "--out", "out", FAKE_ATC="fail")
    refused(done, f"atc could not compile {model} for Ascend310P3 and ended with exit", BACKEND)
    assert "a worker of the compiler ended, most often for want of memory: add swap" in done.stderr
    assert "E40024: Failed to call Python Func: BrokenPipeError" in done.stdout
    assert len([call for call in board.calls if call[0] == "atc"]) == 1
    assert not list((board.home / "out").iterdir())


def test_atc_dies_before_its_worker(board, model):
    """The worker has its output, and is not waited for."""
    done = board.run("build_om.sh", model, "--out", "out", FAKE_ATC="dies")
    refused(done, "and was killed by SIGKILL; a worker of the compiler ended", BACKEND)


def test_atc_refuses_3d_convolutions(board, model):
    done = board.run("build_om.sh", model, "--out", "out", FAKE_ATC="conv3d")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No supported Ops kernel and engine are found for [Conv3D]" in done.stdout
    assert "build_om.sh: the model with 3-D convolutions is refused; now without\n" in done.stderr
    spec = open_artifact(board.home / "out/net-fp16-conv2d-ascend310p.om").spec
    assert (spec.graph, spec.target["chip"]) == ("conv2d", "Ascend310P3")
    assert not (board.home / "out/.build").exists()


def test_a_310p_takes_a_model_without_3d_convolutions(board, given):
    """It was refused, so that nothing was left where the other form does not compile."""
    kit = given / "net-fp16-conv2d-ascend310b-kit"
    done = board.run("build_om.sh", kit / "model.onnx", "--out", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert open_artifact(board.home / "out/net-fp16-conv2d-ascend310p.om").verified
    assert "now without" not in done.stderr


# What CANN's compiler needs besides the toolkit.


def lose_packages(board):
    for name in ("decorator", "scipy"):  # whatever this machine has
        board.file(f"/system/{name}.py", f"raise ModuleNotFoundError({name!r}, name={name!r})")


LACKS = "/python3, which CANN's compiler takes, cannot import decorator, scipy; install what it"


@pytest.mark.long
def test_a_python_without_canns_packages(board, model):
    lose_packages(board)
    done = board.run("build_om.sh", model, "--out", "out")
    refused(done, LACKS)
    line = f"python3 -m pip install {PACKAGES}\n"
    assert done.stderr.endswith(line)
    assert not any(call[0] == "atc" for call in board.calls)
    wheel = board.file("/home/r2p_edge.whl")
    for script, arguments in (
        ("setup.sh", ["--wheel", wheel]), ("build_mindir.sh", [model, "--out", "out"]),
    ):  # fmt: skip
        done = board.run(script, *arguments, "--dry-run")
        assert done.returncode == 0, done.stderr  # models run without them
        assert f"{script}: warning: " in done.stderr
        assert "cannot import decorator, scipy; install what it needs: python3 -m p" in done.stderr
    # A machine that only runs models has no use for them.
    board.cann("nnrt", atc=False)
    assert "warning" not in board.run("setup.sh", "--wheel", wheel, "--dry-run").stderr


@pytest.mark.long
def test_condas_python_may_have_them(board, model):
    """As on the factory image of the 200I DK A2, whose conda is too old for r2p-edge itself."""
    conda = board.root / "usr/local/miniconda3/bin"
    conda.mkdir(parents=True)
    packages = board.root / "conda"
    (board.root / "system").rename(packages)
    board.file("/system/cv2.py", "raise ImportError")
    (conda / "python3").write_text(f'#!/bin/sh\nPYTHONPATH={packages} exec {sys.executable} "$@"\n')
    (conda / "python3").chmod(0o755)
    done = board.run("build_om.sh", model, "--out", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"+ export PATH={conda}:" in done.stderr


@pytest.mark.long
def test_an_active_environment_is_not_the_compilers(board, model):
    active = board.home / "env"
    (active / "bin").mkdir(parents=True)
    (active / "pyvenv.cfg").touch()
    (active / "bin/python3").write_text(f'#!/bin/sh\nexec {sys.executable} -I "$@"\n')
    (active / "bin/python3").chmod(0o755)
    path = f"{active}/bin:{board.programs}:/usr/bin:/bin"
    done = board.run("build_om.sh", model, "--out", "out", PATH=path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
@pytest.mark.parametrize("name", ["310", "310P3", "310B4"])
def test_operators_are_a_package_of_their_own(tmp_path, bundle, name):
    board = Atlas(tmp_path, name)
    model = shutil.copy(bundle / "net-fp32.onnx", board.home)
    for version in ("8.5.0", "9.0.0"):
        board.cann("cann", version=version, operators=False)
        board.file("/usr/local/Ascend/cann/latest/opp/built-in/ascend310x/one")
        done = board.run("build_om.sh", model, "--out", "out")
        refused(done, f"CANN {version} has no operators for a {board.soc}")
        package = f"install Ascend-cann-{board.target[6:]}-ops of this version"
        assert ("install CANN 8.2 or older" if name == "310" else package) in done.stderr
    board.cann("ascend-toolkit", version="8.3.RC1", operators=False)  # inside, wherever
    board.plan("build_om.sh", model, "--out", "out")


@pytest.mark.long
@pytest.mark.parametrize("place", ["aarch64-linux/devlib", "devlib"])
def test_a_machine_without_a_driver(board, model, place):
    (board.root / "dev/davinci0").unlink()
    board.driver("", code=1)
    soc = ("--soc", "Ascend310B4")
    board.target = "ascend310b"
    board.cann("ascend-toolkit")
    done = board.run("build_om.sh", model, "--out", "out", *soc)
    refused(done, "there is no driver here, so put <arch>-linux/devlib of CANN's folder", BACKEND)
    board.file(f"/usr/local/Ascend/ascend-toolkit/latest/{place}/libascend_hal.so")
    done = board.run("build_om.sh", model, "--out", "out", *soc)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = board.root / "usr/local/Ascend/ascend-toolkit/latest" / place
    assert f"+ export LD_LIBRARY_PATH={folder}:" in done.stderr
    # With a driver its own library is taken.
    board.file("/dev/davinci0")
    assert place not in "".join(board.plan("build_om.sh", model, "--out", "out", *soc))


@pytest.mark.long
def test_another_kind_of_processor_compiles(board, model):
    board.program("uname", ["-m"], 'print("x86_64")')
    board.target = "ascend310b"
    board.cann("ascend-toolkit")
    soc = ("--soc", "Ascend310B4")
    for _ in range(2):
        done = board.run("build_om.sh", model, "--out", "out", *soc)
        assert done.returncode == 0, done.stdout + done.stderr
    (atc,) = {tuple(call) for call in board.calls if call[0] == "atc"}
    assert {"--host_env_os=linux", "--host_env_cpu=aarch64"} <= set(atc)
    assert open_artifact(board.home / "out/net-fp16-conv2d-ascend310b.om").verified
    # Cards stand in machines of both kinds.
    board.target = "ascend310p"
    board.cann("ascend-toolkit")
    assert "host_env" not in "".join(board.plan("build_om.sh", model, "--out", "out"))
    other = board.plan("build_om.sh", model, "--out", "out", "--host-cpu", "aarch64")
    assert "--host_env_os=linux --host_env_cpu=aarch64" in "".join(other)
    done = board.run("build_om.sh", model, "--out", "out", "--host-cpu", "arm")
    refused(done, "--host-cpu is aarch64 or x86_64")


def test_little_memory_is_told(board, model):
    for swap, told in ((0, True), (2, False)):
        board.memory(4, swap)
        done = board.run("build_om.sh", model, "--out", "out", "--dry-run")
        assert ("warning: 3906 MiB of memory and 0 of swap are little" in done.stderr) == told
        assert "export TE_PARALLEL_COMPILER=1" in done.stdout


@pytest.mark.long
def test_a_chip_of_a_known_kind_is_warned_of(tmp_path, bundle):
    for name, target, suffix in (("310P1", "ascend310p", ""), ("310B3", "ascend310b", "-conv2d")):
        board = Atlas(tmp_path / name, name)
        board.target = target
        board.cann("ascend-toolkit")
        model = shutil.copy(bundle / "net-fp32.onnx", board.home)
        for script, kind in (("build_om.sh", "om"), ("build_mindir.sh", "mindir")):
            done = board.run(script, model, "--out", "out")
            assert done.returncode == 0, done.stdout + done.stderr
            said = f"warning: Ascend{name} is not among the chips that these scripts were written"
            assert said in done.stderr
            spec = open_artifact(board.home / f"out/net-fp16{suffix}-{target}.{kind}").spec
            assert spec.target["chip"] == f"Ascend{name}"


@pytest.mark.long
def test_a_chip_that_cann_alone_tells(board, model):
    (board.programs / "npu-smi").unlink()
    done = board.run("build_om.sh", model, "--out", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert open_artifact(board.home / "out/net-fp16-ascend310p.om").spec.target["chip"] == board.soc


def test_no_mindspore_lite(board, model, given):
    board.python(lite=False)
    shutil.rmtree(board.root / "site/ais_bench")
    (board.site / "acl.py").unlink()
    wheel = board.file("/home/r2p_edge.whl")
    refused(
        board.run("setup.sh", "--wheel", wheel),
        "can import neither mindspore_lite (ModuleNotFoundError: No module named 'mindspore_lite')",
    )
    for source in (model, given / "net-fp16-ascend310p-kit"):
        done = board.run("build_mindir.sh", source, "--out", "out")
        refused(done, "MindSpore Lite's converter is not here; install the cloud-side wheel")


def test_setup_of_a_machine_that_only_builds(board):
    """For a board with too little memory; there is no driver, so that nothing can be tried."""
    board.python(lite=False)
    shutil.rmtree(board.site / "ais_bench")
    board.file("/site/acl.py", "raise ImportError('libascend_hal.so: cannot open')")
    (board.programs / "npu-smi").unlink()
    (board.root / "dev/davinci0").unlink()
    wheel = board.file("/home/r2p_edge.whl")
    done = board.run("setup.sh", "--wheel", wheel, "--soc", "Ascend310B4", FAKE_DOCTOR="0")
    assert done.returncode == 0, done.stderr
    assert "there is no driver here, so that what runs models cannot be checked\n" in done.stderr


def test_a_mindspore_lite_that_does_not_load(board):
    board.file("/site/mindspore_lite.py", "raise OSError('libmindspore-lite.so: cannot open')")
    shutil.rmtree(board.root / "site/ais_bench")
    (board.site / "acl.py").unlink()
    done = board.run("setup.sh", "--wheel", board.file("/home/r2p_edge.whl"))
    refused(done, "mindspore_lite (OSError: libmindspore-lite.so: cannot open) nor acl, which")


def test_pythons_that_will_not_do(board):
    wheel = board.file("/home/r2p_edge.whl")
    done = board.run("setup.sh", "--wheel", wheel, FAKE_PYTHON="old")
    refused(done, "python3 is 3.9 and r2p_edge needs 3.10 or newer; put one first on the PATH")
    done = board.run("setup.sh", "--wheel", wheel, FAKE_PYTHON="old", CONDA_PREFIX="/conda")
    refused(done, "needs 3.10 or newer; type conda deactivate, or put one first on the PATH")
    done = board.run("setup.sh", "--wheel", wheel, FAKE_PYTHON="without venv")
    refused(done, "python3 cannot make environments; install its venv package")


def test_a_card_without_its_driver(board, model, bundle):
    (board.root / "dev/davinci0").unlink()
    done = board.run("setup.sh", "--wheel", board.file("/home/r2p_edge.whl"))
    refused(done, "npu-smi shows a card and /dev has no davinci0; check the driver")
    # In an image there is none, and the chip is named.
    board.plan("setup.sh", "--wheel", board.home / "r2p_edge.whl", "--soc", "Ascend310P3")


def test_a_kit_for_another_chip(board, given):
    for script in ("build_mindir.sh", "build_om.sh"):
        done = board.run(script, "b/net-fp16-conv2d-ascend310b-kit", "--out", "out")
        refused(done, "-kit is for ascend310b and not for ascend310p; take the one for ascend310p")
    (given / "net-fp16-ascend310p-kit/kit.json").write_text("{")
    done = board.run("build_mindir.sh", "b/net-fp16-ascend310p-kit", "--out", "out")
    refused(done, "net-fp16-ascend310p-kit/kit.json cannot be read; copy the kit again")


@pytest.mark.long
def test_models_that_a_chip_cannot_run(board, model, motion_model):
    done = board.run("build_om.sh", motion_model, "--out", "out")
    refused(done, "is fp32 and takes uint8, but ATC needs an fp32 model that takes float32", MODEL)
    onnx.save(onnx.version_converter.convert_version(onnx.load(model), 20), model)
    done = board.run("build_om.sh", model, "--out", "out")
    refused(done, "opset 20", MODEL)
    assert not list((board.home / "out").iterdir())
    assert not any(call[0] == "atc" for call in board.calls)


def test_bundles_that_will_not_do(board, given):
    shutil.copytree(given / "net-fp16-ascend310p-kit", given / "other-kit")
    done = board.run("build_om.sh", "b", "--out", "out", "--dry-run")
    refused(done, "b has several kits for ascend310p; give one of them")
    for kit in given.glob("*kit"):
        shutil.rmtree(kit)
    assert "export b/net-fp32.onnx" in "\n".join(board.plan("build_om.sh", "b", "--out", "out"))
    shutil.copy(given / "net-fp32.onnx", given / "net-fp32-other.onnx")
    done = board.run("build_om.sh", "b", "--out", "out", "--dry-run")
    refused(done, "b has several fp32 models; give one of them")
    for file in given.glob("*.onnx"):
        file.unlink()
    done = board.run("build_om.sh", "b", "--out", "out", "--dry-run")
    refused(done, "b has neither a kit for ascend310p nor an fp32 ONNX file")


def test_a_damaged_bundle(board, given):
    path = given / "net-fp32.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    done = board.run("build_mindir.sh", "b", "--out", "out")
    assert done.returncode == MODEL
    assert "net-fp32.onnx" in done.stderr
    assert not (board.home / "out").exists()


def test_cameras_that_will_not_do(board, given):
    path = board.home / "net.om"
    path.write_bytes(b"OM")
    spec = open_artifact(given / "net-fp32.onnx").spec.replace(precision="fp16")
    target = {"runtime": "mindspore_lite", "device": "ascend310b", "chip": "Ascend310B4"}
    write_sidecar(path, spec.replace(target=target))
    message = "net.om is for an Ascend310B4 and this is an Ascend310P3; build it here, or with"
    refused(board.run("run_camera.sh", path, "0"), message)
    (board.root / "dev/davinci0").unlink()
    message = "net.om is for an Ascend310B4 and there is no card here: /dev has no davinci0"
    refused(board.run("run_camera.sh", path, "0"), message)
    target = {"runtime": "mindspore_lite", "device": "cpu"}
    write_sidecar(path, spec.replace(target=target))
    message = "there is no camera 3: /dev has no video3"
    refused(board.run("run_camera.sh", path, "3"), message)
    device = board.file("/dev/video3")
    device.chmod(0)
    done = board.run("run_camera.sh", path, "3", as_a_user=True)
    user = pwd.getpwuid(os.geteuid()).pw_name
    message = f"its group (sudo usermod -aG video {user}) and log in again, or start a container"
    refused(done, f"{message} with --group-add {device.stat().st_gid}")
    done = board.run("run_camera.sh", path.with_name("absent.om"), "0")
    refused(done, "absent.om does not exist", MODEL)


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("setup.sh", [], "give --wheel or --checkout"),
        ("setup.sh", ["--wheel"], "--wheel needs a value"),
        ("setup.sh", ["--wheel", "absent.whl"], "there is no wheel absent.whl"),
        ("setup.sh", ["--checkout", "."], ". is not a checkout of r2p_edge"),
        ("setup.sh", ["--wheels", "x"], "there is no option --wheels"),
        ("build_om.sh", ["net-fp32.onnx"], "give a model and --out"),
        ("build_om.sh", ["a", "b", "--out", "c"], "give one model"),
        ("build_om.sh", ["absent.onnx", "--out", "c"], "there is no absent.onnx"),
        ("build_om.sh", ["a", "--out", "c", "--int8", "x"], "there is no option --int8"),
        ("build_om.sh", ["a", "--out", "c", "--venv", "d"], "there is no r2p-edge in d; run setup"),
        (
            "build_mindir.sh",
            ["a", "--out", "c", "--optimize", "gpu"],
            "ascend_oriented, not gpu",
        ),
        ("build_mindir.sh", ["a", "--out", "c", "--int8", "v"], "has only fp16 for Ascend"),
        (
            "build_mindir.sh",
            [KIT, "--out", "c", "--optimize", "general", "--int8", "v"],
            "a kit has the precision that it was exported with",
        ),
        ("run_camera.sh", ["net.om"], "give a model and a source"),
        (
            "run_camera.sh",
            ["--json", "net.om", "0"],
            "there is no option --json before the model",
        ),
    ],
)
def test_calls_that_are_wrong(board, given, script, arguments, message):
    refused(board.run(script, *arguments), message)


# The files.


def found_program(name):
    """A program of this machine, for a test that is nothing without it."""
    beside = str(Path(sys.executable).parent)
    path = shutil.which(name) or shutil.which(name, path=beside)
    if path is None and is_required(name):
        pytest.fail(f"needs {name}")
    if path is None:
        pytest.skip(f"needs {name}, which is not installed")
    return path


def test_shellcheck():
    scripts = sorted(ATLAS.glob("*.sh"))
    assert {"common.sh", *SCRIPTS} == {script.name for script in scripts}
    assert not any("shellcheck disable" in script.read_text() for script in scripts)
    command = [found_program("shellcheck"), "--norc", *scripts]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ATLAS)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_names_every_option(tmp_path, script):
    done = Board(tmp_path).run(ATLAS / script, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    text = (ATLAS / script).read_text()
    options = {
        option
        for line in re.findall(r"^ +(--[\w-]+(?: \| --[\w-]+)*)\)", text, re.MULTILINE)
        for option in line.split(" | ")
    }
    assert options >= {"--dry-run", "--venv", "--help"}
    for option in options - {"--help"}:
        assert re.search(rf"^  {option} |\[{option} | {option} ", done.stdout, re.MULTILINE), option


def test_no_script_asks_for_root_or_the_network():
    for script in ATLAS.glob("*.sh"):
        for line in script.read_text().splitlines():
            said = re.search(r"(note|die) .*|^ *\"", line)
            assert said or not re.search(r"\b(sudo|curl|wget)\b", line), line


def test_the_unit(tmp_path):
    analyze = found_program("systemd-analyze")
    text = (ATLAS / "r2p-edge.service").read_text()
    assert "/opt/r2p-edge/run_camera.sh " in text
    unit = tmp_path / "r2p-edge.service"
    unit.write_text(text.replace("/opt/r2p-edge/run_camera.sh", str(ATLAS / "run_camera.sh")))
    done = subprocess.run(
        [analyze, "verify", "--man=no", unit], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    unit.write_text(text.replace("Restart=always", "Restart=perhaps"))  # it can tell
    done = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, cwd=tmp_path)
    assert "restart specifier" in done.stderr


def test_the_dockerfile(board):
    text = (ATLAS / "Dockerfile").read_text().replace("\\\n", " ")
    assert re.search(r"^ARG CANN=quay\.io/ascend/cann:\S+-310p-\S+-py3\.11$", text, re.MULTILINE)
    (copied,) = re.findall(r"^COPY (.*) /opt/r2p-edge/$", text, re.MULTILINE)
    for name in copied.split():
        assert (ATLAS / name).is_file()
    called = {name for name in ("common.sh", "steps.py", *SCRIPTS) if name in copied}
    assert called == {"common.sh", "steps.py", *SCRIPTS}
    (arguments,) = re.findall(r"/opt/r2p-edge/setup\.sh (.*?) &&", text)
    # Beside it lies what was copied from a PC.
    assert "scp -r pyproject.toml setup.py README.md LICENSE r2p_edge" in README
    assert "COPY source /tmp/source\n" in text
    board.driver("", code=1)
    (board.root / "dev/davinci0").unlink()
    # Lite's wheel need not be there, and without a driver CANN's libraries are not loaded.
    board.python(lite=False)
    shutil.rmtree(board.site / "ais_bench")
    board.file("/site/acl.py", "raise ImportError('libascend_hal.so: cannot open')")
    board.plan("setup.sh", *arguments.replace("/tmp/source", str(ROOT)).split())
    # Its user is not root, and may use what the groups of the devices may.
    (called,) = re.findall(r"docker run .*?```", README, re.DOTALL)
    for device in ("davinci0", "video0"):
        assert f'--group-add "$(stat -c %g /dev/{device})"' in README
    assert "--group-add" in called
    assert re.search(r"^USER r2p-edge$", text, re.MULTILINE)


# The README.


def test_its_messages_are_those_of_the_scripts():
    table = README.split("## What can go wrong")[1].split("##")[0]
    rows = re.findall(r"^\| `([^`]*)` \|", table, re.MULTILINE)
    assert len(rows) >= 12
    said = "".join(file.read_text() for file in [*ATLAS.glob("*.sh"), ATLAS / "steps.py"])
    said = re.sub(r'"\s*\\?\n\s*f?"', " ", said).replace("  ", " ")
    for row in rows:
        assert row in said, row


# The board is this machine.
SSH = "import os; os.chdir(os.environ['HOME']); os.execvp(arguments[1], arguments[1:])"
SCP = """
import os, subprocess
*sources, target = arguments[1:]
target = os.environ["HOME"] + "/" + target.removeprefix("board:")
sys.exit(subprocess.run(["cp", "-R", *sources, target]).returncode)
"""

# Root's commands on the fake root; what would change this machine's users and units is only heard.
SUDO = """
import subprocess
root = {root!r}
command = [root + word if word.startswith(("/opt/", "/etc/")) else word for word in arguments]
if command[0] in ("mkdir", "cp", "tee") or command[0].endswith("/setup.sh"):
    sys.exit(subprocess.run(command).returncode)
if command[0] not in ("useradd", "systemctl", "python3", "chown"):
    sys.exit(f"sudo: {{command[0]}}: command not found")
"""


# r2p-edge on the PC, where MindSpore Lite is not.
_ON_PC = """
import os
os.execv(sys.executable, [sys.executable, "-m", "r2p_edge", *arguments])
"""


@pytest.mark.parametrize(
    ("chip", "memory"), [("310B4", 4), pytest.param("310P3", 16, marks=pytest.mark.long)]
)
def test_a_strangers_walk(tmp_path, chip, memory):
    """The README's commands, word for word, and then the command of the service."""
    board = Atlas(tmp_path, chip, memory=memory, set_up=False)
    checkout = EXAMPLES.parent
    folders = {"r2p_edge", "export", "calibration", "cpp_ext"}
    for name in ("examples", "pyproject.toml", "setup.py", "README.md", "LICENSE", *folders):
        (board.home / name).symlink_to(checkout / name)
    board.program("r2p-edge", {"--to", "--input", "--out"}, _ON_PC)
    board.program("ssh", {"-p"}, SSH)
    board.program("scp", {"-r"}, SCP)
    options = {"--system", "--user-group", "-p", "-r", "-R", "-a", "--wheel", "--now", "-m"}
    board.program("sudo", options, SUDO.format(root=str(board.root)))
    board.file("/dev/video0")
    (board.root / "etc/systemd/system").mkdir(parents=True)
    film = tmp_path / "film.mp4"
    motion.write_video(motion.scene("test", 6), film, motion.frame_times(25))

    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 8
    if chip == "310P3":  # as the page says of other boards than the one of its lines
        assert "(`models/motion-fp16-ascend310p.om`)" in README
        blocks = [block.replace("-conv2d-ascend310b", "-ascend310p") for block in blocks]
        blocks = [block.replace("ascend310b", "ascend310p") for block in blocks]
    script = board.file("/home/walk.sh", "#!/bin/bash\nset -e\n" + "\n".join(blocks))
    script.chmod(0o755)
    done = board.run(script, FAKE_CAMERA=str(film))
    assert done.returncode == 0, done.stdout + done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert {event["label"] for event in events} == {motion.CLASSES[6]}
    for kind in ("mindir", "om"):
        (path,) = (board.folder / "models").glob(f"*.{kind}")
        assert open_artifact(path).spec.target["chip"] == board.soc
    assert folders < {path.name for path in (board.folder / "source").iterdir()}
    calls = [call[1:] for call in board.calls if call[0] == "sudo"]
    assert ["systemctl", "enable", "--now", "r2p-edge"] in calls
    # ais_bench takes a model of its user or of one of the user's groups, and a copy is root's.
    copied = calls.index(["cp", "-r", "models/.", "/opt/r2p-edge/models/"])
    assert calls.index(["chown", "-R", "r2p-edge:", "/opt/r2p-edge/models"]) > copied

    unit = (board.root / "etc/systemd/system/r2p-edge.service").read_text()
    (start,) = re.findall("^ExecStart=(.*)$", unit, re.MULTILINE)
    settings = dict(
        line.split("=", 1) for line in (board.root / "etc/r2p-edge.conf").read_text().splitlines()
    )
    assert start.endswith(" $R2P_OPTIONS")  # which are words, or none
    words = start.removesuffix(" $R2P_OPTIONS").split()
    command = [re.sub(r"\$\{(\w+)\}", lambda m: settings[m[1]], word) for word in words]
    command = [f"{board.root}{word}" if word.startswith("/opt/") else word for word in command]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        done = board.run(
            Path(command[0]), *command[1:], FAKE_CAMERA=str(film),
            NOTIFY_SOCKET=str(tmp_path / "notify"),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        systemd.setblocking(False)
        assert systemd.recv(100) == b"READY=1"
    # The journal's lines are JSON from the first on.
    assert {json.loads(line)["label"] for line in done.stdout.splitlines()} == {motion.CLASSES[6]}
