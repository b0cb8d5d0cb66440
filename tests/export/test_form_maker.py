"""Exports with a per-frame form: their files, their contract, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from form_judges import Judge
from networks import SMALL, spec_for
from requirements import needs

from r2p_edge import Predictor
from r2p_edge.artifact import bundle
from r2p_edge.artifact.open import open_artifact
from r2p_edge.artifact.parts import check_parts, part_files, part_of
from r2p_edge.calibration.form_agreement import AgreementJudge
from r2p_edge.errors import ModelError, ParityError, SpecError, UsageError
from r2p_edge.export import form_maker
from r2p_edge.export.build import build
from r2p_edge.export.causal_weights import CausalWeights, save_causal_weights
from r2p_edge.export.graph.per_frame import forms
from r2p_edge.export.source import find_source
from r2p_edge.export.verify.per_frame_run import PerFrameRun, onnx_part
from r2p_edge.export.verify.synthetic_clips import verification_clips
from r2p_edge.info import BrokenModel, inspect_folder
from r2p_edge.per_frame.state import FrameState
from r2p_edge.runtimes.openvino import OpenVino
from r2p_edge.spec import ClipSpec, InputSpec

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("safetensors"), needs("openvino")]

SPEC = spec_for(SMALL["classes"], name="net", frames=8)


def export(source, out, targets=("onnx",), **options):
    options = {"form": "per-frame", "judge": Judge(), "spec": SPEC, **options}
    return build(source, targets=targets, out=out, **options)


@pytest.fixture(scope="module")
def made(small_checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp("made")
    judge = Judge()
    export(small_checkpoint, out, ("onnx", "openvino"), stages=1, judge=judge)
    assert judge.asked == 1  # both are made from one file
    return out


def test_the_parts_lie_beside_the_artifact_and_are_recorded(made):
    parts = ("head", "tail", "flush")
    onnx = {f"net-fp32-{part}.onnx" for part in parts}
    openvino = {f"net-fp32-{part}{end}" for part in parts for end in (".xml", ".bin")}
    whole = {f"net-fp32{end}" for end in (".onnx", ".onnx.json", ".xml", ".bin", ".xml.json")}
    assert set(bundle.listed(made)) == onnx | openvino | whole
    assert bundle.check(made) == 14
    for suffix, files in ((".onnx", onnx), (".xml", openvino)):
        artifact = open_artifact(made / f"net-fp32{suffix}")
        assert artifact.spec.per_frame.stages == 1
        assert artifact.spec.per_frame.agreement["flush"]["agree"] == 1
        assert artifact.spec.per_frame.agreement["first"]["max_rel"] <= 1e-5
        assert artifact.spec.per_frame.agreement["runtime"].startswith("onnxruntime ")
        assert set(check_parts(artifact.path, artifact.spec)) == set(parts)
        assert {file.name for file in part_files(artifact.path, artifact.spec)} == files


def test_the_files_do_what_the_contract_says(made):
    artifact = open_artifact(made / "net-fp32.onnx")
    files = check_parts(artifact.path, artifact.spec)
    runners = {name: onnx_part(file) for name, file in files.items()}
    run = PerFrameRun(artifact.spec.per_frame, 8, runners)
    clip = verification_clips(artifact.spec, 1)[0]
    for frame in clip:
        run.step(frame)
    with Predictor(artifact.path) as predictor:
        wanted = predictor.outputs_of(clip[None])[0]
    assert np.abs(run.answer("flush") - wanted).max() <= 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_a_part_is_no_model_of_its_own(made, suffix):
    assert part_of(made / f"net-fp32-head{suffix}") == "head"
    assert part_of(made / f"net-fp32{suffix}") is None
    with pytest.raises(ModelError, match=rf"is the head of a .* beside it, net-fp32\{suffix}$"):
        open_artifact(made / f"net-fp32-head{suffix}")


def test_a_part_is_no_source_of_an_export(made):
    with pytest.raises(ModelError, match=r"is the tail of a .* beside it, net-fp32\.onnx$"):
        find_source(made / "net-fp32-tail.onnx")
    assert find_source(made / "net-fp32.onnx").carried is not None


def test_a_folder_with_parts_has_one_model(small_checkpoint, tmp_path):
    export(small_checkpoint, tmp_path)
    assert open_artifact(tmp_path).path.name == "net-fp32.onnx"
    (model,) = inspect_folder(tmp_path).models
    assert model.path.name == "net-fp32.onnx"
    (tmp_path / "net-fp32.onnx").unlink()
    found = inspect_folder(tmp_path).models
    assert all(isinstance(each, BrokenModel) for each in found)
    assert len(found) == 3


@pytest.mark.parametrize("change", ["missing", "foreign", "cut off"])
def test_parts_that_are_not_those_of_the_export(made, tmp_path, change):
    for file in made.glob("*.onnx*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    part = tmp_path / "net-fp32-tail.onnx"
    if change == "missing":
        part.unlink()
    elif change == "cut off":
        part.write_bytes(part.read_bytes()[:500])
    else:
        part.write_bytes((tmp_path / "net-fp32-flush.onnx").read_bytes())
    artifact = open_artifact(tmp_path / "net-fp32.onnx")  # it works alone
    message = (
        "is not beside it" if change == "missing" else "so it is damaged, or of another export"
    )
    line = "r2p-edge export SOURCE --form per-frame --stages 1 --out DIR"
    with pytest.raises(ModelError, match=rf"{message}; .*{line}"):
        check_parts(artifact.path, artifact.spec)
    (broken,) = inspect_folder(tmp_path).models  # the other parts are its own all the same
    assert message in str(broken.error)


def test_an_export_without_the_form_takes_the_parts_away(small_checkpoint, tmp_path):
    export(small_checkpoint, tmp_path, stages=0)
    assert (tmp_path / "net-fp32-head.onnx").exists()
    build(small_checkpoint, spec=SPEC, targets=["onnx"], out=tmp_path)
    assert set(bundle.listed(tmp_path)) == {"net-fp32.onnx", "net-fp32.onnx.json"}
    assert not list(tmp_path.glob("*-head*"))
    assert open_artifact(tmp_path / "net-fp32.onnx").spec.per_frame is None


def test_an_artifact_with_the_form_is_a_source_like_any_other(made, tmp_path):
    build(made / "net-fp32.onnx", targets=["onnx"], out=tmp_path)
    assert open_artifact(tmp_path / "net-fp32.onnx").spec.per_frame is None


def test_nothing_computes_in_what_the_chip_prefers(small_checkpoint, tmp_path, monkeypatch):
    core, asked = OpenVino.library().Core, []
    compile_model = core.compile_model

    def spied(self, model, device, config=None):
        asked.append(dict(config or {}).get("INFERENCE_PRECISION_HINT"))
        return compile_model(self, model, device, config or {})

    monkeypatch.setattr(core, "compile_model", spied)
    export(small_checkpoint, tmp_path, ("openvino",), stages=1)
    assert set(asked) == {"f32"}  # a chip that has bf16 would take that


@pytest.fixture(scope="module")
def causal(small_checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp("causal")
    export(small_checkpoint, out, ("onnx", "openvino"), form="semi-causal")
    return out


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_a_semi_causal_form_is_one_part_that_answers_at_each_frame(causal, suffix):
    artifact = open_artifact(causal / f"net-fp32{suffix}")
    form = artifact.spec.per_frame
    assert (form.form, form.stages, form.feature) == ("semi-causal", 2, None)
    assert form.wait == form.delay > 0  # its newest feature is centred on the window's last frame
    assert set(check_parts(artifact.path, artifact.spec)) == {"step"}
    assert form.agreement["wait"]["agree"] == 1
    assert ("steps" in form.agreement) == (suffix == ".xml")
    with Predictor(artifact.path) as predictor:
        state = FrameState(predictor.per_frame)
        clips = np.concatenate(list(verification_clips(artifact.spec, 2)))
        files = check_parts(causal / "net-fp32.onnx", open_artifact(causal / "net-fp32.onnx").spec)
        run = PerFrameRun(form, 8, {"step": onnx_part(files["step"])})
        for frame in clips:
            state.frame[:] = frame
            state.step()
            wanted = run.step(frame)
            assert np.abs(state.answer() - wanted).max() <= 1e-4 * np.abs(wanted).max()


def test_weights_that_were_fitted_decide_stages_wait_and_answers(small_checkpoint, tmp_path):
    classes = len(SPEC.labels)
    bias = np.arange(classes, dtype=np.float32) * 1000
    fitted = CausalWeights(1, 3, {"fc.bias": bias}, {"by": "hand"})
    save_causal_weights(fitted, tmp_path / "fitted.npz")
    judge = Judge()
    options = {"form": "semi-causal", "form_weights": tmp_path / "fitted.npz", "judge": judge}
    (built,) = export(small_checkpoint, tmp_path / "out", **options).built
    form = built.spec.per_frame
    assert (form.stages, form.wait, judge.waited) == (1, 3, 3)
    assert judge.answered.argmax() == classes - 1
    assert form.agreement["weights"] == {"by": "hand"}
    # The clip's own graph keeps its weights.
    with Predictor(built.path) as predictor:
        clip = verification_clips(built.spec, 1)
        assert np.abs(predictor.outputs_of(clip)).max() < 1000
    built.path.with_name("net-fp32-step.onnx").unlink()
    with pytest.raises(ModelError, match="--form semi-causal --form-weights FILE --out DIR"):
        check_parts(built.path, built.spec)
    with pytest.raises(UsageError, match="stages is 2, and the form weights are for 1"):
        export(small_checkpoint, tmp_path / "out", stages=2, **options)
    with pytest.raises(UsageError, match="are for --form semi-causal"):
        export(small_checkpoint, tmp_path / "out", **{**options, "form": "per-frame"})
    save_causal_weights(fitted._replace(constants={"layer9.weight": bias}), tmp_path / "fitted.npz")
    with pytest.raises(ModelError, match=r"no constant layer9\.weight; give weights of the model"):
        export(small_checkpoint, tmp_path / "other", **options)


@pytest.mark.slow
def test_the_bundled_model_brings_weights_that_agree(tmp_path):
    options = {"targets": ["onnx"], "out": tmp_path, "form": "semi-causal"}
    judge = AgreementJudge(least=0.9, windows=30)
    (built,) = build("motion", **options, judge=judge).built
    form = built.spec.per_frame
    assert (form.stages, form.wait) == (1, 0)
    assert form.agreement["weights"]["fitted"] == "distilled"
    assert form.agreement["wait"]["agree"] >= 27
    built.path.with_name("motion-fp32-step.onnx").unlink()
    with pytest.raises(ModelError, match="r2p-edge export motion --form semi-causal --out DIR"):
        check_parts(built.path, built.spec)


def test_those_are_for_its_first_stage(tmp_path):
    options = {"targets": ["onnx"], "out": tmp_path, "form": "semi-causal", "judge": Judge()}
    (built,) = build("motion", **options, stages=2).built
    assert built.spec.per_frame.stages == 2
    assert "weights" not in built.spec.per_frame.agreement


def test_a_wrong_step_of_openvino_is_found(small_checkpoint, tmp_path, monkeypatch):
    original = form_maker._openvino_part

    def spoilt(file):
        run = original(file)
        return lambda inputs: {name: value + 1 for name, value in run(inputs).items()}

    monkeypatch.setattr(form_maker, "_openvino_part", spoilt)
    with pytest.raises(ParityError, match="the semi-causal form"):
        export(small_checkpoint, tmp_path, ("openvino",), form="semi-causal")
    assert not list(tmp_path.glob("net*"))


def test_half_precision_of_openvino(small_checkpoint, tmp_path):
    (built,) = export(small_checkpoint, tmp_path, ("openvino",), precision="fp16").built
    assert built.path.name == "net-fp16.xml"
    assert {ring.dtype for ring in built.spec.per_frame.rings} == {"float32"}
    assert built.spec.per_frame.agreement["first"]["cosine"] >= 0.999
    assert built.to_dict()["per_frame"]["parts"].keys() == {"head", "tail", "flush"}


def test_nothing_is_written_of_a_form_that_agrees_too_rarely(small_checkpoint, tmp_path):
    judge = Judge(ParityError("it agrees too rarely"))
    with pytest.raises(ParityError, match="too rarely"):
        export(small_checkpoint, tmp_path, judge=judge)
    assert not list(tmp_path.glob("net*"))


def test_a_wrong_part_is_found_before_it_is_written(small_checkpoint, tmp_path, monkeypatch):
    def spoilt(model, spec, stages):
        form = forms.per_frame_form(model, spec, stages)
        for tensor in form.parts["tail"].graph.initializer:
            if tensor.name == "fc.bias":
                tensor.raw_data = bytes(len(tensor.raw_data))
        return form

    monkeypatch.setattr(form_maker, "per_frame_form", spoilt)
    with pytest.raises(ParityError, match="the per-frame form"):
        export(small_checkpoint, tmp_path)
    assert not list(tmp_path.glob("net*"))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"stages": 3}, UsageError, "stages is 3; choose one of 0, 1, 2"),
        ({"stages": 0, "form": "semi-causal"}, UsageError, "stages is 0; choose one of 1, 2"),
        ({"form": "round"}, UsageError, "no form 'round'; choose from clip, per-frame, semi-"),
        ({"judge": None}, UsageError, "without a measurement"),
        ({"graph": "conv2d"}, UsageError, "leave --graph out"),
        ({"targets": ("onnx", "mindspore")}, UsageError, "mindspore cannot .* --to onnx,openvino"),
        ({"batch": 2}, ModelError, "--batch 1"),
        ({"input": "float32"}, SpecError, "--input uint8"),
        ({"sampling": "index"}, SpecError, "--sampling time"),
        ({"sampling": "index", "order": "lexicographic"}, SpecError, "--sampling time"),
        (
            {"spec": SPEC.replace(clip=ClipSpec(8, 2, 25.0, offsets="linspace"))},
            SpecError,
            "uneven",
        ),
        ({"spec": SPEC.replace(input=InputSpec(layout="NCTHW"))}, SpecError, "uint8 NCTHW"),
    ],
)
def test_what_can_have_no_form(small_checkpoint, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        export(small_checkpoint, tmp_path, **options)
    assert not list(tmp_path.glob("net*"))
