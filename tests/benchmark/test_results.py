"""The report of a benchmark: which row is recommended, and what is said of it."""

from __future__ import annotations

import pytest
from benchmark_rows import (
    LABELS,
    RIGHT,
    TRUTHS,
    answered_per_frame,
    fallen,
    measured,
    report,
)

from r2p_edge.calibration.tally import wilson_interval
from r2p_edge.spec import OutputSpec


def wrong(number):
    """Scores of a model that answers so many of 200 clips otherwise than the others do."""
    return [[0.0, 0.0, 1.0, 0.0]] * number + RIGHT[number:]


def test_the_fastest_within_half_a_point_is_recommended_on_labelled_clips():
    rows = [
        measured("fp32.onnx", 10),
        measured("wrong-int8.onnx", 1, wrong(2), precision="int8"),
        measured("right-int8.onnx", 2, wrong(1), precision="int8"),
    ]
    found = report(rows, TRUTHS)
    assert [row["file"] for row in found["results"]] == [
        "wrong-int8.onnx", "right-int8.onnx", "fp32.onnx"
    ]  # fmt: skip
    assert [row["top1"] for row in found["results"]] == [0.99, 0.995, 1.0]
    assert found["results"][0]["top1_interval"] == pytest.approx(wilson_interval(198, 200), 1e-3)
    best = found["recommended"]
    assert (best["file"], best["runtime"]) == ("right-int8.onnx", "onnxruntime")
    assert best["because"] == (
        "2.0 ms a clip, 5.00 times as fast as onnxruntime fp32; right on 99.5% of 200 clips, where "
        "onnxruntime fp32 is on 100.0%; faster and not good enough: onnxruntime int8"
    )


def test_agreement_decides_where_nothing_is_labelled_and_it_says_so():
    rows = [
        measured("fp32.onnx", 10),
        measured("other-int8.onnx", 1, wrong(5), precision="int8"),
        measured("alike-int8.onnx", 2, wrong(4), precision="int8"),
    ]
    found = report(rows)
    assert [row["agreement"] for row in found["results"]] == [0.975, 0.98, 1.0]
    assert [row["top1"] for row in found["results"]] == [None] * 3
    best = found["recommended"]
    assert best["file"] == "alike-int8.onnx"
    assert "the same answer as onnxruntime fp32 on 98.0% of 200 clips" in best["because"]
    assert best["because"].endswith("accuracy was not measured")


def test_accuracy_decides_and_not_agreement():
    """A model that is right where the reference is wrong does not agree with it."""
    rows = [measured("fp32.onnx", 10, wrong(20)), measured("int8.onnx", 1)]
    best = report(rows, TRUTHS)["recommended"]
    assert best["file"] == "int8.onnx"


def test_the_reference_may_be_the_fastest():
    found = report([measured("fp32.onnx", 1), measured("int8.onnx", 2)], TRUTHS)
    assert found["recommended"]["because"] == "1.0 ms a clip; right on 100.0% of 200 clips"


def test_a_row_that_failed_comes_last_and_leaves_its_place_as_reference():
    rows = [fallen("fp32.onnx", "it ended Python"), measured("slow.onnx", 5), measured("b.onnx", 2)]
    found = report(rows)
    last = found["results"][-1]
    assert (last["file"], last["error"], last["exit_code"]) == ("fp32.onnx", "it ended Python", 5)
    assert [row["reference"] for row in found["results"][:2]] == [False, True]


@pytest.mark.parametrize(("factor", "good"), [(1.00005, True), (1.01, False)])
def test_a_model_of_values_is_judged_by_its_numbers(factor, good):
    changes = {"output": OutputSpec(kind="values")}
    values = [[3.0, 4.0, 5.0, 6.0]] * 200
    other = [[each * factor for each in row] for row in values]
    rows = [measured("fp32.onnx", 2, values, **changes), measured("b.onnx", 1, other, **changes)]
    found = report(rows)
    row = next(row for row in found["results"] if row["file"] == "b.onnx")
    assert (row["good_enough"], row["top1"], row["agreement"]) == (good, None, None)
    assert (found["recommended"]["file"] == "b.onnx") is good


def test_scores_that_are_all_zero_have_no_difference():
    none = [[0.0] * 4] * 200
    found = report([measured("fp32.onnx", 2, none), measured("b.onnx", 1)])
    assert found["results"][0]["max_rel"] is None


@pytest.mark.parametrize(("others", "busy"), [(None, False), (0.2, False), (0.21, True)])
def test_busy_is_what_other_programs_take_of_the_cores(others, busy):
    found = report([measured("fp32.onnx", 1)], others=others)["other_programs"]
    assert found == {"cores": others, "of": 2, "busy": busy, "ratios_uncertain": False}


def test_labels_no_better_than_chance_are_doubted():
    exchanged = [LABELS[1], LABELS[0]] * 100
    rows = [
        measured("fp32.onnx", 2),
        measured("b.onnx", 1, [[0.0, 0.0, 1.0, 0.0]] * 200, precision="int8"),
    ]
    found = report(rows, exchanged)
    (doubt,) = found["warnings"]
    assert "top-1 is 0.0% on 200 clips" in doubt
    # Both are right on none, which does not make the one as good as the other.
    assert found["recommended"]["file"] == "fp32.onnx"
    assert found["recommended"]["because"] == (
        "2.0 ms a clip; faster and not good enough: onnxruntime int8; accuracy is doubtful and did "
        "not decide"
    )


def test_what_speaks_against_the_figures_is_said():
    found = report([measured("fp32.onnx", 1)], TRUTHS, held_out=False)["warnings"]
    assert found == ["int8 was calibrated on the videos that it is measured on; give more videos"]
    found = report([measured("fp32.onnx", 1)], unlabelled_because="there is no folder per class")
    assert found["warnings"] == ["accuracy was not measured: there is no folder per class"]


def test_a_temporary_file_has_no_path():
    assert report([measured("/x/a.onnx", 1)])["results"][0]["path"] == "/x/a.onnx"
    assert report([measured("/x/a.onnx", 1)], temporary=True)["results"][0]["path"] is None


def test_figures_of_a_row():
    row = report([measured("fp32.onnx", 4)])["results"][0]
    assert row["latency_ms"] == {"p50": 4, "p90": 4, "p99": 4}
    assert row["clips_per_s"] == {"one_client": 250, "all_cores": 400}
    assert row["start_ms"] == {"library": 200, "load": 30, "first_answer": 4}
    assert row["memory_mib"] == {"peak": 100, "above_runtime": 40}


def test_a_per_frame_form_is_recommended_for_each_frame_and_not_for_clips():
    rows = [
        measured("fp32.onnx", 10, graph="conv3d"),
        answered_per_frame("fp32.onnx", 1, wrong(10)),
        answered_per_frame("fp32.onnx", 2.5, wrong(2), "wait"),
        answered_per_frame("other.onnx", 3),
    ]
    found = report(rows)
    assert [row["per_frame"] for row in found["results"]] == [True, True, True, False]
    assert [row["frame_ms"] for row in found["results"]] == [0.25, 0.62, 0.75, None]
    assert [row["lag_ms"] for row in found["results"]] == [240.0, 240.0, 240.0, None]
    assert found["recommended"]["because"].startswith("10.0 ms a clip")
    best = found["every_frame"]
    assert (best["file"], best["border"]) == ("fp32.onnx", "wait")
    assert best["because"] == (
        "2.5 ms an answer, 4.00 times as fast as a whole clip; the reference's answer on 99.0% of "
        "200 clips, one after another as scenes; it comes 0.24 s after the clip"
    )


def test_a_per_frame_form_that_is_slower_than_clips_is_not_recommended():
    rows = [measured("fp32.onnx", 10, graph="conv3d"), answered_per_frame("fp32.onnx", 11)]
    assert report(rows)["every_frame"] is None
    assert report(rows[:1])["every_frame"] is None


def test_a_per_frame_form_alone_is_its_own_reference():
    rows = [fallen("fp32.onnx", "it ended Python"), answered_per_frame("fp32.onnx", 1)]
    found = report(rows)
    assert found["recommended"]["file"] == "fp32.onnx"
    assert found["every_frame"] is None
