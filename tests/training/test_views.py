"""Views of videos, and what is kept of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from networks import SMALL, random_parameters, spec_for
from requirements import needs
from video_folders import touch
from videos import written

from r2p_edge.calibration.ucf101 import list_videos
from r2p_edge.errors import VideoError
from r2p_edge.video.clip_reader import ClipReader

pytestmark = [needs("torch"), needs("safetensors")]

CLASSES = ("dark", "light")
SPEC = spec_for(SMALL["classes"], name="net")


@pytest.fixture
def trained(tmp_path):
    from safetensors.numpy import save_file

    from r2p_edge.training.files import open_trainable

    save_file(random_parameters(**SMALL), tmp_path / "net.safetensors")
    return open_trainable(tmp_path / "net.safetensors", spec=SPEC)


@pytest.fixture
def videos(tmp_path):
    """Two videos of each class."""
    for label in CLASSES:
        (tmp_path / "videos" / label).mkdir(parents=True)
        for number in range(2):
            written(tmp_path / "videos" / label / f"{number}.mp4", np.arange(20) / 25)
    return list_videos(tmp_path / "videos", CLASSES).videos


@pytest.fixture
def maker(trained, tmp_path):
    """A function that returns a maker of views for these sections."""
    import torch

    from r2p_edge.training.views import ViewMaker

    (tmp_path / "kept").mkdir()

    def make(sections=(), progress=lambda done, total: None):
        return ViewMaker(trained, sections, tmp_path / "kept", torch.device("cpu"), progress)

    return make


def test_without_augmentation_they_are_the_clips_that_predict_sees(maker, videos):
    views = maker().views(videos)
    for video, found in zip(views.videos, views.inputs, strict=True):
        pixels = ClipReader(SPEC).read(video.path).pixels.astype(np.float64)
        wanted = ((pixels * SPEC.scale - SPEC.mean) / SPEC.std).transpose(0, 4, 1, 2, 3)
        assert np.abs(found - wanted).max() < 2e-3  # float16 of numbers up to 2.6


def test_lower_sections_are_run_and_kept(maker, videos, trained, monkeypatch):
    import torch

    pixels = maker().views(videos, count=2)
    views = maker(["stem", "layer1"]).views(videos, count=2)
    with torch.inference_mode():
        x = torch.from_numpy(pixels.inputs[1].astype(np.float32))
        wanted = trained.network(x, ["stem", "layer1"]).numpy()
    assert np.abs(views.inputs[1] - wanted).max() < 5e-3 * np.abs(wanted).max()
    monkeypatch.setattr(ClipReader, "read", None)  # nothing is read a second time
    again = maker(["stem", "layer1"]).views(videos, count=2)
    assert np.array_equal(again.inputs, views.inputs)
    assert again.videos == views.videos


def test_they_are_what_the_exported_network_computes(maker, videos, trained):
    """And making them changes nothing of it: its batch norms neither follow nor learn the clips."""
    from r2p_edge.export.verify.reference import reference_logits
    from r2p_edge.training.network import SECTIONS

    before = {name: value.clone() for name, value in trained.network.state_dict().items()}
    views = maker(SECTIONS).views(videos, count=2)
    for name, value in trained.network.state_dict().items():
        assert value.equal(before[name]), name
    pixels = maker().views(videos, count=2).inputs[0].astype(np.float32)
    wanted = reference_logits(trained.named.parameters, trained.network.network, pixels)
    assert np.abs(views.inputs[0] - wanted).max() <= 5e-3 * np.abs(wanted).max()


def test_other_videos_seeds_and_specs_are_other_views(maker, trained, videos):
    from r2p_edge.training.views import Augmentation

    augmentation = Augmentation()
    one = maker().views(videos, augmentation=augmentation).inputs
    assert not np.array_equal(maker().views(videos, augmentation=augmentation, seed=1).inputs, one)
    flipped = Augmentation(flip=True)
    assert not np.array_equal(maker().views(videos, augmentation=flipped, seed=5).inputs, one)
    with videos[0].path.open("ab") as file:
        file.write(b"\0" * 64)
    kept = {path.name for path in videos[0].path.parents[2].glob("kept/*.npy")}
    maker().views(videos, augmentation=augmentation)
    assert {path.name for path in videos[0].path.parents[2].glob("kept/*.npy")} > kept


def test_views_are_mirrored_only_where_that_is_asked():
    import torch

    from r2p_edge.training.views import Augmentation

    ramp = torch.linspace(50, 200, 64).expand(3, 4, 32, 64)

    def rising(flip):
        rng = np.random.default_rng(0)
        views = [Augmentation(flip=flip).apply(ramp, rng) for _ in range(40)]
        assert all(view.shape == ramp.shape for view in views)
        assert all(view.min() >= 0 and view.max() <= 255 for view in views)
        return sum(bool((view.diff(dim=-1) >= 0).all()) for view in views)

    assert rising(flip=False) == 40
    assert 10 <= rising(flip=True) <= 30


def test_an_augmentation_of_nothing_changes_nothing():
    import torch

    from r2p_edge.training.views import Augmentation

    clip = torch.rand(3, 4, 32, 64) * 255
    view = Augmentation(crop=(1, 1), light=0).apply(clip, np.random.default_rng(0))
    assert torch.allclose(view, clip, atol=1e-4)


def test_videos_that_cannot_be_read_are_left_out_and_named(maker, videos, tmp_path):
    copies = [dataclasses.replace(videos[0], name=f"dark/{number}.mp4") for number in range(2, 21)]
    (broken,) = list_videos(touch(tmp_path, "bad/dark/x.mp4") / "bad", CLASSES).videos
    views = maker().views([*copies, broken])
    assert len(views.videos) == len(views.inputs) == len(copies)
    assert list(views.unreadable) == ["dark/x.mp4"]
    assert maker().views([*copies, broken]).unreadable == views.unreadable
    with pytest.raises(VideoError, match="of 3 videos cannot be read"):
        maker().views([broken, broken, videos[0]])


def test_progress_is_told_from_the_first_video_to_the_last(maker, videos):
    told = []
    maker(progress=lambda done, total: told.append((done, total))).views(videos)
    assert told == [(number, 4) for number in range(5)]


def test_an_epoch_takes_each_video_once(maker, videos):
    views = maker().views(videos, count=3)
    rng = np.random.default_rng(0)
    batches = [numbers for _, numbers in views.batches(3, rng)]
    assert [len(batch) for batch in batches] == [3, 1]
    assert sorted(np.concatenate(batches)) == [0, 1, 2, 3]
    every = [numbers for _, numbers in views.every_view(5)]
    assert np.concatenate(every).tolist() == sorted([0, 1, 2, 3] * 3)


def test_what_others_have_put_beside_the_views_stays(maker, videos, tmp_path):
    from r2p_edge.training.views import remove_views

    maker().views(videos)
    (tmp_path / "kept/notes.txt").touch()
    remove_views(tmp_path / "kept")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["notes.txt"]
    (tmp_path / "kept/notes.txt").unlink()
    remove_views(tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("end", [".npy", ".json"])
def test_views_that_are_damaged_are_computed_again(maker, videos, tmp_path, end):
    views = np.array(maker().views(videos).inputs)
    (path,) = (tmp_path / "kept").glob(f"*{end}")
    for damage in (lambda: path.write_bytes(path.read_bytes()[:-1]), path.unlink):
        damage()
        assert np.array_equal(maker().views(videos).inputs, views)
