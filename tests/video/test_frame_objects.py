"""Frames of PIL, PyAV and OpenCV: the same answer as the file that they are of, or a refusal."""

import av
import cv2
import numpy as np
import pytest
from models import brightness_model, grey_frames, levels, spec_of_brightness
from requirements import needs
from videos import written

from r2p_edge import Predictor
from r2p_edge.errors import UsageError, VideoError
from r2p_edge.video.clip_reader import ClipReader
from r2p_edge.video.frame_objects import times_of_stamps

READER = ClipReader(spec_of_brightness())


def assert_near(one, other):
    """Assert pixels that differ by no more than two conversions to RGB do."""
    difference = np.abs(one.pixels.astype(int) - other.pixels)
    assert difference.mean() < 1
    assert one.span == pytest.approx(other.span)
    assert one.coverage == other.coverage


@pytest.mark.parametrize("rate", [15, 25, 60])
def test_frames_of_pyav_are_shown_at_their_own_times(rate, tmp_path):
    path = written(tmp_path / "a.mp4", np.arange(rate) / rate)
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    read = READER.read(iter(frames))
    np.testing.assert_array_equal(read.pixels, READER.read(path).pixels)
    assert read.span == READER.read(path).span
    assert READER.read(frames, fps=25).span == READER.read(grey_frames(range(rate))).span


def test_as_many_frames_with_times_as_the_model_takes_are_a_video(tmp_path):
    path = written(tmp_path / "a.mp4", np.arange(4) / 25)
    with av.open(str(path)) as container:
        assert READER.read(container.decode(video=0)).coverage == READER.read(path).coverage == 0.5


def test_frames_of_pyav_without_times_are_like_arrays(tmp_path):
    arrays = grey_frames([10, 13, 11, 20])
    frames = [av.VideoFrame.from_ndarray(array, format="rgb24") for array in arrays]
    with Predictor(brightness_model(tmp_path / "model.onnx")) as predictor:
        assert levels(predictor.predict(frames)) == levels(predictor.predict(arrays))


@pytest.mark.slow
def test_real_files_through_every_library(data):
    pil = pytest.importorskip("PIL.Image")
    for path in sorted(data.glob("kinetics/*.mp4"))[:3]:
        expected = READER.read(path, clips=2)
        assert_near(READER.read(cv2.VideoCapture(str(path)), clips=2), expected)
        with av.open(str(path)) as container:
            frames = list(container.decode(video=0))
        assert_near(READER.read(frames, clips=2), expected)
        images = [frame.to_image() for frame in frames]
        assert isinstance(images[0], pil.Image)
        assert_near(READER.read(images, fps=30, clips=2), expected)


def test_a_capture_is_bgr_and_has_its_own_rate(tmp_path):
    path = tmp_path / "red.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 50, (64, 48))
    for level in range(60):
        writer.write(np.full((48, 64, 3), (0, 0, 3 * level), np.uint8))
    writer.release()
    expected = READER.read(path)
    for color in ("RGB", "BGR"):  # "BGR" is what people say of OpenCV
        read = READER.read(cv2.VideoCapture(str(path)), color=color)
        assert_near(read, expected)
        assert read.pixels[..., 0].mean() > 50 > read.pixels[..., 2].mean() + 40
    assert READER.read(cv2.VideoCapture(str(path)), fps=25).span[1] > read.span[1]


def test_a_capture_goes_on_where_it_stands(tmp_path):
    path = written(tmp_path / "a.mp4", np.arange(40) / 25)
    capture = cv2.VideoCapture(str(path))
    for _ in range(20):
        capture.read()
    rest = READER.read(capture)
    np.testing.assert_allclose(rest.pixels.mean(axis=(2, 3, 4)) - 10, [[26, 28, 30, 32]], atol=1.5)
    with pytest.raises(VideoError, match=r"gave no frame; .* a capture that was read before"):
        READER.read(capture)


@pytest.mark.filterwarnings("ignore::r2p_edge.errors.LowFrameRateWarning")
def test_a_capture_that_breaks_off_is_truncated(data, tmp_path):
    assert READER.read(cv2.VideoCapture(str(data / "odd/decord_corrupted.mp4"))).truncated
    path = written(tmp_path / "a.mp4", np.arange(40) / 25)
    assert not READER.read(cv2.VideoCapture(str(path))).truncated


def test_captures_that_cannot_be_read(tmp_path, monkeypatch):
    with pytest.raises(VideoError, match="is not open; give the path"):
        READER.read(cv2.VideoCapture(str(tmp_path / "absent.mp4")))

    class Camera:  # OpenCV's types crash Python when a class of theirs is collected
        def isOpened(self):  # noqa: N802
            return True

        def get(self, number):
            return -1.0

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    with pytest.raises(VideoError, match=r"how many frames .*give stream\(\) the camera's number"):
        READER.read(Camera())


@needs("PIL")
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_images_of_pil(mode):
    from PIL import Image

    images = [Image.fromarray(frame).convert(mode) for frame in grey_frames([0, 255, 0, 255])]
    assert READER.read(images).pixels.mean(axis=(0, 2, 3, 4)).tolist() == [0, 255, 0, 255]


@needs("PIL")
def test_images_of_pil_that_are_refused():
    from PIL import Image, ImageOps

    with pytest.raises(VideoError, match="mode I;16; expected 8 bits a channel"):
        READER.read([Image.new("I;16", (8, 8))])
    with pytest.raises(VideoError, match="it is one frame, so give a list of them"):
        READER.read(Image.new("RGB", (8, 8)))
    with pytest.raises(UsageError, match="images of PIL and frames of PyAV are converted"):
        READER.read([Image.new("RGB", (8, 8))], color="BGR")
    closed = Image.new("RGB", (8, 8))
    closed.close()
    with pytest.raises(VideoError, match="a PIL image cannot be read"):
        READER.read([closed])
    turned = Image.new("RGB", (8, 9))
    turned.getexif()[0x0112] = 6
    with pytest.raises(VideoError, match=r"EXIF orientation 6.*exif_transpose"):
        READER.read([turned])
    assert READER.read([ImageOps.exif_transpose(turned)]).coverage == 1 / 4


def test_a_reader_of_decord_is_told_what_to_give():
    class VideoReader:
        def get_batch(self, indices): ...

        def get_avg_fps(self): ...

    with pytest.raises(VideoError, match=r"give the path that it reads, or reader\.get_batch"):
        READER.read(VideoReader())


def test_times_of_stamps():
    assert times_of_stamps([None, None], None) is None
    np.testing.assert_allclose(times_of_stamps([3.0, 3.5, 5.0], None), [0, 0.5, 2])
    np.testing.assert_allclose(times_of_stamps([3.0, None], 10), [0, 0.1])
    np.testing.assert_allclose(times_of_stamps([0.0, 0.04, 0.0], None, 25), [0, 0.04, 0.08])
    with pytest.raises(VideoError, match="1 of 2 frames have no time; give fps="):
        times_of_stamps([3.0, None], None)
    with pytest.raises(VideoError, match=r"frame 2 is of 0.12 s, but the frame before it of 0.16"):
        times_of_stamps([0.08, 0.16, 0.12], None)
