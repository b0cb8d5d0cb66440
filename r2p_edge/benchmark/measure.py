"""`r2p-edge benchmark`: a model in every form that this machine runs, measured side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from r2p_edge.artifact.scratch import scratch_folder
from r2p_edge.benchmark.candidates import candidates_of, per_frame_candidates, runtimes_here
from r2p_edge.benchmark.clips import clips_of
from r2p_edge.benchmark.contender import Contender
from r2p_edge.benchmark.forms import FormMaker, forms_there
from r2p_edge.benchmark.race import Progress, race
from r2p_edge.benchmark.results import report_of
from r2p_edge.errors import BackendError, UsageError
from r2p_edge.runtimes import RUNTIMES
from r2p_edge.runtimes.base import Options
from r2p_edge.scores import require_scores

_LONGEST = 86400.0  # seconds


def benchmark(
    model: str | Path,
    *,
    videos: str | Path | None = None,
    num_clips: int = 100,
    runtimes: Sequence[str] | None = None,
    threads: int | None = None,
    keep: str | Path | None = None,
    timeout: float = 300.0,
    recipe: Mapping[str, Any] | None = None,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Measure a model on every runtime, in every precision and graph that this machine can do.

    Each row is a process of its own. They answer the same clips in turns, so that what slows the
    machine for a while slows all of them.

    Args:
        model: what `build` takes as its source, which is then exported to everything that is
            here; or an artifact, or a folder of artifacts of one model, measured as they are.
        videos: folder of videos to ask for, with a folder for each class if accuracy is to be
            measured and int8 calibrated; half of them at most, and no more than 50, are for the
            calibration alone. By default generated clips, which are labelled for the bundled
            model.
        num_clips: number of clips to ask for.
        runtimes: names in `RUNTIMES` to be limited to.
        threads: see `Predictor`.
        keep: folder to export into, made if it does not exist; by default a temporary one.
        timeout: seconds that opening a model, or one answer, may take.
        recipe: further arguments of `build`, of plain JSON types: `preset`, `labels`, `spec`, ...
            For an artifact that is measured as it is only `spec`, if it carries none.
        progress: called as the work goes on.

    Returns:
        {"model", "machine", "clips", "clips_from", "labelled", "calibrated_on", "held_out",
        "other_programs": {"cores", "of", "busy", "ratios_uncertain"}, "results", "recommended",
        "every_frame", "left_out": [{"what", "reason"}], "failed": [{"video", "error"}],
        "warnings"}.
        `machine` is that of `diagnose`, `calibrated_on` the number of clips that int8 was
        calibrated on, and `held_out` whether they are others than those asked for.

        A result has "file", "path" (None where it was temporary), "runtime", "version", "device",
        "precision" (of the computation), "weights", "graph", "per_frame" (whether its per-frame
        form was asked, with an answer at each frame), "border" (of that, see `Stream`), "batch",
        "size" (bytes), and
        "latency_ms": {"p50", "p90", "p99"}, "clips_per_s": {"one_client", "all_cores"},
        "clients", "all_cores_error", "start_ms": {"library", "load", "first_answer"},
        "memory_mib": {"peak", "above_runtime"}, "reference", "clips", "top1", "top1_interval",
        "agreement", "max_rel", "good_enough", "frame_ms" (of a frame that a per-frame form takes in
        without an answer), "lag_ms" (by which its answer waits for frames), "heat"; or "error" and
        "exit_code" in their place.
        The fastest come first. `agreement` is the share of clips with the top-1 class of the row
        that is the reference, and `max_rel` the largest difference to its scores, as a share of
        the largest of these. `heat` tells apart the rows that there was no memory for at once.
        Figures that do not exist are None.

        "recommended" has "file", "path", "runtime", "device", "precision" and "weights" of the
        fastest row that is good enough (see `results.recommended`), and the reason, "because".
        "every_frame" has the same, and "border", of the row to use where each frame of a stream is
        answered (see `results.every_frame`); None where no model has a form for it.

    Raises:
        UsageError: an argument is wrong in itself.
        VideoError: the videos cannot be used.
        ModelError: the model cannot be used, see `build`; or a folder has several models.
        BackendError: nothing here runs it, or each row failed.
        OutputError: a file cannot be written.
    """
    Options(threads=threads)
    _check(num_clips, runtimes, timeout)
    recipe = dict(recipe or {})
    forms = forms_there(model, recipe.get("spec"))
    if forms is not None and (keep is not None or recipe.keys() - {"spec"}):
        named = ", ".join(["keep"] * (keep is not None) + sorted(recipe.keys() - {"spec"}))
        raise UsageError(
            f"{model} is measured as it is, so leave out {named}; they are for what is exported"
        )
    with scratch_folder(model) as scratch:
        maker = None
        if forms is None:
            out = scratch / "models" if keep is None else Path(keep)
            maker = FormMaker(model, recipe, out, scratch)
            progress("exporting", 0, 1)
            maker.export_onnx()
            forms = maker.forms
        spec = forms.artifacts[0].spec
        require_scores(spec, str(model))
        clips = clips_of(spec, videos, num_clips, calibrating=maker is not None)
        # MindSpore alone takes seconds to import, in which mistakes were told above.
        here, left_out = runtimes_here(runtimes or RUNTIMES, timeout)
        if maker is not None:
            maker.export_others(
                here, clips, videos, lambda done, total: progress("exporting", done, total)
            )
        rows, without = candidates_of(forms.artifacts, here)
        left_out += [*forms.left_out, *without]
        with_form = forms.artifacts if forms.of_source is None else [forms.of_source]
        rows += per_frame_candidates(with_form, here)
        if not rows:
            why = "; ".join(f"{each.what}: {each.reason}" for each in left_out)
            raise BackendError(f"nothing here runs {model} ({why})")
        contenders = [
            Contender(each, threads=threads, timeout=timeout, scratch=scratch) for each in rows
        ]
        course = race(contenders, clips, scratch, progress)
    temporary = forms.made and keep is None
    return report_of(str(model), forms, clips, course, left_out, temporary=temporary)


def _check(num_clips: int, runtimes: Sequence[str] | None, timeout: float) -> None:
    if num_clips < 1:
        raise UsageError(f"num_clips is {num_clips}; it must be 1 or more")
    if not 0 < timeout <= _LONGEST:
        raise UsageError(f"timeout is {timeout}; it must be a number of seconds from 0 to a day")
    for name in runtimes or ():
        if name not in RUNTIMES:
            raise UsageError(f"unknown runtime {name!r}; choose among {', '.join(RUNTIMES)}")
