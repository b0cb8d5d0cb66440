"""Scores of each kind of output, and outputs that their kind cannot have."""

from pathlib import Path

import numpy as np
import pytest

from r2p_edge.errors import ModelError, SpecError
from r2p_edge.scores import scores_of_outputs


def scores(output, kind):
    return scores_of_outputs(np.array(output, np.float32), kind, Path("m.onnx"), "onnxruntime")


def test_each_kind():
    large = scores([[1000.0, 1000.0, -1000.0]], "logits")
    np.testing.assert_allclose(large, [[0.5, 0.5, 0.0]])
    for kind, output in (
        ("probabilities", [[0.25, 0.75]]),
        ("sigmoid", [[0.9, 0.8]]),
        ("values", [[-55.5]]),
    ):
        np.testing.assert_allclose(scores(output, kind), output, rtol=1e-6)


@pytest.mark.parametrize(
    ("output", "kind", "message"),
    [
        ([[0.9, 0.8]], "probabilities", "which are not probabilities; set output.kind"),
        ([[-1.0, 2.0]], "probabilities", "gives scores from -1 to 2"),
        ([[0.5, 1.5]], "sigmoid", "which are not sigmoids"),
    ],
)
def test_what_a_kind_cannot_be(output, kind, message):
    with pytest.raises(SpecError, match=message):
        scores(output, kind)


@pytest.mark.parametrize("kind", ["logits", "probabilities", "sigmoid", "values"])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_no_numbers(number, kind):
    with pytest.raises(ModelError, match=r"m\.onnx answers (nan|inf) on onnxruntime"):
        scores([[0.5, number]], kind)
