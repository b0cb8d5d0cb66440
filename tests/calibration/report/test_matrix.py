"""The confusion matrix, small and large, and the picture of a large one, decoded again."""

from __future__ import annotations

import base64
import io
import re

import av
import numpy as np
from answers_of_models import answered, of_pairs, write_rows
from pages_of_html import CheckedPage

from r2p_edge.calibration.report import make_report
from r2p_edge.calibration.report.matrix import matrix_of

KINETICS = [f"class number {number:03d} with a long name" for number in range(400)]


def test_a_small_one_is_a_table_of_counts():
    counts = np.array([[7, 1], [0, 123_456]])
    html = matrix_of(["a", "b"], counts)
    assert '<th scope="row"><bdi>a</bdi></th><td class="r9">7</td><td class="w2">1</td>' in html
    assert '<td></td><td class="r10">123456</td>' in html  # no video: nothing to read
    assert '<th scope="row"><bdi>a</bdi></th><td class="text"><bdi>b</bdi></td>' in html
    assert "12.5%" in html


def test_a_class_that_is_always_right_is_in_no_pair():
    assert "taken for others" not in matrix_of(["a"], np.array([[3]]))


def test_a_large_one_is_a_picture_of_its_cells():
    counts = np.eye(400, dtype=np.int64) * 9
    counts[3, 5] = 1
    html = matrix_of(KINETICS, counts)
    (content,) = re.findall(r"data:image/png;base64,([\w+/=]+)", html)
    with av.open(io.BytesIO(base64.b64decode(content))) as file:
        (frame,) = file.decode(video=0)
    pixels = frame.to_ndarray(format="rgba")
    assert pixels.shape == (400, 400, 4)
    assert np.argwhere(pixels[..., 3] > 0).tolist() == np.argwhere(counts > 0).tolist()
    assert pixels[3, 5, 0] > 200 > pixels[0, 0, 2] > 100  # orange, and blue
    assert pixels[3, 5, 3] < pixels[3, 3, 3] < pixels[0, 0, 3] == 255
    assert html.count("<text ") == 800
    assert (
        '<bdi>class number 003 with a long name</bdi></th><td class="text"><bdi>class num' in html
    )


def test_400_classes_in_one_report(tmp_path):
    random = np.random.default_rng(0)
    pairs = [
        (KINETICS[n % 400], KINETICS[n % 400 if random.uniform() < 0.7 else random.integers(400)])
        for n in range(4000)
    ]
    rows = write_rows(tmp_path / "rows.jsonl", of_pairs(pairs))
    report = make_report([rows], tmp_path / "report.html")
    found = CheckedPage(tmp_path / "report.html")
    (result,) = report["results"]
    assert result["top1"] == np.mean([truth == answer for truth, answer in pairs])
    assert found.headers > 400
    assert (tmp_path / "report.html").stat().st_size < 3e6


def test_a_score_of_no_video_is_no_matter(tmp_path):
    rows = write_rows(tmp_path / "rows.csv", [answered("a/run/1.mp4", "run", 1.0, truth="run")])
    report = make_report([rows], tmp_path / "report.html")
    assert report["results"][0]["ece"] == 0
