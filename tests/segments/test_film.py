"""Films with their labels: frames, times and sound are the video's, the labels its timeline's."""

import contextlib
import itertools
from fractions import Fraction

import av
import numpy as np
import pytest
from orientation import CORNERS, corners, set_matrix
from requirements import needs
from sounds import content, write_with_sound
from tides import tide

from r2p_edge import annotate, timeline
from r2p_edge.errors import LowFrameRateWarning, MissingDependencyError, OutputError, UsageError
from r2p_edge.segments import film as module
from r2p_edge.segments.film import write_caption
from r2p_edge.segments.texts import caption
from r2p_edge.video.file import VideoFile
from r2p_edge.video.sampling import ShorterThanDeclaredError
from r2p_edge.video.source import open_source

pytestmark = needs("cv2")

OPTIONS = {"every": 0.08, "hysteresis": 0.2}
EVEN = np.arange(100) / 25
UNEVEN = np.cumsum(np.random.default_rng(3).uniform(0.01, 0.07, 100)) - 0.01


def greys(levels, height=120, width=160):
    return [np.full((height, width, 3), level, np.uint8) for level in levels]


LEVELS = tide("/\\", 2.0)


def captions_of(found, frames, times):
    """Return the caption that each frame shows, of all those of a timeline."""
    texts = sorted({caption(segment) for segment in found.segments})
    shown = []
    for frame in frames:
        # The level of a plain frame is that of its lower right corner.
        plain = np.full_like(frame, frame[-20:, -20:].mean())
        errors = [np.abs(write_caption(plain, text).astype(int) - frame).mean() for text in texts]
        shown.append(texts[int(np.argmin(errors))])
        assert min(errors) < 4, "no caption is near"
    return shown


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    ("name", "times", "options"),
    [
        ("even.mp4", EVEN, {}),
        ("uneven.mp4", UNEVEN, {}),
        ("uneven.mkv", UNEVEN, {"sound": "libopus"}),
        ("late.mp4", EVEN + 0.5, {}),
        ("early.mkv", EVEN, {"begin": 0.7}),
        ("silent.mp4", EVEN, {"sound": None}),
        ("motion.avi", EVEN, {"codec": "mjpeg", "sound": "pcm_s16le"}),
    ],
)
def test_a_film_is_its_video(predictor, tmp_path, name, times, options, suffix):
    video = write_with_sound(tmp_path / name, greys(LEVELS), times, **options)
    film = tmp_path / f"film{suffix}"
    found = annotate(predictor, video, film, **OPTIONS)
    assert found.segments == timeline(predictor, video, **OPTIONS).segments
    before, after = content(video), content(film)

    assert len(after.frames) == 100
    own = EVEN if name.endswith(".avi") else before.times - before.times[0]
    near = 6e-4 if suffix == ".mkv" else 2e-5  # Matroska counts milliseconds
    np.testing.assert_allclose(after.times - after.times[0], own, atol=near)

    # The picture comes as much later than the sound as it did.
    if before.codec is not None:
        lead = before.times[0] - before.sound[0][0]
        again = suffix == ".mp4" and before.codec == "pcm_s16le"
        assert after.codec == ("aac" if again else before.codec)
        encoder_delay = 1024 / 44100 if again else 0.0
        assert after.times[0] - after.sound[0][0] - encoder_delay == pytest.approx(lead, abs=2e-3)
        if not again:
            assert [data for _, data in after.sound] == [data for _, data in before.sound]

    # The label of the picture that is shown at a moment is that of the timeline.
    moments = np.random.default_rng(0).uniform(0, own[-1], 100)
    numbers = np.searchsorted(own + near, moments, side="right") - 1
    shown = captions_of(found, [after.frames[k] for k in numbers], own[numbers])
    assert shown == [caption(found.at(own[k])) for k in numbers]
    assert len(set(shown)) == 2


@pytest.mark.parametrize(
    ("matrix", "seen"), [((0, 1, -1, 0), "GRBR"), ((-1, 0, 0, -1), "BGRR"), ((-1, 0, 0, 1), "RRBG")]
)
def test_a_turned_video_is_upright(predictor, tmp_path, matrix, seen):
    image = np.repeat(np.repeat(CORNERS, 4, axis=0), 4, axis=1)
    video = write_with_sound(tmp_path / "video.mp4", [image] * 30, np.arange(30) / 25)
    set_matrix(video, *matrix)
    annotate(predictor, video, tmp_path / "film.mp4")
    with av.open(str(tmp_path / "film.mp4")) as container:
        frame = next(container.decode(video=0))
        assert frame.rotation == 0
        shown = frame.to_ndarray(format="rgb24")
    with contextlib.closing(open_source(video, 25.0)) as source:
        upright = next(source.read(np.zeros(1)))
    assert shown.shape == upright.shape
    shown[:40, :120] = upright[:40, :120]  # without the caption
    assert corners(shown) == corners(upright) == seen
    # Colours come back as they were, but for the coarser ones of 4:2:0.
    assert np.abs(shown.astype(int) - upright).mean() < 4


@pytest.mark.parametrize(("width", "height"), [(161, 121), (17, 13), (64, 8)])
def test_odd_and_tiny_pictures(predictor, tmp_path, width, height):
    """Sides that 4:2:0 cannot halve get one pixel more, and text goes over the edge."""
    video = write_with_sound(
        tmp_path / "video.mkv", greys([100] * 30, height, width), EVEN, codec="ffv1", sound=None
    )
    annotate(predictor, video, tmp_path / "film.mp4")
    frames = content(tmp_path / "film.mp4").frames
    assert len(frames) == 30
    assert frames[0].shape == (height + height % 2, width + width % 2, 3)


def test_pixels_keep_their_shape(predictor, tmp_path):
    video = tmp_path / "video.mkv"
    with av.open(str(video), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for image in greys([100] * 25):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    annotate(predictor, video, tmp_path / "film.mp4")
    with av.open(str(tmp_path / "film.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == pytest.approx(4 / 3)


def test_a_film_names_its_colours(predictor, clip, tmp_path):
    annotate(predictor, clip, tmp_path / "film.mp4")
    with av.open(str(tmp_path / "film.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (int(context.colorspace), int(context.color_range)) == (1, 1)


def test_a_file_that_is_shorter_than_it_says_is_written_anew(
    predictor, clip, tmp_path, monkeypatch
):
    read, tries = VideoFile.read, []

    def cut(self, times):
        if len(times) > 30:  # all of them, and not those of the windows
            tries.append(len(times))
            if len(tries) == 1:
                yield from read(self, times[:10])
                raise ShorterThanDeclaredError
        yield from read(self, times)

    monkeypatch.setattr(VideoFile, "read", cut)
    annotate(predictor, clip, tmp_path / "film.mp4")
    assert tries == [40, 40]
    assert len(content(tmp_path / "film.mp4").frames) == 40


def test_damaged_frames_are_left_out(predictor, data, tmp_path):
    with pytest.warns(LowFrameRateWarning):
        found = annotate(predictor, data / "odd/decord_corrupted.mp4", tmp_path / "film.mkv")
    assert len(content(tmp_path / "film.mkv").frames) == 49
    assert found.duration == pytest.approx(5.0, abs=0.01)


class Broken:
    """An open file whose sound cannot be read from its packet number 20 on."""

    def __init__(self, container):
        self._container = container

    def __getattr__(self, name):
        return getattr(self._container, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._container.close()

    def demux(self, streams):
        yield from itertools.islice(self._container.demux(streams), 20)
        raise av.error.InvalidDataError(1, "Invalid data found")


def test_sound_that_breaks_off_is_told(predictor, tmp_path, monkeypatch, caplog):
    video = write_with_sound(tmp_path / "video.mp4", greys(LEVELS), EVEN)
    open_container = module.open_container
    monkeypatch.setattr(module, "open_container", lambda *given: Broken(open_container(*given)))
    annotate(predictor, video, tmp_path / "film.mp4")
    after = content(tmp_path / "film.mp4")
    assert (len(after.frames), len(after.sound)) == (100, 20)
    assert "the sound of" in caplog.text
    assert "ends early (Invalid data found)" in caplog.text


def test_a_folder_of_images_becomes_a_film(predictor, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, image in enumerate(greys(LEVELS[:20])):
        av.VideoFrame.from_ndarray(image, format="rgb24").save(str(folder / f"{number}.png"))
    annotate(predictor, folder, tmp_path / "film.mp4", fps=20)
    times = content(tmp_path / "film.mp4").times
    np.testing.assert_allclose(times, np.arange(20) / 20, atol=1e-4)


def test_long_captions_become_smaller_and_stay_inside():
    picture = np.full((240, 320, 3), 200, np.uint8)
    short, long = (write_caption(picture, text) for text in ("run (99%)", "run " * 12 + "(99%)"))
    assert (picture == 200).all()
    heights = [np.flatnonzero((image != 200).any(axis=(1, 2))).size for image in (short, long)]
    assert heights[1] < heights[0]
    assert (long[:, -6:] == 200).all()


def test_refusals(predictor, clip, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"film\.avi is no film of \.mp4, \.mkv"):
        annotate(predictor, clip, tmp_path / "film.avi")
    with pytest.raises(UsageError, match="is the video itself"):
        annotate(predictor, clip, clip)
    with pytest.raises(OutputError, match="there is no folder"):
        annotate(predictor, clip, tmp_path / "absent" / "film.mp4")
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(MissingDependencyError, match="cv2 is not installed; the text in a film"):
        annotate(predictor, clip, tmp_path / "film.mp4")
    assert [path.name for path in tmp_path.iterdir()] == [clip.name]
