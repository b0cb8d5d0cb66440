"""`.rknn` files on a stand-in for a board, and what doctor tells of one and of the simulator."""

import signal
import sys

import numpy as np
import pytest
from fake_rknn import board, write_test_models
from models import grey_frames, levels
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
from r2p_edge.errors import BackendError, ModelError, UsageError
from r2p_edge.runtimes.base import Options
from r2p_edge.runtimes.rknn.chips import ROCKCHIPS, has_same_npu, npu_devices, rockchip_here
from r2p_edge.runtimes.rknn.runtime import Rknn
from r2p_edge.runtimes.rknn.trial import model_of_chip

pytestmark = [needs("onnx"), needs("onnxruntime")]


def lite():
    return sys.modules["rknnlite.api"].RKNNLite


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
    for given in ({"cache": tmp_path}, {"threads": 4}):
        with pytest.raises(UsageError, match=r"rknn has neither threads nor a cache"):
            Rknn.open(rock, spec, Options(**given))
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


def test_an_answer_is_a_new_array(rock):
    with Predictor(rock) as predictor:
        one, other = (predictor._runtime.run(clip(1, 2, 3, 4)) for _ in range(2))
    assert one is not other
    assert np.array_equal(one, other)
