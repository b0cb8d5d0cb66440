"""Arrays and tensors as frames: their layout, their conversion, the refusals."""

import numpy as np
import pytest
from requirements import needs

from r2p_edge.errors import VideoError
from r2p_edge.video.arrays import frame_from_item, frames_from_array, is_array

FRAMES = np.random.default_rng(0).integers(0, 256, (5, 8, 9, 3), np.uint8)


class Decord:
    """An array of decord's, as that library has them: it says nothing of itself to NumPy."""

    def __init__(self, array):
        self._array = array

    def asnumpy(self):
        return self._array

    def __len__(self):
        return len(self._array)


@pytest.mark.parametrize("kind", [np.asarray, Decord], ids=["numpy", "decord"])
def test_channels_are_found_by_shape(kind):
    first = np.ascontiguousarray(FRAMES.transpose(0, 3, 1, 2))
    for array in (FRAMES, first):
        assert is_array(kind(array))
        np.testing.assert_array_equal(frames_from_array(kind(array)), FRAMES)
        np.testing.assert_array_equal(frame_from_item(kind(array[2])), FRAMES[2])


def test_arrays_are_not_copied():
    assert np.shares_memory(frames_from_array(FRAMES), FRAMES)
    assert np.shares_memory(frames_from_array(FRAMES.transpose(0, 3, 1, 2)), FRAMES)


@pytest.mark.slow
@needs("torch")
def test_tensors_of_torch():
    import torch

    tensor = torch.from_numpy(FRAMES)
    for given in (tensor, tensor.permute(0, 3, 1, 2), tensor.permute(0, 3, 1, 2).contiguous()):
        np.testing.assert_array_equal(frames_from_array(given), FRAMES)
        np.testing.assert_array_equal(frame_from_item(given[1]), FRAMES[1])
    with pytest.raises(VideoError, match="dtype float32; expected uint8"):
        frames_from_array(tensor.float())
    with pytest.raises(VideoError, match="cannot be converted to an array"):
        frames_from_array(tensor.to("meta"))


@pytest.mark.slow
@needs("decord")
def test_arrays_of_decord(data):
    import decord

    reader = decord.VideoReader(str(data / "kinetics/carving_ice_rpi.mp4"))
    batch = reader.get_batch([0, 5])
    np.testing.assert_array_equal(frames_from_array(batch), batch.asnumpy())
    np.testing.assert_array_equal(frame_from_item(reader[0]), batch.asnumpy()[0])


@pytest.mark.parametrize(
    "shape", [(16, 3, 112, 3), (16, 3, 3, 3), (3, 3, 112, 112), (16, 3, 3, 112)], ids=str
)
def test_what_fits_two_layouts_is_not_guessed(shape):
    if shape == (16, 3, 3, 112):  # the only axis of channels is the second
        assert frames_from_array(np.zeros(shape, np.uint8)).shape == (16, 3, 112, 3)
        return
    with pytest.raises(VideoError, match="more than one axis may be that of the channels"):
        frames_from_array(np.zeros(shape, np.uint8))


def test_a_frame_that_fits_two_layouts_is_not_guessed():
    with pytest.raises(VideoError, match=r"a frame has shape \(3, 8, 3\), of which more than one"):
        frame_from_item(np.zeros((3, 8, 3), np.uint8))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((112, 112, 3), np.uint8), r"shape \(112, 112, 3\)"),
        (np.zeros((3, 16, 112, 112), np.uint8), r"expected \(T, H, W, 3\) or \(T, 3, H, W\)"),
        (np.zeros((16, 8, 8, 4), np.uint8), r"shape \(16, 8, 8, 4\)"),
        (np.zeros((16, 8, 8, 3), np.float32), "dtype float32; expected uint8"),
        (np.zeros((0, 8, 8, 3), np.uint8), "at least one frame"),
        (np.zeros((4, 0, 8, 3), np.uint8), "at least one frame"),
        (None, "shape"),
        ([[1], [2, 3]], "cannot be converted to an array"),
    ],
)
def test_bad_arrays(array, message):
    with pytest.raises(VideoError, match=message):
        frames_from_array(array)


class Tensor:
    """A tensor of another library that cannot become an array."""

    def __init__(self, error):
        self.error = error

    def __array__(self, *_, **__):
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach()."),
        TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu()"),
        NotImplementedError("Cannot copy out of meta tensor; no data!"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_tensors_that_cannot_become_arrays(error):
    with pytest.raises(VideoError, match="a Tensor cannot be converted to an array") as caught:
        frames_from_array(Tensor(error))
    assert str(error) in str(caught.value)
    with pytest.raises(VideoError, match="a Tensor cannot be converted"):
        frame_from_item(Tensor(error))
