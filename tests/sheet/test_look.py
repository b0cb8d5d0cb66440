"""Sheets show what the model was shown."""

import dataclasses

import numpy as np
import pytest
from models import brightness_model, spec_of_brightness
from requirements import needs
from videos import written

from r2p_edge import Predictor
from r2p_edge.errors import ModelError, UsageError, VideoError
from r2p_edge.sheet import look_at
from r2p_edge.spec import CropSpec, ResizeSpec

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("safetensors"), needs("cv2")]


def seen(look):
    """Return the pixels inside the crops of a look, uint8 (clips, T, H, W, 3)."""
    rows, columns = look.crop
    return np.stack(
        [
            [
                tile.image[tile.top : tile.top + rows, tile.left : tile.left + columns]
                for tile in clip
            ]
            for clip in look.clips
        ]
    )


def test_the_crops_are_the_pixels_of_the_model(motion_model, clip):
    with Predictor(motion_model) as predictor:
        look = look_at(predictor, clip, clips=2)
        np.testing.assert_array_equal(seen(look), predictor.pixels(clip, clips=2))
        answer = predictor.predict(clip, clips=2)
    assert look.top[:3] == [(label, pytest.approx(score)) for label, score in answer.top(3)]
    times = [[tile.time for tile in clip] for clip in look.clips]
    assert (times[0][0], times[-1][-1]) == pytest.approx(answer.span)
    assert all(np.diff(each).min() > 0 for each in times)
    assert look.coverage == answer.coverage
    assert look.activation is None


@pytest.mark.parametrize("color", ["RGB", "BGR"])
@pytest.mark.parametrize(
    "resize",
    [ResizeSpec("stretch", height=20, width=30), ResizeSpec("short_side", size=24)],
    ids=["stretch", "short side"],
)
def test_frames_are_whole_and_in_rgb(tmp_path, resize, color):
    video = tmp_path / "a video, #1 = 100 %.mp4"
    written(video, np.arange(20) / 25, codec="libx264")
    spec = spec_of_brightness(resize=resize, crop=CropSpec(height=16, width=16))
    spec = spec.replace(input=dataclasses.replace(spec.input, color=color))
    with Predictor(brightness_model(tmp_path / "m.onnx", spec)) as predictor:
        look = look_at(predictor, video)
        pixels = predictor.pixels(video)
    # The file's frames are 64x48.
    size = (20, 30) if resize.mode == "stretch" else (24, 32)
    assert {tile.image.shape for tile in look.clips[0]} == {(*size, 3)}
    np.testing.assert_array_equal(seen(look), pixels if color == "RGB" else pixels[..., ::-1])


def test_a_folder_of_images_has_its_rate(motion_model, tmp_path):
    import cv2

    for number in range(40):
        image = np.full((64, 64, 3), number * 5, np.uint8)
        cv2.imwrite(str(tmp_path / f"{number:03}.png"), image)
    with Predictor(motion_model) as predictor:
        slow, fast = (look_at(predictor, tmp_path, fps=fps) for fps in (12.5, 25))
    assert slow.clips[0][0].time != fast.clips[0][0].time


def test_the_activation_is_of_the_best_class_or_the_one_asked_for(further_model, clip):
    with Predictor(further_model) as predictor:
        best = look_at(predictor, clip, cam=True)
        other = look_at(predictor, clip, cam=True, label="grow")
        outputs = predictor.outputs(clip)
    for look in (best, other):
        found = look.activation
        assert found.values.shape == (1, 2, 7, 7)
        number = predictor.spec.labels.index(found.label)
        np.testing.assert_allclose(found.values.mean(axis=(1, 2, 3)), outputs[:, number], atol=1e-4)
        np.testing.assert_array_equal(found.outputs, outputs[:, number])
    assert best.activation.label == best.top[0][0] == predictor.spec.labels[outputs.argmax()]
    assert other.activation.label == "grow"


def test_refusals(motion_model, further_model, clip, tmp_path):
    with Predictor(motion_model) as predictor:
        with pytest.raises(ModelError, match=r"answer alone.*--feature-output"):
            look_at(predictor, clip, cam=True)
        with pytest.raises(UsageError, match="ask for that too"):
            look_at(predictor, clip, label="grow")
        with pytest.raises(VideoError, match="there is no video"):
            look_at(predictor, tmp_path / "absent.mp4")
    says = pytest.raises(UsageError, match=r"no class 'Gro'; did you mean grow\? r2p-edge info")
    with Predictor(further_model) as predictor, says:
        look_at(predictor, clip, cam=True, label="Gro")


def test_a_head_of_more_than_a_layer_is_refused(further_model, clip):
    with Predictor(further_model) as predictor:
        shapes = {"features": [128], "feature_map": [128, 2, 7, 7]}
        spec = predictor.spec.replace(feature_outputs=shapes)
    says = "its head is more than one linear layer behind an average pool"
    with Predictor(further_model, spec=spec) as predictor, pytest.raises(ModelError, match=says):
        look_at(predictor, clip, cam=True)
