"""Parity records of models that agree with their source, and errors of those that do not."""

from __future__ import annotations

import re

import numpy as np
import pytest
from networks import SMALL, network_of, random_parameters, spec_for
from parity_checks import CLIPS, PARAMETERS, SPEC, check, exported
from requirements import needs

from r2p_edge.agreement import agreement
from r2p_edge.errors import ParityError
from r2p_edge.export.verify.parity import parity_record, verify_onnx
from r2p_edge.export.verify.reference import reference_logits
from r2p_edge.export.verify.synthetic_clips import normalized
from r2p_edge.spec import InputSpec

pytestmark = [needs("onnx"), needs("onnxruntime")]


@pytest.mark.parametrize("batch", [1, 2, 4])
@pytest.mark.parametrize(
    "input",
    [
        InputSpec(),
        InputSpec(layout="NCTHW"),
        InputSpec(dtype="float32"),
        InputSpec(dtype="float32", normalized_in_graph=False),
        InputSpec(dtype="float32", layout="NCTHW", normalized_in_graph=False),
    ],
)
def test_a_right_model_agrees_whatever_its_input(input, batch):
    spec = spec_for(7, input=input)
    found = check(exported(PARAMETERS, spec, batch=batch), PARAMETERS, spec)
    assert found["max_rel"] < 5e-6
    assert found["max_abs"] > 0
    assert (found["top1"], found["cosine"], found["clips"]) == (1.0, 1.0, 3)
    assert found["reference"] == "numpy"
    assert found["tolerance"] == {"max_rel": 1e-4}
    assert re.fullmatch(r"onnxruntime \d+\.\d+.*", found["runtime"])


def test_without_activations_the_figures_are_still_given():
    logits = reference_logits(PARAMETERS, network_of(PARAMETERS), normalized(CLIPS, SPEC))
    logits[1, 2] += 1
    with pytest.raises(
        ParityError, match=r"over 3 clips .* differ by up to 1,.*fp32 allows"
    ) as raised:
        verify_onnx(exported(), SPEC, CLIPS, logits, reference="torch 2.13.0")
    assert "first tensor" not in str(raised.value)
    assert "torch 2.13.0" in str(raised.value)


def test_a_file_is_read_and_named(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(exported())
    assert check(path)["max_rel"] < 5e-6
    with pytest.raises(ParityError, match=r"model\.onnx does not answer"):
        check(path, random_parameters(**SMALL, seed=1))


def test_each_precision_has_its_own_tolerance():
    reference = np.array([[1.0, 2.0, -4.0]])
    near = agreement(reference, reference * (1 + 5e-5))
    half = agreement(reference, reference + np.array([0.02, -0.02, 0.02]))
    far = agreement(reference, -reference)
    for found, precision, passes in [
        (near, "fp32", True),
        (half, "fp32", False),
        (half, "fp16", True),
        (half, "bf16", True),
        (far, "fp16", False),
        (far, "bf16", False),
        (far, "int8", True),
    ]:
        if passes:
            record = parity_record(found, precision, reference="onnx", artifact="model.xml")
            assert ("tolerance" in record) == (precision != "int8")
        else:
            with pytest.raises(ParityError, match=r"model\.xml .*" + precision):
                parity_record(found, precision, reference="onnx", artifact="model.xml")
