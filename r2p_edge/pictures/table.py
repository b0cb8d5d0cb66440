"""An answer as HTML for notebooks, of a bounded size and without scripts."""

from __future__ import annotations

import base64
import html
from typing import TYPE_CHECKING

from r2p_edge.errors import R2PError
from r2p_edge.pictures.contact_sheet import MOST_CLIPS, contact_sheet, spread
from r2p_edge.pictures.encoding import jpeg_of

if TYPE_CHECKING:
    from r2p_edge.prediction import Prediction

_TOP = 5
_LONGEST = 80  # letters of a name


def html_of(prediction: Prediction) -> str:
    """Return the best classes with their scores, and the frames that the model saw.

    The frames of a file are read again for it; see `Prediction.frames`. Where they cannot be, the
    HTML says why.
    """
    rows = "".join(_row(prediction, label, score) for label, score in prediction.top(_TOP))
    told = [f"looked at {prediction.seen()}"] if prediction.seen() else []
    told.append(f"{prediction.coverage:.0%} of the frames are real")
    if prediction.truncated:
        told.append("truncated")
    told.append(f"{prediction.runtime} on {prediction.device}, {prediction.precision}")
    return (
        f"<div><table>{rows}</table><p>{_text('; '.join(told), 500)}</p>{_frames(prediction)}</div>"
    )


def _row(prediction: Prediction, label: str, score: float) -> str:
    bar = ""
    if prediction.kind != "values":
        style = f"width:{score:.1%};min-width:1px;height:0.8em;background:#3f51b5"
        bar = f'<td style="width:12em"><div style="{style}"></div></td>'
    shown = prediction.shown(score).strip()
    return f"<tr><td>{_text(label)}</td>{bar}<td>{shown}</td></tr>"


def _frames(prediction: Prediction) -> str:
    if prediction.live is not None:
        return ""
    try:
        clips = prediction.frames()
        if clips.shape[-1] != 3:
            return "<p>The model saw optical flow, which is not shown.</p>"
    except R2PError as error:
        return f"<p>{_text(str(error), 500)}</p>"
    numbers = ", ".join(str(number + 1) for number in spread(len(clips), MOST_CLIPS))
    title = f"<p>Clips {numbers} of {len(clips)}:</p>" if len(clips) > 1 else ""
    content = base64.b64encode(jpeg_of(contact_sheet(clips))).decode("ascii")
    return (
        f'{title}<img style="max-width:100%" alt="frames that the model saw" '
        f'src="data:image/jpeg;base64,{content}">'
    )


def _text(text: str, longest: int = _LONGEST) -> str:
    """Return a text for HTML, cut off where it is very long."""
    return html.escape(text if len(text) <= longest else text[: longest - 1] + "…")
