"""`r2p-edge info`: contracts of artifacts and folders of them."""

import json

from r2p_edge.calibration import motion

USAGE, DATA, MODEL, BACKEND = 2, 3, 4, 5


def test_info_goes_on_after_a_file_that_it_cannot_read(run, model, tmp_path):
    (tmp_path / "a-project.xml").write_text("<project/>")
    code, output, errors = run("info", tmp_path, "--json")
    assert code == MODEL
    assert "its outermost element is <project>" in errors
    first, second = map(json.loads, output.splitlines())
    assert first["path"].endswith("a-project.xml")
    assert "not a whole OpenVINO file" in first["error"]
    assert second["path"] == str(model)


def test_info_of_a_few_labels(run, model, motion_model):
    assert "classes  4: frame 0, frame 1, frame 2, frame 3\n" in run("info", model)[1]
    shown = ", ".join(motion.CLASSES[:4])
    assert f"classes  {len(motion.CLASSES)}: {shown}, ...\n" in run("info", motion_model)[1]
