"""Settings of MindSpore Lite's converter."""

import pytest
from models import spec_of_brightness
from requirements import needs

from r2p_edge.errors import (
    UsageError,
)
from r2p_edge.export.targets.mindspore_lite.config import (
    _KEYS,
    converter_config,
    full_quant_config,
    om_wrap_command,
    om_wrap_config,
)

pytestmark = [needs("onnx"), needs("onnxruntime")]


def test_the_converters_settings(lite):
    from mindspore_lite import _tool

    # What is allowed is what the tool's own list has.
    for section, keys in _KEYS.items():
        text = converter_config({section: dict.fromkeys(keys.split(), "[0.5,1]")})
        assert set(_tool.parse_config(text)[section]) == set(keys.split())
    for section, keys in _tool._SECTIONS.items():
        assert set(_KEYS[section].split()) == keys
    assert converter_config({}) == ""
    text = converter_config({"acl_build_options": {"ge.exec.precision_mode": "force_fp16"}})
    assert text == "[acl_build_options]\nge.exec.precision_mode=force_fp16\n"
    # The tool itself would pass over the first.
    assert _tool.parse_config("[ful_quant_param]\nper_channel=true\n")
    with pytest.raises(UsageError, match="no section 'ful_quant_param'; it has common_quant_param"):
        converter_config({"ful_quant_param": {"per_channel": "true"}})
    with pytest.raises(UsageError, match=r"\[full_quant_param\] has no key 'bit_num'; it has acti"):
        converter_config({"full_quant_param": {"bit_num": "8"}})


@pytest.mark.parametrize("value", ["", " ", "my folder", "a=b", '"/data"', "'/data'", "a\nb"])
def test_values_that_the_converter_would_change(value):
    with pytest.raises(UsageError, match=r"\[common_quant_param\] workspace is .* cannot read"):
        converter_config({"common_quant_param": {"workspace": value}})


def test_quantization_settings(lite):
    from mindspore_lite import _tool

    spec = spec_of_brightness()
    assert _tool.parse_config(full_quant_config(spec, "/data/clips", 200, method="entropy")) == {
        "common_quant_param": {"quant_type": "FULL_QUANT", "bit_num": "8"},
        "data_preprocess_param": {
            "calibrate_path": "frames:/data/clips",
            "calibrate_size": "200",
            "input_type": "BIN",
        },
        "full_quant_param": {
            "activation_quant_method": "KL",
            "bias_correction": "true",
            "per_channel": "true",
        },
    }
    text = full_quant_config(spec, "clips", 1, target="ASCEND", bias_correction=False)
    assert "target_device=ASCEND\n" in text
    assert "bias_correction=false\n" in text
    for size, method in ((0, "minmax"), (65536, "minmax"), (8, "MAX_MIN")):
        with pytest.raises(UsageError, match=f"size is {size} and method is {method}; they must"):
            full_quant_config(spec, "clips", size, method=method)
    named = spec.replace(input=spec.input.__class__(name="input:0"))
    for each, folder in ((spec, "C:/clips"), (spec, "a,b"), (named, "clips")):
        with pytest.raises(UsageError, match=r"the converter splits .* at colons and commas"):
            full_quant_config(each, folder, 8)
    with pytest.raises(UsageError, match="cannot read; use no blanks"):
        full_quant_config(spec, "my clips", 8)


def test_an_offline_model_is_wrapped():
    spec = spec_of_brightness()
    assert om_wrap_config(spec, batch=2) == (
        "[om_converter]\n"
        "input_name_vector=frames\ninput_shape_vector=2,4,8,8,3\ninput_data_type_vector=UINT8\n"
        "output_name_vector=logits\noutput_shape_vector=2,4\noutput_data_type_vector=FLOAT32\n"
    )
    with pytest.raises(UsageError, match="the converter splits tensor names at colons and commas"):
        om_wrap_config(spec.replace(output=spec.output.__class__(name="logits:0")))
    assert om_wrap_command("a.om", "b", "c.cfg", "/opt/converter_lite") == [
        *("/opt/converter_lite", "--fmk=OM", "--device=Ascend"),
        *("--modelFile=a.om", "--outputFile=b", "--configFile=c.cfg"),
    ]
