"""Int8 from one command: clips, artifacts of every target, what they cost and bring."""

import json

import pytest
from exit_codes import DATA, MODEL, USAGE
from fake_tensorrt import installed, plan_of
from models import brightness_model, spec_of_brightness
from networks import SMALL, random_parameters, spec_for
from quantisation import CLIPS, small_artifact
from requirements import needs, require

from r2p_edge import Predictor, model_checks
from r2p_edge.artifact import bundle
from r2p_edge.artifact.files import sha256_of_file
from r2p_edge.artifact.open import open_artifact
from r2p_edge.calibration.calibrate import Calibration, calibrate, warning_of
from r2p_edge.calibration.clipset import clips_for
from r2p_edge.calibration.manifest import Manifest, read_clips
from r2p_edge.calibration.qdq import PROFILES
from r2p_edge.calibration.quantize import profile_of_this_cpu, quantize_onnx
from r2p_edge.calibration.ranges import PASSES
from r2p_edge.errors import BackendError, UsageError
from r2p_edge.export.build import build
from r2p_edge.export.targets.onnx import write_with_spec
from r2p_edge.runtimes import cpu

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("safetensors")]

FEW = ("--num-clips", "12")


@pytest.fixture(scope="module")
def int8(tmp_path_factory):
    """The bundled model in int8, for ONNX Runtime and, where that is here, OpenVINO."""
    require("openvino")
    out = tmp_path_factory.mktemp("int8")
    built = build(
        "motion",
        targets=["onnx", "openvino"],
        precision="int8",
        calibration=Calibration(num_clips=24),
        out=out,
    ).built
    return {artifact.target: artifact for artifact in built}


@pytest.fixture(scope="module")
def small_int8(small_motion_model, tmp_path_factory):
    """The small network in int8; it agrees with fp32 on less, which no test asks for."""
    require("openvino")
    report = build(
        small_motion_model,
        targets=["onnx", "openvino"],
        precision="int8",
        calibration=Calibration(num_clips=12, judged=4),
        out=tmp_path_factory.mktemp("small_int8"),
    )
    return {artifact.target: artifact for artifact in report.built}


@pytest.mark.long
def test_what_an_artifact_tells(int8):
    for target, runtime in (("onnx", "onnxruntime"), ("openvino", "openvino")):
        spec = open_artifact(int8[target].path).spec
        assert spec == int8[target].spec
        assert spec.precision == "int8"
        assert spec.calibration["drawn"] == "motion"
        assert spec.calibration["clips"] == 24
        assert spec.calibration["profile"] == profile_of_this_cpu()
        found = spec.accuracy
        assert (found["runtime"], found["clips"], found["held_out"]) == (runtime, 48, True)
        assert found["agreement"] >= 0.98
        assert found["fp32_top1"] - found["top1"] <= 0.01
        fp32, one = found["latency_ms"]["fp32"], found["latency_ms"]["int8"]
        assert found["speedup"] == pytest.approx(fp32 / one, abs=0.01)


@pytest.mark.long
def test_both_runtimes_answer_alike(int8, motion_model):
    clips = [clip for clip, _ in zip(clips_for(open_artifact(motion_model).spec).judged(), "ab")]
    for clip, label in clips:
        for artifact in int8.values():
            with Predictor(artifact.path) as predictor:
                assert predictor.precision.startswith("int8")
                assert predictor.predict(clip).label == label


@pytest.mark.slow
def test_calibrate(run, small_motion_model, videos, tmp_path):
    path = tmp_path / "int8.onnx"
    code, output, errors = run(
        "calibrate", small_motion_model, "--videos", videos, *FEW, "--out", path, "--json"
    )
    assert code == 0, errors
    report = json.loads(output)
    spec = open_artifact(path).spec
    assert report["accuracy"] == spec.to_dict()["accuracy"]
    assert report["calibration"]["videos"] == 12
    assert report["calibration"]["classes_covered"] == 12
    assert report["calibration"]["unreadable"] == 0
    # The clips can be had again.
    digest = report["calibration"]["manifest_sha256"]
    (stored,) = tmp_path.glob("clips-*.json")
    assert stored.name == f"clips-{digest[:12]}.json"
    manifest = Manifest.from_json(stored.read_bytes())
    assert manifest.digest() == digest == sha256_of_file(stored)
    assert len(list(read_clips(manifest, videos, spec))) == 12
    # And people are told what the JSON says.
    code, output, _ = run("info", path)
    assert code == 0
    assert "int8  minmax, 12 clips of 12 of 12 classes" in output
    assert "measured  on 12 clips not calibrated on: top-1 " in output
    fp32 = open_artifact(small_motion_model).spec
    assert spec.contract_digest() != fp32.contract_digest()


@pytest.mark.long
def test_tensorrt(videos, tmp_path):
    for version in ("8.6.1", "11.4"):
        with installed(version):
            (built,) = build(
                "motion",
                targets=["tensorrt"],
                precision="int8",
                calibration=Calibration(num_clips=12, judged=12),
                out=tmp_path / version,
            ).built
            plan = plan_of(built.path)
            flags = set(plan["flags"]) & {"INT8", "FP16"}
            assert flags == ({"INT8", "FP16"} if version == "8.6.1" else set())
            with Predictor(built.path) as model:
                clip, label = next(clips_for(built.spec).judged())
                assert (model.precision, model.predict(clip).label) == ("int8", label)
        assert built.spec.calibration["profile"] == "tensorrt"


@pytest.mark.slow
def test_the_folder_of_an_export_tells_its_clips(run, small_motion_model, videos, tmp_path):
    options = ("--precision", "int8", "--videos", videos, *FEW, "--out", tmp_path)
    code, output, errors = run("export", small_motion_model, "--to", "onnx", *options)
    assert code == 0, errors
    assert "  int8: minmax, 12 clips of 12 of 12 classes\n  measured: on 12 clips not" in output
    (stored,) = tmp_path.glob("clips-*.json")
    assert stored.name in bundle.listed(tmp_path)
    code, output, _ = run("info", tmp_path)
    assert code == 0
    stored.unlink()
    code, _, errors = run("info", tmp_path)
    assert code == MODEL
    assert f"{stored.name} is missing" in errors


def test_the_float_model_is_not_written_over(fails, small_motion_model, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(small_motion_model.read_bytes())
    link = tmp_path / "link.onnx"
    link.symlink_to(path)
    for out in (path, link):
        fails(USAGE, "is the fp32 model itself", "calibrate", path, *FEW, "--out", out)
    assert path.read_bytes() == small_motion_model.read_bytes()


def test_records_of_others_are_shown_as_json_alone(run, tmp_path):
    spec = spec_of_brightness().replace(calibration={"by": "hand"}, accuracy={"top1": 0.5})
    path = brightness_model(tmp_path / "m.onnx", spec)
    code, output, errors = run("info", path)
    assert code == 0, errors
    assert "int8  " not in output
    assert json.loads(run("info", path, "--json")[1])["spec"]["accuracy"] == {"top1": 0.5}


@pytest.mark.slow
def test_what_was_measured_of_another_artifact_is_not_told(small_int8, tmp_path):
    (again,) = build(small_int8["onnx"].path, targets=["openvino"], out=tmp_path).built
    assert small_int8["onnx"].spec.accuracy is not None
    assert again.spec.precision == "int8"
    assert open_artifact(again.path).spec.accuracy is None


@pytest.mark.parametrize(
    "option",
    [
        ("--videos", "videos"),
        ("--max-drop", "0"),
        ("--test-list",),
        ("--complete",),
    ],
)
def test_what_is_for_int8_alone(fails, tmp_path, option):
    out = tmp_path / "out"
    fails(
        USAGE, f"{option[0]} is for int8", "export", "motion", "--to", "onnx", *option, "--out", out
    )
    assert not out.exists()


def test_a_loss_that_is_not_known(fails, tmp_path):
    out = tmp_path / "out"
    options = ("--precision", "int8", *FEW, "--out", out)
    for target in ("tensorrt", "mindspore-lite"):
        to = ("export", "motion", "--to", f"onnx,{target}", *options, "--max-drop", "1")
        fails(USAGE, f"the loss of int8 on {target} can only be measured on the device", *to)
    fails(
        USAGE, "max_drop is nan", "export", "motion", "--to", "onnx", *options, "--max-drop", "nan"
    )
    assert not out.exists()


@pytest.mark.slow
def test_a_loss_that_is_not_allowed(fails, small_motion_model, tmp_path):
    path = tmp_path / "int8.onnx"
    fails(
        MODEL,
        "where --max-drop allows -99",
        *("calibrate", small_motion_model, *FEW, "--max-drop", "-99", "--out", path),
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore::r2p_edge.errors.CalibrationWarning")
def test_clips_that_cannot_be_used(fails, small_motion_model, videos, tmp_path):
    def refused(code, message, *options):
        fails(
            code,
            message,
            "calibrate",
            small_motion_model,
            *options,
            "--out",
            tmp_path / "int8.onnx",
        )
        assert list(tmp_path.glob("int8*")) == []

    empty = tmp_path / "empty"
    empty.mkdir()
    refused(DATA, "empty", "--videos", empty)
    (tmp_path / "other" / "Archery").mkdir(parents=True)
    (tmp_path / "other" / "Archery" / "v_1.avi").write_bytes(b"")
    refused(DATA, "", "--videos", tmp_path / "other")
    test_list = tmp_path / "testlist01.txt"
    test_list.write_text("grow/v_6.avi\nshake/v_8.avi\n")
    refused(USAGE, "is a test list", "--videos", videos, "--split", test_list)
    refused(USAGE, "num_clips is 0", "--num-clips", "0")
    with pytest.raises(UsageError, match="judged is 0"):
        clips_for(open_artifact(small_motion_model).spec, judged=0)
    broken = tmp_path / "broken" / "grow"
    broken.mkdir(parents=True)
    (broken / "v_1.mp4").write_bytes(b"no video")
    refused(DATA, "v_1.mp4", "--videos", broken.parent)


def test_a_model_that_cannot_be_calibrated(fails, small_int8, tmp_path):
    out = ("--out", tmp_path / "again.onnx")
    fails(MODEL, "is quantised already", "calibrate", small_int8["onnx"].path, *FEW, *out)
    fails(MODEL, "is not an ONNX file", "calibrate", small_int8["openvino"].path, *FEW, *out)
    other = brightness_model(tmp_path / "other.onnx")
    fails(USAGE, "int8 needs clips to calibrate on", "calibrate", other, *out)
    again = ("export", small_int8["onnx"].path, "--to", "tensorrt", "--precision", "int8")
    fails(MODEL, "is int8 already; export it without a precision", *again, "--out", tmp_path / "o")
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("profile", [*PROFILES, "gpu"])
def test_the_profiles_are_known_before_a_clip_is_read(fails, run, tmp_path, profile):
    arguments = ("calibrate", tmp_path / "no.onnx", "--out", "int8.onnx", "--profile", profile)
    if profile in PROFILES:
        fails(MODEL, "no.onnx", *arguments)
    else:
        with pytest.raises(SystemExit) as caught:
            run(*arguments)
        assert caught.value.code == USAGE


def test_a_name_that_no_runtime_would_open(fails, small_motion_model, tmp_path):
    for name in ("int8", "int8.xml"):
        fails(
            USAGE,
            "must end in .onnx",
            "calibrate",
            small_motion_model,
            *FEW,
            "--out",
            tmp_path / name,
        )
    assert list(tmp_path.iterdir()) == []


def test_targets_without_int8(fails, tmp_path):
    for target in ("mindspore", "ascend310p"):
        fails(
            USAGE,
            f"{target} has no precision int8",
            *("export", "motion", "--to", target, "--precision", "int8", "--out", tmp_path / "o"),
        )


@pytest.mark.slow
def test_a_cpu_that_would_compute_it_wrongly(small_motion_model, tmp_path, monkeypatch, caplog):
    path = tmp_path / "int8.onnx"
    clips = clips_for(open_artifact(small_motion_model).spec, num_clips=4)
    chip = cpu.Cpu("an old one", {"avx2": True})
    monkeypatch.setattr(model_checks, "read_cpu", lambda: chip)
    assert chip.int8 == "saturating"
    for profile, warned in (("cpu-avx2", False), ("arm", True)):
        quantize_onnx(small_motion_model, path, clips.calibration, profile=profile)
        Predictor(path).close()
        assert ("was not made for this CPU" in caplog.text) == warned
    quantize_onnx(small_motion_model, path, clips.calibration, profile="cpu")
    with pytest.raises(BackendError, match="--profile cpu-avx2"):
        Predictor(path)


def test_clips_are_asked_for(tmp_path):
    from safetensors.numpy import save_file

    save_file(random_parameters(**SMALL), tmp_path / "net.safetensors")
    spec = spec_for(SMALL["classes"], name="net")
    with pytest.raises(UsageError, match="--videos"):
        build(
            tmp_path / "net.safetensors",
            spec=spec,
            targets=["onnx"],
            precision="int8",
            calibration=Calibration(),
            out=tmp_path / "out",
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("foreign", [{"top1": 0.5}, {"recommended": False}, {"recommended": "no"}])
def test_a_foreign_accuracy_is_no_reason_to_warn(foreign):
    assert warning_of(spec_of_brightness(precision="int8", accuracy=foreign)) is None


def test_records_of_the_float_file_do_not_survive(tmp_path):
    source = small_artifact(tmp_path)
    records = {"accuracy": {"top1": 1.0}, "target": {"runtime": "tensorrt", "device": "cuda"}}
    write_with_spec(source, open_artifact(source).spec.replace(**records), source)
    spec = quantize_onnx(source, tmp_path / "int8.onnx", lambda: iter(CLIPS[:2]))
    assert (spec.accuracy, spec.target) == (None, None)


@pytest.mark.slow
def test_progress_counts_the_clips_of_every_pass(small_motion_model, tmp_path):
    seen = []
    calibrate(
        small_motion_model,
        tmp_path / "int8.onnx",
        calibration=Calibration(num_clips=4, judged=2, method="percentile"),
        progress=lambda *counts: seen.append(counts),
    )
    total = 4 * PASSES["percentile"]
    assert seen == [
        *(("calibrating", done, total) for done in range(total + 1)),
        *(("measuring", done, 2) for done in range(3)),
    ]
