"""Reports from files of results: their figures, their notes, and what is refused."""

from __future__ import annotations

import pytest
from answers_of_models import answered, failed, of_pairs, write_rows
from models import brightness_model, spec_of_brightness
from pages_of_html import CheckedPage

from r2p_edge.artifact.files import sha256_of_model
from r2p_edge.calibration.report import make_report
from r2p_edge.errors import ModelError, OutputError, SpecError, UsageError, VideoError

PAIRS = [("run", "run"), ("run", "walk"), ("run", "run"), ("sit", "sit"), ("sit", "walk")]


@pytest.fixture
def page(tmp_path):
    """A function that writes rows and makes a report of them; returns its figures and the page."""

    def page(*tables, suffix=".csv", **options):
        files = [
            write_rows(tmp_path / f"rows {number}{suffix}", rows)
            for number, rows in enumerate(tables)
        ]
        report = make_report(files, tmp_path / "report.html", **options)
        return report, CheckedPage(tmp_path / "report.html")

    return page


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_the_figures_are_those_of_the_rows(page, suffix):
    report, found = page(of_pairs(PAIRS), suffix=suffix)
    (result,) = report["results"]
    assert (report["videos"], report["classes"], report["truth"]) == (5, 4, "the results")
    assert (result["top1"], result["top5"], result["path"]) == (0.6, 1.0, "models/m.onnx")
    assert result["latency_ms"]["total"] == {"p50": 8.0, "p90": 8.0, "p99": 8.0}
    assert result["ece"] == pytest.approx(0.3)
    for text in ("60.0%", "23.1% to 88.2%", "walk (1)", "2.0", "8.0", "2 videos were answered wr"):
        assert text in found.text


def test_a_report_needs_no_videos_and_says_so(page):
    _, found = page(of_pairs(PAIRS))
    assert "The model's file is not known" in found.text
    assert found.alts == []


def test_names_from_elsewhere_are_only_text(page):
    label = "<script>alert(1)</script> & \"quoted\" 'it'"
    rows = of_pairs([(label, "\u202eright to left \u05d0\u05d1"), (label, label)])
    rows += of_pairs([("new\nline", "</style><b>")])
    rows[0] |= {"video": "rtsp://user:secret@host/a.mp4?token=secret2", "file": "a<b>.onnx"}
    rows.append(failed("x\x01\ufdd0.mp4", "tcp://u:secret3@h failed <i>", truth="new\nline"))
    report, found = page(rows)
    for text in (
        label,
        "\u05d0\u05d1",
        "new\u23celine",
        "</style><b>",
        "a<b>.onnx",
        "x\ufffd\ufffd.mp4",
    ):
        assert text in found.text
    assert "secret" not in found.text
    assert "secret2" not in found.text
    assert report["results"][0]["top1"] == pytest.approx(1 / 3)


def test_answers_no_better_than_chance_are_told_first(page):
    wrong = of_pairs([(name, other) for name, other in zip("abcd" * 5, "bcda" * 5)])
    report, found = page(wrong)
    (doubt,) = report["results"][0]["warnings"]
    assert doubt.startswith("top-1 is 0.0% on 20 clips, which is not above chance (1 in 5)")
    assert "; with the labels in another order it would be 75.0%: " in doubt
    before, _, _ = found.text.partition("Share of the videos")
    assert "Warning:" in before
    assert "not above chance" in before
    right, found = page(of_pairs([(name, name) for name in "abcd" * 5]))
    assert right["results"][0]["warnings"] == []
    assert "Warning" not in found.text


def test_the_class_is_that_of_a_list_or_of_the_folder(page, tmp_path):
    rows = [answered(f"set/{truth}/{n}.mp4", label) for n, (truth, label) in enumerate(PAIRS)]
    report, _ = page(rows)
    assert (report["truth"], report["results"][0]["top1"]) == ("the names of their folders", 0.6)
    assert report["results"][0]["latency_ms"] is None
    listed = tmp_path / "truth list.csv"
    rows = [{**row, "video": f"set/new/{number}.mp4"} for number, row in enumerate(rows)]
    listed.write_text("path,label\n/data/new/0.mp4,Run\nset/new/2.mp4,jump\n3.mp4,walk\n")
    report, found = page(rows, truth=listed)
    assert report["truth"] == "list truth list.csv"
    assert report["results"][0]["top1"] == pytest.approx(1 / 3)  # jump is a class that none names
    assert any("2 of 5 videos count for no accuracy" in note for note in report["notes"])
    assert "2 of 5 videos count" in found.text
    listed.write_text("path,label\nelse/9.mp4,run\n")
    with pytest.raises(VideoError, match="names none of the 5 videos of the results"):
        page(rows, truth=listed)
    twice = [answered(f"{part}/run/0.mp4", "run") for part in "ab"]
    with pytest.raises(VideoError, match=r"several videos that end in run/0\.mp4"):
        page(twice, truth=listed)


def test_without_any_class_there_are_answers_alone(page):
    report, found = page([answered("a.mp4", "run", 0.8), answered("b.mp4", "run", 0.6)])
    assert (report["truth"], "top1" in report["results"][0]) == (None, False)
    assert any("nothing says of which class" in note for note in report["notes"])
    assert "Least sure videos" in found.text
    assert "70.0%" in found.text  # their mean score
    assert found.text.index("b.mp4") < found.text.index("a.mp4")


def test_several_models_are_beside_each_other(page):
    better = of_pairs([(truth, truth) for truth, _ in PAIRS], model="1" * 64, file="o/m.onnx")
    report, found = page([*of_pairs(PAIRS), *better])
    first, second = report["results"]
    assert (first["top1"], second["top1"], second["agreement"]) == (0.6, 1.0, 0.6)
    assert "No video was answered wrongly." in found.text
    for name in ("models/m.onnx", "o/m.onnx", "agrees with the first"):
        assert name in found.text
    report, found = page(of_pairs(PAIRS), of_pairs(PAIRS, precision="bf16"))
    assert len(report["results"]) == 2
    assert "m.onnx [2]" in found.text


def test_results_of_predict_take_the_classes_of_those_of_eval(page):
    later = [
        {**answered(f"set/{truth}/{n}.mp4", truth, model="1" * 64)}
        for n, (truth, _) in enumerate(PAIRS)
    ]
    report, _ = page(later, of_pairs(PAIRS))
    assert [each["top1"] for each in report["results"]] == [1.0, 0.6]
    assert not any("count for no accuracy" in note for note in report["notes"])
    moved = [{**row, "video": f"moved/{n}.mp4"} for n, row in enumerate(later)]
    report, found = page(moved, of_pairs(PAIRS))
    assert ["top1" in each for each in report["results"]] == [False, True]
    assert "5 of 10 videos count for no accuracy" in found.text
    assert "60.0%" in found.text.partition("Classes")[0]


def test_rows_of_several_files_belong_together(page):
    rows = of_pairs(PAIRS)
    late = [failed("set/run/7.mp4", "cannot be read"), rows[0], failed("set/run/1.mp4", "no")]
    report, found = page(rows[1:], late)
    assert (report["videos"], report["results"][0]["top1"]) == (6, 0.6)
    assert report["notes"][0].startswith("1 row left out")
    assert "One video has none, and counts for nothing above" in found.text
    unnamed = [{name: row[name] for name in row if name != "file"} for row in rows]
    _, found = page(unnamed[1:], unnamed[:1])
    assert " and 1 more (" in found.text.partition("</h1>")[0]


def test_windows_of_a_video_count_once(page):
    windows = [
        answered("set/run/0.mp4", label, window=number, video_label="run", video_score=0.7)
        for number, label in enumerate(["walk", "walk", "run"])
    ]
    report, _ = page(windows)
    assert (report["videos"], report["results"][0]["top1"]) == (1, 1.0)


def test_the_contract_of_the_model_tells_its_classes(page, tmp_path):
    model = brightness_model(tmp_path / "m.onnx")
    digest = sha256_of_model(model)
    rows = [
        answered(f"set/frame_{n % 3}/{n}.mp4", f"frame {n % 3}", model=digest) for n in range(12)
    ]
    for row in rows:
        del row["label_2"], row["score_2"]
    report, _ = page(rows, models=[model])
    assert (report["classes"], report["results"][0]["top1"]) == (4, 1.0)
    assert not any("do not name all classes" in note for note in report["notes"])
    other = brightness_model(tmp_path / "other.onnx", factor=2.0)
    with pytest.raises(ModelError, match=f"and the results are of {digest[:12]}"):
        page(rows, models=[other])
    rows[0]["label"] = "jump"
    with pytest.raises(SpecError, match="different classes, such as 'jump'"):
        page(rows, models=[model])
    rows[0]["label"] = "frame 0"
    other = brightness_model(tmp_path / "m.onnx", spec_of_brightness(), factor=3.0)
    report, _ = page([{**row, "file": str(other)} for row in rows])
    assert f"{other} has changed since it answered" in report["notes"][0]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"out": "report.pdf"}, UsageError, "ends in .pdf; a report is an .html file"),
        ({"out": "absent/report.html"}, OutputError, "there is no folder"),
        ({"worst": -1}, UsageError, "there are -1 videos to show; give 0 or more"),
        ({"results": []}, UsageError, "there are no results"),
        ({"results": ["rows.xml"]}, UsageError, "ends in .xml; results are .csv, .jsonl"),
        ({"results": ["absent.csv"]}, VideoError, "absent.csv cannot be read"),
    ],
)
def test_what_is_refused(tmp_path, change, error, message):
    out = tmp_path / change.get("out", "report.html")
    rows = [write_rows(tmp_path / "rows.csv", of_pairs(PAIRS))]
    results = [tmp_path / name for name in change["results"]] if "results" in change else rows
    with pytest.raises(error, match=message):
        make_report(results, out, worst=change.get("worst", 3))
    assert not out.exists()


def test_a_row_that_lacks_a_part(page):
    for change in ({"score_2": None}, {"clip_ranks": "1 x"}):
        with pytest.raises(VideoError, match=r"row of set/run/0.mp4 in .* is not as predict or ev"):
            page([{**of_pairs(PAIRS)[0], **change}])


def test_no_answer_at_all(page):
    with pytest.raises(VideoError, match=r"no video in .* has an answer; .* is: damag"):
        page([failed("a.mp4", "damaged")])
