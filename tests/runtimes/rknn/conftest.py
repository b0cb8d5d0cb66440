"""A `.rknn` of stand-ins, and machines that run it."""

import json

import pytest
from fake_rknn import board, toolkit
from models import brightness_model, spec_of_brightness


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A `.rknn` for the RK3588 whose outputs are the brightness of the frames."""
    from r2p_edge.export.targets.rknn.export import rknn_from_onnx
    from r2p_edge.spec import InputSpec

    folder = tmp_path_factory.mktemp("rknn")
    plain = InputSpec(dtype="float32", layout="NCTHW", normalized_in_graph=False)
    pixels = {"scale": 1.0, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    source = brightness_model(folder / "model.onnx", spec_of_brightness(input=plain, **pixels))
    with toolkit(folder):
        rknn_from_onnx(source, folder / "model.rknn")
    return folder / "model.rknn"


@pytest.fixture
def rock(exported, tmp_path):
    with board(tmp_path):
        yield exported


@pytest.fixture
def pc(exported, tmp_path):
    with toolkit(tmp_path):
        yield exported


@pytest.fixture
def copied(exported, tmp_path):
    """Copies the files of the export, with changes to what the sidecar tells of the build."""

    def copied(**target):
        for file in exported.parent.glob("model.rknn*"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
        sidecar = tmp_path / "model.rknn.json"
        fields = json.loads(sidecar.read_text())
        fields["spec"]["target"].update(target)
        sidecar.write_text(json.dumps(fields))
        return tmp_path / "model.rknn"

    return copied
