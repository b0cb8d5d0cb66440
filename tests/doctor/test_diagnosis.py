"""What doctor says of a machine: that of the tests, broken ones, and poor ones."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from importlib import resources
from pathlib import Path

import fake_mindspore_lite
import numpy as np
import pytest
from requirements import needs

import r2p_edge
from r2p_edge import _isolated
from r2p_edge.doctor import diagnosis, probe
from r2p_edge.runtimes import cpu as _cpu
from r2p_edge.runtimes import mindspore_lite

ASSETS = Path(str(resources.files("r2p_edge") / "assets"))
INSTALL = {
    "onnxruntime": 'pip install "r2p_edge[onnxruntime]"',
    "openvino": 'pip install "r2p_edge[openvino]"',
}


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Puts a package of this name and this code in front of the one that is installed."""

    def library(name, code):
        folder = tmp_path / "libraries" / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(code)
        monkeypatch.syspath_prepend(folder.parent)

    return library


@pytest.fixture
def fake(monkeypatch):
    """What doctor finds out about a fake runtime with these devices."""

    def fake(devices, suffixes=".onnx", timeout=60.0):
        monkeypatch.setenv("FAKE_DEVICES", devices)
        monkeypatch.setenv("FAKE_SUFFIXES", suffixes)
        child = _isolated._COMMAND.replace("from r2p_edge", "import fake_runtime; from r2p_edge")
        monkeypatch.setattr(_isolated, "_COMMAND", child)
        return diagnosis.ask("fake", timeout)

    return fake


@pytest.fixture
def report():
    """A report in which all is well."""
    layers = dict.fromkeys(probe.LAYERS, "ok")
    fine = {"status": "ok", "version": "1.0", "reason": None, "install": None}
    return {
        "runtimes": {
            "onnxruntime": {**fine, "devices": [{"device": "cpu", **layers}]},
            "openvino": {
                **fine,
                "version": "2026.4.1-22982-e213a147257-releases/2026/4",
                "devices": [{"device": "cpu", **layers}, {"device": "gpu", **layers}],
            },
        },
        "decoders": {
            "pyav": {
                **fine,
                "libraries": {"libavcodec": "62.28.102"},
                "decoders": dict.fromkeys(probe._DECODERS, True),
            },
            "opencv": {**fine, "gstreamer": False},
        },
        "kernel": {"compiled": True, "reason": None, "install": None},
        "packages": {name: {"version": "1.0", "install": None} for name in ("onnx", "torch")},
        "machine": {
            "os": "Linux-6.12.25+rpt-rpi-2712-aarch64-with-glibc2.36",
            "architecture": "aarch64",
            "cpu": "Raspberry Pi 5 Model B Rev 1.0",
            "cores": 4,
            "usable_cores": 4,
            "memory": 8 << 30,
            "python": "3.11.2",
            "r2p_edge": "0.1.0",
            "features": {"asimddp": True, "i8mm": False, "bf16": False, "sve": False},
            "int8": "fast",
        },
    }


# The machine of the tests.


@needs("onnxruntime")
@needs("openvino")
def test_runtimes_that_are_installed_compute_on_the_cpu():
    report = diagnosis.diagnose()
    assert report["ready"]
    for name in ("onnxruntime", "openvino"):
        found = report["runtimes"][name]
        assert found["version"][0].isdigit()
        assert found["install"] is None
        cpu = found["devices"][0]
        assert cpu == {"device": "cpu", "conv3d": "ok", "conv2d": "ok"}
        assert f"{name} on cpu" in report["summary"][0]
        if len(found["devices"]) == 1:
            assert (found["status"], found["reason"]) == ("ok", None)


@needs("mindspore")
def test_mindspore_computes_both_layers():
    found = diagnosis.ask("mindspore", 120)
    assert (found["status"], found["reason"]) == ("ok", None)
    assert found["devices"] == [{"device": "cpu", "conv3d": "ok", "conv2d": "ok"}]


def test_the_machine_and_its_decoders():
    report = diagnosis.diagnose()
    assert json.loads(json.dumps(report)) == report
    pyav = report["decoders"]["pyav"]
    assert pyav["status"] == "ok"
    assert set(pyav["decoders"]) == {"h264", "hevc", "mpeg4", "av1", "vp9", "mjpeg"}
    assert pyav["decoders"]["h264"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", pyav["libraries"]["libavcodec"])
    assert report["packages"]["onnx"]["version"]
    machine = report["machine"]
    assert machine["python"] == ".".join(map(str, sys.version_info[:3]))
    assert machine["r2p_edge"] == r2p_edge.__version__
    assert 1 <= machine["usable_cores"] <= machine["cores"]
    assert machine["memory"] is None or machine["memory"] > 1 << 28


def test_opencv_is_as_it_is_here():
    import cv2

    found = diagnosis.ask("opencv", 60)
    assert (found["status"], found["version"]) == ("ok", cv2.__version__)
    assert isinstance(found["gstreamer"], bool)


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


# Machines on which something is missing or broken.


def test_nothing_but_the_base_install(tmp_path, monkeypatch):
    blocked = ("onnx", "openvino", "mindspore", "cv2", "opencv", "torch", "__editable__")
    site = tmp_path / "site"
    site.mkdir()
    folders = [Path(entry) for entry in sys.path if entry.endswith("-packages")]
    for entry in itertools.chain(*(folder.iterdir() for folder in folders if folder.is_dir())):
        link = site / entry.name
        if not entry.name.startswith(blocked) and not link.exists():
            link.symlink_to(entry)
    if not (site / "r2p_edge").exists():
        (site / "r2p_edge").symlink_to(Path(r2p_edge.__file__).parent)
    rest = [entry for entry in sys.path if not entry.endswith("-packages")]
    monkeypatch.setattr(sys, "path", [str(site), *rest])

    report = diagnosis.diagnose()
    assert not report["ready"]
    assert report["summary"][0].startswith("Not ready: no runtime runs a model here (pip install ")
    for name, install in INSTALL.items():
        found = report["runtimes"][name]
        assert (found["status"], found["install"]) == ("missing", install)
        assert found["reason"] == f"{name} is not installed"
        assert found["devices"] == []
    opencv = report["decoders"]["opencv"]
    assert (opencv["status"], opencv["install"]) == ("missing", 'pip install "r2p_edge[opencv]"')
    assert report["decoders"]["pyav"]["status"] == "ok"
    for name, extra in (("onnx", "export"), ("torch", "torch")):
        package = {"version": None, "install": f'pip install "r2p_edge[{extra}]"'}
        assert report["packages"][name] == package


BROKEN = {
    "library": (
        'raise ImportError("libtbb.so.12: cannot open shared object file")',
        r"openvino is installed but cannot be imported \(libtbb.so.12: cannot open shared .*",
    ),
    "driver": (
        'raise RuntimeError("CUDA driver\\n  too old")',
        r"openvino .* cannot be imported \(CUDA driver too old\).*",
    ),
    "dependency": ("import a_package_that_is_nowhere", r".*a_package_that_is_nowhere.*"),
    "abort": (
        'import os, sys; print("Illegal\\tinstruction", file=sys.stderr, flush=True); os.abort()',
        rf"it ended Python \(signal {signal.SIGABRT:d}, .*\), which said last: Illegal instruction",
    ),
    "exit": ("raise SystemExit(0)", r"it ended Python \(exit code 0\)"),
    "message": (
        'import sys; sys.exit("no licence")',
        r"it ended Python \(exit code 1\), which said last: no licence",
    ),
}


@pytest.mark.parametrize(("code", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_runtime_that_cannot_be_imported(library, code, reason):
    library("openvino", code)
    report = diagnosis.diagnose()
    found = report["runtimes"]["openvino"]
    assert (found["status"], found["version"], found["install"]) == ("broken", None, None)
    assert re.fullmatch(reason, found["reason"])
    assert f"openvino: {found['reason']}" in report["summary"]
    assert report["decoders"]["pyav"]["status"] == "ok"


def test_an_import_that_hangs(library):
    library("openvino", "import time; time.sleep(600)")
    found = diagnosis.ask("openvino", 2)
    assert (found["status"], found["reason"]) == ("broken", "it did not finish within 2 s")


def test_a_process_that_outlives_the_hanging_import(library):
    sleep = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(20)'])"
    library("openvino", f"import subprocess, sys, time; {sleep}; time.sleep(600)")
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


def test_no_other_python_can_be_started(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    found = diagnosis.ask("pyav", 60)
    assert found["status"] == "broken"
    assert "could not be started (No such file or directory)" in found["reason"]


# Devices.


def test_devices_that_compute(fake):
    found = fake("cpu,rounded")
    assert (found["status"], found["version"], found["reason"]) == ("ok", "1.2.3", None)
    assert found["devices"] == [
        {"device": "cpu", "conv3d": "ok", "conv2d": "ok"},
        {"device": "rounded", "conv3d": "ok", "conv2d": "ok"},
    ]


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


def test_a_device_that_ends_the_process_keeps_what_was_known(fake, report):
    found = fake("cpu,crash,cpu2")
    cpu, crash, last = found["devices"]
    assert found["status"] == "failing"
    assert found["version"] == "1.2.3"
    assert cpu == {"device": "cpu", "conv3d": "ok", "conv2d": "ok"}
    assert crash["conv3d"] == "ok"
    assert crash["conv2d"].startswith(f"it ended Python (signal {signal.SIGABRT:d}, ")
    assert crash["conv2d"].endswith("which said last: bad address")
    assert last == {"device": "cpu2", "conv3d": "not checked", "conv2d": "not checked"}
    report["runtimes"]["openvino"] = found
    ready, (head, *troubles) = diagnosis._summary(report)
    assert ready
    assert head == "Ready: onnxruntime on cpu, openvino on cpu, openvino on crash (conv3d only)"
    assert troubles == [f"openvino on crash, conv2d: {crash['conv2d']}"]


def test_a_device_that_hangs(fake):
    found = fake("cpu,hang", timeout=5)
    cpu, hang = found["devices"]
    assert cpu == {"device": "cpu", "conv3d": "ok", "conv2d": "ok"}
    late = "it did not finish within 5 s"
    assert hang == {"device": "hang", "conv3d": late, "conv2d": "not checked"}


@pytest.mark.parametrize(
    ("devices", "reason"), [("", "fake finds no device"), ("driver", "the driver is too old")]
)
def test_no_device(fake, devices, reason):
    found = fake(devices)
    assert (found["status"], found["reason"]) == ("failing", reason)
    assert found["devices"] == []


def test_a_runtime_that_takes_no_test_model(fake, report):
    found = fake("cpu", suffixes=".engine")
    assert found["status"] == "unchecked"
    assert found["devices"] == [{"device": "cpu", "conv3d": "not checked", "conv2d": "not checked"}]
    report["runtimes"] = {"fake": found}
    ready, (head, *_) = diagnosis._summary(report)
    assert not ready
    assert head == "Not ready: no runtime runs a model here"


@needs("onnx")
@needs("onnxruntime")
def test_what_a_device_lacks_by_nature_is_no_defect(report, tmp_path, monkeypatch, capsys):
    found = probe.blank("mindspore_lite")
    with fake_mindspore_lite.installed():
        # The stand-in reads its own files only, and like the library refuses that of conv3d.
        made = {
            layer: fake_mindspore_lite.write_mindir(
                tmp_path / f"{layer}.mindir", ASSETS / f"{layer}.onnx"
            )
            for layer in probe.LAYERS
        }
        monkeypatch.setattr(probe, "_model", lambda layer, suffixes: made[layer])
        for _ in probe.check("mindspore_lite", found):
            assert found["status"] != "ok"
    assert (found["status"], found["reason"]) == ("ok", None)
    assert found["devices"] == [{"device": "cpu", "conv3d": "none", "conv2d": "ok"}]
    report["runtimes"] = {"mindspore_lite": found}
    ready, summary = diagnosis._summary(report)
    assert ready
    assert summary == [
        "Ready: mindspore_lite on cpu (conv2d only)",
        "mindspore_lite on cpu has no 3-D convolutions; export with --graph conv2d",
    ]
    cells = [line.split() for line in printed(report, capsys).splitlines()]
    assert ["mindspore_lite", "ok", "2.7.0", "cpu", "none", "ok"] in cells


# The test models.


@needs("onnx")
@pytest.mark.parametrize("layer", probe.LAYERS)
def test_the_test_models_are_what_this_makes(layer):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from r2p_edge.export.graph import builder as graph_builder

    batch, weights, bias, expected = probe.case(layer)
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node(
                    "Conv",
                    ["frames", "weights", "bias"],
                    ["logits"],
                    name=layer,
                    pads=[1] * 2 * (batch.ndim - 2),
                )
            ],
            layer,
            [helper.make_tensor_value_info("frames", TensorProto.FLOAT, batch.shape)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, expected.shape)],
            [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
        ),
        ir_version=graph_builder.IR_VERSION,
        opset_imports=[helper.make_opsetid("", graph_builder.OPSET)],
    )
    onnx.checker.check_model(model, full_check=True)
    made = model.SerializeToString(deterministic=True)
    assert made == (ASSETS / f"{layer}.onnx").read_bytes()
    assert len(made) < 4096


@pytest.mark.parametrize("layer", probe.LAYERS)
def test_the_mindir_models_have_the_same_weights(layer):
    _, weights, bias, _ = probe.case(layer)
    made = (ASSETS / f"{layer}.mindir").read_bytes()
    for array in (weights, bias):
        assert made.count(array.astype("<f4").tobytes()) == 1
    assert len(made) < 8192


@needs("mindspore")
@needs("onnx")
@pytest.mark.parametrize("layer", probe.LAYERS)
def test_the_mindir_models_are_what_this_makes(layer, tmp_path):
    from r2p_edge.export.graph import adapt
    from r2p_edge.export.targets.mindspore import export as mindspore_export
    from r2p_edge.runtimes.mindspore import MindSpore

    model = adapt.load(ASSETS / f"{layer}.onnx")
    made = mindspore_export._export(MindSpore.library(), model, np.float32, tmp_path)
    # Not byte for byte: MindSpore numbers its nodes per process, and their order varies.
    before, after = (
        sorted(re.findall(rb"REF::\w+", path.read_bytes()))
        for path in (ASSETS / f"{layer}.mindir", made)
    )
    assert before == after
    assert f"REF::{layer.title()[:-1]}D".encode() in after
    assert probe._run(MindSpore, made, "cpu", layer) == "ok"


def convolve(batch, weights, bias, padding=1):
    """The definition of a convolution, number by number."""
    widths = [(0, 0), (0, 0)] + [(padding, 2 - padding)] * (batch.ndim - 2)
    padded = np.pad(batch, widths)
    size = [length + 2 - kernel + 1 for length, kernel in zip(batch.shape[2:], weights.shape[2:])]
    output = np.zeros((1, len(weights), *size))
    for channel, *place in np.ndindex(output.shape[1:]):
        window = tuple(slice(start, start + 3) for start in place)
        total = (padded[(0, slice(None), *window)] * weights[channel]).sum()
        output[(0, channel, *place)] = total + bias[channel]
    return output


@pytest.mark.parametrize("layer", probe.LAYERS)
def test_expected_numbers_are_those_of_the_definition_and_of_no_other(layer):
    batch, weights, bias, expected = probe.case(layer)
    np.testing.assert_array_equal(convolve(batch, weights, bias), expected)
    mistakes = {
        "channels swapped": (batch[:, ::-1], weights, bias),
        "outputs swapped": (batch, weights[::-1], bias[::-1]),
        "no bias": (batch, weights, 0 * bias),
        "padding at one end": (batch, weights, bias, 0),
    }
    for axis in range(2, batch.ndim):
        mistakes[f"kernel mirrored along {axis}"] = (batch, np.flip(weights, axis), bias)
        mistakes[f"input mirrored along {axis}"] = (np.flip(batch, axis), weights, bias)
    for one, other in itertools.combinations(range(2, batch.ndim), 2):
        mistakes[f"{one} and {other} swapped"] = (batch, weights.swapaxes(one, other), bias)
    for name, arguments in mistakes.items():
        assert np.abs(convolve(*arguments) - expected).max() >= 1, name


@pytest.mark.parametrize("layer", probe.LAYERS)
def test_the_numbers_survive_bf16(layer):
    # bf16 has 8 significant bits: whole numbers up to 256.
    batch, weights, bias, _ = probe.case(layer)
    largest = convolve(np.abs(batch), np.abs(weights), np.abs(bias)).max()
    assert largest <= 256
    for array in (batch, weights, bias):
        np.testing.assert_array_equal(array, array.round())


# CPUs, as their kernels describe them.

RASPBERRY_PI_5 = """\
processor	: 0
BogoMIPS	: 108.00
Features	: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc \
dcpop asimddp
CPU implementer	: 0x41
CPU architecture: 8
CPU variant	: 0x4
CPU part	: 0xd0b
CPU revision	: 1

Revision	: d04170
Serial		: 0123456789abcdef
Model		: Raspberry Pi 5 Model B Rev 1.0
"""
RASPBERRY_PI_4 = """\
processor	: 0
BogoMIPS	: 108.00
Features	: fp asimd evtstrm crc32 cpuid
CPU implementer	: 0x41
CPU part	: 0xd08

Model		: Raspberry Pi 4 Model B Rev 1.4
"""
ORIN = """\
processor	: 0
model name	: ARMv8 Processor rev 1 (v8l)
BogoMIPS	: 62.50
Features	: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc \
dcpop asimddp uscat ilrcpc flagm paca pacg
CPU implementer	: 0x41
CPU part	: 0xd42
"""
GRAVITON_3 = """\
processor	: 0
Features	: fp asimd asimddp sve i8mm bf16 dgh rng
CPU implementer	: 0x41
CPU part	: 0xd40
"""
HASWELL = """\
processor	: 0
vendor_id	: GenuineIntel
model name	: Intel(R) Core(TM) i5-4590 CPU @ 3.30GHz
flags		: fpu sse sse2 ht ssse3 fma cx16 sse4_1 sse4_2 avx f16c avx2 bmi2

processor	: 1
model name	: Intel(R) Core(TM) i5-4590 CPU @ 3.30GHz
flags		: fpu
"""
SKYLAKE = "model name : Intel(R) Xeon(R) Gold 6148\nflags : ssse3 avx2 avx512f avx512bw avx512vl\n"
GOLDMONT = "model name : Intel(R) Celeron(R) J4125\nflags : sse2 ssse3 sse4_1 sse4_2 sha_ni\n"
ICE_LAKE = "model name : Intel(R) Xeon(R) 8375C\nflags : ssse3 avx2 avx512f avx512_vnni\n"
ALDER_LAKE = "model name : Intel(R) N100\nflags : ssse3 avx2 avx_vnni\n"
SAPPHIRE_RAPIDS = (
    "model name : Intel(R) Xeon(R) 8480+\n"
    "flags : ssse3 avx2 avx512f avx_vnni avx512_vnni avx512_bf16 amx_bf16 amx_tile amx_int8\n"
)
LOONGARCH = "Model Name : Loongson-3A5000\nFeatures : cpucfg lam ual fpu lsx lasx\n"


@pytest.mark.parametrize(
    ("text", "model", "present", "int8"),
    [
        (RASPBERRY_PI_5, "Raspberry Pi 5 Model B Rev 1.0", {"asimddp"}, "fast"),
        (RASPBERRY_PI_4, "Raspberry Pi 4 Model B Rev 1.4", set(), "slow"),
        (ORIN, "ARMv8 Processor rev 1 (v8l)", {"asimddp"}, "fast"),
        (
            GRAVITON_3,
            "implementer 0x41, part 0xd40",
            {"asimddp", "sve", "i8mm", "bf16"},
            "fast",
        ),
        (HASWELL, "Intel(R) Core(TM) i5-4590 CPU @ 3.30GHz", {"ssse3", "avx2"}, "saturating"),
        (SKYLAKE, "Intel(R) Xeon(R) Gold 6148", {"ssse3", "avx2", "avx512f"}, "saturating"),
        (GOLDMONT, "Intel(R) Celeron(R) J4125", {"ssse3"}, "saturating"),
        (ICE_LAKE, "Intel(R) Xeon(R) 8375C", {"ssse3", "avx2", "avx512f", "avx512_vnni"}, "fast"),
        (ALDER_LAKE, "Intel(R) N100", {"ssse3", "avx2", "avx_vnni"}, "fast"),
        (SAPPHIRE_RAPIDS, "Intel(R) Xeon(R) 8480+", set(_cpu._X86), "fast"),
        (LOONGARCH, None, None, "unknown"),
        ("", None, None, "unknown"),
    ],
    # Not the sets: their order differs from process to process, and pytest-xdist compares names.
    ids=lambda value: value[:12].strip() if isinstance(value, str) else None,
)
def test_cpuinfo(text, model, present, int8):
    cpu = _cpu.from_cpuinfo(text)
    assert cpu.model == model
    assert cpu.int8 == int8
    if present is None:
        assert cpu.features is None
    else:
        assert set(cpu.features) == set(_cpu._ARM if "implementer" in text else _cpu._X86)
        assert {name for name, there in cpu.features.items() if there} == present


def test_a_board_is_named():
    board = "NVIDIA Jetson AGX Orin Developer Kit\0"
    assert _cpu.from_cpuinfo(ORIN, board).model == "NVIDIA Jetson AGX Orin Developer Kit"


M2 = """\
hw.optional.AdvSIMD: 1
hw.optional.arm.FEAT_DotProd: 1
hw.optional.arm.FEAT_BF16: 1
hw.optional.arm.FEAT_I8MM: 1
machdep.cpu.brand_string: Apple M2
"""
INTEL_MAC = """\
hw.optional.supplementalsse3: 1
hw.optional.avx2_0: 1
hw.optional.avx512f: 0
machdep.cpu.brand_string: Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz
"""


@pytest.mark.parametrize(
    ("text", "model", "present", "int8"),
    [
        (M2, "Apple M2", {"asimddp", "bf16", "i8mm"}, "fast"),
        (
            INTEL_MAC,
            "Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz",
            {"ssse3", "avx2"},
            "saturating",
        ),
        ("machdep.cpu.brand_string: Apple M1\n", "Apple M1", None, "unknown"),
    ],
    ids=["M2", "Intel", "unknown"],
)
def test_sysctl(text, model, present, int8):
    cpu = _cpu.from_sysctl(text)
    assert (cpu.model, cpu.int8) == (model, int8)
    named = {name for name, there in (cpu.features or {}).items() if there}
    assert named == (present or set())


def test_the_cpu_of_a_mac_is_asked_for(tmp_path, monkeypatch):
    sysctl = tmp_path / "sysctl"
    sysctl.write_text(f"#!/bin/sh\ncat <<'END'\n{M2}END\n")
    sysctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert _cpu.read_cpu() == _cpu.from_sysctl(M2)
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert _cpu.read_cpu() == (None, None)


def test_a_system_that_tells_nothing(monkeypatch):
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: (_ for _ in ()).throw(OSError()))
    assert _cpu.read_cpu() == (None, None)


# The verdict, and what is printed.


def test_all_is_well(report):
    ready, summary = diagnosis._summary(report)
    assert ready
    assert summary == ["Ready: onnxruntime on cpu, openvino on cpu, openvino on gpu"]


def without_extension(report):
    report["kernel"] = {"compiled": False, "reason": "no module", "install": "compile it"}


def without_extension_and_opencv(report):
    without_extension(report)
    report["decoders"]["opencv"]["status"] = "missing"


def without_pyav(report):
    report["decoders"]["pyav"] |= {"status": "broken", "reason": "no libz", "decoders": {}}


def without_runtimes(report):
    for name, found in report["runtimes"].items():
        found |= {"status": "missing", "version": None, "devices": [], "install": INSTALL[name]}


def without_av1(report):
    report["decoders"]["pyav"]["decoders"]["av1"] = False


@pytest.mark.parametrize(
    ("spoil", "ready", "sentences"),
    [
        (
            without_extension,
            True,
            ["C++ extension: no module; OpenCV and NumPy preprocess instead, slower"],
        ),
        (without_extension_and_opencv, False, ["no frame can be preprocessed"]),
        (without_pyav, False, ["Not ready: no video can be read", "pyav: no libz"]),
        (
            without_runtimes,
            False,
            [f"Not ready: no runtime runs a model here ({INSTALL['onnxruntime']})"],
        ),
        (without_av1, True, ["pyav: its FFmpeg cannot decode av1"]),
    ],
)
def test_the_verdict(report, spoil, ready, sentences):
    spoil(report)
    found, summary = diagnosis._summary(report)
    assert found is ready
    assert summary[0].startswith("Ready: " if ready else "Not ready: ")
    for sentence in sentences:
        assert sentence in "\n".join(summary)


@pytest.mark.parametrize(
    ("bits", "libc", "sentence"),
    [
        (2**31 - 1, "glibc", "this Python has 32 bits"),
        (2**63 - 1, "musl", "this Linux does not use glibc"),
        (2**63 - 1, "glibc", None),
    ],
)
def test_platforms_without_wheels(report, monkeypatch, bits, libc, sentence):
    monkeypatch.setattr(sys, "maxsize", bits)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.libc_ver", lambda: (libc, "1"))
    assert len(diagnosis._summary(report)[1]) == 1
    without_runtimes(report)
    summary = diagnosis._summary(report)[1]
    assert len(summary) == 1 + bool(sentence)
    assert summary[-1].startswith(sentence or "Not ready")


def test_an_extension_that_cannot_be_loaded(monkeypatch):
    # None stands for a module whose import failed.
    monkeypatch.setitem(sys.modules, "r2p_edge.preprocess._frames", None)
    monkeypatch.setattr("r2p_edge.preprocess.preprocessor.compiled", False)
    found = diagnosis._kernel()
    assert (found["compiled"], found["reason"]) == (
        False,
        "import of r2p_edge.preprocess._frames halted; None in sys.modules",
    )
    assert "C++ compiler" in found["install"]


def spoiled(report):
    """The report with all that is missing and broken at once."""
    without_extension(report)
    without_runtimes(report)
    report["runtimes"]["openvino"] |= {
        "install": None,
        "version": "2026.4.1-22982-e213a147257-releases/2026/4",
        "status": "failing",
        "devices": [{"device": "gpu", "conv3d": "no [kernel] " * 12, "conv2d": "not checked"}],
    }
    report["decoders"]["opencv"] |= {"status": "missing", "install": "pip install 'r[opencv]'"}
    report["packages"]["onnx"] = {"version": None, "install": 'pip install "r2p_edge[export]"'}
    report["machine"] |= {"cpu": None, "memory": None, "features": None, "int8": "unknown"}
    return report


def printed(report, capsys):
    ready, summary = diagnosis._summary(report)
    diagnosis.print_diagnosis({"ready": ready, "summary": summary, **report})
    return capsys.readouterr().out


@pytest.mark.parametrize("spoil", [lambda report: report, spoiled], ids=["well", "spoiled"])
def test_tables_fit_into_80_columns(report, spoil, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    text = re.sub("\x1b\\[[0-9;]*m", "", printed(spoil(report), capsys))
    assert max(map(len, text.splitlines())) <= 80
    for name in ("onnxruntime", "openvino", "2026.4.1", "PyAV", "INT8 on CPU", "conv3d"):
        assert name in text


@pytest.mark.parametrize("terminal", [True, False])
def test_an_address_is_not_cut(report, terminal, capsys, monkeypatch):
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "80")
    missing = {"status": "missing", "install": mindspore_lite._INSTALL}
    report["runtimes"]["mindspore_lite"] = {**probe.blank("mindspore_lite"), **missing}
    text = re.sub("\x1b\\[[0-9;]*m", "", printed(report, capsys))
    assert mindspore_lite.DOWNLOADS in text
    assert f"mindspore_lite is missing: {mindspore_lite._INSTALL}" in " ".join(text.split())
    if terminal:
        assert max(map(len, text.splitlines())) <= 80


def test_without_a_terminal_nothing_is_cut(report, capsys):
    report["machine"]["os"] = "Linux-" + "x" * 90
    assert report["machine"]["os"] in printed(report, capsys)


def test_tables_without_a_terminal(report, capsys):
    lines = [line.rstrip() for line in printed(report, capsys).splitlines()]
    assert lines[0] == "Ready: onnxruntime on cpu, openvino on cpu, openvino on gpu"
    assert max(map(len, lines)) <= 80
    cells = [line.split() for line in lines]
    assert ["openvino", "ok", "2026.4.1", "gpu", "ok", "ok"] in cells
    assert ["decoders", "h264,", "hevc,", "mpeg4,", "av1,", "vp9,", "mjpeg"] in cells


def test_what_is_missing_is_printed(report, capsys):
    text = printed(spoiled(report), capsys)
    first, second, third = text.splitlines()[:3]
    assert first == (
        'Not ready: no runtime runs a model here (pip install "r2p_edge[onnxruntime]"); no frame '
        "can be preprocessed without the C++ extension or OpenCV "
        '(pip install "r2p_edge[opencv]")'
    )
    assert second.startswith("openvino on gpu, conv3d: no [kernel] no [kernel]")
    assert third == "C++ extension: no module"
    cells = [line.split() for line in text.splitlines()]
    assert ["onnxruntime", "missing", "-", "-", "-", "-"] in cells
    assert ["openvino", "failing", "2026.4.1", "gpu", "failed", "not", "checked"] in cells
    assert ["onnxruntime", "missing:", "pip", "install", '"r2p_edge[onnxruntime]"'] in cells
    assert ["preprocessing", "slow;", "compile", "it"] in cells


def test_importing_doctor_brings_in_no_library():
    code = "import sys, r2p_edge.doctor; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"av", "cv2", "rich", "onnxruntime", "openvino", "onnx"} & set(done.stdout.split())
