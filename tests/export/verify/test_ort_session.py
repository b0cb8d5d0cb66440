"""ONNX Runtime sessions for checks: a Predictor's options, and errors that name the model."""

from __future__ import annotations

import pytest
from networks import spec_for
from parity_checks import PARAMETERS, check, exported
from requirements import needs

from r2p_edge.errors import ModelError
from r2p_edge.export.verify.ort_session import open_session
from r2p_edge.export.verify.synthetic_clips import verification_clips
from r2p_edge.runtimes.base import usable_cores

pytestmark = [needs("onnx"), needs("onnxruntime")]


def test_a_broken_model_and_another_input_are_model_errors():
    with pytest.raises(ModelError, match="cannot load"):
        check(b"\x08\x08not a model")
    longer = spec_for(7, frames=6)
    with pytest.raises(ModelError, match=r"cannot run the model on uint8 \(1, 6, 32, 32, 3\)"):
        check(exported(), PARAMETERS, longer, clips=verification_clips(longer, 1))


def test_an_operator_of_its_authors_own():
    import onnx

    info = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Warp", ["x"], ["y"], domain="com.example")
    graph = onnx.helper.make_graph(
        [node], "g", [info], [onnx.helper.make_empty_tensor_value_info("y")]
    )
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.example", 1)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    with pytest.raises(ModelError, match=r"com\.example:Warp.*; export it .* ONNX's own operators"):
        open_session(model.SerializeToString())


@pytest.mark.parametrize(("part", "text"), [("opset", "opset 99"), ("ir", "IR version 99")])
def test_a_model_that_is_newer_than_the_runtime(part, text):
    import onnx

    model = onnx.load_model_from_string(exported())
    if part == "opset":
        model.opset_import[0].version = 99
    else:
        model.ir_version = 99
    with pytest.raises(ModelError, match=rf"\(its {text} is newer than release .* reads\); export"):
        open_session(model.SerializeToString())


def test_a_session_has_the_options_of_a_predictor():
    options = open_session(exported()).get_session_options()
    assert options.intra_op_num_threads == usable_cores()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
