"""`.rknn` files on a stand-in for a board, and on the simulator of a stand-in for the toolkit."""

import hashlib
import json
import logging
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fake_rknn import board, toolkit, write_test_models
from kserve import until
from models import brightness_model, grey_frames, levels, spec_of_brightness
from requirements import needs
from traps import (
    answers_for_other_memory_layouts,
    answers_outlive_the_next_run,
    answers_several_threads,
    clip,
    refuses_another_shape_of_as_many_bytes,
)

from r2p_edge import Predictor
from r2p_edge.doctor.probe import blank, steps
from r2p_edge.errors import BackendError, MissingDependencyError, ModelError, UsageError
from r2p_edge.runtimes.base import Options
from r2p_edge.runtimes.rknn.chips import ROCKCHIPS, has_same_npu, npu_devices, rockchip_here
from r2p_edge.runtimes.rknn.runtime import Rknn
from r2p_edge.runtimes.rknn.toolkit import toolkit_python, toolkit_reason
from r2p_edge.runtimes.rknn.trial import model_of_chip

pytestmark = [needs("onnx"), needs("onnxruntime")]


def lite():
    return sys.modules["rknnlite.api"].RKNNLite


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A `.rknn` for the RK3588 whose outputs are the brightness of the frames."""
    from r2p_edge.export.targets.rknn.export import rknn_from_onnx
    from r2p_edge.spec import InputSpec

    folder = tmp_path_factory.mktemp("rknn")
    plain = InputSpec(dtype="float32", layout="NCTHW", normalized_in_graph=False)
    pixels = {"scale": 1.0, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    source = brightness_model(folder / "model.onnx", spec_of_brightness(input=plain, **pixels))
    with toolkit(folder):
        rknn_from_onnx(source, folder / "model.rknn")
    return folder / "model.rknn"


@pytest.fixture
def rock(exported, tmp_path):
    with board(tmp_path):
        yield exported


@pytest.fixture
def pc(exported, tmp_path):
    with toolkit(tmp_path):
        yield exported


def test_a_board(rock):
    with Predictor(rock) as predictor:
        assert (predictor.runtime, predictor.device, predictor.precision) == ("rknn", "npu", "fp16")
        assert levels(predictor.predict(grey_frames([3, 9, 0, 6], 8, 8))) == [3, 9, 0, 6]
        assert answers_several_threads(predictor._runtime.run)
        assert refuses_another_shape_of_as_many_bytes(predictor._runtime.run)
        assert answers_for_other_memory_layouts(predictor._runtime.run)
        assert answers_outlive_the_next_run(predictor._runtime.run)
        runtime = predictor._runtime
    runtime.close()
    assert lite().opened[-1].released == 1
    with pytest.raises(BackendError, match=r"this model is closed"):
        runtime.run(clip(1, 2, 3, 4))


@pytest.mark.parametrize(("device", "mask"), [("npu", 0), ("npu:1", 2), ("npu:0_1_2", 7)])
def test_cores(rock, device, mask):
    with Predictor(rock, device=device) as predictor:
        assert predictor.device == device
        assert lite().opened[-1].core_mask == mask


def test_nothing_is_printed_among_the_answers(rock, capfd):
    with Predictor(rock):
        pass
    said = capfd.readouterr()
    assert said.out == ""
    assert "rknn-toolkit-lite2 version" in said.err


def test_what_a_board_refuses(rock, tmp_path, monkeypatch):
    with Predictor(rock) as predictor:
        spec = predictor.spec
    with pytest.raises(BackendError, match=r"no device 'npu:3' here; it has npu, npu:0, npu:1, np"):
        Rknn.open(rock, spec, Options(device="npu:3"))
    with pytest.raises(UsageError, match=r"rknn keeps no compiled models"):
        Rknn.open(rock, spec, Options(cache=tmp_path))
    with pytest.raises(BackendError, match=r"computes in fp16 and not in fp32"):
        Rknn.open(rock, spec, Options(precision="fp32"))
    other = spec.replace(input=spec.input.__class__(dtype="float32", layout="NCTHW"))
    with pytest.raises(ModelError, match=r"is to take float32 NCTHW .* takes uint8 NTHWC"):
        Rknn.open(rock, other, Options())
    fewer = spec.replace(labels=spec.labels[:3])
    with pytest.raises(BackendError, match=r"gave an output of shape .* for 3 classes"):
        Rknn.open(rock, fewer, Options()).run(clip(1, 2, 3, 4))
    monkeypatch.setenv("FAKE_RKNN_LIBRARY", "absent")
    with pytest.raises(BackendError, match=r"cannot start .* on npu: its reason is on stderr"):
        Rknn.open(rock, spec, Options())
    (tmp_path / "usr/lib/librknnrt.so").write_text("librknnrt version: 2.3.2 (429f97ae6b)")
    with pytest.raises(BackendError, match=r"librknnrt\.so is 2\.3\.2, older than the toolkit's 2"):
        Rknn.open(rock, spec, Options())
    with pytest.raises(ModelError, match=r"rknnlite cannot read .*none"):
        Rknn.open(tmp_path / "none.rknn", spec, Options())


def test_a_start_that_raises(rock, monkeypatch):
    def init_runtime(self):
        raise RuntimeError("no extension of the library")

    with Predictor(rock) as predictor:
        spec = predictor.spec
    monkeypatch.setattr(lite(), "init_runtime", init_runtime)
    with pytest.raises(BackendError, match=r"cannot start .* on npu: .*no extension of the libr"):
        Rknn.open(rock, spec, Options())
    assert lite().opened[-1].released == 1


def test_a_failure_while_it_runs(rock, monkeypatch):
    with Predictor(rock) as predictor:
        monkeypatch.setattr(lite(), "inference", lambda *_, **__: None)
        with pytest.raises(BackendError, match=r"rknnlite failed on npu; its reason is on stderr"):
            predictor._runtime.run(clip(1, 2, 3, 4))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_the_library_catches(rock, monkeypatch, number):
    """As rknn_lite.py does: `except:` around each call."""

    def inference(*_, **__):
        try:
            signal.raise_signal(number)
        except BaseException:
            return None
        return [np.zeros((1, 4), np.float32)]

    def end(*_):
        raise KeyboardInterrupt

    with Predictor(rock) as predictor:
        monkeypatch.setattr(lite(), "inference", inference)
        former = signal.signal(number, end)
        try:
            with pytest.raises(KeyboardInterrupt):
                predictor._runtime.run(clip(1, 2, 3, 4))
            assert signal.getsignal(number) is end
        finally:
            signal.signal(number, former)


def test_another_chip(exported, tmp_path):
    message = "for an RK3588 and this board has an RK3568; export"
    with board(tmp_path, "rk3568"), pytest.raises(ModelError, match=message):
        Predictor(exported)
    assert has_same_npu("rk3566", "rk3568")
    assert not has_same_npu("rk3576", "rk3588")


def test_the_chip_of_this_machine(tmp_path):
    assert rockchip_here() is None
    for chip in ROCKCHIPS:
        with board(tmp_path, chip):
            assert rockchip_here() == chip
    (tmp_path / "tree").write_bytes(b"radxa,rock-5a\0rockchip,rk3588s\0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("r2p_edge.runtimes.rknn.chips._COMPATIBLE", tmp_path / "tree")
        assert rockchip_here() == "rk3588"


def test_devices():
    assert npu_devices("rk3568") == ["npu"]
    assert npu_devices("rk3576") == ["npu", "npu:0", "npu:1", "npu:0_1"]
    assert npu_devices(None) == ["npu"]
    assert npu_devices("rk3588")[-1] == "npu:0_1_2"


# The simulator.


def test_the_simulator(pc, caplog):
    with Predictor(pc) as predictor:
        assert (predictor.device, predictor.precision) == ("simulator", "fp16")
        assert levels(predictor.predict(grey_frames([3, 9, 0, 6], 8, 8))) == [3, 9, 0, 6]
        assert answers_for_other_memory_layouts(predictor._runtime.run)
        process = predictor._runtime._session._simulation._process
    assert process.poll() is not None
    assert "runs on RKNN-Toolkit2's simulator, which computes the NPU's answers and" in caplog.text


def test_a_simulator_that_was_asked_for_says_nothing(pc, caplog):
    caplog.set_level(logging.WARNING)
    with Predictor(pc, device="simulator"):
        pass
    assert caplog.text == ""


def test_a_simulator_that_ends(pc, monkeypatch):
    monkeypatch.setenv("FAKE_RKNN", "dies")
    with Predictor(pc) as predictor:
        message = "simulator ended and said: inference: the simulator ran out of memory"
        with pytest.raises(BackendError, match=message):
            predictor._runtime.run(clip(1, 2, 3, 4))


def test_a_simulator_that_does_not_start(pc, monkeypatch):
    monkeypatch.setenv("FAKE_RKNN", "stuck")
    with pytest.raises(BackendError, match=r"simulator ended and said: build: the compiler failed"):
        Predictor(pc)


def test_a_simulator_that_has_ended_stays_so(pc, monkeypatch):
    monkeypatch.setenv("FAKE_RKNN", "dies")
    with Predictor(pc) as predictor:
        for _ in range(2):
            with pytest.raises(BackendError, match=r"simulator ended and said: inference: the sim"):
                predictor._runtime.run(clip(1, 2, 3, 4))


@pytest.mark.parametrize("classes", [3, 5])
def test_a_contract_of_other_classes_on_the_simulator(pc, classes):
    with Predictor(pc) as predictor:
        spec = predictor.spec
    labels = tuple(f"frame {number}" for number in range(classes))
    runtime = Rknn.open(pc, spec.replace(labels=labels), Options())
    for _ in range(2):
        with pytest.raises(BackendError, match=rf"of shape \(4,\) for {classes} classes"):
            runtime.run(clip(1, 2, 3, 4))
    runtime.close()


def interrupted_soon(process):
    """Stop a process, and interrupt this one, which is about to wait for it."""
    process.send_signal(signal.SIGSTOP)
    main = threading.main_thread().ident
    threading.Timer(0.3, signal.pthread_kill, [main, signal.SIGINT]).start()


def test_an_interrupted_answer_is_not_the_next_ones(pc):
    with Predictor(pc) as predictor:
        run = predictor._runtime.run
        process = predictor._runtime._session._simulation._process
        interrupted_soon(process)
        with pytest.raises(KeyboardInterrupt):
            run(clip(9, 9, 9, 9))
        assert process.poll() is not None
        with pytest.raises(BackendError, match=r"ended when a call was interrupted; open the mod"):
            run(clip(1, 2, 3, 4))


def test_an_interrupted_opening_ends_the_toolkit(pc, monkeypatch):
    started = []

    def popen(*arguments, **options):
        started.append(subprocess.Popen(*arguments, **options))
        interrupted_soon(started[0])
        return started[0]

    with Predictor(pc) as predictor:
        spec = predictor.spec
    fake = SimpleNamespace(**{**vars(subprocess), "Popen": popen})
    monkeypatch.setattr("r2p_edge.runtimes.rknn.toolkit.subprocess", fake)
    with pytest.raises(KeyboardInterrupt):
        Rknn.open(pc, spec, Options())
    assert started[0].poll() is not None


_BUILD = """
import sys
from r2p_edge.export.targets.program import run_program
from r2p_edge.runtimes.rknn import toolkit
command = toolkit.toolkit_command(toolkit.toolkit_python(), "build", sys.argv[1])
run_program(command, name="it", timeout=60, environment=toolkit.toolkit_environment())
"""


def test_a_build_ends_with_a_parent_that_is_killed(pc, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_RKNN", "slow")
    folder = tmp_path / "build"
    with zipfile.ZipFile(pc.with_name("model.rknn-source")) as archive:
        archive.extractall(folder)
    parent = subprocess.Popen([sys.executable, "-c", _BUILD, folder])
    until((folder / "begun").is_file)
    parent.kill()
    parent.wait()
    until(lambda: not is_running(int((folder / "begun").read_text() or 1)))


def test_what_the_toolkit_leaves_goes_with_the_model(pc, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    with Predictor(pc):
        assert len(list(temporary.iterdir())) == 1
        assert list(temporary.rglob("check.onnx"))
    assert list(temporary.iterdir()) == []


def is_running(number):
    try:
        state = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda file: file.unlink(), r"builds model\.rknn again from model\.rknn-source, which is"),
        (lambda file: file.write_bytes(b"other"), r"is not the file that model\.rknn was built"),
    ],
)
def test_the_file_of_the_simulator(pc, tmp_path, spoil, message):
    for file in pc.parent.glob("model.rknn*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    spoil(tmp_path / "model.rknn-source")
    with pytest.raises(ModelError, match=message):
        Predictor(tmp_path / "model.rknn")


@pytest.fixture
def copied(exported, tmp_path):
    """Copies the files of the export, with changes to what the sidecar tells of the build."""

    def copied(**target):
        for file in exported.parent.glob("model.rknn*"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
        sidecar = tmp_path / "model.rknn.json"
        fields = json.loads(sidecar.read_text())
        fields["spec"]["target"].update(target)
        sidecar.write_text(json.dumps(fields))
        return tmp_path / "model.rknn"

    return copied


def test_another_toolkit_than_the_one_that_built(pc, copied, caplog):
    with Predictor(copied(rknn_toolkit2="2.3.2"), device="simulator"):
        pass
    (said,) = caplog.messages
    assert "was built by RKNN-Toolkit2 2.3.2 and is built again by 2.5.0 here" in said


@pytest.mark.parametrize("file", ["", "/", 7, None])
def test_a_record_that_names_no_file_of_the_simulator(pc, copied, file):
    path = copied(simulated_from={"file": file, "sha256": "0" * 64})
    with pytest.raises(ModelError, match=r"names no file for the simulator; export the model"):
        Predictor(path)


def test_a_file_of_the_simulator_that_is_damaged_within(pc, copied):
    content = bytearray(pc.with_name("model.rknn-source").read_bytes())
    content[100] ^= 0xFF  # of the compressed model
    name, digest = "damaged.rknn-source", hashlib.sha256(content).hexdigest()
    path = copied(simulated_from={"file": name, "sha256": digest})
    path.with_name(name).write_bytes(content)
    with pytest.raises(ModelError, match=r"damaged\.rknn-source is damaged \(.*copy all files of"):
        Predictor(path)


def test_records_of_a_build_that_are_no_text(rock, copied, monkeypatch):
    with Predictor(copied(chip=3588, rknn_toolkit2=["2.5"])) as predictor:
        assert predictor.device == "npu"
    monkeypatch.setenv("FAKE_RKNN_LIBRARY", "absent")
    with pytest.raises(BackendError, match=r"rknnlite cannot start "):
        Predictor(copied(rknn_toolkit2=2.5))


def test_a_board_needs_no_file_of_the_simulator(rock, tmp_path):
    for name in ("model.rknn", "model.rknn.json"):
        (tmp_path / name).write_bytes((rock.parent / name).read_bytes())
    with Predictor(tmp_path / "model.rknn") as predictor:
        assert predictor.device == "npu"


def test_neither_is_here(exported, monkeypatch):
    monkeypatch.delenv("R2P_RKNN_PYTHON", raising=False)
    with pytest.raises(
        MissingDependencyError, match=r"pip install rknn-toolkit-lite2; or, for the"
    ):
        Predictor(exported)


def test_a_folder_that_is_called_like_the_package(tmp_path, monkeypatch):
    """The page's name for the toolkit's environment, in whose parent Python is started."""
    (tmp_path / "rknn").mkdir()
    monkeypatch.delenv("R2P_RKNN_PYTHON", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"RKNN-Toolkit2 is not here"):
        toolkit_python()


def told():
    """Return what doctor says: status, the results of the layers by device, version."""
    found = blank("rknn")
    for _ in steps("rknn", found):
        pass
    devices = {each["device"]: (each["conv3d"], each["conv2d"]) for each in found["devices"]}
    return found["status"], devices, found["version"]


def test_doctor_builds_a_layer_for_the_simulator(pc):
    assert told() == ("ok", {"simulator": ("none", "ok")}, "2.5.0")


def test_doctor_tells_of_a_simulator_that_does_not_start(pc, monkeypatch):
    monkeypatch.setenv("FAKE_RKNN", "stuck")
    status, devices, _ = told()
    assert status == "failing"
    reason = "RKNN-Toolkit2's simulator ended and said: build: the compiler failed"
    assert devices == {"simulator": ("none", reason)}


@pytest.fixture
def assets(tmp_path, monkeypatch):
    """Test models of each chip as the stand-in for the toolkit writes them."""
    folder = tmp_path / "assets"
    folder.mkdir()
    write_test_models(folder)
    monkeypatch.setattr("r2p_edge.runtimes.rknn.trial.ASSETS", folder)


@pytest.mark.parametrize("chip", ["rk3588", "rk3576", "rk3562"])
def test_doctor_runs_a_layer_on_each_core(assets, tmp_path, chip):
    with board(tmp_path, chip):
        expected = dict.fromkeys(npu_devices(chip), ("none", "ok"))
        assert told() == ("ok", expected, "2.5.0")


def test_doctor_tells_what_of_the_system_does_not_fit(assets, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_RKNN_LIBRARY", "absent")
    with board(tmp_path, "rk3568"):
        (tmp_path / "usr/lib/librknnrt.so").write_text("librknnrt version: 2.3.2 (429f97ae6b)")
        (tmp_path / "sys/module/rknpu/version").write_text("0.9.3")
        status, devices, _ = told()
    assert status == "failing"
    reason = devices["npu"][1]
    assert "on npu: the driver rknpu is 0.9.3, with which convolutions are known" in reason
    assert f"; {tmp_path}/usr/lib/librknnrt.so is 2.3.2, older than the toolkit's 2.5.0" in reason


def test_a_chip_without_a_test_model(tmp_path):
    with board(tmp_path, "rk3399"):
        status, devices, _ = told()
    assert status == "failing"
    assert devices["npu"][1].startswith("there is no test model for RK3399, but for RK3588, RK3576")


def test_doctor_where_neither_is_here(monkeypatch):
    monkeypatch.delenv("R2P_RKNN_PYTHON", raising=False)
    assert told()[0] == "missing"


def test_the_test_models_are_small_and_for_their_chips():
    for chip in ROCKCHIPS:
        path = model_of_chip("conv2d", chip)
        assert path.stat().st_size < 20_000
        assert path.read_bytes()[:4] == b"RKNN"
    assert model_of_chip("conv2d", "rk3566") == model_of_chip("conv2d", "rk3568")


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (
            "E RKNN: [12:00:00.1] Unkown op target: 0\nE RKNN: [1:2:3.4] Not Support\n",
            "Not Support",
        ),
        ("\x1b[1;31mE\x1b[0m \x1b[1;31mbuild: no dataset\x1b[0m\nmore", "build: no dataset"),
        ("Traceback ...\nValueError: bad\nI the end", "ValueError: bad"),
        ("first\nlast\n\n", "last"),
        ("", "nothing"),
    ],
)
def test_the_reason_in_a_log(log, reason):
    assert toolkit_reason(log) == reason


def test_an_answer_is_a_new_array(rock):
    with Predictor(rock) as predictor:
        one, other = (predictor._runtime.run(clip(1, 2, 3, 4)) for _ in range(2))
    assert one is not other
    assert np.array_equal(one, other)
