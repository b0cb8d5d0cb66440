"""Classifiers: the choice among several, and those of several layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from networks import FLOAT, random_parameters, spec_for
from parity_checks import answers_of_each_form
from requirements import needs

from r2p_edge.errors import CheckpointError, UsageError
from r2p_edge.export.checkpoints.dialects import NamedParameters, canonical_parameters
from r2p_edge.export.checkpoints.layers import Layer
from r2p_edge.export.verify.reference import reference_logits

FEATURES = 24


def with_head(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Return a small network of GluonCV's names with these matrices; "a_0" stands for "a.0"."""
    parameters = random_parameters((1, 1, 1, 1), (8, 12, 16, FEATURES), 7)
    del parameters["fc.weight"], parameters["fc.bias"]
    rng = np.random.default_rng(1)
    for name, shape in shapes.items():
        module = name.replace("_", ".")
        parameters[f"{module}.weight"] = rng.standard_normal(shape, np.float32)
        if len(shape) == 2:
            parameters[f"{module}.bias"] = rng.standard_normal(shape[0], np.float32)
    return parameters


def test_one_of_several():
    two = with_head(verb=(7, FEATURES), noun=(9, FEATURES), embedding=(5, 99))
    with pytest.raises(
        CheckpointError,
        match=r"several classifiers \(verb 7x24, noun 9x24\); choose one with --head NAME",
    ):
        canonical_parameters(two)
    named = canonical_parameters(two, head="noun")
    assert named.names["fc.weight"] == "noun.weight"
    assert named.network().classes == 9
    assert named.record() == {"head": ["noun"], "left_out": ["verb", "embedding"]}
    with pytest.raises(UsageError, match=r"no classifier fc; choose one of verb 7x24, noun 9x24, "):
        canonical_parameters(two, head="fc")


def test_a_matrix_that_has_no_place_is_recorded():
    named = canonical_parameters(with_head(fc=(7, FEATURES), region=(2, 2 * FEATURES)))
    assert named.record() == {"head": ["fc"], "left_out": ["region"]}
    assert canonical_parameters(with_head(fc=(7, FEATURES))).record() == {}


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"fc": (7, FEATURES), "fc2": (3, 7)}, r"several layers \(fc 7x24, fc2 3x7\)"),
        ({"fc": (7, FEATURES), "first": (FEATURES, 999)}, r"\(fc 7x24, first 24x999\)"),
        ({"fc_0": (8, FEATURES), "fc_3": (7, 8)}, r"layers \(fc\.0, fc\.3\), and weights do not"),
        ({"heads_0": (8, FEATURES), "heads_1": (7, FEATURES)}, r"layer heads\.1 takes 24 numbers"),
        ({"fc": (7, FEATURES), "layer5": (4, 3, 1, 1, 1)}, r"layer5\.weight is left over"),
        ({"fc": (7, FEATURES + 1)}, r"24 features and .* classes x 24 \(there are fc 7x25\); give"),
        ({"fc": (FEATURES, 7), "a": (2, 3)}, r"classes x 24 \(there are fc 24x7, a 2x3\); give"),
        ({}, "has no classifier: it ends at 24 features; give"),
        (
            {"projector_0": (48, FEATURES), "projector_2": (8, 48)},
            r"projector\.0 48x24 is a projection, .* name it with --head",
        ),
    ],
)
def test_what_is_not_guessed(shapes, message):
    with pytest.raises(CheckpointError, match=message):
        canonical_parameters(with_head(**shapes))


def test_a_projection_that_is_named_is_taken():
    named = canonical_parameters(with_head(projector=(7, FEATURES)), head="projector")
    assert named.head.modules == ("projector",)


def test_a_classifier_without_bias_is_doubted():
    parameters = with_head(fc=(7, FEATURES))
    assert canonical_parameters(parameters).doubts == ()
    del parameters["fc.bias"]
    (doubt,) = canonical_parameters(parameters).doubts
    assert "the classifier fc has no bias in the file" in doubt
    layers = {"fc": Layer("torch.nn.modules.linear.Linear", {})}
    assert canonical_parameters(parameters, layers=layers).doubts == ()


@pytest.mark.parametrize("leaf", ["zero_point", "_packed_params._packed_params.0"])
def test_a_quantised_classifier_is_named(leaf):
    parameters = {**with_head(), f"fc.{leaf}": np.zeros((), np.int64)}
    with pytest.raises(CheckpointError, match=rf"quantised \(fc\.{leaf}\); save the floating-p"):
        canonical_parameters(parameters)


MLP = {"head_1": (10, FEATURES), "head_4": (7, 10)}


def layers_of(*kinds: str) -> dict[str, Layer]:
    return {
        f"head.{number}": Layer(f"torch.nn.modules.x.{kind}", {})
        for number, kind in enumerate(kinds)
    }


@pytest.mark.parametrize(
    ("options", "activation"),
    [
        ({"head_activation": "relu"}, "relu"),
        ({"head": "head", "head_activation": "none"}, "none"),
        ({"head": "head.1,head.4", "head_activation": "relu"}, "relu"),
        ({"layers": layers_of("Dropout", "Linear", "ReLU", "Dropout", "Linear")}, "relu"),
        ({"layers": layers_of("Dropout", "Linear", "Dropout", "Identity", "Linear")}, "none"),
        ({"layers": layers_of("Dropout", "Linear", "ReLU", "ReLU", "Linear")}, None),
        ({"head": "head.4,head.1", "head_activation": "relu"}, None),
    ],
)
def test_several_layers(options: dict[str, Any], activation):
    parameters = with_head(**MLP)
    if activation is None:
        with pytest.raises(CheckpointError, match=r"(say it with|choose others with) --head"):
            canonical_parameters(parameters, **options)
        return
    named = canonical_parameters(parameters, **options)
    assert named.record()["head_activation"] == activation
    clip = np.random.default_rng(0).standard_normal((1, 3, 4, 32, 32)).astype(np.float32)
    np.testing.assert_allclose(
        reference_logits(named.parameters, named.network(), clip),
        expected(parameters, clip, activation),
        rtol=1e-5,
        atol=1e-5,
    )


def expected(parameters: dict[str, np.ndarray], clip: np.ndarray, activation: str) -> np.ndarray:
    """Return the answers of the layers one after the other, from the network's own features."""
    whole = {name: array for name, array in parameters.items() if not name.startswith("head.")}
    whole["fc.weight"], whole["fc.bias"] = np.eye(FEATURES, dtype=np.float32), np.zeros(FEATURES)
    named = canonical_parameters(whole)
    hidden = reference_logits(named.parameters, named.network(), clip)
    hidden = hidden @ parameters["head.1.weight"].T + parameters["head.1.bias"]
    hidden = np.maximum(hidden, 0) if activation == "relu" else hidden
    return hidden @ parameters["head.4.weight"].T + parameters["head.4.bias"]


@needs("onnx")
@needs("onnxruntime")
def test_several_layers_as_onnx():
    parameters = with_head(**MLP)
    named: NamedParameters = canonical_parameters(parameters, head_activation="relu")
    clip = np.random.default_rng(0).standard_normal((1, 3, 4, 32, 32)).astype(np.float32)
    spec = spec_for(7, frames=4, size=32, input=FLOAT)
    want = expected(parameters, clip, "relu")
    for logits in answers_of_each_form(named.parameters, named.network(), spec, clip):
        np.testing.assert_allclose(logits, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())
