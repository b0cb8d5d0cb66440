"""ONNX files of others that were exported wrongly without a word, and what is asked of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from requirements import needs

from r2p_edge.artifact.open import open_artifact
from r2p_edge.errors import SpecError, UsageError
from r2p_edge.export.build import build
from r2p_edge.export.verify.synthetic_clips import normalized, verification_clips

pytestmark = [needs("torch"), needs("onnx"), needs("onnxruntime")]


def flipped(x):
    return x[:, [2, 1, 0]]


def padded(x):
    import torch

    return torch.nn.functional.pad(x, (1, 1, 1, 1))


def per_colour(x):
    import torch

    return torch.cat([x[:, :1] - 127, x[:, 1:2] - 127, x[:, 2:] - 127], 1) / 128


BEFORE = {
    "clip": lambda x: x.clamp(0, 255) / 255,
    "pad": lambda x: padded(x) / 255,
    "resize": lambda x: x.repeat_interleave(1, 2)[:, :, :, 1:, 1:] / 255,
    "bgr": lambda x: (flipped(x) - 127.5) / 127.5,
    "split": per_colour,
    "channels": lambda x: (x.reshape(-1, 3, 56, 56) / 255).reshape(x.shape),
}


@pytest.mark.parametrize("name", list(BEFORE))
def test_a_normalisation_behind_other_nodes_is_not_done_twice(tmp_path, name):
    from foreign_onnx import Network, export_foreign, run_file, write_onnx

    source = write_onnx(tmp_path / "theirs.onnx", Network(before=BEFORE[name]))
    with pytest.raises(
        UsageError, match=r"theirs\.onnx begins with \(x - .*; say what .* --pixels"
    ):
        export_foreign(source, tmp_path, classes=5)
    built = export_foreign(source, tmp_path, classes=5, pixels="raw")
    assert built.spec.checks is None
    clips = verification_clips(built.spec, 1, seed=4)
    expected = run_file(source, clips.astype(np.float32).transpose(0, 4, 1, 2, 3))
    found = run_file(built.path, clips)
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("before", [flipped, padded], ids=["bgr", "pad"])
def test_a_network_that_only_moves_its_pixels_gets_them_as_the_preset_says(tmp_path, before):
    from foreign_onnx import Network, export_foreign, run_file, write_onnx

    source = write_onnx(tmp_path / "theirs.onnx", Network(before=before))
    built = export_foreign(source, tmp_path, classes=5)
    assert built.spec.checks is None
    clips = verification_clips(built.spec, 1, seed=4)
    expected = run_file(source, normalized(clips, built.spec))
    found = run_file(built.path, clips)
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_a_word_about_the_pixels_that_cannot_be_true_is_warned_of(tmp_path):
    from foreign_onnx import Network, export_foreign, write_onnx

    source = write_onnx(tmp_path / "theirs.onnx", Network(before=lambda x: (x - 0.5) / 0.5))
    built = export_foreign(source, tmp_path, classes=5, pixels="raw")
    assert "makes numbers from -1 to 509" in built.spec.checks["warnings"][0]
    assert export_foreign(source, tmp_path, classes=5, pixels="unit").spec.checks is None


AFTER = {
    "percent": (lambda x: 100 * x.softmax(1), "Softmax"),
    "half": (lambda x: x.softmax(1) / 2, "Softmax"),
    "other side": (lambda x: 1 - x.softmax(1), "Softmax, then Sub"),
    "sigmoids": (lambda x: joined(x[:, :1].sigmoid(), x[:, 1:].sigmoid()), "Sigmoid"),
    "threshold": (lambda x: (x > 0).float(), "Greater"),
    "rounded": (lambda x: x.round(), "Round"),
    "turned": (lambda x: x * -2, "Mul"),
    "exp": (lambda x: x.exp() / x.exp().sum(1, keepdim=True), "Exp"),
    "features": (lambda x: x.relu(), "Relu"),
}


def joined(*parts):
    import torch

    return torch.cat(parts, 1)


@pytest.mark.parametrize("name", list(AFTER))
def test_scores_that_something_else_was_made_of_are_asked_for(tmp_path, name):
    from foreign_onnx import Network, export_foreign, foreign_spec, write_onnx

    after, operators = AFTER[name]
    source = write_onnx(tmp_path / "theirs.onnx", Network(after=after))
    text = (
        rf"theirs\.onnx: behind the network's last layer stands {operators}.* --output-kind logits"
    )
    with pytest.raises(UsageError, match=text):
        build(source, targets=["onnx"], out=tmp_path / "none")  # before the recipe is asked for
    with pytest.raises(UsageError, match=text):
        export_foreign(source, tmp_path, classes=5)
    built = export_foreign(source, tmp_path, classes=5, output_kind="values")
    assert built.spec.output.kind == "values"
    assert built.spec.checks is None
    if name == "percent":  # a spec that says logits is believed, and warned of
        report = build(source, spec=foreign_spec(), targets=["onnx"], out=tmp_path / "spec")
        assert "stands Softmax, and the spec calls its outputs logits" in report.warnings[0]


@pytest.mark.parametrize(
    "after",
    [
        lambda x: x / 0.7 + 1,
        lambda x: x.log_softmax(1),
        lambda x: (x + x.flip(0)) / 2,
        lambda x: x[:, :, None, None, None],
    ],
    ids=["scaled", "log softmax", "sum", "moved"],
)
def test_plain_scores_are_not_asked_for(tmp_path, after):
    from foreign_onnx import Network, export_foreign, write_onnx

    source = write_onnx(tmp_path / "theirs.onnx", Network(after=after))
    assert export_foreign(source, tmp_path, classes=5).spec.output.kind == "logits"


@pytest.mark.parametrize(
    ("after", "axis"),
    [
        (lambda x: x.unsqueeze(1).repeat(1, 5, 1), 1),
        (lambda x: x.unsqueeze(2).repeat(1, 1, 5), 2),
        (lambda x: x.unsqueeze(1) * x.unsqueeze(2), None),
    ],
    ids=["steps and classes", "classes and steps", "unknown"],
)
def test_as_many_steps_as_classes(tmp_path, after, axis):
    from foreign_onnx import Network, export_foreign, run_file, write_onnx

    source = write_onnx(tmp_path / "theirs.onnx", Network(after=after))
    if axis is None:
        with pytest.raises(SpecError, match=r"\(\?, 5, 5\), of which .* both .* as \(N, 5\)"):
            export_foreign(source, tmp_path, classes=5, output_kind="logits")
        return
    built = export_foreign(source, tmp_path, classes=5)
    clips = verification_clips(built.spec, 1, seed=4)
    expected = run_file(source, normalized(clips, built.spec))[0].mean(axis)
    np.testing.assert_allclose(run_file(built.path, clips)[0], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("open_axis", [False, True])
def test_the_warning_of_a_mean_is_in_the_artifact(tmp_path, open_axis):
    from foreign_onnx import Network, export_foreign, write_onnx

    axes = {"dynamic_axes": {"y": {2: "steps"}}, "output_names": ["y"]} if open_axis else {}
    network = Network(after=lambda x: x[:, :, None].repeat(1, 1, 4))
    source = write_onnx(tmp_path / "theirs.onnx", network, **axes)
    built = export_foreign(source, tmp_path, classes=5)
    told = ["theirs.onnx answers (N, 5, 4); the artifact answers the mean for each class"]
    assert built.spec.checks == {"warnings": told}
    assert open_artifact(built.path).spec.checks == built.spec.checks
    sidecar = json.loads(built.path.with_name(built.path.name + ".json").read_text())
    assert told[0] in json.dumps(sidecar)
    with pytest.raises(SpecError, match=r"the mean for each class \(an error because of --strict"):
        export_foreign(source, tmp_path, classes=5, strict=True)
