"""Names of artifacts that another model has already."""

import dataclasses

import pytest
from exit_codes import USAGE
from models import brightness_model, spec_of_brightness

from r2p_edge.errors import UsageError
from r2p_edge.export.replacing import check_replaced


def test_a_model_of_other_classes_is_not_replaced(tmp_path):
    brightness_model(tmp_path / "brightness-fp32.onnx")
    spec = spec_of_brightness()
    check_replaced(tmp_path, spec)  # trained anew
    check_replaced(tmp_path, spec.replace(labels=spec.labels[::-1]))
    check_replaced(tmp_path / "absent", spec)
    with pytest.raises(UsageError, match=r"fp32\.onnx is another .* \(4 classes, and not 2\)"):
        check_replaced(tmp_path, spec.replace(labels=("a", "b")))
    with pytest.raises(UsageError, match=r"\(of other classes\); give another --name"):
        check_replaced(tmp_path, spec.replace(labels=tuple("abcd")))
    check_replaced(tmp_path, spec.replace(labels=("a", "b"), name="bright"))


def test_another_network_is_not_replaced(tmp_path):
    spec = spec_of_brightness(arch="r2plus1d_18")
    brightness_model(tmp_path / "brightness-fp32.onnx", spec)
    with pytest.raises(UsageError, match=r"r2plus1d_18, and not r2plus1d_34"):
        check_replaced(tmp_path, dataclasses.replace(spec, arch="r2plus1d_34"))


def test_what_cannot_be_used_may_be_replaced(tmp_path):
    (tmp_path / "brightness-fp32.onnx").write_text("no model")
    (tmp_path / "brightness-notes.txt").write_text("no model")
    check_replaced(tmp_path, spec_of_brightness(labels=("a", "b")))


@pytest.mark.slow
def test_export_replaces_where_it_is_told_to(run, fails, tmp_path):
    path = brightness_model(tmp_path / "motion-fp32.onnx", spec_of_brightness(name="motion"))
    fails(USAGE, "is another model of the name motion", "export", "motion", "--out", tmp_path)
    before = path.read_bytes()
    code, _, _ = run("export", "motion", "--out", tmp_path, "--replace")
    assert code == 0
    assert path.read_bytes() != before
