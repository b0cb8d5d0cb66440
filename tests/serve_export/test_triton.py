"""Triton's configurations, as Triton's own protobuf reads them."""

import json

import pytest
from models import brightness_model, spec_of_brightness
from requirements import needs

from r2p_edge.artifact.sidecar import write_sidecar
from r2p_edge.errors import ModelError
from r2p_edge.serve_export import write_repository
from r2p_edge.serve_export.triton import FORGOTTEN_SECONDS, STREAMS
from r2p_edge.spec import ClipSpec, ModelSpec


def parsed(folder):
    """Return the configuration of a model; a field that Triton does not know is an error."""
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    text = (folder / "config.pbtxt").read_text()
    return text_format.Parse(text, model_config_pb2.ModelConfig(), allow_unknown_field=False)


def parameters_of(config):
    return {key: value.string_value for key, value in config.parameters.items()}


@pytest.fixture
def engine(tmp_path):
    """A file that is called an engine, of which only the sidecar is read."""
    path = tmp_path / "net.engine"
    path.write_bytes(b"plan")
    write_sidecar(path, spec_of_brightness())
    return path


@pytest.fixture
def openvino_model(model, tmp_path):
    from r2p_edge.export.build import build

    (artifact,) = build(model, targets=["openvino"], out=tmp_path / "ov").built
    return artifact.path


@pytest.mark.slow
@needs("tritonclient")
@needs("openvino")
def test_the_configurations_of_all_formats(model, openvino_model, engine, tmp_path):
    for path, backend, platform, file in (
        (model, "onnxruntime", "", "model.onnx"),
        (openvino_model, "openvino", "", "model.xml"),
        (engine, "", "tensorrt_plan", "model.plan"),
    ):
        out = tmp_path / f"triton-{path.suffix}"
        write_repository(path, "triton", out)
        config = parsed(out / "brightness")
        assert (config.backend, config.platform) == (backend, platform)
        assert (out / "brightness" / "1" / file).is_file()
        assert config.name == "brightness"
        assert config.max_batch_size == 0
        (taken,), (given,) = config.input, config.output
        assert (taken.name, list(taken.dims)) == ("frames", [1, 4, 8, 8, 3])
        assert (
            taken.DESCRIPTOR.fields_by_name["data_type"]
            .enum_type.values_by_number[taken.data_type]
            .name
            == "TYPE_UINT8"
        )
        assert (given.name, list(given.dims), given.label_filename) == (
            "logits", [1, 4], "labels.txt",
        )  # fmt: skip
        labels = (out / "brightness" / "labels.txt").read_text().splitlines()
        assert labels == [f"frame {number}" for number in range(4)]
        told = parameters_of(config)
        assert ModelSpec.from_json(told["r2p_edge.spec"]).labels == tuple(labels)
        assert told["r2p_edge.softmax"] == "to be taken by the client"
        for name in ("brightness_files", "brightness_stream"):
            python = parsed(out / name)
            assert python.backend == "python"
            assert (out / name / "1" / "model.py").is_file()
            assert (out / name / "1" / parameters_of(python)["r2p_edge.model"]).is_file()


@needs("tritonclient")
def test_the_stream_is_a_sequence(model, tmp_path):
    write_repository(model, "triton", tmp_path / "out")
    batching = parsed(tmp_path / "out" / "brightness_stream").sequence_batching
    assert batching.max_sequence_idle_microseconds == FORGOTTEN_SECONDS * 1_000_000
    assert batching.oldest.max_candidate_sequences == STREAMS
    assert [each.name for each in batching.control_input] == ["START", "END", "CORRID"]


@needs("tritonclient")
def test_an_open_batch_is_filled_by_triton(tmp_path):
    path = brightness_model(tmp_path / "open.onnx", batch="N")
    write_repository(path, "triton", tmp_path / "out", max_batch=5)
    config = parsed(tmp_path / "out" / "brightness")
    assert config.max_batch_size == 5
    assert (list(config.input[0].dims), list(config.output[0].dims)) == ([4, 8, 8, 3], [4])
    assert config.dynamic_batching.max_queue_delay_microseconds == 1000


@needs("tritonclient")
def test_probabilities_need_no_softmax(tmp_path):
    spec = spec_of_brightness()
    spec = spec.replace(output=type(spec.output)(name="scores", kind="probabilities"))
    path = brightness_model(tmp_path / "p.onnx", spec)
    write_repository(path, "triton", tmp_path / "out")
    told = parameters_of(parsed(tmp_path / "out" / "brightness"))
    assert (told["r2p_edge.softmax"], told["r2p_edge.output_kind"]) == ("none", "probabilities")
    outputs = [each.name for each in parsed(tmp_path / "out" / "brightness_files").output]
    assert outputs == ["scores", "coverage"]


def test_a_model_that_counts_frames_has_no_stream(tmp_path):
    clip = ClipSpec(frames=4, interval=2, fps=25.0, sampling="index")
    path = brightness_model(tmp_path / "i.onnx", spec_of_brightness(clip=clip))
    repository = write_repository(path, "triton", tmp_path / "out")
    assert list(repository.models) == ["brightness", "brightness_files"]
    assert "stream" not in (tmp_path / "out" / "brightness" / "README.md").read_text()


def test_a_format_without_a_backend_is_refused(tmp_path):
    path = tmp_path / "net.mindir"
    path.write_bytes(b"mindir")
    write_sidecar(path, spec_of_brightness())
    with pytest.raises(ModelError, match=r"cannot be run by Triton, which runs \.onnx"):
        write_repository(path, "triton", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_readme_has_the_command(model, tmp_path):
    repository = write_repository(model, "triton", tmp_path / "out")
    text = (tmp_path / "out" / "brightness" / "README.md").read_text()
    assert repository.start in text
    assert "127.0.0.1:8000" in repository.start
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["files"]
