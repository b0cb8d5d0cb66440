"""`r2p-edge adapt`: what it prints, and how it ends."""

from __future__ import annotations

import json

import pytest
from exit_codes import MODEL
from requirements import needs

from r2p_edge.calibration import adapt
from r2p_edge.calibration.form_agreement import AgreementCount
from r2p_edge.errors import ParityError

pytestmark = [needs("onnx"), needs("onnxruntime")]


@pytest.fixture
def adapted(monkeypatch, tmp_path):
    """Return the calls of `adapt_form`, which takes no time, and answers or raises."""
    calls = []

    def answer(model, out, folder, **options):
        calls.append((model, out, folder, options))
        options["progress"]("windows", 1, 2)
        if options["least"] > 0.99:
            raise ParityError("it agrees too rarely")
        counts = {"uncut": AgreementCount(40, 39), "cuts": AgreementCount(20, 20)}
        return adapt.AdaptedForm(out, options["stages"], 8, 0.64, counts, "recordings in hall")

    monkeypatch.setattr(adapt, "adapt_form", answer)
    return calls


def test_for_people_and_how_to_go_on(run, tmp_path, adapted):
    out = tmp_path / "net causal.npz"
    code, text, _ = run("adapt", "net.onnx", "--videos", "hall", "--out", out)
    assert code == 0
    ((model, path, folder, options),) = adapted
    assert (str(model), path, str(folder)) == ("net.onnx", out, "hall")
    assert {key: options[key] for key in ("stages", "longest_wait", "least")} == {
        "stages": 2,
        "longest_wait": 8,
        "least": 0.95,
    }
    assert "stages to 2 as they were trained, answers 0.64 s late" in text
    assert "uncut: the model's answer for 39 of 40 held-out windows (87.1% to 99.6%)" in text
    line = f"export net.onnx --form semi-causal --form-weights '{out}' --min-agreement 0.95"
    assert f"next: r2p-edge {line} --videos hall --out DIR" in text


def test_as_json(run, tmp_path, adapted):
    words = ("--stages", "1", "--max-wait", "3", "--json")
    code, text, _ = run("adapt", "net.onnx", "--out", tmp_path / "net.npz", *words)
    assert code == 0
    record = json.loads(text)
    assert record["wait"] == 8
    assert record["agreement"]["uncut"]["agree"] == 39
    assert adapted[0][2] is None
    assert (adapted[0][3]["stages"], adapted[0][3]["longest_wait"]) == (1, 3)


def test_a_form_that_agrees_too_rarely_is_an_error(fails, tmp_path, adapted):
    words = ("--out", tmp_path / "net.npz", "--min-agreement", "1")
    fails(MODEL, "agrees too rarely", "adapt", "net.onnx", *words)
