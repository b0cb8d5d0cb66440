"""Opening the parts of a per-frame form: what is refused, and how it is said."""

import dataclasses
import shutil

import pytest
from models import brightness_model
from per_frame_models import tiny_spec, write_per_frame_model

from r2p_edge import Predictor
from r2p_edge.artifact.open import embedded_spec
from r2p_edge.errors import BackendError, ModelError, SpecError
from r2p_edge.runtimes.base import Options, Runtime
from r2p_edge.runtimes.onnxruntime import OnnxRuntime


@pytest.fixture
def path(tmp_path):
    return write_per_frame_model(tmp_path)


def refusal(path, kind=ModelError, **options):
    with Predictor(path, **options) as predictor, pytest.raises(kind) as error:
        _ = predictor.per_frame
    assert "\n" not in str(error.value)
    return str(error.value)


def test_parts_are_opened_once(path):
    with Predictor(path) as predictor:
        assert predictor.per_frame is predictor.per_frame
        assert predictor.per_frame.flush is predictor.per_frame.flush
        assert predictor.per_frame.batches is predictor.per_frame.batches


def test_a_model_without_parts(tmp_path):
    message = refusal(brightness_model(tmp_path / "model.onnx"))
    assert "model.onnx has no per-frame form" in message
    assert "r2p-edge export SOURCE --form per-frame" in message


@pytest.mark.parametrize("part", ["head", "tail", "flush"])
def test_a_part_that_is_missing(path, part):
    path.with_name(f"tiny-fp32-{part}.onnx").unlink()
    message = refusal(path)
    assert f"tiny-fp32-{part}.onnx, the {part} of the per-frame form of" in message
    assert "is not beside it" in message
    assert "r2p-edge export SOURCE --form per-frame" in message


@pytest.mark.parametrize("part", ["head", "tail", "flush"])
def test_a_part_of_another_export(path, tmp_path_factory, part):
    other = tmp_path_factory.mktemp("other")
    write_per_frame_model(other, quantised=True)
    shutil.copy(other / f"tiny-int8-{part}.onnx", path.with_name(f"tiny-fp32-{part}.onnx"))
    message = refusal(path)
    assert f"tiny-fp32-{part}.onnx has sha256" in message
    assert "so it is damaged, or of another export; copy all files of the export again" in message


def test_a_part_that_is_no_file(path):
    head = path.with_name("tiny-fp32-head.onnx")
    head.unlink()
    head.mkdir()
    assert "is not beside it" in refusal(path)


def test_a_contract_of_other_tensors(path):
    """Only a spec that somebody wrote can contradict parts whose bytes are right."""
    spec = embedded_spec(path)
    form = spec.per_frame
    ring = dataclasses.replace(form.rings[0], shape=(2, 8, 9))
    wrong = spec.replace(per_frame=dataclasses.replace(form, rings=(ring, *form.rings[1:])))
    message = refusal(path, spec=wrong)
    assert "stem.ago1 float32 (N, 2, 8, 8)" in message
    assert "stem.ago1 float32 (N, 2, 8, 9)" in message


def test_a_contract_of_another_interval(path):
    spec = embedded_spec(path)
    slower = spec.replace(clip=dataclasses.replace(spec.clip, interval=3))
    message = refusal(path, SpecError, spec=slower)
    assert "interval=3" in message
    assert "leave out the spec, or reuse" in message
    with Predictor(path, spec=spec) as predictor:
        assert predictor.per_frame.form == spec.per_frame


def test_a_damaged_part(path):
    """Its sha256 may be right where somebody wrote the contract by hand."""
    head = path.with_name("tiny-fp32-head.onnx")
    head.write_bytes(b"damaged")
    spec = tiny_spec()
    with pytest.raises(ModelError, match=r"cannot load .*head\.onnx"):
        OnnxRuntime.open_part(head, spec, Options())


def test_a_runtime_that_cannot(path, monkeypatch):
    monkeypatch.setattr(OnnxRuntime, "open_part", classmethod(Runtime.open_part.__func__))
    message = refusal(path, BackendError, runtime="onnxruntime")
    assert "onnxruntime runs whole clips alone" in message
    assert "leave out reuse" in message
