"""Comparison of models, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from models import brightness_model, spec_of_brightness
from requirements import needs

from r2p_edge import ClipSpec, _isolated
from r2p_edge.calibration import motion
from r2p_edge.compare import compare, print_comparison
from r2p_edge.errors import (
    ModelNotFoundError,
    OutputError,
    ParityError,
    UsageError,
    VideoError,
)
from r2p_edge.export.verify.first_difference import first_difference
from r2p_edge.spec import OutputSpec


@pytest.fixture
def pair(tmp_path):
    """Two models of the same classes, the second with logits 0.03 % larger."""
    return (
        brightness_model(tmp_path / "one.onnx"),
        brightness_model(tmp_path / "two.onnx", factor=1.0003),
    )


CLIPS = np.random.default_rng(0).integers(0, 256, (3, 4, 8, 8, 3), np.uint8)


@pytest.mark.slow
def test_models_in_processes_of_their_own(pair):
    seen = []
    report = compare(
        pair[0], [pair[1], pair[0]], CLIPS, progress=lambda model, done: seen.append((model, done))
    )
    assert report["clips"] == 3
    assert report["reference"] == {
        "path": str(pair[0]), "runtime": "onnxruntime", "device": "cpu", "precision": "fp32"
    }  # fmt: skip
    two, one = report["results"]
    means = CLIPS.mean(axis=(2, 3, 4))  # what the model answers
    assert two["max_abs"] == pytest.approx(3e-4 * means.max(), rel=1e-2)
    assert two["max_rel"] == pytest.approx(3e-4, rel=1e-2)
    assert (two["within"], two["tolerance"], two["top1"]) == (False, {"max_rel": 1e-4}, 1.0)
    assert (one["within"], one["max_abs"], one["path"]) == (True, 0.0, str(pair[0]))
    assert seen == [(str(model), n) for model in (pair[0], pair[1], pair[0]) for n in (1, 2, 3)]
    assert "onnxruntime" not in _loaded_by("import r2p_edge.compare")


@pytest.mark.slow
def test_values_have_no_top1(tmp_path):
    spec = spec_of_brightness(output=OutputSpec(kind="values"), labels=("EF",))
    one, two = (
        brightness_model(tmp_path / f"{factor}.onnx", spec, outputs=1, factor=factor)
        for factor in (1.0, 1.02)
    )
    (same, other) = compare(one, [one, two], CLIPS)["results"]
    assert (same["top1"], same["within"], same["cosine"]) == (None, True, 1.0)
    # A cosine of single numbers would be 1 whatever they are.
    assert (other["top1"], other["within"]) == (None, False)
    assert other["cosine"] == pytest.approx(1 - other["max_rel"] / 10)


def _loaded_by(statement):
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.slow
def test_video_files_are_read_as_each_spec_says(tmp_path, pair):
    video = tmp_path / "clip.mp4"
    motion.write_video(motion.scene("test", 0), video)
    spec = spec_of_brightness()
    slow = spec.replace(clip=ClipSpec(frames=4, interval=6, fps=25.0))
    slower = brightness_model(tmp_path / "slower.onnx", slow)
    report = compare(pair[0], [slower, pair[0]], [video])
    other, same = report["results"]
    assert same["max_abs"] == 0
    assert other["max_abs"] > 0
    assert (other["differs"], same["differs"]) == (["clip"], [])


@pytest.mark.slow
@needs("openvino")
def test_another_runtime_and_precision(pair, tmp_path):
    report = compare(pair[0], [pair[0]], CLIPS, runtime="openvino")
    (result,) = report["results"]
    assert (result["runtime"], result["within"]) == ("openvino", True)


@pytest.mark.slow
def test_an_artifact_that_cannot_answer_does_not_stop_the_others(pair, tmp_path):
    labels = ("a", "b", "c", "d")
    other = brightness_model(tmp_path / "other.onnx", spec_of_brightness(labels=labels))
    report = compare(pair[0], [tmp_path / "absent.onnx", other, pair[0]], CLIPS)
    absent, relabelled, same = report["results"]
    assert "does not exist" in absent["error"]
    assert "has other labels than" in relabelled["error"]
    assert (absent["exit_code"], relabelled["exit_code"], same["within"]) == (4, 4, True)
    with pytest.raises(ModelNotFoundError, match="does not exist"):
        compare(tmp_path / "absent.onnx", [pair[0]], CLIPS)


@pytest.mark.slow
def test_a_clip_that_cannot_be_read_is_left_out(pair, tmp_path):
    good, bad = tmp_path / "good.mp4", tmp_path / "bad.mp4"
    motion.write_video(motion.scene("test", 0), good)
    bad.write_bytes(b"no video")
    report = compare(pair[0], [pair[0]], [bad, good])
    (result,) = report["results"]
    assert (report["clips"], result["clips"], result["worst"]) == (1, 1, str(good))
    (failure,) = report["failed"]
    assert failure["clip"] == str(bad)
    with pytest.raises(VideoError, match="no clip can be read"):
        compare(pair[0], [pair[0]], [bad])


@pytest.mark.slow
def test_arguments_that_are_wrong_in_themselves(pair, tmp_path):
    for clips in ([], "clip.mp4", CLIPS[:0]):
        with pytest.raises(UsageError, match="clips must be video files or an array"):
            compare(pair[0], [pair[0]], clips)
    with pytest.raises(UsageError, match="precision is 'int4'"):
        compare(pair[0], [pair[0]], CLIPS, precision="int4")
    broken = brightness_model(tmp_path / "nan.onnx", factor=np.nan)
    with pytest.raises(ParityError, match="outputs of the reference are NaN"):
        compare(broken, [pair[0]], CLIPS)
    (result,) = compare(pair[0], [broken], CLIPS)["results"]
    assert "outputs of the compared model are NaN" in result["error"]


def test_the_first_tensor_that_diverges(pair):
    found = first_difference(*pair, CLIPS[0])
    assert found.startswith("the first tensor that differs is logits, by 0.0003")
    assert first_difference(pair[0], pair[0], CLIPS[0]) == "every tensor before the logits agrees"


FAILING = """
from r2p_edge.errors import BackendError
from r2p_edge.runtimes import RUNTIMES
from r2p_edge.runtimes.onnxruntime import OnnxRuntime

class DriverError(BackendError):
    def __init__(self, message, code):
        super().__init__(message)
        self.code = code

class Failing(OnnxRuntime):
    def run(self, batch):
        raise DriverError("the GPU is gone", 999)

RUNTIMES["failing"] = RUNTIMES["onnxruntime"]._replace(module=__name__, type="Failing")
"""


@pytest.mark.slow
def test_an_error_class_of_a_runtimes_own_costs_no_other_artifacts_result(
    pair, tmp_path, monkeypatch
):
    (tmp_path / "failing_runtime.py").write_text(FAILING)
    monkeypatch.syspath_prepend(tmp_path)
    real = _isolated.call

    def call(function, arguments, **more):
        failing = arguments["options"] and arguments["model"] == str(pair[1])
        with monkeypatch.context() as patch:
            if failing:
                arguments["options"]["runtime"] = "failing"
                command = _isolated._COMMAND.replace("from r2p", "import failing_runtime; from r2p")
                patch.setattr(_isolated, "_COMMAND", command)
            return real(function, arguments, **more)

    monkeypatch.setattr(_isolated, "call", call)
    failed, same = compare(pair[0], [pair[1], pair[0]], CLIPS)["results"]
    assert failed == {"path": str(pair[1]), "error": "the GPU is gone", "exit_code": 5}
    assert same["within"]


@pytest.mark.slow
def test_a_process_that_ends_is_logged(pair, monkeypatch, caplog):
    real = _isolated.call

    def call(function, arguments, **more):
        if arguments["model"] == str(pair[1]):
            raise _isolated.ProcessFailedError("it ended Python (signal 11)")
        return real(function, arguments, **more)

    monkeypatch.setattr(_isolated, "call", call)
    failed, _ = compare(pair[0], [pair[1], pair[0]], CLIPS)["results"]
    assert failed["error"] == f"{pair[1]} could not be run: it ended Python (signal 11)"
    warned = [record for record in caplog.records if record.levelname == "WARNING"]
    assert [record.getMessage() for record in warned] == [failed["error"]]


@pytest.mark.slow
def test_the_runtime_of_every_process_is_logged(pair, caplog):
    caplog.set_level("INFO", "r2p_edge")
    compare(pair[0], [pair[1]], CLIPS)
    opened = [record.getMessage() for record in caplog.records]
    assert [message.split(" on ")[0] for message in opened] == [f"opened {one}" for one in pair]


def test_a_temporary_folder_that_is_full(pair, monkeypatch):
    def full(file, array):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\); make"):
        compare(pair[0], [pair[0]], CLIPS)


@pytest.mark.parametrize(
    ("max_rel", "share"), [(0.0119, "1.2%"), (3.2e-07, "3.2e-07")], ids=["much", "little"]
)
def test_the_largest_difference_is_a_share_that_is_read_once(max_rel, share, capsys):
    row = {"path": "a.onnx", "runtime": "onnxruntime", "device": "cpu", "precision": "fp32"}
    found = {"top1": 1.0, "max_abs": 0.105, "max_rel": max_rel, "cosine": 1.0, "within": True}
    found |= {"tolerance": {"max_rel": 1.0}, "differs": []}
    print_comparison({"clips": 3, "reference": row, "failed": [], "results": [{**row, **found}]})
    said = capsys.readouterr().out
    assert f"outputs differ by at most 0.105, which is {share} of the largest; least cosine" in said
