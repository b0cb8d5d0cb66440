"""ONNX to MindSpore Lite: one file for one device, proven or nothing, by a tool that may fail."""

import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import pytest
from fake_mindspore_lite import VERSIONS, install_program, installed
from models import brightness_model, grey_frames, levels, spec_of_brightness
from requirements import needs

from r2p_edge import Predictor
from r2p_edge.artifact.open import open_artifact
from r2p_edge.artifact.sidecar import write_sidecar
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
from r2p_edge.export.targets.mindspore_lite.config import (
    _KEYS,
    converter_config,
    full_quant_config,
    om_wrap_command,
    om_wrap_config,
)
from r2p_edge.export.targets.mindspore_lite.converter import Converter, find_converter
from r2p_edge.export.targets.mindspore_lite.export import mindspore_lite_from_onnx, plan_lite
from r2p_edge.export.verify.synthetic_clips import input_from_clips, verification_clips
from r2p_edge.runtimes import RUNTIMES, ascend
from r2p_edge.runtimes.base import Options
from r2p_edge.runtimes.mindspore_lite import MindSporeLite
from r2p_edge.spec import InputSpec

pytestmark = [needs("onnx"), needs("onnxruntime")]


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """No converter but the ones that a test installs."""
    monkeypatch.delenv("R2P_CONVERTER_LITE", raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


@pytest.fixture
def lite():
    with installed():
        yield


@pytest.fixture
def source(tmp_path):
    return brightness_model(tmp_path / "model.onnx")


@pytest.fixture
def program(tmp_path, monkeypatch, lite):
    """converter_lite on PATH, beside a mindspore_lite that was built without its converter."""
    monkeypatch.setenv("FAKE_LITE_WITHOUT_CONVERTER", "1")
    program = install_program(tmp_path / "mindspore-lite-2.7.0-linux-x64")
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program


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


def test_which_converter_is_taken(tmp_path, program, monkeypatch):
    assert find_converter() == Converter(program)
    assert Converter(program).environment()["LD_LIBRARY_PATH"].split(":")[0] == str(
        program.parents[1] / "lib"
    )
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/cann/lib64")
    assert Converter(program).environment()["LD_LIBRARY_PATH"].endswith("/lib:/opt/cann/lib64")
    monkeypatch.delenv("FAKE_LITE_WITHOUT_CONVERTER")
    assert find_converter() == Converter(None)
    monkeypatch.setenv("R2P_CONVERTER_LITE", str(tmp_path / "absent"))
    with pytest.raises(UsageError, match=r"R2P_CONVERTER_LITE is .*absent, which is no program"):
        find_converter()
    monkeypatch.delenv("R2P_CONVERTER_LITE")
    monkeypatch.setitem(sys.modules, "mindspore_lite", None)
    assert find_converter() == Converter(program)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert find_converter() is None


def test_nothing_to_convert_with(tmp_path, source, monkeypatch, lite):
    monkeypatch.setenv("FAKE_LITE_WITHOUT_CONVERTER", "1")
    with pytest.raises(MissingDependencyError, match=r"no MindSpore Lite converter here; download"):
        mindspore_lite_from_onnx(source, tmp_path / "model.mindir")
    monkeypatch.setitem(sys.modules, "mindspore_lite", None)
    with pytest.raises(MissingDependencyError, match="no MindSpore Lite converter here"):
        mindspore_lite_from_onnx(source, tmp_path / "model.mindir", device="ascend310p")
    # For the CPU nothing is written that was not run.
    with pytest.raises(MissingDependencyError, match="mindspore_lite is not installed; it is not"):
        mindspore_lite_from_onnx(source, tmp_path / "model.mindir")


@pytest.fixture(scope="module")
def lowered(tmp_path_factory):
    """The bundled model without 3-D convolutions."""
    folder = tmp_path_factory.mktemp("lowered")
    (artifact,) = build.build("motion", targets=["onnx"], graph="conv2d", out=folder)
    return artifact.path


def test_a_network_of_2d_convolutions_runs_on_the_cpu(tmp_path, lite, lowered):
    path = tmp_path / "motion.mindir"
    spec = mindspore_lite_from_onnx(lowered, path)
    assert (spec.graph, spec.parity["clips"]) == ("conv2d", 3)
    # The proof of what it was made from stays.
    assert spec.parity["onnx"] == open_artifact(lowered).spec.parity
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


FAILURES = {
    "exit1": r"ended with exit code \d+ for .* and said last: \[ERROR\] LITE: Unsupported to conv",
    "nothing": r"wrote no file for .* said last: CONVERT RESULT SUCCESS:0; try .* by hand",
    "empty": r"wrote no file for ",
    "late": r"ended with exit code \d+ for .* said last: \[ERROR\] LITE: write to file failed",
    "crash": r"ended with exit code 1 .* said last: encounter an unknown error, please verify",
    "abort": r"was killed by SIGABRT for ",
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("kind", ["class", "program"])
def test_a_conversion_that_fails_leaves_what_was_there(
    tmp_path, source, program, monkeypatch, kind, failure
):
    if kind == "class":
        monkeypatch.delenv("FAKE_LITE_WITHOUT_CONVERTER")
    path = tmp_path / "other.mindir"
    mindspore_lite_from_onnx(source, path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    monkeypatch.setenv("FAKE_LITE_CONVERTER", failure)
    name = "converter_lite" if kind == "program" else r"mindspore_lite\.Converter"
    with pytest.raises(ModelError, match=f"^{name} {FAILURES[failure]}") as caught:
        mindspore_lite_from_onnx(source, path)
    assert "\n" not in str(caught.value)
    after = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    assert after == before
    assert open_artifact(path).verified


@pytest.mark.parametrize("kind", ["class", "program"])
def test_a_converter_that_hangs(tmp_path, source, program, monkeypatch, kind):
    if kind == "class":
        monkeypatch.delenv("FAKE_LITE_WITHOUT_CONVERTER")
    monkeypatch.setenv("FAKE_LITE_CONVERTER", "hang")
    with pytest.raises(BackendError, match=r"did not finish within 2 s; .* try .*out.* by hand$"):
        mindspore_lite_from_onnx(source, tmp_path / "other.mindir", timeout=2)
    assert not (tmp_path / "other.mindir").exists()


def test_the_command_to_try_by_hand_can_be_tried(tmp_path, source, program, monkeypatch):
    for kind in ("program", "class"):
        with monkeypatch.context() as patch:
            patch.setenv("FAKE_LITE_CONVERTER", "nothing")
            with pytest.raises(ModelError) as caught:
                mindspore_lite_from_onnx(source, tmp_path / "other.mindir")
        command = str(caught.value).partition("; try ")[2].partition(" by hand")[0]
        environment = find_converter().environment()
        subprocess.run(command, shell=True, cwd=tmp_path, env=environment, check=True)
        (tmp_path / "out.mindir").unlink()
        if kind == "program":
            monkeypatch.delenv("FAKE_LITE_WITHOUT_CONVERTER")


def test_programs_that_cannot_be_started(tmp_path, source, program, monkeypatch):
    other = tmp_path / "other"
    other.write_bytes(b"\x7fELF for another machine")
    other.chmod(0o755)
    monkeypatch.setenv("R2P_CONVERTER_LITE", str(other))
    with pytest.raises(BackendError, match=r"other cannot be started \(.*\); check that it may"):
        mindspore_lite_from_onnx(source, tmp_path / "other.mindir")
    # Away from its libraries, as where only the program was copied.
    alone = tmp_path / "a" / "b" / "converter_lite"
    alone.parent.mkdir(parents=True)
    alone.write_bytes(program.read_bytes())
    alone.chmod(0o755)
    monkeypatch.setenv("R2P_CONVERTER_LITE", str(alone))
    with pytest.raises(ModelError, match=r"exit code 127 .* error while loading shared libraries"):
        mindspore_lite_from_onnx(source, tmp_path / "other.mindir")


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


# int8.

FLOATS = InputSpec(dtype="float32", layout="NCTHW", normalized_in_graph=False)
CALIBRATION = np.stack([grey_frames(frames, 8, 8) for frames in ([0, 20, 40, 60], [100, 7, 7, 7])])


@pytest.fixture
def floats(tmp_path):
    """A model whose logits are the levels, and whose one layer sees levels / 255."""
    return brightness_model(tmp_path / "in.onnx", spec_of_brightness(input=FLOATS), factor=255.0)


def made_of(path):
    """What the stand-in noted of a conversion."""
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


def test_a_network_in_int8(tmp_path, lite):
    (source,) = build.build(
        "motion", targets=["onnx"], graph="conv2d", input="float32", out=tmp_path
    )
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


def test_the_process_that_converts_knows_nothing_of_the_exporter(lite):
    code = "import sys, r2p_edge.export._lite_child\nprint(*sys.modules)"
    environment = Converter(None).environment()
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    found = {name.split(".")[0] for name in done.stdout.split()}
    assert not found & {"onnx", "onnxruntime", "google"}


def test_the_converters_settings(lite):
    from mindspore_lite import _tool

    # What is allowed is what the tool's own list has.
    for section, keys in _KEYS.items():
        text = converter_config({section: dict.fromkeys(keys.split(), "[0.5,1]")})
        assert set(_tool.parse_config(text)[section]) == set(keys.split())
    for section, keys in _tool._SECTIONS.items():
        assert set(_KEYS[section].split()) == keys
    assert converter_config({}) == ""
    text = converter_config({"acl_build_options": {"ge.exec.precision_mode": "force_fp16"}})
    assert text == "[acl_build_options]\nge.exec.precision_mode=force_fp16\n"
    # The tool itself would pass over the first.
    assert _tool.parse_config("[ful_quant_param]\nper_channel=true\n")
    with pytest.raises(UsageError, match="no section 'ful_quant_param'; it has common_quant_param"):
        converter_config({"ful_quant_param": {"per_channel": "true"}})
    with pytest.raises(UsageError, match=r"\[full_quant_param\] has no key 'bit_num'; it has acti"):
        converter_config({"full_quant_param": {"bit_num": "8"}})


@pytest.mark.parametrize("value", ["", " ", "my folder", "a=b", '"/data"', "'/data'", "a\nb"])
def test_values_that_the_converter_would_change(value):
    with pytest.raises(UsageError, match=r"\[common_quant_param\] workspace is .* cannot read"):
        converter_config({"common_quant_param": {"workspace": value}})


def test_quantization_settings(lite):
    from mindspore_lite import _tool

    spec = spec_of_brightness()
    assert _tool.parse_config(full_quant_config(spec, "/data/clips", 200, method="entropy")) == {
        "common_quant_param": {"quant_type": "FULL_QUANT", "bit_num": "8"},
        "data_preprocess_param": {
            "calibrate_path": "frames:/data/clips",
            "calibrate_size": "200",
            "input_type": "BIN",
        },
        "full_quant_param": {
            "activation_quant_method": "KL",
            "bias_correction": "true",
            "per_channel": "true",
        },
    }
    text = full_quant_config(spec, "clips", 1, target="ASCEND", bias_correction=False)
    assert "target_device=ASCEND\n" in text
    assert "bias_correction=false\n" in text
    for size, method in ((0, "minmax"), (65536, "minmax"), (8, "MAX_MIN")):
        with pytest.raises(UsageError, match=f"size is {size} and method is {method}; they must"):
            full_quant_config(spec, "clips", size, method=method)
    named = spec.replace(input=spec.input.__class__(name="input:0"))
    for each, folder in ((spec, "C:/clips"), (spec, "a,b"), (named, "clips")):
        with pytest.raises(UsageError, match=r"the converter splits .* at colons and commas"):
            full_quant_config(each, folder, 8)
    with pytest.raises(UsageError, match="cannot read; use no blanks"):
        full_quant_config(spec, "my clips", 8)


def test_an_offline_model_is_wrapped():
    spec = spec_of_brightness()
    assert om_wrap_config(spec, batch=2) == (
        "[om_converter]\n"
        "input_name_vector=frames\ninput_shape_vector=2,4,8,8,3\ninput_data_type_vector=UINT8\n"
        "output_name_vector=logits\noutput_shape_vector=2,4\noutput_data_type_vector=FLOAT32\n"
    )
    with pytest.raises(UsageError, match="the converter splits tensor names at colons and commas"):
        om_wrap_config(spec.replace(output=spec.output.__class__(name="logits:0")))
    assert om_wrap_command("a.om", "b", "c.cfg", "/opt/converter_lite") == [
        *("/opt/converter_lite", "--fmk=OM", "--device=Ascend"),
        *("--modelFile=a.om", "--outputFile=b", "--configFile=c.cfg"),
    ]
