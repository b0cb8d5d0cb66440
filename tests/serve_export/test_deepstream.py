"""DeepStream's configurations, held to the keys that NVIDIA documents, and to the preprocessing.

DeepStream needs an NVIDIA GPU and is not installed here.
"""

import configparser

import cv2
import numpy as np
import pytest
from models import brightness_model, spec_of_brightness

from r2p_edge.errors import ModelError, SpecError
from r2p_edge.preprocess.preprocessor import Preprocessor
from r2p_edge.serve_export import write_repository
from r2p_edge.serve_export.deepstream import APP, INFER, PREPROCESS, region, user_config
from r2p_edge.spec import ClipSpec, CropSpec, InputSpec, ResizeSpec

FLOATS = InputSpec(dtype="float32", layout="NCTHW", normalized_in_graph=False)
MEAN, STD = (0.43, 0.39, 0.37), (0.22, 0.21, 0.25)

# Of Gst-nvdspreprocess, its library of sequences, Gst-nvinfer and the app, as documented.
KEYS = {
    APP: {
        "action-recognition": {
            *("uri-list", "display-sync", "preprocess-config", "infer-config"),
            *("muxer-width", "muxer-height", "muxer-batch-timeout", "tiler-width", "tiler-height"),
            *("debug", "enable-fps"),
        }
    },
    PREPROCESS: {
        "property": {
            *("enable", "target-unique-ids", "process-on-frame", "network-input-order"),
            *("network-input-shape", "network-color-format", "tensor-data-type", "tensor-name"),
            *("processing-width", "processing-height", "scaling-pool-memory-type"),
            *("scaling-pool-compute-hw", "scaling-filter", "scaling-buf-pool-size"),
            *("tensor-buf-pool-size", "custom-lib-path", "custom-tensor-preparation-function"),
        },
        "user-configs": {"channel-scale-factors", "channel-mean-offsets", "stride", "subsample"},
        "group-0": {"src-ids", "process-on-roi", "roi-params-src-0"},
    },
    INFER: {
        "property": {
            *("gpu-id", "gie-unique-id", "onnx-file", "labelfile-path", "batch-size"),
            *("network-mode", "network-type", "process-mode", "input-tensor-from-meta"),
            *("output-blob-names", "tensor-meta-pool-size", "classifier-threshold"),
        }
    },
}


def spec_of_floats(**changes):
    return spec_of_brightness(input=FLOATS, mean=MEAN, std=STD, **changes)


@pytest.fixture
def model(tmp_path):
    return brightness_model(tmp_path / "floats.onnx", spec_of_floats())


def read(path):
    parser = configparser.ConfigParser(delimiters="=", interpolation=None)
    parser.read_string(path.read_text())
    return {name: dict(parser[name]) for name in parser.sections()}


def test_the_files_have_documented_keys_and_name_each_other(model, tmp_path):
    repository = write_repository(model, "deepstream", tmp_path / "out")
    folder = tmp_path / "out" / "brightness"
    found = {name: read(folder / name) for name in KEYS}
    for name, sections in KEYS.items():
        assert {section: set(found[name][section]) for section in found[name]} == sections
    app = found[APP]["action-recognition"]
    assert (app["preprocess-config"], app["infer-config"]) == (PREPROCESS, INFER)
    infer = found[INFER]["property"]
    for key in ("onnx-file", "labelfile-path"):
        assert (folder / infer[key]).is_file()
    settings = found[PREPROCESS]["property"]
    assert settings["network-input-shape"] == "1;3;4;8;8"
    assert settings["tensor-name"] == "frames"
    assert infer["output-blob-names"] == "logits"
    assert (folder / "labels.txt").read_text() == "frame 0;frame 1;frame 2;frame 3\n"
    assert f"-c {APP}" in repository.start


def test_the_tensor_that_it_fills_is_that_of_the_contract():
    spec = spec_of_floats()
    clip = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    texts = user_config(spec)
    factors, offsets = (
        np.array([float(number) for number in str(texts[name]).split(";")])
        for name in ("channel-scale-factors", "channel-mean-offsets")
    )
    filled = ((clip - offsets) * factors).transpose(3, 0, 1, 2)[np.newaxis]
    np.testing.assert_allclose(filled, Preprocessor(spec).tensor(clip), atol=1e-5)


def test_frames_are_left_out_as_the_clip_does():
    clip = ClipSpec(frames=16, interval=3, fps=30.0)
    settings = user_config(spec_of_floats(clip=clip))
    assert (settings["subsample"], settings["stride"]) == (2, 8)


@pytest.mark.parametrize(
    "resize",
    [ResizeSpec(mode="stretch", height=128, width=171), ResizeSpec(mode="short_side", size=128)],
)
def test_the_region_is_what_the_model_sees(resize):
    """Cutting first and scaling then gives the crop of the resized frame."""
    spec = spec_of_floats(resize=resize, crop=CropSpec(height=112, width=112))
    gradient = np.linspace(0, 255, 1280, dtype=np.float32)[np.newaxis, :, np.newaxis]
    image = np.broadcast_to(gradient, (720, 1280, 3)).astype(np.uint8).copy()
    left, top, width, height = region(spec, 720, 1280)
    cut = cv2.resize(image[top : top + height, left : left + width], (112, 112))
    seen = np.empty((112, 112, 3), np.uint8)
    Preprocessor(spec).frame(image, seen)
    assert np.abs(cut.astype(int) - seen).max() <= 2


def test_a_model_of_bytes_is_refused_with_the_way_out(tmp_path):
    path = brightness_model(tmp_path / "bytes.onnx")
    with pytest.raises(ModelError, match="export the model with --input float32"):
        write_repository(path, "deepstream", tmp_path / "out")


def test_models_that_it_cannot_feed_are_refused(tmp_path):
    counted = spec_of_floats(clip=ClipSpec(frames=4, interval=2, fps=25.0, sampling="index"))
    with pytest.raises(SpecError, match="counts the frames"):
        write_repository(
            brightness_model(tmp_path / "c.onnx", counted), "deepstream", tmp_path / "o"
        )
    uneven = spec_of_floats(clip=ClipSpec(frames=5, interval=2, fps=25.0, offsets="linspace"))
    assert uneven.clip.offsets == "linspace"
    with pytest.raises(ModelError, match="at uneven distances"):
        write_repository(
            brightness_model(tmp_path / "u.onnx", uneven), "deepstream", tmp_path / "o"
        )
