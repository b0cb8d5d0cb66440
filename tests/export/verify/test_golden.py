"""Golden pairs: what PyTorch answered proves the network and the recipe, or shows what is wrong."""

import io
import zipfile

import numpy as np
import pytest
from exit_codes import MODEL
from networks import SMALL, random_parameters, spec_for, torch_network
from paths import HELPERS
from requirements import needs

from r2p_edge.artifact.open import open_artifact
from r2p_edge.errors import ModelError, ModelNotFoundError, ParityError
from r2p_edge.export.build import build
from r2p_edge.export.verify.golden import read_golden

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("safetensors"), needs("torch")]

SPEC = spec_for(SMALL["classes"], name="net")
IMAGENET = SPEC.mean, SPEC.std


def frames_of(clips=1, height=90, width=150):
    """Return uint8 (clips, T, H, W, 3) of moving waves, whose colours and frames all differ."""
    rng = np.random.default_rng(5)
    t, y, x = np.ogrid[: SPEC.clip.frames, :height, :width]
    waves = [
        100 + 50 * np.sin(2 * np.pi * (x / (30 + 9 * c) + y / 40 + t / 4 + rng.random()))
        for _ in range(clips)
        for c in range(3)
    ]
    images = np.stack(waves, -1).reshape(*waves[0].shape, clips, 3)
    return np.rint(np.moveaxis(images, -2, 0)).astype(np.uint8)


def prepared(frames, mean=SPEC.mean, std=SPEC.std, top=8, left=30):
    """Return what PyTorch makes of frames by the spec's recipe, (N, 3, T, H, W)."""
    import torch

    size = SPEC.resize.height, SPEC.resize.width
    images = torch.from_numpy(frames.reshape(-1, *frames.shape[2:])).permute(0, 3, 1, 2).float()
    images = torch.nn.functional.interpolate(images, size, mode="bilinear", align_corners=False)
    images = images[:, :, top : top + SPEC.crop.height, left : left + SPEC.crop.width] / 255
    images = (images - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    return images.reshape(*frames.shape[:2], *images.shape[1:]).permute(0, 2, 1, 3, 4).numpy()


def answered(inputs, eps=1e-5):
    """Return the logits of the network in PyTorch."""
    import torch

    with torch.no_grad():
        network = torch_network(random_parameters(**SMALL), SMALL["counts"], eps)
        return network(torch.from_numpy(np.ascontiguousarray(inputs, np.float32))).numpy()


@pytest.fixture
def saved(tmp_path):
    """Save the arrays of a pair, by default those of the spec's own recipe; return its path."""

    def saved(clips=1, **changes):
        frames = frames_of(clips)
        inputs = changes.get("input", prepared(frames))
        logits = changes["logits"] if changes.get("logits") is not None else answered(inputs)
        label = [SPEC.labels[index] for index in np.atleast_2d(logits).argmax(axis=1)]
        arrays = {"logits": logits, "input": inputs, "frames": frames, "label": label, **changes}
        path = tmp_path / "golden.npz"
        np.savez(path, **{name: each for name, each in arrays.items() if each is not None})
        return path

    return saved


def exported(checkpoint, path, out, **options):
    return build(checkpoint, spec=SPEC, targets=["onnx"], out=out, golden=path, **options).built[0]


def test_everything_is_proven(small_checkpoint, saved, out, run):
    built = exported(small_checkpoint, saved(), out)
    found = open_artifact(built.path).spec.checks["golden"]
    assert found["weights"]["max_rel"] < 1e-5
    assert found["weights"]["top1"] == 1
    assert found["preprocessing"]["levels"] < 0.5
    assert found["normalisation"]["levels"] < 0.5
    assert len(found["labels"]["outputs"]) == 1
    rows = run("info", built.path)[1]
    assert (
        "proven  weights, normalisation, preprocessing, 1 of 7 labels, by golden pair golden.npz"
    ) in rows
    assert "unproven" not in rows


def test_several_clips_and_none_of_the_rest(small_checkpoint, saved, out, run):
    built = exported(small_checkpoint, saved(3, frames=None, label=None), out)
    found = built.spec.checks["golden"]
    assert found["clips"] == 3
    assert found.keys() == {"file", "sha256", "clips", "weights"}
    rows = run("info", built.path)[1]
    assert "proven  weights, by golden pair golden.npz" in rows
    assert "unproven  normalisation, preprocessing, labels (see export --golden)" in rows


def test_what_was_proven_stays_with_what_is_made_of_the_artifact(small_checkpoint, saved, out):
    built = exported(small_checkpoint, saved(), out)
    for options in ({"targets": ["openvino"]}, {"targets": ["onnx"], "graph": "conv2d"}):
        (second,) = build(built.path, out=out, **options).built
        assert open_artifact(second.path).spec.checks == built.spec.checks
    other = build(built.path, targets=["onnx"], out=out / "other", fps=30.0).built[0]
    assert other.spec.checks is None  # the clip is another


def test_one_clip_without_a_batch_axis_and_channels_last(small_checkpoint, saved, out):
    frames = frames_of()
    inputs = prepared(frames)
    path = saved(
        input=inputs[0].transpose(1, 2, 3, 0),
        logits=answered(inputs)[0].astype(np.float64),
        frames=frames[0],
        label=None,
    )
    assert exported(small_checkpoint, path, out).spec.checks["golden"]["clips"] == 1


FRAMES = frames_of()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (lambda: {"logits": answered(prepared(FRAMES), eps=1e-3)}, "another epsilon, stride, pool"),
        (lambda: {"input": prepared(FRAMES, top=9, left=32)}, "resize, crop or order of frames"),
        (lambda: {"input": prepared(FRAMES[:, ::-1].copy())}, "resize, crop or order of frames"),
        (lambda: {"input": prepared(FRAMES[..., ::-1].copy())}, "channels are in the order BGR"),
        (
            lambda: {
                "input": prepared(FRAMES, (0.43216, 0.394666, 0.37645), (0.228, 0.221, 0.217))
            },
            r"it fits mean \(0.432, 0.394, 0.376\) and std \(0.228, 0.221, 0.217\)",
        ),
        (lambda: {"label": "class 0"}, "'class 0' is their number 0"),
        (lambda: {"label": "jump"}, "'jump' is none of them"),
    ],
    ids=["epsilon", "crop", "reversed", "BGR", "mean", "order of labels", "label"],
)
def test_a_pair_that_contradicts_writes_nothing(
    small_checkpoint, saved, tmp_path, changes, message
):
    with pytest.raises(ParityError, match=message):
        exported(small_checkpoint, saved(**changes()), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_pixels_that_nobody_normalised(small_checkpoint, saved, tmp_path):
    path = saved(input=prepared(FRAMES, (0, 0, 0), (1 / 255,) * 3), logits=np.ones((1, 7)))
    with pytest.raises(ParityError, match=r"input of pixels \(up to 1\d\d\) that nobody"):
        exported(small_checkpoint, path, tmp_path / "new")


def test_a_network_that_normalises_is_given_pixels(small_checkpoint, saved, out):
    """An ONNX file with the normalisation inside, as another tool would make it."""
    built = exported(small_checkpoint, saved(), out)
    with pytest.raises(ModelError, match="has an input of fractions"):
        build(built.path, targets=["onnx"], out=out / "b", golden=saved())
    pixels = np.clip(np.rint(prepared(FRAMES, (0, 0, 0), (1 / 255,) * 3)), 0, 255)
    normalised = (pixels / 255 - np.reshape(SPEC.mean, (3, 1, 1, 1))) / np.reshape(
        SPEC.std, (3, 1, 1, 1)
    )
    logits = answered(normalised)
    path = saved(input=pixels.astype(np.uint8), logits=logits)
    found = build(built.path, targets=["onnx"], out=out / "b", golden=path).built[0]
    assert found.spec.checks["golden"]["preprocessing"]["levels"] < 0.5


@pytest.mark.slow
def test_a_module_of_the_command_line(saved, tmp_path):
    (tmp_path / "nets.py").write_text(
        f"import sys\n\nsys.path.insert(0, {str(HELPERS)!r})\n"
        "from networks import SMALL, random_parameters, torch_network\n\n\n"
        "def small():\n    return torch_network(random_parameters(**SMALL), SMALL['counts'])\n"
    )
    made = build(
        "none",
        spec=SPEC,
        targets=["onnx"],
        out=tmp_path / "out",
        module=f"{tmp_path / 'nets.py'}:small",
        trust_code=True,
        batch=2,
        golden=saved(3),
    )
    assert made.built[0].spec.checks["golden"]["clips"] == 3


def test_the_command(small_checkpoint, saved, tmp_path, fails):
    (tmp_path / "net.json").write_text(SPEC.to_json())
    command = ("export", small_checkpoint, "--spec", tmp_path / "net.json", "--golden")
    out = "--out", tmp_path / "new"
    fails(MODEL, "does not answer as golden.npz says", *command, saved(logits=np.ones(7)), *out)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logits": np.ones((1, 7), complex)}, "logits is complex128; it must be real numbers"),
        ({"logits": np.ones((2, 7))}, r"logits is \(2, 7\) and input is \(1, 3, 4, 32, 32\)"),
        ({"frames": FRAMES[0, 0]}, r"frames is uint8 \(90, 150, 3\)"),
        ({"frames": FRAMES.astype(np.float32)}, "frames is float32"),
        ({"label": ["a", "b"]}, "label has 2 clips and logits 1"),
        ({"label": 3}, "label is int64; it must be the name of the best class"),
        ({"other": 3}, "it has logits, input, frames, label, other; it must have logits and"),
        ({"logits": None}, "it has input, frames, label; it must have"),
        ({"label": np.array([None])}, "cannot be read"),
    ],
)
def test_other_arrays(saved, changes, message):
    with pytest.raises(ModelError, match=message):
        read_golden(saved(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": np.zeros((1, 3, 8, 32, 32))}, r"the model takes clips of \(3, 4, 32, 32\)"),
        ({"logits": np.ones((1, 5))}, r"has logits \(1, 5\) and the model answers \(1, 7\)"),
        ({"frames": FRAMES[:, :3]}, "has 3 frames in a clip and the model takes 4"),
        ({"frames": FRAMES * 0}, "show almost nothing"),
        ({"logits": np.full((1, 7), np.nan)}, "NaN or infinite"),
    ],
)
def test_a_pair_of_another_model(small_checkpoint, saved, tmp_path, changes, message):
    with pytest.raises(ModelError, match=message):
        exported(small_checkpoint, saved(**changes), tmp_path / "new")


def test_other_files(tmp_path):
    with pytest.raises(ModelNotFoundError, match="does not exist"):
        read_golden(tmp_path / "none.npz")
    path = tmp_path / "golden.npz"
    for content in (b"", b"PK\x03\x04", b"logits,input\n", np.ones(3).tobytes()):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"golden pair .* cannot be read .*numpy.savez"):
            read_golden(path)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 44,)}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("logits.npy", header.getvalue())
    with pytest.raises(ModelError, match="cannot be read"):
        read_golden(path)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        # NumPy reads a header with Python's own parser, and lets its errors through.
        (b"{'descr': '<f4', 'shape': (", "cannot be read .*numpy.savez"),
        (b"{'descr': '<f4', 'shape': '}", "cannot be read"),
        (b"\0", "cannot be read"),
        (None, "logits is no array of NumPy's"),
    ],
)
def test_damaged_members(tmp_path, member, message):
    path = tmp_path / "golden.npz"
    np.savez(path, input=np.zeros((1, 3, 4, 8, 8)))
    content = b"text"
    if member is not None:
        content = b"\x93NUMPY\1\0" + len(member).to_bytes(2, "little") + member
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("logits.npy", content)
    with pytest.raises(ModelError, match=message):
        read_golden(path)
