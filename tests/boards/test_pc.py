"""The image for a PC: what its Dockerfile says, and what comes of it in a bare root file system."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from dockerfiles import Builder, size_of, steps_of
from models import brightness_model
from paths import EXAMPLES, ROOT
from requirements import require
from videos import written

DOCKERFILE = EXAMPLES / "pc" / "Dockerfile"
BASE = "debian:12-slim"
LARGEST = 750e6  # bytes of the image; OpenVINO has 190 million, PyAV 110, ONNX Runtime 80


def test_the_image_copies_what_there_is():
    copied = [
        name
        for step in steps_of(DOCKERFILE)
        if step.instruction == "COPY" and "--from" not in step.text
        for name in step.text.split()[:-1]
    ]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    packages = re.findall(r'"(?:r2p_edge\.)?(\w+)": "(\w+)"', (ROOT / "setup.py").read_text())
    assert {folder for _, folder in packages} <= set(copied)


def test_its_user_is_not_root_and_it_has_no_compiler():
    steps = steps_of(DOCKERFILE)
    starts = [number for number, step in enumerate(steps) if step.instruction == "FROM"]
    last = steps[starts[-1] :]
    assert [step.text for step in last if step.instruction == "USER"] == ["r2p-edge"]
    assert not any("g++" in step.text or "pip" in step.text for step in last)
    assert all(step.text.startswith("${BASE}") for step in (steps[start] for start in starts))
    assert steps[0].text == f"BASE={BASE}"


@pytest.mark.parametrize("page", ["docs/quickstart.md", "examples/pc/Dockerfile"])
def test_pages_name_the_dockerfile(page):
    assert "docker build -f examples/pc/Dockerfile -t r2p-edge ." in (ROOT / page).read_text()


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The image, built by the steps of the Dockerfile from a clean copy of the sources."""
    require("bare_root")
    return Builder(
        ROOT, {BASE: Path(os.environ["R2P_BARE_ROOT"])}, tmp_path_factory.mktemp("image")
    ).build(DOCKERFILE)


@pytest.mark.long
@pytest.mark.slow
def test_the_image_runs_a_model_and_not_as_root(image, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    work.chmod(0o777)
    brightness_model(work / "model.onnx")
    (work / "videos").mkdir()
    written(work / "videos" / "clip.mp4", [number / 25 for number in range(20)])
    shown = {work: "/work"}
    said = image.run("id", "-un").stdout.strip()
    assert said == "r2p-edge"
    done = image.start(
        "predict", "/work/model.onnx", "/work/videos/clip.mp4", "--json", shown=shown
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["runtime"], answer["device"]) == ("onnxruntime", "cpu")
    other = image.start(
        "predict", "/work/model.onnx", "/work/videos/clip.mp4", "--json", "--runtime", "openvino",
        shown=shown,
    )  # fmt: skip
    assert json.loads(other.stdout)["label"] == answer["label"], other.stderr
    done = image.start(
        "predict", "/work/model.onnx", "/work/videos", "--out", "/work/results.csv", shown=shown
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (work / "results.csv").read_text().count("\n") == 2
    done = image.start()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ready" in done.stdout
    kernel = "from r2p_edge.preprocess import preprocessor as p; print(p.compiled)"
    assert image.run("python3", "-c", kernel).stdout == "True\n"


@pytest.mark.long
@pytest.mark.slow
def test_the_image_is_small_and_has_no_compiler(image):
    for program in ("g++", "gcc", "pip"):
        assert shutil.which(program, path=str(image.root / "usr/bin")) is None
    assert not list((image.root / "opt/r2p-edge/bin").glob("pip*"))
    assert size_of(image.root) < LARGEST
