"""ONNX artifacts as MindSpore Lite models, or kits."""

import json
import os
import sys
import tempfile
from types import SimpleNamespace

import fake_ascend
import numpy as np
import onnx
import pytest
from exit_codes import BACKEND
from fake_mindspore_lite import VERSIONS, installed
from models import brightness_model, grey_frames, levels, spec_of_brightness
from requirements import needs

from r2p_edge import Predictor
from r2p_edge.artifact.open import open_artifact
from r2p_edge.artifact.sidecar import write_sidecar
from r2p_edge.cli import main
from r2p_edge.errors import (
    BackendError,
    MissingDependencyError,
    ModelError,
    OutputError,
    ParityError,
    SpecError,
    UsageError,
)
from r2p_edge.export import build
from r2p_edge.export.targets.mindspore_lite.config import converter_config, full_quant_config
from r2p_edge.export.targets.mindspore_lite.export import mindspore_lite_from_onnx, plan_lite
from r2p_edge.export.verify.synthetic_clips import input_from_clips, verification_clips
from r2p_edge.runtimes import RUNTIMES, ascend
from r2p_edge.runtimes.base import Options
from r2p_edge.runtimes.mindspore_lite import MindSporeLite
from r2p_edge.spec import InputSpec

pytestmark = [pytest.mark.slow, needs("onnx"), needs("onnxruntime")]


@pytest.fixture
def row(monkeypatch):
    """The library's row in the table of runtimes."""
    entry = RUNTIMES["onnxruntime"]._replace(
        module="r2p_edge.runtimes.mindspore_lite", type="MindSporeLite", suffixes=(".mindir",)
    )
    monkeypatch.setitem(RUNTIMES, "mindspore_lite", entry)


@pytest.fixture
def card(tmp_path, monkeypatch):
    """An Ascend 310P in this machine, and mindspore_lite."""
    folder = tmp_path / "dev"
    folder.mkdir()
    (folder / "davinci0").touch()
    monkeypatch.setattr(ascend, "_DEVICE_FILES", folder)
    with installed(chip="Ascend310P3"):
        yield


def check(path, spec, converter):
    """The artifact is proven, says what it is, and answers."""
    assert spec.target == {"runtime": "mindspore_lite", "device": "cpu", "converter": converter}
    assert (spec.precision, spec.parity["computed_in"]) == ("fp32", "fp32")
    assert spec.parity["reference"] == "onnx"
    assert spec.parity["max_rel"] <= 1e-6
    assert spec.parity["runtime"].endswith(" on cpu")
    write_sidecar(path, spec)
    with Predictor(path, runtime="mindspore_lite") as predictor:
        assert levels(predictor.predict(grey_frames([3, 9, 0, 6], 8, 8))) == [3, 9, 0, 6]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_python_class_converts_for_the_cpu(tmp_path, source, row, version):
    path = tmp_path / "out put.mindir"
    with installed(version):
        spec = mindspore_lite_from_onnx(source, path)
        check(path, spec, "mindspore_lite.Converter")
        assert spec.built_with["mindspore_lite"] == version
        assert spec.parity["runtime"] == f"mindspore_lite {version} on cpu"
    assert spec.contract_digest() == spec_of_brightness().contract_digest()


@pytest.mark.parametrize("how", ["PATH", "variable", "both"])
def test_the_program_converts_for_the_cpu(tmp_path, source, row, program, monkeypatch, how):
    if how != "PATH":
        monkeypatch.setenv("R2P_CONVERTER_LITE", str(program))
        monkeypatch.setenv("PATH", "/usr/bin:/bin")
    if how == "both":  # what was named wins over what is there
        monkeypatch.delenv("FAKE_LITE_WITHOUT_CONVERTER")
    path = tmp_path / "other.mindir"
    spec = mindspore_lite_from_onnx(source, path)
    check(path, spec, "converter_lite")
    assert "mindspore_lite" not in spec.built_with


def test_nothing_to_convert_with(tmp_path, source, monkeypatch, lite):
    monkeypatch.setenv("FAKE_LITE_WITHOUT_CONVERTER", "1")
    with pytest.raises(MissingDependencyError, match=r"no MindSpore Lite converter here; download"):
        mindspore_lite_from_onnx(source, tmp_path / "model.mindir")
    monkeypatch.setitem(sys.modules, "mindspore_lite", None)
    with pytest.raises(MissingDependencyError, match=r"; or build an \.om with examples/atlas/bu"):
        mindspore_lite_from_onnx(source, tmp_path / "model.mindir", device="ascend310p")
    # For the CPU nothing is written that was not run.
    with pytest.raises(MissingDependencyError, match="mindspore_lite is not installed; it is not"):
        mindspore_lite_from_onnx(source, tmp_path / "model.mindir")


def test_a_network_of_2d_convolutions_runs_on_the_cpu(tmp_path, lite, lowered_motion_model):
    path = tmp_path / "motion.mindir"
    spec = mindspore_lite_from_onnx(lowered_motion_model, path)
    assert (spec.graph, spec.parity["clips"]) == ("conv2d", 3)
    # The parity record of what it was made from stays.
    assert spec.parity["onnx"] == open_artifact(lowered_motion_model).spec.parity
    model = MindSporeLite.open(path, spec, Options())
    batch = np.random.default_rng(0).integers(0, 256, model.input_shape, np.uint8)
    assert model.run(batch).shape == (1, len(spec.labels))


@pytest.mark.parametrize("device", ["cpu", "ascend310b"])
def test_3d_convolutions_are_refused_where_there_are_none(tmp_path, lite, motion_model, device):
    with pytest.raises(ModelError, match=r"input of rank 5.*; export with --graph conv2d"):
        mindspore_lite_from_onnx(motion_model, tmp_path / "motion.mindir", device=device)
    assert not list(tmp_path.iterdir())


def test_3d_convolutions_on_an_ascend(tmp_path, card, motion_model):
    path = tmp_path / "motion.mindir"
    spec = mindspore_lite_from_onnx(motion_model, path, device="ascend310p")
    assert (spec.precision, spec.graph) == ("fp16", "conv3d")
    assert spec.target == {
        "runtime": "mindspore_lite",
        "device": "ascend310p",
        "chip": "Ascend310P3",
        "converter": "mindspore_lite.Converter",
    }
    assert spec.parity["cosine"] >= 0.999
    assert spec.parity["runtime"] == "mindspore_lite 2.7.0 on ascend"
    with pytest.raises(ModelError, match=r"was made for ascend310p and cannot run on cpu"):
        MindSporeLite.open(path, spec, Options(device="cpu"))


def test_an_export_builds_the_second_form_where_the_first_is_refused(
    tmp_path, card, motion_model, monkeypatch, caplog
):
    monkeypatch.setenv("FAKE_LITE_CONVERTER", "conv3d")
    (built,) = build.build(motion_model, targets=["ascend310p"], out=tmp_path / "out").built
    assert (built.path.name, built.status) == ("motion-fp16-conv2d-ascend310p.mindir", "built")
    assert built.spec.parity["cosine"] >= 0.999
    assert "is not 1 or 2" in caplog.text
    assert "so the form without 3-D convolutions is built" in caplog.text
    chosen = {"targets": ["ascend310p"], "out": tmp_path / "other", "graph": "conv3d"}
    with pytest.raises(ModelError, match="is not 1 or 2"):
        build.build(motion_model, **chosen)


@pytest.fixture(params=["acl", "npu-smi"])
def known_card(request, card, tmp_path, monkeypatch):
    """The Ascend 310P again, whose chip one of these names."""
    if request.param == "acl":
        with fake_ascend.installed("Ascend310P3"):
            yield
        return
    program = tmp_path / "npu-smi"
    program.write_text("#!/bin/sh\necho '+====+'\necho '| 0       310P3      | OK   |'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    yield


def test_a_model_for_another_chip_is_not_tried_on_this_one(tmp_path, known_card, source):
    path = tmp_path / "other.mindir"
    spec = mindspore_lite_from_onnx(source, path, device="ascend310b")
    assert (spec.target["chip"], spec.parity) == ("Ascend310B4", None)  # unverified, and there
    with pytest.raises(ModelError, match="was built for an Ascend310B4 and this machine has an As"):
        MindSporeLite.open(path, spec, Options())
    spec = mindspore_lite_from_onnx(source, path, device="ascend310p")
    assert spec.parity["runtime"] == "mindspore_lite 2.7.0 on ascend"


@pytest.mark.parametrize(
    ("device", "chip"),
    [("ascend310", "Ascend310"), ("ascend310p", "Ascend310P3"), ("ascend310b", "Ascend310B4")],
)
def test_for_an_ascend_that_is_elsewhere(tmp_path, source, program, monkeypatch, device, chip):
    monkeypatch.setitem(sys.modules, "mindspore_lite", None)  # the program alone
    spec = mindspore_lite_from_onnx(source, tmp_path / "other.mindir", device=device)
    assert spec.parity is None
    assert (spec.precision, spec.target["device"], spec.target["chip"]) == ("fp16", device, chip)
    header = (tmp_path / "other.mindir").read_bytes().split(b"\n")[0]
    assert b'"optimize": "ascend_oriented"' in header
    assert f'"chip": "{chip}"'.encode() in header


def test_the_config_reaches_the_converter_and_wins(tmp_path, source, lite):
    config = converter_config(
        {
            "acl_init_options": {"ge.socVersion": "Ascend310B1"},
            "ascend_context": {"precision_mode": "enforce_fp16"},
        }
    )
    path = tmp_path / "other.mindir"
    spec = mindspore_lite_from_onnx(source, path, device="ascend310b", config=config)
    assert spec.target["chip"] == "Ascend310B1"
    header = path.read_bytes().split(b"\n")[0]
    assert b'"ascend_context": {"precision_mode": "enforce_fp16"}' in header
    assert b'"chip": "Ascend310B1"' in header
    # One that the converter itself refuses.
    with pytest.raises(ModelError, match=r"INPUT ILLEGAL: `quant` is not supported in \[common_q"):
        mindspore_lite_from_onnx(source, path, config="[common_quant_param]\nquant=8\n")


def test_a_parity_that_is_missed_writes_nothing(tmp_path, source, lite, monkeypatch):
    monkeypatch.setenv("FAKE_LITE_WRONG", "1")
    with pytest.raises(ParityError, match="the MindSpore Lite model does not answer as its source"):
        mindspore_lite_from_onnx(source, tmp_path / "other.mindir")
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_a_full_disk(tmp_path, source, lite, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        mindspore_lite_from_onnx(source, tmp_path / "other.mindir")
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_a_new_file_has_a_new_sidecar(tmp_path, source, lite):
    path = tmp_path / "other.mindir"
    mindspore_lite_from_onnx(source, path)
    brightness_model(source, factor=2.0)
    mindspore_lite_from_onnx(source, path)
    assert open_artifact(path).verified


def test_refusals(tmp_path, source, lite):
    with pytest.raises(UsageError, match=r"must end in \.mindir"):
        mindspore_lite_from_onnx(source, tmp_path / "model.ms")
    with pytest.raises(UsageError, match=r"device is 'ascend'; it must be one of cpu, ascend310, "):
        mindspore_lite_from_onnx(source, tmp_path / "model.mindir", device="ascend")
    with pytest.raises(OutputError, match="there is no folder"):
        mindspore_lite_from_onnx(source, tmp_path / "absent" / "model.mindir")
    bare = brightness_model(tmp_path / "bare.onnx", embed=False)
    with pytest.raises(SpecError, match="carries no r2p_edge spec"):
        mindspore_lite_from_onnx(bare, tmp_path / "model.mindir")
    half = brightness_model(tmp_path / "half.onnx", spec_of_brightness(precision="fp16"))
    with pytest.raises(UsageError, match="is fp16; Lite converts fp32, so export it so"):
        mindspore_lite_from_onnx(half, tmp_path / "model.mindir")
    spec = spec_of_brightness()
    named = spec.replace(input=spec.input.__class__(name="clip:0"))
    path = brightness_model(tmp_path / "named.onnx", named)
    with pytest.raises(ModelError, match=r"clip:0 \(input\): ':' in its name"):
        mindspore_lite_from_onnx(path, tmp_path / "model.mindir")
    odd = onnx.load(source)
    odd.graph.node[0].op_type = "Wobble"
    odd.graph.node[0].domain = "com.example"
    odd.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    onnx.save(odd, tmp_path / "odd.onnx")
    with pytest.raises(ModelError, match="Wobble"):
        mindspore_lite_from_onnx(tmp_path / "odd.onnx", tmp_path / "model.mindir")
    assert not (tmp_path / "model.mindir").exists()


FLOATS = InputSpec(dtype="float32", layout="NCTHW", normalized_in_graph=False)


CALIBRATION = np.stack([grey_frames(frames, 8, 8) for frames in ([0, 20, 40, 60], [100, 7, 7, 7])])


@pytest.fixture
def floats(tmp_path):
    """A model whose logits are the levels, and whose one layer sees levels / 255."""
    return brightness_model(tmp_path / "in.onnx", spec_of_brightness(input=FLOATS), factor=255.0)


def made_of(path):
    """Return the notes of the stand-in on a conversion."""
    return json.loads(path.read_bytes().split(b"\n")[0].removeprefix(b"FAKE MINDIR "))


@pytest.mark.parametrize("kind", ["class", "program"])
def test_int8_is_calibrated_on_the_clips(tmp_path, floats, program, monkeypatch, kind):
    if kind == "class":
        monkeypatch.delenv("FAKE_LITE_WITHOUT_CONVERTER")
    temporary = tmp_path / "a, b: 'c' = d"  # none of which the converter can read
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    path = tmp_path / "out.mindir"
    spec = mindspore_lite_from_onnx(floats, path, calibration=CALIBRATION)
    assert open_artifact(path).spec == spec
    assert (spec.precision, spec.target["device"]) == ("int8", "cpu")
    assert spec.calibration == {"method": "minmax", "profile": "mindspore-lite", "clips": 2}
    # Far brighter than what it was calibrated on, which is told and nothing more.
    assert spec.parity["max_rel"] > 0.1
    assert "tolerance" not in spec.parity
    assert (spec.parity["reference"], spec.parity["computed_in"]) == ("onnx", "int8")

    made = made_of(path)
    assert made["ranges"] == {"levels": [0, pytest.approx(100 / 255, 1e-5)]}
    assert made["config"] == {
        "common_quant_param": {"quant_type": "FULL_QUANT", "bit_num": "8"},
        "data_preprocess_param": {
            "calibrate_path": "frames:calibration",
            "calibrate_size": "2",
            "input_type": "BIN",
        },
        "full_quant_param": {
            "activation_quant_method": "MAX_MIN",
            "bias_correction": "true",
            "per_channel": "true",
        },
    }
    model = MindSporeLite.open(path, spec, Options())
    assert model.precision == "int8"
    clip = grey_frames([3, 51, 99, 200], 8, 8)
    (found,) = model.run(input_from_clips(clip[None], spec))
    step = 100 / 255
    np.testing.assert_allclose(found, [8 * step, 130 * step, 252 * step, 100], 1e-4)
    assert not list(temporary.iterdir())


def test_a_release_before_2_0(tmp_path, floats, monkeypatch):
    """Its signatures are those of the API pages of 1.8 to 2.0.0-alpha."""

    class Context:
        def __init__(self, thread_num=None, inter_op_parallel_num=None):
            self.thread_num = thread_num

    class Converter:
        def __init__(self, fmk_type, model_file, output_file, weight_file="", config_file=""):
            raise AssertionError("it is not tried")

    old = SimpleNamespace(__version__="1.10.0", Context=Context, Converter=Converter)
    monkeypatch.setitem(sys.modules, "mindspore_lite", old)
    message = r"mindspore_lite 1\.10\.0 is too old; 2\.0\.0 or later is needed, so download"
    path = tmp_path / "out.mindir"
    for device in ("cpu", "ascend310p"):
        with pytest.raises(BackendError, match=message):
            mindspore_lite_from_onnx(floats, path, device=device)
    with pytest.raises(BackendError, match=message):
        MindSporeLite.open(path, spec_of_brightness(), Options())
    code = main(["export", str(floats), "--to", "mindspore-lite", "--out", str(tmp_path / "made")])
    assert code == BACKEND
    assert [file.name for file in tmp_path.iterdir()] == ["in.onnx"]


def test_2_0_makes_no_int8(tmp_path, floats):
    """And the stand-in for it fails as the real one does, if it is asked all the same."""
    config = full_quant_config(spec_of_brightness(input=FLOATS), "clips", 1)
    with installed("2.0.0"):
        with pytest.raises(
            BackendError, match=r"mindspore_lite 2\.0\.0 cannot make an int8 model:"
        ):
            mindspore_lite_from_onnx(floats, tmp_path / "out.mindir", calibration=CALIBRATION)
        with pytest.raises(ModelError, match=r"LoadMindIR\] ParseFromArray failed"):
            mindspore_lite_from_onnx(floats, tmp_path / "out.mindir", config=config)
    assert [file.name for file in tmp_path.iterdir()] == ["in.onnx"]


def test_a_network_in_int8(tmp_path, lite):
    (source,) = build.build(
        "motion", targets=["onnx"], graph="conv2d", input="float32", out=tmp_path
    ).built
    clips = verification_clips(source.spec, 4)
    path = tmp_path / "motion.mindir"
    spec = mindspore_lite_from_onnx(source.path, path, calibration=clips, method="percentile")
    assert 0 < spec.parity["max_rel"] < 0.05
    assert spec.parity["cosine"] > 0.999
    assert (spec.calibration["method"], spec.calibration["clips"]) == ("percentile", 4)
    made = made_of(path)
    assert made["config"]["full_quant_param"]["activation_quant_method"] == "REMOVAL_OUTLIER"
    shown = input_from_clips(clips, spec)
    assert made["ranges"]["bn1.transpose"] == [shown.min(), shown.max()]


def test_the_plan_of_int8_says_what_is_known_of_the_clips(floats):
    record = {"manifest_sha256": "0" * 64, "clips": 200}
    spec = plan_lite(floats, "cpu", "int8", method="entropy", record=record)
    assert spec.calibration == {**record, "method": "entropy", "profile": "mindspore-lite"}
    assert plan_lite(floats, "cpu") == plan_lite(floats, "cpu", "fp32")
    assert plan_lite(floats, "cpu").calibration is None


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("[data_preprocess_param]\ncalibrate_size=3", "file count less than calibrate size"),
        ("[data_preprocess_param]\ncalibrate_size=0", r"size should in \[1, 65535\]"),
        ("[data_preprocess_param]\ncalibrate_path=input:calibration", "Cant find input:frames"),
        ("[data_preprocess_param]\ncalibrate_path=frames:clips", "cant open dir: clips"),
        ("[data_preprocess_param]\ninput_type=IMAGE", "unsupported or invalid format"),
        ("[common_quant_param]\nbit_num=4", "bit_num must be 8"),
        ("[full_quant_param]\nactivation_quant_method=MEAN", r"must be MAX_MIN\|KL\|REMOVAL_OUTL"),
    ],
)
def test_the_callers_settings_win_and_the_converter_refuses_them(
    tmp_path, floats, lite, setting, message
):
    path = tmp_path / "out.mindir"
    with pytest.raises(ModelError, match=message):
        mindspore_lite_from_onnx(floats, path, calibration=CALIBRATION, config=setting + "\n")
    assert not path.exists()


def test_clips_of_another_size(tmp_path, floats, lite):
    with pytest.raises(ModelError, match="not consistent with model input, file_size: 768 input"):
        mindspore_lite_from_onnx(
            floats, tmp_path / "out.mindir", calibration=CALIBRATION[:, :, :4, :4]
        )


def test_no_room_for_the_clips(tmp_path, floats, lite, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(type(tmp_path), "write_bytes", full)
    with pytest.raises(OutputError, match=r"2 clips .* cannot be written to .*: No space left"):
        mindspore_lite_from_onnx(floats, tmp_path / "out.mindir", calibration=CALIBRATION)
    assert [file.name for file in tmp_path.iterdir()] == ["in.onnx"]


def test_refusals_of_int8(tmp_path, floats, lite, motion_model):
    path = tmp_path / "out.mindir"
    with pytest.raises(UsageError, match="no precision int8 on ascend310p; it has fp16"):
        mindspore_lite_from_onnx(floats, path, device="ascend310p", calibration=CALIBRATION)
    with pytest.raises(UsageError, match="no precision fp16 on cpu; it has fp32, int8"):
        plan_lite(floats, "cpu", "fp16")
    with pytest.raises(UsageError, match=r"method is median; they must .* minmax, percentile, en"):
        mindspore_lite_from_onnx(floats, path, calibration=CALIBRATION, method="median")
    with pytest.raises(UsageError, match="there are no clips to calibrate an int8 model on"):
        mindspore_lite_from_onnx(floats, path, calibration=CALIBRATION[:0])
    with pytest.raises(ModelError, match=r"input of rank 5.*; export with --graph conv2d"):
        mindspore_lite_from_onnx(motion_model, path, calibration=CALIBRATION)
    spec = spec_of_brightness(input=FLOATS)
    for batch, what in ((2, "2"), ("batch", "any number of")):
        several = brightness_model(tmp_path / "in.onnx", spec, batch=batch)
        with pytest.raises(UsageError, match=f"takes {what} clips at once, .* with --batch 1"):
            mindspore_lite_from_onnx(several, path, calibration=CALIBRATION)
    named = spec.replace(input=InputSpec("the frames", "float32", "NCTHW", False))
    with pytest.raises(UsageError, match="'the frames:calibration', which the converter cannot"):
        plan_lite(brightness_model(tmp_path / "in.onnx", named), "cpu", "int8")
    quantised = brightness_model(tmp_path / "in.onnx", spec.replace(precision="int8"))
    with pytest.raises(UsageError, match="is int8; Lite converts fp32, so export it so"):
        plan_lite(quantised, "cpu", "int8")
    assert not path.exists()
