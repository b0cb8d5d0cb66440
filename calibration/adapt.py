"""Fitting of a semi-causal form to a clip model on recordings without labels."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from r2p_edge.artifact.open import open_artifact
from r2p_edge.calibration import motion
from r2p_edge.calibration.causal_fit import fit_later_stages
from r2p_edge.calibration.causal_material import causal_material
from r2p_edge.calibration.form_agreement import (
    AgreementCount,
    ClipAnswer,
    check_least,
    compare_on,
)
from r2p_edge.calibration.tick_streams import (
    TickStream,
    pieces,
    recordings,
    scenes_of_one_class,
    scenes_with_cuts,
    uncut_scenes,
)
from r2p_edge.errors import ModelError, ParityError, UsageError, VideoError
from r2p_edge.export.causal_weights import (
    CausalWeights,
    check_weights_path,
    save_causal_weights,
)
from r2p_edge.export.graph.model import load_onnx
from r2p_edge.export.graph.per_frame.clip_graph import ClipGraph
from r2p_edge.export.graph.per_frame.forms import semi_causal_form
from r2p_edge.export.target_checks import EXPORT_FORMS
from r2p_edge.export.verify.ort_session import answer_of
from r2p_edge.export.verify.per_frame_run import PerFrameRun
from r2p_edge.spec import ModelSpec
from r2p_edge.spec.per_frame import SEMI_CAUSAL, check_per_frame_clip
from r2p_edge.video.video_folder import videos_in

if TYPE_CHECKING:
    from r2p_edge.teaching.from_videos import TaskProgress

_HELD_OUT = 4  # every fourth recording
_WINDOWS = 1500  # most of the recordings that are fitted to
_JUDGED = 300  # most of the others
_WAITS = 5  # to choose from; each has its head fitted three times
_UNSEEN = 48_000  # scenes of the training split from here on were no clips of the bundled model's


class FormStreams(NamedTuple):
    """Streams by what they show: some to fit to, and others to judge by.

    Attributes:
        fit: all are fitted to, one after the other.
        held_out: by name; the form must agree on each.
        of: what they are, for records.
    """

    fit: Sequence[TickStream]
    held_out: Mapping[str, Sequence[TickStream]]
    of: str


@dataclass(frozen=True)
class AdaptedForm:
    """A semi-causal form that was fitted, and how often it agreed on held-out recordings.

    Attributes:
        path: the file of its weights.
        stages, wait: see `CausalWeights`.
        late: seconds by which its answers are late.
        agreement: windows and those with the clip model's best class, by kind of stream.
        of: what the streams were.
    """

    path: Path
    stages: int
    wait: int
    late: float
    agreement: Mapping[str, AgreementCount]
    of: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, as `r2p-edge adapt --json` prints them."""
        return {
            "path": str(self.path),
            "stages": self.stages,
            "wait": self.wait,
            "late": self.late,
            "on": self.of,
            "agreement": {name: count.record() for name, count in self.agreement.items()},
        }


def adapt_form(
    model: str | Path,
    out: str | Path,
    folder: str | Path | None = None,
    *,
    stages: int = 2,
    longest_wait: int = 8,
    least: float = 0.95,
    progress: TaskProgress = lambda *_: None,
) -> AdaptedForm:
    """Fit the semi-causal form of a clip model to its answers on recordings, and write its weights.

    No labels are needed, and no gradients: the statistics of each later convolution are made those
    of the clip model, and the last layer is fitted to its answers. See `fit_later_stages`.

    Args:
        model: fp32 ONNX artifact.
        out: the .npz file to write, for `export --form-weights`.
        folder: of recordings like those that the form will see; None for scenes of the bundled
            generator, for the bundled model alone.
        stages: last stage that stays as it was trained, 1 or 2.
        longest_wait: most ticks by which answers may be late.
        least: share of the windows of held-out recordings that have to agree, of each kind.
        progress: called with a task, how many of its steps are done, and how many there are.

    Raises:
        UsageError: a number is impossible, or there is nothing to fit to.
        ModelError: the model is no fp32 ONNX artifact with logits, or can have no such form.
        SpecError: its clips are not those of a stream.
        VideoError: the folder has too few recordings that are long enough.
        ParityError: the form agrees too rarely; nothing is written.
        OutputError: the file cannot be written.
    """
    out = Path(out)
    check_weights_path(out)
    if stages not in EXPORT_FORMS[SEMI_CAUSAL]:
        raise UsageError(f"stages is {stages}; choose 1 or 2")
    check_least(least)
    if longest_wait < 0:
        raise UsageError(f"longest wait is {longest_wait}; it must be 0 or more ticks")
    artifact = open_artifact(model)
    spec, path = artifact.spec, artifact.path
    if path.suffix.lower() != ".onnx" or spec.precision != "fp32":
        raise ModelError(
            f"{path} is {spec.precision} {path.suffix}; give the fp32 ONNX model, and export other "
            "precisions and targets with the weights that are fitted to it"
        )
    if spec.output.kind != "logits":
        raise ModelError(
            f"{path} answers {spec.output.kind}, and the last layer is fitted to logits; export it "
            "from its checkpoint"
        )
    check_per_frame_clip(spec.clip, spec.input, spec.graph)
    loaded = load_onnx(path)
    longest = min(longest_wait, semi_causal_form(loaded, spec, stages).delay)
    waits = sorted(range(longest, -1, -2))[-_WAITS:]
    streams = form_streams(spec, None if folder is None else Path(folder), waits[-1])
    total = sum(len(stream.ends) for stream in streams.fit)
    material = causal_material(
        loaded, spec, stages, streams.fit, lambda done: progress("windows", done, total)
    )
    graph = ClipGraph(loaded, spec.output.name)
    fit = fit_later_stages(
        graph, stages, material, waits, lambda done, of: progress("layers", done, of)
    )
    form = semi_causal_form(loaded, spec, stages, wait=fit.wait, weights=fit.constants)
    answer = answer_of(path, spec)
    run = PerFrameRun(form, spec.clip.frames)
    counts = held_out_agreement(run, answer, spec, fit.wait, streams, progress)
    advice = "give more recordings or a longer --max-wait, or distil it (examples/distil.py)"
    check_held_out(counts, least, streams.of, advice)
    record = {
        "fitted": "statistics and last layer",
        "on": streams.of,
        "ticks": len(material.features),
        "windows": len(material.ends),
        "held_out": {name: count.record() for name, count in counts.items()},
    }
    save_causal_weights(CausalWeights(stages, fit.wait, fit.constants, record), out)
    late = fit.wait * spec.clip.tick
    return AdaptedForm(out, stages, fit.wait, late, counts, streams.of)


def form_streams(spec: ModelSpec, folder: Path | None, late: int, amount: int = 1) -> FormStreams:
    """Return the streams to fit a form to, and those to judge it by.

    Recordings are taken as they come, and cut into pieces in random order: a form that has seen
    one kind alone can be worse on the other.

    Args:
        spec: of the clip model.
        folder: see `adapt_form`.
        late: ticks after a window's end at which its last answer comes.
        amount: as many times as much to fit to, where there is as much.

    Raises:
        UsageError: there is no folder, and the model is not the bundled one; or the amount is
            impossible.
        VideoError: the folder has too few recordings that are long enough.
    """
    if amount < 1:
        raise UsageError(f"amount is {amount}; it must be 1 or more")
    if folder is None:
        return _generated(spec, late, amount)
    videos = videos_in(folder)
    random.Random(0).shuffle(videos)  # else they are of the first classes
    judged = videos[::_HELD_OUT]
    fitted = [video for number, video in enumerate(videos) if number % _HELD_OUT]
    frames, rng = spec.clip.frames, np.random.default_rng(0)
    found = {}
    for name, some, most in (("fit", fitted, amount * _WINDOWS), ("judged", judged, _JUDGED)):
        uncut = list(recordings(spec, some, late=late, most=most))
        cuts = pieces(uncut, frames, late, rng)
        if not uncut or not cuts.ends:
            least = (frames + max(frames // 2, frames // 4 + late)) * spec.clip.tick
            raise VideoError(
                f"{folder} has too few recordings to fit a semi-causal form to and to hold some "
                f"out; give 10 or more, most of them of {2 * least:.1f} seconds or more"
            )
        found[name] = uncut, cuts
    uncut, cuts = found["judged"]
    of = f"recordings in {folder.name}"
    return FormStreams([*found["fit"][0], found["fit"][1]], {"uncut": uncut, "cuts": [cuts]}, of)


def _generated(spec: ModelSpec, late: int, amount: int) -> FormStreams:
    if spec.labels != motion.CLASSES:
        raise UsageError(
            "a semi-causal form is fitted to recordings like those that it will see; give "
            "--videos, a folder of them"
        )
    tail, frames = late + 1, spec.clip.frames
    fit = [
        scenes_with_cuts(spec, "train", 120 * amount, tail=tail, first=_UNSEEN, every=True),
        uncut_scenes(spec, "train", 20 * amount, ends=range(frames - 1, 120, 3), first=_UNSEEN),
        scenes_of_one_class(spec, "train", 12 * amount, tail=tail, first=2 * _UNSEEN, every=True),
    ]
    held_out = {
        "cuts": [scenes_with_cuts(spec, "calibration", 120, tail=tail)],
        "uncut": [uncut_scenes(spec, "calibration", 24)],
        "one class": [scenes_of_one_class(spec, "calibration", 12, tail=tail)],
    }
    return FormStreams(fit, held_out, "generated scenes")


def held_out_agreement(
    run: PerFrameRun,
    answer: ClipAnswer,
    spec: ModelSpec,
    wait: int,
    streams: FormStreams,
    progress: TaskProgress = lambda *_: None,
) -> dict[str, AgreementCount]:
    """Return how often a form gives the clip model's best class on the held-out streams."""
    counts: dict[str, AgreementCount] = {}
    total = sum(len(stream.ends) for each in streams.held_out.values() for stream in each)
    before = 0
    for name, each in streams.held_out.items():
        shown = functools.partial(_held_out, progress, before, total)
        counts[name] = compare_on(run, answer, spec.clip.frames, wait, each, shown)["wait"]
        before += sum(len(stream.ends) for stream in each)
    return counts


def _held_out(progress: TaskProgress, before: int, total: int, done: int) -> None:
    progress("held-out windows", before + done, total)


def check_held_out(
    counts: Mapping[str, AgreementCount], least: float, of: str, advice: str
) -> None:
    """Check that a form agrees on each kind of stream.

    Args:
        counts: by kind of stream.
        least: share of the windows that have to agree.
        of: what the streams are.
        advice: what to do where it does not, for the error.

    Raises:
        ParityError: it does not.
    """
    if any(count.share < least for count in counts.values()):
        raise ParityError(
            f"the fitted form gives the clip model's answer for {', '.join(_shares(counts))} of "
            f"{of} that were held out, where {least:.1%} is the least; {advice}"
        )


def _shares(counts: Mapping[str, AgreementCount]) -> Iterator[str]:
    for name, count in counts.items():
        yield f"{count.share:.1%} of {count.windows} windows ({name})"
