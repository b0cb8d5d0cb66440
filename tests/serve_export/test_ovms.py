"""OpenVINO Model Server's configuration, held to the keys and types of its published schema.

They are those of MODELS_CONFIG_SCHEMA in src/schema.cpp of openvinotoolkit/model_server, in which
no other keys are allowed. The server itself cannot be installed from a package registry.
"""

import json

import pytest
from models import brightness_model

from r2p_edge.artifact import bundle
from r2p_edge.errors import ModelError, OutputError
from r2p_edge.serve_export import write_repository

CONFIG = {
    "name": str,
    "base_path": str,
    "batch_size": (int, str),
    "model_version_policy": dict,
    "shape": (dict, str),
    "nireq": int,
    "target_device": str,
    "plugin_config": dict,
    "stateful": bool,
    "idle_sequence_cleanup": bool,
    "low_latency_transformation": bool,
    "max_sequence_number": int,
    "custom_loader_options": dict,
}
REQUIRED = {"name", "base_path"}
LISTS = {
    *("model_config_list", "custom_loader_config_list", "pipeline_config_list"),
    "custom_node_library_config_list",
}


def check_config(config):
    """Check a configuration against the schema."""
    assert isinstance(config, dict)
    assert {"model_config_list"} <= config.keys() <= LISTS
    for item in config["model_config_list"]:
        assert item.keys() == {"config"}
        assert item["config"].keys() >= REQUIRED
        for key, value in item["config"].items():
            assert isinstance(value, CONFIG[key]), key


@pytest.fixture
def out(tmp_path):
    return tmp_path / "repository"


def test_the_configuration_follows_the_schema(model, out):
    repository = write_repository(model, "ovms", out)
    config = json.loads((out / "config.json").read_bytes())
    check_config(config)
    (item,) = config["model_config_list"]
    assert (item["config"]["name"], item["config"]["base_path"]) == (
        "brightness", "/models/brightness",
    )  # fmt: skip
    assert (out / "brightness" / "1" / "model.onnx").is_file()
    assert "--config_path /models/config.json" in repository.start
    assert bundle.check(out)


def test_other_models_of_the_configuration_stay(model, tmp_path, out):
    write_repository(model, "ovms", out, name="one")
    write_repository(model, "ovms", out, name="other")
    newer = brightness_model(tmp_path / "newer.onnx", factor=2.0)
    assert write_repository(newer, "ovms", out, name="one").models == {"one": 2}
    config = json.loads((out / "config.json").read_bytes())
    check_config(config)
    assert sorted(each["config"]["name"] for each in config["model_config_list"]) == [
        "one", "other",
    ]  # fmt: skip


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"model_config_list": [1]}'])
def test_a_file_of_another_program_is_left_alone(model, out, content):
    out.mkdir()
    (out / "config.json").write_text(content)
    with pytest.raises(OutputError, match="is not a configuration of OpenVINO Model Server"):
        write_repository(model, "ovms", out)
    assert (out / "config.json").read_text() == content
    assert [path.name for path in out.iterdir()] == ["config.json"]


def test_engines_are_refused(tmp_path, out):
    from models import spec_of_brightness

    from r2p_edge.artifact.sidecar import write_sidecar

    path = tmp_path / "net.engine"
    path.write_bytes(b"plan")
    write_sidecar(path, spec_of_brightness())
    with pytest.raises(ModelError, match=r"cannot be run by OpenVINO Model Server"):
        write_repository(path, "ovms", out)
