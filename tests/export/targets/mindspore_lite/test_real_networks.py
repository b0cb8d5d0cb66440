"""Whole networks on the real MindSpore Lite 2.0: real clips, every verb, and many clips."""

from __future__ import annotations

import json

import pytest
from networks import random_parameters, spec_for
from real_mindspore_lite import needs_real_lite, real_lite
from requirements import needs

from r2p_edge.calibration import motion
from r2p_edge.export.build import build

pytestmark = [
    *(needs("onnx"), needs("onnxruntime"), needs("safetensors"), needs_real_lite()),
    *(pytest.mark.slow, pytest.mark.long),
]


@pytest.fixture
def lite():
    with real_lite():
        yield


@pytest.mark.parametrize("blocks", [(2, 2, 2, 2), (3, 4, 6, 3)], ids=["18", "34"])
def test_r2plus1d_of_full_size_on_real_clips(tmp_path, lite, run, data, blocks):
    from safetensors.numpy import save_file

    save_file(random_parameters(blocks), tmp_path / "net.safetensors")
    made = build(
        tmp_path / "net.safetensors",
        spec=spec_for(101, frames=16, size=112),
        targets=["onnx", "mindspore-lite"],
        out=tmp_path,
    ).built
    reference, path = (each.path for each in made)
    code, output, errors = run("compare", reference, path, "--videos", data / "ucf101", "--json")
    assert code == 0, errors
    report = json.loads(output)
    (result,) = report["results"]
    print(f"{report['clips']} clips, {result['max_rel']:.1e} of the largest logit")
    assert report["clips"] == len(list((data / "ucf101").rglob("*.avi")))
    assert (result["runtime"], result["top1"], result["within"]) == ("mindspore_lite", 1, True)
    assert result["max_rel"] <= 1e-4


def test_every_verb(tmp_path, lite, run):
    folder = tmp_path / "demo"
    code, output, errors = run("demo", "--num-clips", 240, "--out", folder, "--json")
    assert code == 0, errors
    report = json.loads(output)
    rows = {(row["runtime"], row["precision"]): row for row in report["results"]}
    row = rows["mindspore_lite", "fp32"]
    assert (row["agreement"], row["top1"]) == (1, rows["onnxruntime", "fp32"]["top1"])
    files = folder / "motion-fp32.onnx", folder / "motion-fp32-conv2d.mindir"
    code, output, errors = run("compare", *files, "--num-clips", 240, "--json")
    assert code == 0, errors
    (result,) = json.loads(output)["results"]
    assert (result["top1"], result["within"]) == (1, True)
    assert result["max_rel"] <= 1e-4

    for number in range(len(motion.CLASSES)):
        (tmp_path / "set" / motion.CLASSES[number]).mkdir(parents=True)
        video = tmp_path / "set" / motion.CLASSES[number] / "clip.mp4"
        motion.write_video(motion.scene("test", number), video)
    code, output, errors = run("eval", *files, "--videos", tmp_path / "set", "--json")
    assert code == 0, errors
    onnx, lite = json.loads(output)["results"]
    assert (lite["runtime"], lite["top1"]) == ("mindspore_lite", onnx["top1"])
