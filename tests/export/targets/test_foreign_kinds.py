"""ONNX files of others that would be wrong without a word: mode, precision, and kind."""

from __future__ import annotations

import numpy as np
import pytest
from requirements import needs

from r2p_edge import Predictor
from r2p_edge.calibration.calibrate import Calibration
from r2p_edge.cli.export import show
from r2p_edge.errors import ModelError, SpecError, UsageError
from r2p_edge.export.build import build
from r2p_edge.export.verify.synthetic_clips import normalized, verification_clips

pytestmark = [needs("torch"), needs("onnx"), needs("onnxruntime")]


@pytest.mark.parametrize("opset", [11, 17])
def test_a_model_in_training_mode_is_refused(tmp_path, opset):
    import torch
    from foreign_onnx import Network, foreign_spec, write_onnx

    from r2p_edge.export import onnx_from_onnx

    source = write_onnx(
        tmp_path / "train.onnx",
        Network().train(),
        training=torch.onnx.TrainingMode.TRAINING,
        do_constant_folding=False,
        opset_version=opset,
    )
    with pytest.raises(ModelError, match=r"in training mode: it has 1 batch norms .* model\.eval"):
        onnx_from_onnx(source, foreign_spec(), tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("end", "classes", "kind", "score"),
    [
        ("softmax", 5, "probabilities", "probabilities"),
        ("sigmoid", 5, "sigmoid", "sigmoid"),
        ("sigmoid", 1, "sigmoid", "sigmoid"),
        (None, 1, "values", "values"),
        (None, 5, "logits", "probabilities"),
    ],
)
def test_the_end_of_the_graph_decides_the_kind(tmp_path, end, classes, kind, score):
    import torch
    from foreign_onnx import Network, export_foreign, run_file, write_onnx

    after = {"softmax": lambda x: x.softmax(1), "sigmoid": torch.sigmoid, None: None}[end]
    network = Network(after=after, classes=classes)
    source = write_onnx(tmp_path / "theirs.onnx", network)
    built = export_foreign(source, tmp_path, classes=classes)
    assert built.spec.output.kind == kind
    clip = verification_clips(built.spec, 1, seed=4)
    expected = run_file(source, normalized(clip, built.spec))[0, 0]
    if kind == "logits":
        expected = np.exp(expected) / np.exp(expected).sum()
    with Predictor(built.path) as predictor:
        np.testing.assert_allclose(predictor.scores(clip)[0], expected, rtol=1e-4, atol=1e-5)
        assert predictor.predict(clip[0]).kind == score


def test_the_users_word_about_the_kind(tmp_path):
    import torch
    from foreign_onnx import Network, export_foreign, foreign_spec, write_onnx

    source = write_onnx(tmp_path / "theirs.onnx", Network(after=torch.sigmoid))
    with pytest.raises(SpecError, match=r"ends in a sigmoid, .* set output\.kind to sigmoid"):
        build(source, spec=foreign_spec(), targets=["onnx"], out=tmp_path / "none")
    built = export_foreign(source, tmp_path, classes=5, output_kind="values")
    assert built.spec.output.kind == "values"
    # It stays with the artifact under another recipe.
    again = export_foreign(built.path, tmp_path, classes=5)
    assert again.spec.output.kind == "values"


@pytest.mark.parametrize("how", ["static", "dynamic"])
def test_an_int8_model_is_called_what_it_is(tmp_path, how, capsys):
    import onnx
    from foreign_onnx import Network, export_foreign, run_file, write_onnx
    from onnxruntime import quantization as ort

    source = write_onnx(tmp_path / "fp32.onnx", Network())
    int8 = tmp_path / "theirs.onnx"
    if how == "dynamic":
        ort.quantize_dynamic(source, int8, weight_type=ort.QuantType.QUInt8)
    else:
        name = onnx.load(source).graph.input[0].name
        clips = np.random.default_rng(0).normal(size=(4, 1, 3, 8, 56, 56)).astype(np.float32)
        feeds = iter([{name: clip} for clip in clips])

        class Reader(ort.CalibrationDataReader):
            def get_next(self):
                return next(feeds, None)

        ort.quantize_static(source, int8, Reader(), quant_format=ort.QuantFormat.QDQ)
    built = export_foreign(int8, tmp_path, classes=5)
    assert built.spec.precision == "int8"
    assert built.path.name == "theirs-int8.onnx"
    show([built])
    form = "onnx int8 conv3d, verified" if how == "static" else "onnx int8, verified"
    assert form in capsys.readouterr().out
    assert "tolerance" not in built.spec.parity
    clip = verification_clips(built.spec, 1, seed=4)
    expected = run_file(int8, normalized(clip, built.spec))[0]
    # Pixels that are normalised in other steps may fall on the next level of int8.
    found = run_file(built.path, clip)[0]
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())
    with Predictor(built.path) as predictor:
        assert predictor.precision == "int8"
    with pytest.raises(UsageError, match="is int8 and cannot become fp32"):
        export_foreign(int8, tmp_path, classes=5, precision="fp32")
    with pytest.raises(UsageError, match=r"is int8[,;] .* fp32"):
        export_foreign(int8, tmp_path, classes=5, targets=["mindspore"])


def test_a_checkpoint_of_one_output_gives_values(tmp_path):
    from foreign_onnx import export_foreign
    from networks import random_parameters
    from safetensors.numpy import save_file

    parameters = random_parameters((1, 1, 1, 1), (8, 12, 16, 24), 1)
    save_file(parameters, tmp_path / "ef.safetensors")
    built = export_foreign(tmp_path / "ef.safetensors", tmp_path, classes=1)
    assert built.spec.output.kind == "values"
    with Predictor(built.path) as predictor:
        clip = verification_clips(built.spec, 1)[0]
        answer = predictor.predict(clip)
        assert answer.label == ""
        assert answer.top() == [("a", answer.score)]
        assert answer.score == pytest.approx(float(predictor.outputs(clip)[0, 0]))
    int8 = {"precision": "int8", "calibration": Calibration(tmp_path)}
    with pytest.raises(UsageError, match="judged by the classes"):
        export_foreign(tmp_path / "ef.safetensors", tmp_path, classes=1, **int8)
    with pytest.raises(SpecError, match="one output"):
        export_foreign(tmp_path / "ef.safetensors", tmp_path, classes=1, output_kind="logits")
