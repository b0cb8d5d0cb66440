"""`r2p-edge sheet`."""

import json

import pytest
from exit_codes import DATA, MODEL, USAGE
from requirements import needs

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("safetensors")]


@pytest.mark.long
@pytest.mark.slow
def test_from_an_export_to_a_sheet(run, clip, tmp_path):
    code, _, errors = run("export", "motion", "--to", "onnx", "--feature-output", "--out", tmp_path)
    assert (code, errors) == (0, "")
    model, out = tmp_path / "motion-fp32.onnx", tmp_path / "sheet.html"
    code, printed, _ = run("sheet", model, clip, "--cam", "--out", out)
    assert code == 0
    assert printed.startswith(f"{out}: 16 frames of {clip} from ")
    assert "2 time positions of 8 frames each, 7 x 7 places" in printed
    assert out.stat().st_size < 3_000_000
    code, printed, _ = run("sheet", model, clip, "--cam", "--label", "grow", "--out", out, "--json")
    report = json.loads(printed)
    assert code == 0
    assert report["activation"]["label"] == "grow"
    assert len(report["clips"][0]["times"]) == 16
    _, printed, _ = run("info", model)
    assert "features 128, feature_map 128 x 2 x 7 x 7, class_activation 12 x 2 x 7 x 7" in printed
    # An export of the artifact keeps them, and so does its int8 form.
    again = tmp_path / "again"
    assert run("export", model, "--to", "openvino", "--out", again)[0] == 0
    assert "feature_map 128" in run("info", again / "motion-fp32.xml")[1]
    int8 = tmp_path / "int8.onnx"
    assert run("calibrate", model, "--num-clips", 12, "--out", int8)[0] == 0
    assert run("sheet", int8, clip, "--cam", "--out", out)[0] == 0


def test_what_cannot_be_drawn(fails, model, clip, tmp_path):
    out = tmp_path / "sheet.svg"
    fails(USAGE, "written as .svg or .html", "sheet", model, clip, "--out", tmp_path / "a.png")
    fails(DATA, "there is no folder", "sheet", model, clip, "--out", tmp_path / "no" / "a.svg")
    fails(MODEL, "--feature-output", "sheet", model, clip, "--cam", "--out", out)
    fails(USAGE, "--cam", "sheet", model, clip, "--label", "frame 1", "--out", out)
    fails(USAGE, "views is 0", "sheet", model, clip, "--views", "0", "--out", out)
    fails(USAGE, "room for 1024 frames", "sheet", model, clip, "--views", "257", "--out", out)
    fails(DATA, "there is no video", "sheet", model, tmp_path / "v.mp4", "--out", out)
    (tmp_path / "damaged.mp4").write_bytes(b"\0" * 100)
    fails(DATA, "damaged.mp4", "sheet", model, tmp_path / "damaged.mp4", "--out", out)
    assert not out.exists()


@pytest.mark.parametrize("target", ["tensorrt", "tensorrt-rtx", "mindspore", "ascend310"])
def test_targets_that_have_an_answer_alone(fails, tmp_path, target):
    fails(
        USAGE,
        f"{target} cannot have further outputs; feature_outputs (--feature-output) is for --to "
        "onnx, openvino, openvino-npu",
        *("export", "motion", "--to", target, "--feature-output", "--out", tmp_path / "out"),
    )
    assert not (tmp_path / "out").exists()
