"""`r2p-edge eval`: figures compared with answers that are known beforehand."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from exit_codes import DATA, MODEL, USAGE
from models import FRAMES, brightness_model, grey_frames, spec_of_brightness

from r2p_edge import Predictor
from r2p_edge.calibration import motion
from r2p_edge.calibration.evaluate import evaluate, print_evaluation
from r2p_edge.errors import VideoError
from r2p_edge.export.presets import preset
from r2p_edge.spec import InputSpec
from r2p_edge.video.clip_reader import ClipReader

SPEC = spec_of_brightness()
SIX = tuple(f"frame {number}" for number in range(6))


def write_frames(folder, *brightest):
    """Write a video whose clips, in turn, are brightest at these of their four frames."""
    levels = []
    for frame in brightest:
        clip = [100, 103, 101, 102]  # ranks of the frames where no other is brightest: 1 3 2 0
        clip[frame] = 120
        levels += [level for level in clip for _ in range(2)][:7]
    folder.mkdir(parents=True)
    for number, image in enumerate(grey_frames(levels)):
        cv2.imwrite(str(folder / f"{number}.png"), image)


@pytest.fixture
def videos(tmp_path):
    """Ten videos of four classes; a model of the brightest frame is wrong on the three marked."""
    folder = tmp_path / "videos"
    for number, (label, brightest) in enumerate(
        [(0, 0), (0, 0), (0, 3), (1, 1), (1, 2), (2, 2), (2, 2), (2, 2), (3, 3), (3, 0)]
    ):
        write_frames(folder / f"frame_{label}" / f"v_{number}", brightest)
    return folder


@pytest.fixture
def model(tmp_path):
    return brightness_model(tmp_path / "model.onnx")


def report_of(run, *arguments, doubted=0):
    """Return the report; `doubted` is the number of models that are no better than chance."""
    code, output, errors = run("eval", *arguments, "--json")
    assert (code, errors.count("not above chance"), errors.count("\n")) == (0, doubted, doubted)
    (line,) = output.splitlines()
    return json.loads(line)


def test_shares_are_counted(run, videos, model):
    report = report_of(run, model, "--videos", videos, "--per-class")
    (result,) = report.pop("results")
    assert report == {
        "videos": 10, "views": 1, "classes": 4, "subset": "all", "split": None, "missing": 0,
        "foreign": 0, "left_out": 0, "failed": [],
    }  # fmt: skip
    assert (result["top1"], result["top5"], result["agreement"]) == (0.7, 1.0, 1.0)
    assert (result["clip_top1"], result["clip_top5"]) == (0.7, 1.0)
    assert result["top1_interval"] == pytest.approx([0.3968, 0.8922], abs=1e-4)
    shown = ("label", "videos", "top1", "instead")
    assert [tuple(row[name] for name in shown) for row in result["per_class"]] == [
        ("frame 0", 3, pytest.approx(2 / 3), "frame 3"),
        ("frame 1", 2, 0.5, "frame 2"),
        ("frame 2", 3, 1.0, None),
        ("frame 3", 2, 0.5, "frame 0"),
    ]
    assert result["per_class"][1]["top1_interval"] == pytest.approx([0.0945, 0.9055], abs=1e-4)
    assert (result["path"], result["runtime"], result["device"], result["precision"]) == (
        str(model), "onnxruntime", "cpu", "fp32"
    )  # fmt: skip
    for figures in result["latency_ms"].values():
        assert 0 < figures["p50"] <= figures["p90"] <= figures["p99"]
    assert result["latency_ms"]["total"]["p50"] > result["latency_ms"]["inference"]["p50"]


def test_top_5_of_more_classes(run, tmp_path):
    """The last two of six logits are always equal: the first of them is the fifth."""
    spec = SPEC.replace(labels=SIX)
    model = brightness_model(tmp_path / "six.onnx", spec, outputs=6, factor=-1.0)
    for label in (3, 4, 4, 5, 5, 5):
        number = len(list(tmp_path.glob("set/*/*")))
        write_frames(tmp_path / "set" / f"frame_{label}" / f"v_{number}", 3)
    (result,) = report_of(run, model, "--videos", tmp_path / "set", "--per-class")["results"]
    # The darker, the better: frames 4 and 5 are black, then come 0, 2, 1 and 3.
    assert (result["top1"], result["top5"]) == (pytest.approx(2 / 6), pytest.approx(5 / 6))
    assert [row["top1"] for row in result["per_class"]] == [0, 1, 0]


def test_views_are_averaged_per_video_and_counted_alone(run, tmp_path):
    model = brightness_model(tmp_path / "model.onnx", factor=0.01)
    write_frames(tmp_path / "set" / "frame 0" / "v_0", 0, 1, 0)
    write_frames(tmp_path / "set" / "frame 1" / "v_1", 1, 0, 0)
    (result,) = report_of(run, model, "--videos", tmp_path / "set", "--views", 3)["results"]
    assert (result["top1"], result["clip_top1"]) == (0.5, 0.5)
    write_frames(tmp_path / "set" / "frame 2" / "v_2", 2, 2, 1)
    (result,) = report_of(run, model, "--videos", tmp_path / "set", "--views", 3)["results"]
    assert (result["top1"], result["clip_top1"]) == (pytest.approx(2 / 3), pytest.approx(5 / 9))
    (result,) = report_of(run, model, "--videos", tmp_path / "set")["results"]  # centre: 1, 0, 2
    assert (result["top1"], result["clip_top1"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3))


def test_several_models_of_other_orders_and_pixels(run, videos, model, tmp_path, monkeypatch):
    reverse = tuple(label.replace(" ", "_").upper() for label in reversed(SPEC.labels))
    wrong = brightness_model(tmp_path / "reverse.onnx", SPEC.replace(labels=reverse))
    same = brightness_model(tmp_path / "same.onnx", factor=2.0)
    bgr = SPEC.replace(input=InputSpec(color="BGR"))
    other = brightness_model(tmp_path / "bgr.onnx", bgr)
    read = []
    read_clips = ClipReader.read

    def counted(self, source, **options):
        if isinstance(source, Path):  # and not the clip that warms a model up
            read.append(source)
        return read_clips(self, source, **options)

    monkeypatch.setattr(ClipReader, "read", counted)
    report = report_of(run, model, wrong, same, other, "--videos", videos, doubted=1)
    assert len(read) == 20  # ten videos, for RGB and for BGR
    figures = [(each["top1"], each["agreement"]) for each in report["results"]]
    # The second answers 3 less the frame, which is right for the three that the others get wrong.
    assert figures == [(0.7, 1.0), (0.3, 0.0), (0.7, 1.0), (0.7, 1.0)]


def test_models_of_other_classes(fails, videos, model, tmp_path):
    others = brightness_model(tmp_path / "six.onnx", SPEC.replace(labels=SIX), outputs=6)
    for pair in ((model, others), (others, model)):
        fails(MODEL, "has other classes than the first model", "eval", *pair, "--videos", videos)


@pytest.mark.slow
def test_the_figures_are_those_of_predict(run, motion_model, tmp_path):
    labels = motion.CLASSES[:3]
    for number, label in enumerate((*labels, "slide right")):
        path = tmp_path / label / f"v_{number}.mp4"
        path.parent.mkdir(exist_ok=True)
        # The last one shows a class that it is not of.
        motion.write_video(motion.scene("test", number), path, height=96, width=128)
    weak = SPEC.replace(labels=motion.CLASSES)
    weak = brightness_model(tmp_path / "weak.onnx", weak, outputs=len(motion.CLASSES))
    report = report_of(run, motion_model, weak, "--videos", tmp_path, "--views", 2)
    files = sorted(tmp_path.rglob("*.mp4"))
    answers = []
    for path, result in zip((motion_model, weak), report["results"]):
        with Predictor(path) as predictor:
            predictions = [predictor.predict(file, clips=2) for file in files]
            outputs = [predictor.outputs(file, clips=2).argmax(axis=1) for file in files]
        answers.append([prediction.label for prediction in predictions])
        truths = [file.parent.name for file in files]
        tops = [[label for label, _ in prediction.top(5)] for prediction in predictions]
        assert result["top1"] == np.mean([top[0] == truth for top, truth in zip(tops, truths)])
        assert result["top5"] == np.mean([truth in top for top, truth in zip(tops, truths)])
        clips = [motion.CLASSES[index] == t for each, t in zip(outputs, truths) for index in each]
        assert result["clip_top1"] == np.mean(clips)
    assert report["results"][0]["top1"] == 0.75
    agreement = np.mean([one == two for one, two in zip(*answers)])
    assert report["results"][1]["agreement"] == agreement < 1


def test_real_clips(run, data, tmp_path):
    labels = preset("ucf101-mindspore").labels
    model = brightness_model(tmp_path / "m.onnx", SPEC.replace(labels=labels), outputs=101)
    split = data / "splits/testlist01.txt"
    report = report_of(run, model, "--videos", data / "ucf101", "--split", split, doubted=1)
    assert (report["videos"], report["missing"]) == (11, 3783 - 11)
    assert (report["split"], report["subset"]) == ("testlist01.txt", "test")
    # It answers one of the first four classes, of which ApplyEyeMakeup is one.
    assert report["results"][0]["top1"] <= 1 / 11


def test_for_people(run, videos, model, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    split = tmp_path / "testlist.txt"
    split.write_text("frame_0/v_0\nframe_0/v_2\nframe_1/v_99\nframe_9/v_1\n")
    arguments = ("--videos", videos, "--split", split, "--per-class")
    code, output, errors = run("eval", model, *arguments)
    assert (code, errors) == (0, "")
    for line in (
        "2 videos of testlist.txt",
        "left out: 1 that the folder does not have",
        "left out: 1 of classes that the model does not have",
        "class    videos  top-1  95 % interval  most often instead",
        "frame 0       2  50.0%  9.5% to 90.5%             frame 3",
    ):
        assert line in output.splitlines()
    row = r"model.onnx  onnxruntime on cpu, fp32  50.0%  9.5% to 90.5%  100.0%  +\d+\.\d%"
    row += r"( +\d+\.\d){4}"
    assert re.search(rf"^{row}$", output, re.MULTILINE)
    assert "agrees" not in output
    twice = run("eval", model, model, *arguments)[1]
    assert twice.count("reference") == 1
    assert re.search(r"^model.onnx .* 100\.0%  +100\.0%  +", twice, re.MULTILINE)
    assert re.search(r"^frame 0 +2 +50\.0% +50\.0%$", twice, re.MULTILINE)
    assert "3 clips of each" in run("eval", model, *arguments, "--views", 3)[1]


def test_parts_of_a_video(run, fails, model, tmp_path):
    """DALI's list: only the part that a line names is looked at."""
    write_frames(tmp_path / "set" / "long", 0, 3, 2)
    split = tmp_path / "val.txt"
    (tmp_path / "labels.txt").write_text("\n".join(SPEC.labels))
    listed = ("--videos", tmp_path / "set", "--split", split)
    split.write_text("long 0 0.0 0.28\nlong 3 0.28 0.56\nlong 2 0.56 0.84\n")
    report = report_of(run, model, *listed)
    assert (report["videos"], report["results"][0]["top1"]) == (3, 1.0)
    split.write_text("long 0 7.0 9.5\n")
    fails(DATA, "from 7 to 9.5 s of it", "eval", model, *listed)


def test_a_model_that_an_option_is_not_for(run, fails, videos, model, tmp_path):
    half = brightness_model(tmp_path / "half.onnx", SPEC.replace(precision="fp16"))
    arguments = ("--videos", videos, "--precision", "fp16")
    code, output, _ = run("eval", model, half, *arguments, "--json")
    assert code == USAGE
    refused, measured = json.loads(output)["results"]
    assert set(refused) == {"path", "error", "exit_code"}
    assert (refused["path"], refused["exit_code"]) == (str(model), USAGE)
    assert (measured["top1"], measured["agreement"]) == (0.7, 1.0)
    code, output, _ = run("eval", model, half, *arguments, "--per-class")
    assert code == USAGE
    assert "model.onnx  -" in output
    assert "error: onnxruntime computes in the artifact's own precision" in output
    assert "agrees" not in output
    fails(USAGE, "own precision, fp32", "eval", model, model, *arguments)


def test_the_precision_of_the_file_is_named_where_it_differs(capsys, run, videos, model):
    report = report_of(run, model, "--videos", videos)
    assert report["results"][0]["weights"] == "fp32"
    report["results"][0]["weights"] = "fp16"
    print_evaluation(report)
    assert "  onnxruntime on cpu, fp32 from fp16 weights  " in capsys.readouterr().out


def test_a_flat_folder(run, fails, model, tmp_path):
    for name, brightest in (("a", 0), ("b", 1), ("c", 2)):
        write_frames(tmp_path / "set" / name, brightest)
    fails(
        DATA, "has no video in a folder of a class, but 3 beside each other",
        "eval", model, "--videos", tmp_path / "set",
    )  # fmt: skip
    fails(DATA, "give a list with a label after each video", "eval", model, "--videos", tmp_path)
    split = tmp_path / "val.csv"
    split.write_text("path,label\n/data/a.mp4,frame 0\n/data/b.mp4,Frame_1\nc.mp4,frame 3\n")
    report = report_of(run, model, "--videos", tmp_path / "set", "--split", split)
    assert report["results"][0]["top1"] == pytest.approx(2 / 3)


def test_unreadable_videos(run, fails, videos, model, tmp_path):
    for number in range(10):
        shutil.copytree(videos / "frame_2/v_5", videos / "frame_2" / f"v_1{number}")
    damaged = videos / "frame_3" / "v_8.avi"
    damaged.write_text("no video")
    shutil.rmtree(videos / "frame_3" / "v_8")
    report = report_of(run, model, "--videos", videos)
    assert report["videos"] == 19
    ((failure),) = report["failed"]
    assert failure["video"] == "frame_3/v_8.avi"
    assert "v_8.avi cannot be read as a video" in failure["error"]
    assert report["results"][0]["top1"] == pytest.approx(16 / 19)
    assert f"left out: {failure['error']}" in run("eval", model, "--videos", videos)[1]
    (videos / "frame_3" / "v_20.avi").touch()
    fails(DATA, "2 of 21 videos cannot be read", "eval", model, "--videos", videos)
    code, output, _ = run("eval", model, "--videos", videos, "--json")
    report = json.loads(output)  # the others are measured all the same
    assert (code, report["videos"], len(report["failed"])) == (DATA, 19, 2)


def test_one_unreadable_video_of_few_is_no_reason_to_fail(run, fails, videos, model):
    shutil.rmtree(videos / "frame_3" / "v_8")
    (videos / "frame_3" / "v_8.avi").write_text("no video")
    assert report_of(run, model, "--videos", videos)["videos"] == 9
    for folder in videos.glob("*/*"):
        if folder.is_dir():
            shutil.rmtree(folder)
    fails(DATA, "no video can be read: ", "eval", model, "--videos", videos)


def test_what_no_suffix_tells_of_is_counted_and_told(run, videos, model):
    shutil.copytree(videos / "frame_2/v_5", videos / "frame_2/._v_5")
    (videos / "frame_2" / "v_6.dat").touch()
    code, output, errors = run("eval", model, "--videos", videos, "--json")
    report = json.loads(output)
    assert (code, report["videos"], report["left_out"]) == (0, 10, 1)
    assert "left out 1 files or folders that are no videos by their names" in errors
    assert errors.rstrip().endswith("(1 .dat): frame_2/v_6.dat")


def test_what_is_wrong(fails, videos, model, tmp_path):
    fails(USAGE, "0 views", "eval", model, "--videos", videos, "--views", 0)
    absent = tmp_path / "absent"
    fails(USAGE, "for --split", "eval", model, "--videos", videos, "--split", absent)
    fails(DATA, "there is no folder", "eval", model, "--videos", absent)
    fails(DATA, "but", "eval", model, "--videos", tmp_path)
    fails(MODEL, "does not exist", "eval", absent, "--videos", videos)
    fails(USAGE, "threads", "eval", model, "--videos", videos, "--threads", 0)
    fails(USAGE, "runtime", "eval", model, "--videos", videos, "--runtime", "abacus")


def test_each_model_has_its_own_time(videos, model, monkeypatch):
    def answered(self, pixels, *, timing):
        timing.inference += 1000.0
        timing.total += 1000.0
        return np.zeros((1, FRAMES)), {}

    monkeypatch.setattr(Predictor, "answered", answered)
    for result in evaluate([model, model], videos)["results"]:
        assert set(result["latency_ms"]["inference"].values()) == {1000.0}
        assert result["latency_ms"]["total"]["p50"] < 2000


def test_progress(videos, model):
    seen = []
    evaluate([model], videos, progress=lambda *each: seen.append(each))
    assert seen == [(done, 10) for done in range(1, 11)]


def test_scores_of_pixels(model):
    video = grey_frames(range(0, 60, 2))
    with Predictor(model) as predictor:
        pixels = predictor.pixels(video, clips=3)
        scores = predictor.scores(pixels)
        assert scores.shape == (3, FRAMES)
        expected = predictor.predict(video, clips=3).scores
        np.testing.assert_array_equal(scores.mean(axis=0).astype(np.float32), expected)
        for wrong in (pixels[0], pixels[:, 1:], pixels.astype(np.float32), pixels[:0]):
            with pytest.raises(VideoError, match=r"expected uint8 \(clips, 4, 8, 8, 3\)"):
                predictor.scores(wrong)


def test_scores_of_pixels_in_any_memory_order(tmp_path):
    wanted = InputSpec(dtype="float32", layout="NCTHW", normalized_in_graph=False)
    path = brightness_model(tmp_path / "float.onnx", SPEC.replace(input=wanted))
    pixels = np.random.default_rng(0).integers(0, 256, (2, FRAMES, 8, 8, 3), np.uint8)
    with Predictor(path) as predictor:
        expected = predictor.scores(pixels)
        np.testing.assert_array_equal(predictor.scores(np.asfortranarray(pixels)), expected)
