"""`r2p-edge dataset`: what it prints and writes, and that other verbs read it."""

from __future__ import annotations

import json
import shutil

import pytest
from datasets import record
from exit_codes import DATA, USAGE
from models import brightness_model, spec_of_brightness

from r2p_edge.calibration.dataset import splitting

NAMES = tuple(f"frame {label}/{number}.mp4" for label in (0, 1) for number in range(3))


@pytest.fixture
def folder(tmp_path):
    return record(tmp_path / "videos", *NAMES)


def test_people_see_a_table_and_machines_an_object(run, folder):
    code, output, errors = run("dataset", folder)
    assert (code, errors) == (0, "")
    assert output.splitlines()[3].split()[:4] == ["frame", "0", "3", "3"]
    code, output, errors = run("dataset", folder, "--json")
    assert (code, errors) == (0, "")
    (line,) = output.splitlines()
    found = json.loads(line)
    assert found["folder"] == str(folder)
    assert [each["name"] for each in found["classes"]] == ["frame 0", "frame 1"]
    assert found["classes"][0]["frames"] == {"min": 4, "median": 5, "max": 6, "total": 15}
    assert [each["name"] for each in found["videos"]] == list(NAMES)
    assert (found["errors"], found["warnings"], found["split"]) == ([], [], None)


def test_errors_of_the_data_come_after_the_report(run, folder, tmp_path):
    shutil.copy(folder / NAMES[0], folder / "frame 1" / "copy.mp4")
    code, output, errors = run("dataset", folder, "--json", "--split-to", tmp_path / "lists")
    assert code == DATA
    first, second = errors.splitlines()
    assert first.startswith("r2p-edge: error: 1 video is the same bytes in two classes, ")
    assert "videos cannot be split before its errors are put right" in second
    assert len(json.loads(output)["errors"]) == 1
    assert not (tmp_path / "lists").exists()


def test_eval_reads_the_lists_and_export_the_labels(run, folder, tmp_path):
    lists = tmp_path / "lists"
    options = ("--split-to", lists, "--test-share", "0.4", "--seed", "3")
    code, output, errors = run("dataset", folder, *options)
    assert (code, errors) == (0, "")
    assert output.splitlines()[-3:] == [
        f"{lists}/trainlist01.txt: 4 videos of 4 groups",
        f"{lists}/testlist01.txt: 2 videos of 2 groups",
        f"{lists}/classInd.txt: 2 classes",
    ]
    before = {path.name: path.read_bytes() for path in lists.iterdir()}
    split = json.loads(run("dataset", folder, *options, "--json")[1])["split"]
    assert {path.name: path.read_bytes() for path in lists.iterdir()} == before
    assert sorted(split["train"] + split["test"]) == list(NAMES)
    assert (split["seed"], split["test_share"], split["train_only"]) == (3, 0.4, [])
    labels = ("frame 0", "frame 1", "frame 2", "frame 3")
    model = brightness_model(tmp_path / "model.onnx", spec_of_brightness(labels=labels))
    for name, videos in (("testlist01.txt", 2), ("trainlist01.txt", 4)):
        found = run("eval", model, "--videos", folder, "--split", lists / name, "--json")
        assert json.loads(found[1])["videos"] == videos


@pytest.mark.slow
def test_export_takes_the_folder_for_its_labels(run, fails, folder, tmp_path):
    model = brightness_model(tmp_path / "model.onnx")
    options = ("--labels", folder, "--out", tmp_path / "out")
    fails(
        4,
        "logits is (?, 4) but the recipe (preset or spec) has 2 labels; give one",
        "export",
        model,
        *options,
    )
    record(folder, "A/1.mp4", "z/1.mp4")
    code, _, errors = run("export", model, *options)
    assert code == 0, errors
    (written,) = (tmp_path / "out").glob("*.onnx")
    assert "4: A, frame 0, frame 1, z" in run("info", written)[1]


def test_a_class_that_cannot_be_tested_is_told(run, folder, tmp_path):
    record(folder, "alone/only.mp4", rate=30.0)
    code, _, errors = run("dataset", folder, "--split-to", tmp_path / "lists")
    assert code == 0
    one, other = errors.splitlines()
    assert "all videos of alone are of one group" in one
    assert "no video of alone is in the test list, since no group may be on both sides" in other


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--seed", "0"), "--seed is for lists; add --split-to DIR, or leave it out"),
        (("--test-share", "0.2"), "--test-share is for lists"),
        (("--replace",), "--replace is for lists"),
        (("--split-to", "lists", "--test-share", "30"), "test share is 30; it must lie between"),
    ],
)
def test_options_that_are_refused(fails, folder, options, message):
    fails(USAGE, message, "dataset", folder, *options)


def test_other_lists_stay(fails, run, folder, tmp_path):
    (tmp_path / "trainlist01.txt").write_text("mine\n")
    fails(USAGE, "is there and is another list", "dataset", folder, "--split-to", tmp_path)
    assert (tmp_path / "trainlist01.txt").read_text() == "mine\n"
    assert run("dataset", folder, "--split-to", tmp_path, "--replace")[0] == 0
    assert (tmp_path / "trainlist01.txt").read_text() != "mine\n"


def test_a_place_that_cannot_be_written_is_told_before_the_videos_are_decoded(
    fails, folder, tmp_path, monkeypatch
):
    def decode(*_):
        raise AssertionError("a video was decoded")

    monkeypatch.setattr("r2p_edge.calibration.dataset.inspection.facts_of_video", decode)
    (tmp_path / "file").touch()
    fails(DATA, "file cannot be made", "dataset", folder, "--split-to", tmp_path / "file")


def test_folders_that_are_no_data_set(fails, folder, tmp_path):
    fails(DATA, "there is no folder", "dataset", tmp_path / "none")
    fails(DATA, f"if this is the folder of one class, give the one above it, {folder}", "dataset",
          folder / "frame 0")  # fmt: skip
    fails(DATA, "has no folder for each class, but", "dataset", tmp_path)


def test_the_share_in_the_help_is_the_real_one(capsys):
    from r2p_edge.cli import build_parser

    with pytest.raises(SystemExit):
        build_parser().parse_args(["dataset", "--help"])
    assert f"(default: {splitting.TEST_SHARE})" in " ".join(capsys.readouterr().out.split())
