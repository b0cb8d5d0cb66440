"""`r2p-edge doctor`: its report."""

import json

import pytest
from requirements import needs

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("openvino")]


@pytest.mark.slow
def test_doctor(run):
    code, output, errors = run("doctor", "--json")
    assert (code, errors) == (0, "")
    runtimes = json.loads(output)["runtimes"]
    assert runtimes["openvino"]["status"] == "ok"
    code, output, _ = run("doctor")
    assert code == 0
    assert "openvino" in output
