from __future__ import annotations

import numpy as np
import pytest

from r2p_edge.agreement import Agreement, agreement, parity_text, within_tolerance
from r2p_edge.errors import ParityError


def test_figures_of_two_clips_worked_out_by_hand():
    reference = np.array([[3.0, 4.0], [0.0, -10.0]])
    other = np.array([[4.0, 3.0], [0.0, -10.5]])
    found = agreement(reference, other)
    assert found.max_abs == 1.0
    assert found.max_rel == pytest.approx(0.1)  # of the largest logit, 10
    assert found.cosine == pytest.approx(24 / 25)  # of the worse clip; the other's is 1
    assert found.top1 == 0.5
    assert found.clips == 2


def test_equal_outputs_agree_entirely():
    logits = np.random.default_rng(0).normal(size=(5, 101)).astype(np.float32)
    found = agreement(logits, logits)
    assert (found.max_abs, found.max_rel, found.top1) == (0.0, 0.0, 1.0)
    assert found.cosine == pytest.approx(1.0, abs=1e-12)


def test_half_precision_does_not_overflow_in_the_comparison():
    logits = np.full((1, 3), 60000, np.float16)
    assert agreement(logits, logits).cosine == pytest.approx(1.0)


def test_zero_outputs_have_cosine_zero():
    assert agreement(np.ones((1, 3)), np.zeros((1, 3))).cosine == 0.0


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("side", ["reference", "compared model"])
def test_numbers_that_are_not_finite_are_refused(value, side):
    good, bad = np.ones((2, 3)), np.ones((2, 3))
    bad[1, 2] = value
    pair = (bad, good) if side == "reference" else (good, bad)
    with pytest.raises(ParityError, match=f"1 of 6 outputs of the {side} are NaN or infinite"):
        agreement(*pair)


@pytest.mark.parametrize("shape", [(2, 4), (3, 3), (6,), (2, 3, 1)])
def test_other_shapes_are_refused_naming_both(shape):
    with pytest.raises(ParityError, match=r"\(2, 3\)") as raised:
        agreement(np.ones((2, 3)), np.ones(shape))
    assert str(shape) in str(raised.value)


def test_no_clips_and_a_zero_reference_are_refused():
    with pytest.raises(ParityError):
        agreement(np.ones((0, 3)), np.ones((0, 3)))
    with pytest.raises(ParityError, match="zero for a clip"):
        agreement(np.array([[1.0, 2.0], [0.0, 0.0]]), np.ones((2, 2)))


@pytest.mark.parametrize(
    ("precision", "figures", "within"),
    [
        ("fp32", {"max_rel": 1e-4}, True),
        ("fp32", {"max_rel": 1.01e-4}, False),
        ("fp16", {"cosine": 0.999, "max_rel": 0.1}, True),
        ("bf16", {"cosine": 0.9989}, False),
        ("int8", {"cosine": 0.1}, True),
    ],
)
def test_what_each_precision_allows(precision, figures, within):
    found = Agreement(
        **{"max_abs": 1.0, "max_rel": 0, "cosine": 1.0, "top1": 1, "clips": 1} | figures
    )
    assert within_tolerance(found, precision) is within


def test_a_record_of_parity_in_words():
    record = {"reference": "numpy", "max_rel": 3.21e-07, "top1": 1.0, "clips": 3}
    assert parity_text(record) == (
        "verified against its checkpoint, computed in NumPy: outputs differ by at most 3.2e-07 of "
        "the largest one, best class equal on 100% of 3 clips"
    )
    other = parity_text({**record, "reference": "torch 2.13.0", "clips": 1})
    assert other.startswith("verified against torch 2.13.0: ")
    assert other.endswith("of 1 clip")


@pytest.mark.parametrize(
    ("parent", "words"),
    [
        (
            {"reference": "onnx", "max_rel": 1.1e-02, "top1": 1.0, "clips": 2},
            "verified against its ONNX file: outputs differ by at most 1.1e-02 of the largest one, "
            "best class equal on 100% of 2 clips",
        ),
        (None, "not compared with its source"),
        ({"psnr": 40}, "not compared with its source"),
    ],
    ids=["known", "none", "another tool's"],
)
def test_a_record_of_a_part_does_not_speak_for_the_whole(parent, words):
    record = {"reference": "numpy", "max_rel": 2.7e-07, "top1": 1.0, "clips": 3}
    told = parity_text({**record, "of": "the head", "parent": parent})
    assert told == (
        "the head, verified against NumPy: outputs differ by at most 2.7e-07 of the largest one, "
        f"best class equal on 100% of 3 clips; the parent: {words}"
    )
