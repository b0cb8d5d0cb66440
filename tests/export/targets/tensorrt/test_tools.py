"""The two forms of TensorRT: verifying engines with trtexec."""

import numpy as np
import pytest
from models import spec_of_brightness
from requirements import needs
from trtexec_models import CLIPS, RELEASES

from r2p_edge.errors import ParityError
from r2p_edge.export.targets.tensorrt.tools import check_parity_by_trtexec
from r2p_edge.export.verify.parity import ParityReference

pytestmark = [needs("onnx"), needs("onnxruntime"), pytest.mark.usefixtures("no_trtexec")]


ANSWERS = CLIPS[:, :, 0, 0, 0].astype(np.float64) / 3


def reference(answers=ANSWERS):
    return ParityReference(CLIPS, answers, {"max_rel": 0.0})


@pytest.mark.slow
def test_an_engine_is_proven(tmp_path, release, tool, source):
    path = tmp_path / "draft.engine"
    tool.build(source, path, precision="fp32")
    record = check_parity_by_trtexec(path, spec_of_brightness(), reference(), tool)
    assert record["runtime"] == f"trtexec {'.'.join(map(str, RELEASES[release]))} on cuda"
    assert (record["computed_in"], record["reference"], record["clips"]) == ("fp32", "onnx", 2)
    assert record["onnx"] == {"max_rel": 0.0}
    assert record["max_rel"] < 1e-5


@pytest.mark.slow
def test_an_engine_in_fp16(tmp_path, tool, source):
    path = tmp_path / "draft.engine"
    tool.build(source, path, precision="fp16")
    spec = spec_of_brightness(precision="fp16")
    record = check_parity_by_trtexec(path, spec, reference(), tool)
    assert record["computed_in"] == "fp16"
    assert 1e-5 < record["max_rel"] < 1e-3


@pytest.mark.slow
def test_an_engine_that_answers_otherwise(tmp_path, tool, source, monkeypatch):
    monkeypatch.setenv("FAKE_TENSORRT_WRONG", "1")
    path = tmp_path / "draft.engine"
    tool.build(source, path, precision="fp32")
    with pytest.raises(ParityError, match="the TensorRT engine does not answer as its source"):
        check_parity_by_trtexec(path, spec_of_brightness(), reference(), tool)


@pytest.mark.slow
def test_nan_is_an_answer_that_is_wrong(tool, plan, monkeypatch):
    monkeypatch.setenv("FAKE_TRTEXEC", "nan")
    answers = tool.run(plan, "frames", CLIPS[:1], "logits")
    assert np.isnan(answers[0, 0])
    assert answers[0, 1] == -np.inf
    with pytest.raises(ParityError, match="4 of 8 outputs of the compared model are NaN or"):
        check_parity_by_trtexec(plan, spec_of_brightness(), reference(), tool)
