"""The contract of an export: what decides it, and what is refused."""

import pytest
from models import brightness_model, spec_of_brightness
from networks import SMALL, spec_for
from requirements import needs

from r2p_edge.errors import ModelError, ModelNotFoundError, SpecError, UsageError
from r2p_edge.export.contract import check_labels, contract_of, with_input
from r2p_edge.export.presets import preset
from r2p_edge.export.source import facts_of, find_source
from r2p_edge.spec import InputSpec

pytestmark = [needs("onnx"), needs("safetensors")]

SPEC = spec_for(SMALL["classes"], name="net")


def contract(source, **options):
    nothing = dict.fromkeys(("preset_name", "spec", "labels", "name", "size", "input"))
    model = find_source(source)
    return contract_of(model, facts_of(model), **{**nothing, "clip": {}, **options})


def test_the_bundled_model_has_its_preset():
    found = contract("motion")
    assert found == preset("motion").spec(name="motion")
    assert contract("motion", preset_name="ucf101-mindspore").labels != found.labels


def test_an_artifact_carries_its_contract(tmp_path):
    spec = spec_of_brightness()
    source = brightness_model(tmp_path / "other.onnx", spec)
    assert find_source(source).carried == contract(source) == spec
    # A recipe that is given wins, and the name of the artifact stays.
    assert contract(source, preset_name="motion").name == spec.name
    assert contract(source, spec=SPEC) == SPEC


def test_a_checkpoint_is_named_for_its_file(small_checkpoint):
    assert contract(small_checkpoint, preset_name="motion").name == "net"
    assert contract(small_checkpoint, preset_name="motion", name="mine").name == "mine"


def test_what_says_how_a_model_was_trained(small_checkpoint, tmp_path):
    with pytest.raises(
        UsageError,
        match=r"has 7 classes and the names of gluoncv's .*-gluoncv with.*trained further has the "
        r"same names.*--preset motion --labels FILE",
    ):
        contract(small_checkpoint)
    with pytest.raises(UsageError, match="both a preset and a spec were given"):
        contract(small_checkpoint, preset_name="motion", spec=SPEC)
    bare = brightness_model(tmp_path / "bare.onnx", embed=False)
    with pytest.raises(UsageError, match="has 4 outputs and does not say how it was trained"):
        contract(bare)


def test_changes(small_checkpoint):
    found = contract(small_checkpoint, spec=SPEC, clip={"frames": 8, "fps": None}, size=64)
    assert (found.clip.frames, found.clip.fps) == (8, SPEC.clip.fps)
    assert (found.crop.height, found.crop.width) == (64, 64)
    grown = 64 / SPEC.crop.height
    for side in ("height", "width", "size"):
        if (before := getattr(SPEC.resize, side)) is not None:
            assert getattr(found.resize, side) == round(before * grown)
    assert contract(small_checkpoint, spec=SPEC, input="float32").input == InputSpec(
        dtype="float32", layout="NCTHW", normalized_in_graph=False
    )
    with pytest.raises(UsageError, match="frames"):
        contract(small_checkpoint, spec=SPEC, clip={"frames": 0})


def test_labels_of_a_file(small_checkpoint, tmp_path):
    (tmp_path / "labels.txt").write_text("\n".join("abcdefg"))
    assert contract(small_checkpoint, spec=SPEC, labels=tmp_path / "labels.txt").labels == tuple(
        "abcdefg"
    )
    with pytest.raises(SpecError, match="cannot be read"):
        contract(small_checkpoint, spec=SPEC, labels=tmp_path / "absent.txt")


def test_a_label_for_each_class(small_checkpoint, tmp_path):
    model, names = find_source(small_checkpoint), tmp_path / "two.txt"
    facts, two = facts_of(model), SPEC.replace(labels=("a", "b"))
    check_labels(model, facts, SPEC, None, None)
    check_labels(model, None, two, None, None)
    for given, found in (
        (("kinetics400-gluoncv", None), "preset kinetics400-gluoncv has 2 labels"),
        (("kinetics400-gluoncv", names), r"two\.txt has 2 labels"),
        ((None, names), r"two\.txt has 2 labels"),
        ((None, None), "spec net has 2 labels"),
    ):
        with pytest.raises(SpecError, match=f"{found} and the network 7 classes; name these with"):
            check_labels(model, facts, two, *given)


@pytest.mark.parametrize("name", ["", " ", "a/b", "a\\b", "a\nb", "n" * 101])
def test_names_that_no_file_can_have(small_checkpoint, name):
    with pytest.raises(UsageError, match="cannot be part of a file name; give a name of at most"):
        contract(small_checkpoint, spec=SPEC, name=name)


def test_there_is_no_such_model(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"there is no model .*absent\.ckpt; check the"):
        find_source(tmp_path / "absent.ckpt")


@pytest.mark.parametrize(
    "name", ["net.xml", "net.engine", "net.plan", "net.mindir", "net.om", "NET.XML"]
)
def test_what_was_built_for_a_runtime_is_no_source(tmp_path, name):
    (tmp_path / name).write_bytes(b'<?xml version="1.0"?><net/>')
    with pytest.raises(ModelError, match=f"{name} is a model that was built for one runtime.*ONNX"):
        find_source(tmp_path / name)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "is a folder without a checkpoint or ONNX file; give the path of such a file"),
        (["b.pth", "a.onnx", "log.txt"], r"or ONNX file in it \(a\.onnx, b\.pth\)"),
        (["saved_model.pb"], "is a TensorFlow model; convert it to ONNX .*--saved-model"),
        ([".metadata", "__0_0.distcp"], "a distributed checkpoint of PyTorch's; .* dcp_to_torch"),
        (["data.pkl", "version", "data/0"], "the contents of a PyTorch checkpoint; pack them"),
    ],
)
def test_a_folder_is_no_source(tmp_path, names, message):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ModelNotFoundError, match=message):
        find_source(tmp_path)


def test_the_layout_goes_with_the_dtype():
    floats = with_input(InputSpec(name="clip"), "float32")
    assert (floats.name, floats.layout, floats.normalized_in_graph) == ("clip", "NCTHW", False)
    assert with_input(floats, "uint8") == InputSpec(name="clip")
