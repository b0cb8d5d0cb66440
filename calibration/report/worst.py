"""The worst answers of a model, with the frames that it saw."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence

from r2p_edge.addresses import without_password
from r2p_edge.archive.rows import size_of
from r2p_edge.calibration.answered import AnsweredVideo
from r2p_edge.calibration.evaluation_text import share_text
from r2p_edge.calibration.report.markup import Html, joined, text, words
from r2p_edge.errors import R2PError, VideoError, VideoNotFoundError
from r2p_edge.frame import Image
from r2p_edge.pictures.contact_sheet import MOST_CLIPS, contact_sheet, spread
from r2p_edge.pictures.encoding import jpeg_of
from r2p_edge.spec import ModelSpec
from r2p_edge.video.clip_reader import ClipReader
from r2p_edge.video.source import is_url, path_of_uri

_CLOSE = 1e-3  # seconds by which the frames that are read again may differ from those of then
_MOST_FRAMES = 4096  # that are read for one picture, some 150 MB
_OTHERS = 3  # classes besides the answer


def worst_of(answers: Sequence[AnsweredVideo], most: int) -> list[AnsweredVideo]:
    """Return the wrong answers with the highest scores; where no class is known, the least sure."""
    if any(each.truth is not None for each in answers):
        wrong = [each for each in answers if each.truth is not None and not each.right]
        return sorted(wrong, key=lambda each: -each.score)[:most]
    return sorted(answers, key=lambda each: each.score)[:most]


def frames_seen(answer: AnsweredVideo, spec: ModelSpec) -> Image:
    """Return the clips that a model saw of a video, uint8 (clips, T, H, W, 3), in RGB.

    Raises:
        VideoNotFoundError: it is not there any longer.
        VideoError: it is an address, which is not asked again; has changed since; cannot be read;
            the answer is the mean of too many clips for a picture; or the model saw flow.
    """
    if answer.views * spec.clip.frames > _MOST_FRAMES:
        raise VideoError(f"the answer is of {answer.views} clips, which are too many for a picture")
    if spec.flow is not None:
        raise VideoError("the model saw optical flow, which is not shown")
    if is_url(answer.video):
        raise VideoError("the video is at an address, which is not asked again")
    path = path_of_uri(answer.video)
    if not os.path.isfile(path) and not os.path.isdir(path):
        raise VideoNotFoundError("the video is not there any longer")
    reader = ClipReader(spec)
    clips = reader.read(path, clips=answer.views, part=answer.part)
    span = tuple(moment + clips.offset for moment in clips.span)
    moved = answer.span is not None and any(
        abs(now - then) > _CLOSE for now, then in zip(span, answer.span)
    )
    if moved or answer.size not in (None, size_of(path)):
        raise VideoError("the video has changed since, or was read at another rate")
    return reader.in_rgb(clips.pixels)


def figure_of(answer: AnsweredVideo, spec: ModelSpec | None) -> Html:
    """Return the frames of a video with what was answered; without them, why they are not shown.

    Args:
        answer: the answer.
        spec: of the model; None if it is not known.
    """
    path = without_password(answer.video).rstrip("/")  # whose secrets have no address around them
    name = text(path.rsplit("/", 1)[-1] or path)
    shown = [f"<strong>{name}</strong>"]
    if answer.truth is not None:
        shown.append(f"is {text(answer.truth)}")
    shown.append(f"was answered {_scored(answer.top[0])}")
    caption = ", ".join(shown)
    if others := answer.top[1 : 1 + _OTHERS]:
        caption += f"; then {', '.join(map(_scored, others))}"
    if answer.coverage is not None and answer.coverage < 1:
        caption += f"; {answer.coverage:.0%} of the frames are real"
    picture = Html("")
    if spec is not None:
        try:
            picture, seen = _picture(frames_seen(answer, spec), answer)
            caption += seen
        except R2PError as error:
            picture = Html(f'<p class="faint">No frames: {text(error)}</p>')
    caption = f"<figcaption>{caption}<br><small>{text(answer.video)}</small></figcaption>"
    return joined(Html("<figure>"), picture, Html(f"{caption}</figure>"))


def _picture(clips: Image, answer: AnsweredVideo) -> tuple[Html, str]:
    """Return the contact sheet of clips, and which of them it shows where these are several."""
    sheet = contact_sheet(clips)
    content = base64.b64encode(jpeg_of(sheet)).decode("ascii")
    seen = ""
    if len(clips) > 1:
        numbers = ", ".join(str(number + 1) for number in spread(len(clips), MOST_CLIPS))
        seen = f"; clips {numbers} of {len(clips)}, one below the other"
    span = "" if answer.span is None else f", {answer.span[0]:.2f} to {answer.span[1]:.2f} s"
    label = words(f"frames that the model saw{span}")
    return Html(
        f'<img alt="{label}" width="{sheet.shape[1]}" height="{sheet.shape[0]}" '
        f'src="data:image/jpeg;base64,{content}">'
    ), seen


def _scored(answer: tuple[str, float]) -> str:
    label, score = answer
    return f"{text(label)} ({share_text(score)})"
