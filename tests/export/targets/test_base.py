"""Parts that targets share: specs of new artifacts, names of files, and the lazy builder."""

from pathlib import Path

import pytest
from models import brightness_model, spec_of_brightness
from requirements import needs

from r2p_edge.errors import ModelError
from r2p_edge.export.targets.base import (
    Built,
    OnnxForm,
    Target,
    TargetOptions,
    file_stem,
    fresh_spec,
)

RECORDS = {
    "parity": {"max_rel": 0.0},
    "accuracy": {"top1": 1.0},
    "target": {"runtime": "tensorrt", "device": "cuda"},
    "calibration": {"method": "minmax"},
    "built_with": {"r2p_edge": "0"},
    "source": {"file": "net.ckpt"},
}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_records_of_another_file_do_not_survive(precision):
    original = spec_of_brightness(**RECORDS)
    spec = fresh_spec(original, precision=precision)
    assert (spec.parity, spec.accuracy, spec.target) == (None, None, None)
    assert (spec.source, spec.built_with) == (original.source, original.built_with)
    assert spec.calibration == (RECORDS["calibration"] if precision == "int8" else None)
    given = {"device": "cpu"}
    assert fresh_spec(original, target=given).target == given


@pytest.mark.parametrize(
    ("graph", "stem"), [("conv3d", "net-fp16"), (None, "net-fp16"), ("conv2d", "net-fp16-conv2d")]
)
def test_names_of_files(graph, stem):
    spec = spec_of_brightness(name="net", precision="fp16", graph=graph)
    assert file_stem(spec) == stem
    assert file_stem(spec, "-ascend310b") == f"{stem}-ascend310b"


def test_what_json_says_of_an_artifact():
    spec = spec_of_brightness(graph="conv3d", parity={"max_rel": 0.0})
    told = Built("onnx", Path("a.onnx"), spec).to_dict()
    assert told == {
        "target": "onnx",
        "precision": "fp32",
        "graph": "conv3d",
        "status": "built",
        "path": "a.onnx",
        "parity": {"max_rel": 0.0},
    }
    measured = spec.replace(accuracy={"top1": 1.0})
    assert Built("onnx", Path("a.onnx"), measured).to_dict()["accuracy"] == {"top1": 1.0}


def test_the_builder_is_found_when_it_is_needed():
    absent = Target("new", "no_such_module:build", ("fp32",))
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        absent.build(OnnxForm(Path("a.onnx"), spec_of_brightness()), Path(), TargetOptions("new"))


@needs("onnx")
@pytest.mark.parametrize("target", ["tensorrt", "mindspore-lite"])
def test_a_source_with_further_outputs_is_refused_where_there_can_be_none(tmp_path, target):
    from r2p_edge.export.targets.mindspore_lite.export import plan_lite
    from r2p_edge.export.targets.tensorrt.export import plan_tensorrt

    shapes = {"features": [4], "feature_map": [4, 1, 1, 1]}
    source = brightness_model(tmp_path / "m.onnx", spec_of_brightness(feature_outputs=shapes))
    plan = {
        "tensorrt": lambda: plan_tensorrt(source, None),
        "mindspore-lite": lambda: plan_lite(source, "cpu"),
    }
    with pytest.raises(ModelError, match=f"has further outputs, which {target} cannot have"):
        plan[target]()
