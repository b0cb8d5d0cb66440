"""Reading of ONNX models: text that is not UTF-8 is damage, which protobuf gives as bytes."""

from __future__ import annotations

import onnx
import pytest
from models import brightness_model

from r2p_edge.errors import ModelError, SpecError
from r2p_edge.export.graph.model import attributes, load_onnx, network_input


@pytest.fixture
def content(tmp_path):
    model = onnx.load(brightness_model(tmp_path / "model.onnx"))
    model.graph.name = "GRAPH"
    model.graph.node[0].name = "NODE0"
    model.graph.node[0].input.append("INPUT")
    model.graph.initializer[0].name = "TENSR"
    model.metadata_props.add(key="NOTES", value="VALUE")
    return model.SerializeToString()


@pytest.mark.parametrize("text", [b"GRAPH", b"NODE0", b"INPUT", b"TENSR", b"NOTES", b"VALUE"])
def test_text_that_is_not_utf8(tmp_path, content, text):
    assert content.count(text) == 1
    path = tmp_path / "damaged.onnx"
    path.write_bytes(content)
    assert load_onnx(path).SerializeToString() == content
    path.write_bytes(content.replace(text, b"\xff\xfe\xff\xfe\xff"))
    with pytest.raises(ModelError, match=r"damaged\.onnx is not a whole ONNX file .*UTF-8.*; copy"):
        load_onnx(path)


def test_weights_in_a_file_that_is_not_there(tmp_path):
    model = onnx.load(brightness_model(tmp_path / "model.onnx"))
    onnx.save(
        model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0
    )
    assert load_onnx(tmp_path / "m.onnx").graph.node == model.graph.node
    (tmp_path / "m.data").unlink()
    with pytest.raises(ModelError, match=r"m\.onnx keeps its weights in m\.data, which is not be"):
        load_onnx(tmp_path / "m.onnx")


def test_attributes_may_hold_any_bytes():
    node = onnx.helper.make_node("EPContext", [], [], cache=b"\xff\x00", mode="fast", size=3)
    assert attributes(node) == {"cache": "\ufffd\x00", "mode": "fast", "size": 3}


def test_a_model_of_two_inputs():
    ends = [onnx.helper.make_tensor_value_info(name, 1, (1, 3, 4)) for name in ("slow", "fast")]
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", ends, []))
    with pytest.raises(
        SpecError, match=r"2 inputs \(slow .*from a module .* takes one clip .*--module"
    ):
        network_input(model)
