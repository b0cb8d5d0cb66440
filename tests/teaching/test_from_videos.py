"""Teaching, from a folder of videos to an artifact that answers its classes."""

import json
import shutil
import sys

import numpy as np
import pytest
from graded import CLASSES, graded_folder, graded_video
from inception_networks import narrow
from models import brightness_model
from networks import spec_for
from requirements import needs

from r2p_edge import Predictor, teach
from r2p_edge.artifact.files import sha256_of_file
from r2p_edge.artifact.open import open_artifact
from r2p_edge.calibration.evaluate import evaluate
from r2p_edge.errors import ModelError, OutputError, SpecError, UsageError, VideoError
from r2p_edge.export.build import build
from r2p_edge.export.targets.openvino import openvino_from_onnx
from r2p_edge.spec import OutputSpec

pytestmark = [needs("onnx"), needs("onnxruntime")]

TWO = {"rising": 2, "falling": 2}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A folder with six videos of each class, and one with two others of each."""
    folder = tmp_path_factory.mktemp("videos")
    graded_folder(folder / "mine", dict.fromkeys(CLASSES, 6))
    graded_folder(folder / "others", dict.fromkeys(CLASSES, 2), first=100)
    return folder


@pytest.fixture
def model(tmp_path):
    return brightness_model(tmp_path / "model.onnx")


def test_the_artifact_answers_the_new_classes_and_says_where_they_are_from(model, videos, tmp_path):
    out = tmp_path / "mine.onnx"
    steps = []
    found = teach(
        model,
        out,
        videos / "mine",
        test=videos / "others",
        progress=lambda *step: steps.append(step),
    )
    parent = open_artifact(model)
    spec = open_artifact(out).spec
    assert spec == found.spec
    assert spec.labels == ("falling", "flash", "rising")
    assert (spec.clip, spec.resize, spec.name) == (parent.spec.clip, parent.spec.resize, "mine")
    assert spec.source["parent"]["contract"] == parent.spec.contract_digest()
    head = spec.source["head"]
    assert (head["method"], head["videos"], head["views"]) == ("logistic", 18, 1)
    taught = {sha256_of_file(path)[:16] for path in (videos / "mine").rglob("*.mp4")}
    assert set(head["video_digests"]) == taught
    assert found.left_out["top1"] == head["left_out"]["top1"] == 1.0
    assert found.left_out["interval"][0] > 0.8
    assert spec.parity["reference"] == "numpy"
    assert spec.parity["max_rel"] < 1e-5
    assert dict(found.classes) == dict.fromkeys(CLASSES, 6)
    assert steps[-1] == ("measuring", 6, 6)
    assert ("looking at videos", 18, 18) in steps
    # `eval` prints what was printed here.
    (result,) = evaluate([out], videos / "others")["results"]
    assert result["top1"] == found.test["top1"] == spec.accuracy["top1"] == 1.0
    assert result["warnings"] == []
    (doubtful,) = evaluate([out], videos / "mine", report=tmp_path / "mine.html")["results"]
    (doubt,) = doubtful["warnings"]
    assert "was trained on 18 of the 18 videos" in doubt
    assert doubt in (tmp_path / "mine.html").read_text()
    assert json.loads(json.dumps(found.to_dict()))["labels"] == list(spec.labels)
    with Predictor(out) as predictor:
        answer = predictor.predict(videos / "others" / "flash" / "clip 100.mp4")
    assert answer.label == "flash"


def test_the_same_videos_give_the_same_bytes(model, videos, tmp_path):
    files = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        kept = tmp_path / name / "kept.npz"
        teach(model, tmp_path / name / "m.onnx", videos / "others", save_features=kept)
        files.append([path.read_bytes() for path in sorted((tmp_path / name).iterdir())])
    assert files[0] == files[1]


@pytest.mark.slow
def test_nothing_of_pytorch_is_imported(model, videos, tmp_path):
    import subprocess

    code = "import sys, r2p_edge; r2p_edge.teach(*sys.argv[1:]); sys.exit('torch' in sys.modules)"
    words = [str(each) for each in (model, tmp_path / "mine.onnx", videos / "others")]
    subprocess.run([sys.executable, "-c", code, *words], check=True)


@needs("openvino")
@pytest.mark.slow
def test_an_openvino_file_is_taught_like_its_onnx_file(model, videos, tmp_path):
    openvino_from_onnx(model, model.with_suffix(".xml"))
    found = []
    for suffix in (".onnx", ".xml"):
        out = tmp_path / f"mine{suffix}"
        taught = teach(model.with_suffix(suffix), out, videos / "mine", test=videos / "others")
        assert taught.test["top1"] == 1.0
        assert taught.test["runtime"] == {".onnx": "onnxruntime", ".xml": "openvino"}[suffix]
        (result,) = evaluate([out], videos / "others")["results"]
        assert result["top1"] == taught.test["top1"]
        with Predictor(out) as predictor:
            pixels = predictor.pixels(videos / "others" / "rising" / "clip 101.mp4")
            found.append(predictor.scores(pixels))
    np.testing.assert_allclose(*found, atol=1e-3)


@pytest.mark.slow
def test_an_i3d_is_taught(videos, tmp_path):
    """Its pool averages windows of two moments, of which there are two, and a mean is behind it."""
    from safetensors.numpy import save_file

    save_file(narrow("piergiaj-i3d"), tmp_path / "i3d.safetensors")
    spec = spec_for(3, frames=17, size=224)
    (built,) = build(tmp_path / "i3d.safetensors", targets=["onnx"], spec=spec, out=tmp_path).built
    out = tmp_path / "mine.onnx"
    taught = teach(built.path, out, videos / "others")
    assert taught.spec.labels == tuple(sorted(CLASSES))
    assert taught.spec.parity["max_rel"] < 1e-5
    (result,) = evaluate([out], videos / "others")["results"]
    assert result["top1"] == 1.0  # of the videos that it was taught


@needs("openvino")
@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_what_is_like_no_class_is_none_of_these(model, videos, tmp_path, suffix):
    openvino_from_onnx(model, model.with_suffix(".xml"))
    out = tmp_path / f"mine{suffix}"
    for name in ("rising", "falling"):
        shutil.copytree(videos / "mine" / name, tmp_path / "two" / name)
    found = teach(model.with_suffix(suffix), out, tmp_path / "two", reject=0.1)
    assert found.spec.labels == ("falling", "rising", "none of these")
    assert found.spec.source["head"]["reject"]["label"] == "none of these"
    assert 0 < found.left_out["rejected"] <= 0.2
    dark = np.zeros((4, 8, 8, 3), np.uint8)
    dark[1] = 200  # as no class is
    with Predictor(out) as predictor:
        assert predictor.predict(dark).label == "none of these"
        assert predictor.predict(videos / "others" / "rising" / "clip 100.mp4").label == "rising"


def test_a_class_is_added_to_features_that_are_kept(model, videos, tmp_path):
    kept, out = tmp_path / "kept.npz", tmp_path / "mine.onnx"
    two = tmp_path / "two"
    for name in ("rising", "falling"):
        shutil.copytree(videos / "mine" / name, two / name)
    teach(model, out, two, save_features=kept)
    shutil.rmtree(two)  # they are not read again
    more = teach(model, out, videos / "mine" / "flash", features=kept, test=videos / "others")
    assert more.spec.labels == ("falling", "rising", "flash")  # the outputs of before stay
    assert more.test["top1"] == 1.0
    # Again, from the model that was taught from it: with the same answers as all at once.
    again = teach(out, tmp_path / "again.onnx", videos / "mine" / "flash", features=kept)
    assert again.classes == more.classes
    whole = teach(model, tmp_path / "whole.onnx", videos / "mine")
    with Predictor(out) as one, Predictor(tmp_path / "whole.onnx") as other:
        for path in sorted((videos / "others").rglob("*.mp4")):
            left = dict(one.predict(path).top(3))
            right = dict(other.predict(path).top(3))
            assert left == pytest.approx(right, abs=2e-3)
    assert whole.left_out["videos"] == 18


def test_features_of_another_model_are_refused(model, videos, tmp_path):
    kept = tmp_path / "kept.npz"
    teach(model, tmp_path / "mine.onnx", videos / "others", save_features=kept)
    other = brightness_model(tmp_path / "other.onnx", factor=0.5)
    says = r"has features of model.onnx \(sha256 .*other.onnx is another model.*give that one"
    with pytest.raises(UsageError, match=says):
        teach(other, tmp_path / "new.onnx", features=kept)
    with pytest.raises(UsageError, match="has 1 clip of each video, and not 3"):
        teach(model, tmp_path / "new.onnx", features=kept, views=3)


def test_old_classes_stay_beside_the_new(model, videos, tmp_path):
    out = tmp_path / "both.onnx"
    found = teach(model, out, videos / "mine", keep_old=True)
    old = open_artifact(model).spec.labels
    assert found.spec.labels == (*old, "falling", "flash", "rising")
    assert found.left_out["to_old"] <= 0.06  # one of 18
    pixels = np.zeros((1, 4, 8, 8, 3), np.uint8)
    pixels[0, 2] = 250
    with Predictor(model) as one, Predictor(out) as other:
        logits = other.outputs(pixels[0])[0, : len(old)]
        np.testing.assert_allclose(logits, one.outputs(pixels[0])[0], atol=1e-3)


def test_several_views_are_as_many_clips_of_a_video(model, videos, tmp_path):
    kept = tmp_path / "kept.npz"
    found = teach(model, tmp_path / "m.onnx", videos / "others", views=3, save_features=kept)
    assert found.spec.source["head"]["views"] == 3
    assert found.left_out["videos"] == 6
    with np.load(kept) as file:
        assert file["features"].shape == (6, 3, 4)


def test_a_model_of_a_batch_computes_several_videos_at_once(videos, tmp_path):
    model = brightness_model(tmp_path / "batch.onnx", batch=4)
    found = teach(model, tmp_path / "mine.onnx", videos / "mine", test=videos / "others")
    assert found.test["top1"] == 1.0


def test_a_list_says_which_videos(model, videos, tmp_path):
    names = [f"{name}/clip {number}.mp4" for name in CLASSES for number in range(3)]
    split = tmp_path / "trainlist.csv"
    split.write_text("\n".join(f"{name},{name.partition('/')[0]}" for name in names))
    rest = tmp_path / "testlist.csv"
    rest.write_text("\n".join(f"{n}/clip {k}.mp4,{n}" for n in CLASSES for k in (3, 4)))
    found = teach(model, tmp_path / "m.onnx", videos / "mine", split=split, test_split=rest)
    assert dict(found.classes) == dict.fromkeys(CLASSES, 3)
    assert found.test["videos"] == 6


def test_a_damaged_video_is_left_out_and_named(model, videos, tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(videos / "mine", mine)
    (mine / "rising" / "clip 0.mp4").write_bytes(b"no video")
    found = teach(model, tmp_path / "m.onnx", mine)
    assert found.classes["rising"] == 5
    assert [failure["video"] for failure in found.failed] == ["rising/clip 0.mp4"]


def test_a_copy_of_a_video_counts_once(model, videos, tmp_path, caplog):
    mine = tmp_path / "mine"
    shutil.copytree(videos / "others", mine)
    shutil.copy(mine / "rising" / "clip 100.mp4", mine / "rising" / "again.mp4")
    found = teach(model, tmp_path / "m.onnx", mine)
    assert found.classes["rising"] == 2
    assert "is the same file as" in caplog.text


def test_classes_that_nothing_tells_apart_are_warned_of(model, tmp_path):
    for number in range(12):
        name = ("one", "other")[number % 2]
        graded_video(tmp_path / "mine" / name / f"{number}.mp4", CLASSES["flash"], number)
    found = teach(model, tmp_path / "m.onnx", tmp_path / "mine")
    (warning,) = found.warnings
    assert "which may be chance (1 in 2)" in warning


class TestRefusals:
    """One sentence each, and nothing written."""

    @pytest.fixture(autouse=True)
    def nothing_is_written(self, tmp_path):
        yield
        assert not (tmp_path / "new.onnx").exists()
        assert not list(tmp_path.glob(".*"))

    def refused(self, model, tmp_path, error, says, **options):
        with pytest.raises(error, match=says) as caught:
            teach(model, tmp_path / "new.onnx", **options)
        assert "\n" not in str(caught.value)

    def folder(self, tmp_path, counts):
        return graded_folder(tmp_path / "mine", counts)

    def test_one_class(self, model, tmp_path):
        mine = self.folder(tmp_path, {"rising": 2})
        self.refused(model, tmp_path, VideoError, "one class, rising;.*at least two", videos=mine)

    def test_a_class_of_one_video(self, model, tmp_path):
        mine = self.folder(tmp_path, {"rising": 2, "falling": 1})
        says = r"falling has one video.*none can be left out.*\(--test DIR\)"
        self.refused(model, tmp_path, VideoError, says, videos=mine)
        others = graded_folder(tmp_path / "others", TWO, first=50)
        self.refused(model, tmp_path, VideoError, says, videos=mine, test=others, reject=0.1)

    def test_a_class_of_one_recording(self, model, tmp_path):
        mine = self.folder(tmp_path, TWO)
        for number in range(2):
            file = mine / "rising" / f"clip {number}.mp4"
            file.rename(mine / "rising" / f"v_rising_g01_c0{number}.mp4")
        self.refused(model, tmp_path, VideoError, "videos of one recording", videos=mine)

    def test_two_classes_of_one_name(self, model, tmp_path):
        mine = self.folder(tmp_path, TWO)
        shutil.copytree(mine / "falling", mine / "Rising")
        says = "classes 'Rising' and 'rising', which are one name but for case"
        self.refused(model, tmp_path, VideoError, says, videos=mine)

    def test_a_flat_folder(self, model, tmp_path):
        mine = self.folder(tmp_path, TWO)
        says = "2 videos beside each other, such as .*give the one above it"
        self.refused(model, tmp_path, VideoError, says, videos=mine / "rising")

    def test_labels_in_the_names_of_files(self, model, tmp_path):
        flat = tmp_path / "flat"
        for number in range(2):
            for name in ("nod", "wave"):
                graded_video(flat / f"{name}_{number:02}.mp4", CLASSES["flash"], number)
        says = "4 videos beside each other.*whose names begin with nod, wave; .*write a list"
        self.refused(model, tmp_path, VideoError, says, videos=flat)

    def test_an_empty_folder(self, model, tmp_path):
        (tmp_path / "empty").mkdir()
        says = "has no video in a folder of a class; expected files such as"
        self.refused(model, tmp_path, VideoError, says, videos=tmp_path / "empty")
        self.refused(model, tmp_path, VideoError, "no folder", videos=tmp_path / "none")

    def test_the_same_bytes_in_two_classes(self, model, tmp_path):
        mine = self.folder(tmp_path, TWO)
        shutil.copy(mine / "rising" / "clip 1.mp4", mine / "falling" / "x.mp4")
        says = "falling/x.mp4 and rising/clip 1.mp4 are the same file in two classes"
        self.refused(model, tmp_path, VideoError, says, videos=mine)

    def test_more_damaged_videos_than_one_in_twenty(self, model, tmp_path):
        mine = self.folder(tmp_path, {"rising": 4, "falling": 4})
        for number in range(2):
            (mine / "rising" / f"clip {number}.mp4").write_bytes(b"no video %d" % number)
        self.refused(model, tmp_path, VideoError, "2 of 8 videos cannot be read", videos=mine)

    def test_videos_to_measure_on_that_are_taught(self, model, tmp_path):
        mine = self.folder(tmp_path, TWO)
        says = "4 of the 4 videos to measure on are taught too"
        self.refused(model, tmp_path, VideoError, says, videos=mine, test=mine)

    def test_names_that_no_label_can_have(self, model, tmp_path):
        mine = self.folder(tmp_path, TWO)
        (mine / "rising").rename(mine / "rising\nfast")
        self.refused(model, tmp_path, SpecError, "must be one line of text", videos=mine)

    def test_a_class_that_the_model_has_already(self, model, tmp_path):
        mine = self.folder(tmp_path, TWO)
        (mine / "rising").rename(mine / "frame 1")
        says = "frame 1 is a class of .*model.onnx already"
        self.refused(model, tmp_path, UsageError, says, videos=mine, keep_old=True)

    def test_options_that_contradict_each_other(self, model, tmp_path):
        mine = self.folder(tmp_path, TWO)
        for says, options in {
            "reject and keep_old exclude": {"reject": 0.1, "keep_old": True},
            "reject is 1; it is the share": {"reject": 1.0},
            "views is 0": {"views": 0},
            "method is 'best'": {"method": "best"},
            "a file of features; let it end in .npz": {"save_features": tmp_path / "x.csv"},
        }.items():
            self.refused(model, tmp_path, UsageError, says, videos=mine, **options)
        says = "nothing to learn from; give a folder"
        self.refused(model, tmp_path, UsageError, says)
        given = {"features": tmp_path / "kept.npz", "split": tmp_path / "list.txt"}
        self.refused(model, tmp_path, UsageError, r"leave the list out \(--split\)", **given)
        (mine / "rising").rename(mine / "none of these")
        says = "a class of the name 'none of these'"
        self.refused(model, tmp_path, UsageError, says, videos=mine, reject=0.1)

    def test_a_model_that_answers_no_logits_keeps_no_classes(self, tmp_path, videos):
        from models import spec_of_brightness

        spec = spec_of_brightness(output=OutputSpec("logits", "sigmoid"))
        model = brightness_model(tmp_path / "s.onnx", spec)
        says = "answers sigmoid, beside which"
        self.refused(model, tmp_path, UsageError, says, videos=videos / "others", keep_old=True)

    def test_files_that_cannot_be_written(self, model, tmp_path, videos):
        mine = videos / "others"
        with pytest.raises(UsageError, match=r"whose name must end in \.onnx"):
            teach(model, tmp_path / "mine.xml", mine)
        with pytest.raises(UsageError, match="is the model itself"):
            teach(model, model, mine)
        with pytest.raises(OutputError, match="there is no folder"):
            teach(model, tmp_path / "none" / "m.onnx", mine)

    def test_a_damaged_file_of_features(self, model, tmp_path):
        kept = tmp_path / "kept.npz"
        for content in (b"", b"PK\x03\x04 no archive", b"nothing"):
            kept.write_bytes(content)
            says = r"kept.npz is no file of features.*--save-features"
            self.refused(model, tmp_path, UsageError, says, features=kept)
        np.savez(kept, features=np.zeros((1, 1, 4), np.float32), record=np.array("{}"))
        self.refused(model, tmp_path, UsageError, "is no file of features", features=kept)
        says = "cannot be read"
        self.refused(model, tmp_path, UsageError, says, features=tmp_path / "none.npz")


def test_a_network_without_an_average_says_what_it_has(model, videos, tmp_path):
    import onnx

    graph = onnx.load(model)
    last = graph.graph.node[-1]
    last.CopyFrom(onnx.helper.make_node("Identity", ["levels"], [last.output[0]]))
    onnx.save(graph, model)
    with pytest.raises(ModelError, match=r"no layer behind it.*teach a model that has them"):
        teach(model, tmp_path / "mine.onnx", videos / "others")
