"""Checks of the targets that an export is asked for, and of the options that are theirs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from r2p_edge.errors import UsageError, similar_name
from r2p_edge.export.causal_weights import CausalWeights
from r2p_edge.export.targets.base import FormJudge, Target
from r2p_edge.export.targets.table import TABLE
from r2p_edge.spec.per_frame import PER_FRAME, SEMI_CAUSAL

EXPORT_FORMS: Mapping[str, tuple[int, ...]] = {
    "clip": (),
    PER_FRAME: (0, 1, 2),
    SEMI_CAUSAL: (1, 2),
}
"""Forms that an export can have, the clip's graph alone or with graphs with state beside it, and
the numbers of stages that each may have."""


def check_targets(names: Sequence[str], precision: str | None) -> list[Target]:
    """Return the targets of these names, each once.

    Raises:
        UsageError: there is none of a name, or one has no such precision.
    """
    unknown = [name for name in names if name not in TABLE]
    if unknown or not names:
        raise UsageError(
            f"no target {', '.join(unknown) or 'given'}; {_hint(unknown, TABLE)}choose from "
            f"{', '.join(TABLE)}"
        )
    targets = [TABLE[name] for name in dict.fromkeys(names)]
    for target in targets:
        if precision is not None and precision not in target.precisions:
            has = ", ".join(target.precisions)
            others = [name for name, other in TABLE.items() if precision in other.precisions]
            raise UsageError(
                f"{target.name} has no precision {precision}; it has {has}, and {precision} is for "
                f"--to {', '.join(others)}"
            )
    return targets


def _hint(unknown: Sequence[str], known: Iterable[str]) -> str:
    return similar_name(unknown[0], known) if unknown else ""


def check_engine_options(
    targets: Sequence[Target], workspace: int | None, timing_cache: str | Path | None
) -> Path | None:
    """Return the folder of the timing cache.

    Raises:
        UsageError: an option is given without "tensorrt", or is impossible.
    """
    given = {"workspace": workspace, "timing_cache": timing_cache}
    for option, value in given.items():
        if value is not None and not any(target.name == "tensorrt" for target in targets):
            raise UsageError(f"{option} is an option of tensorrt alone; leave it out")
    if workspace is not None and workspace < 1:
        raise UsageError(f"workspace is {workspace} bytes; it must be 1 or more")
    if timing_cache is not None and not os.path.isdir(timing_cache):
        raise UsageError(f"there is no folder {timing_cache} for the timing cache; create it")
    return None if timing_cache is None else Path(timing_cache)


def check_chips(targets: Sequence[Target], chips: Sequence[str]) -> None:
    """Make sure that a target can be built for these chips.

    Raises:
        UsageError: none can.
    """
    known = list(dict.fromkeys(chip for target in targets for chip in target.chips))
    if chips and not known:
        names = [name for name, target in TABLE.items() if target.chips]
        raise UsageError(
            f"chips are chosen for {', '.join(names)} alone; leave them out, or build for that"
        )
    unknown = [chip for chip in chips if chip not in known]
    if unknown:
        raise UsageError(
            f"no chip {', '.join(unknown)}; {_hint(unknown, known)}choose from {', '.join(known)}"
        )


def check_batch_axis(targets: Sequence[Target], batch: int | str | None) -> None:
    """Make sure that all targets take an open batch axis if there is to be one.

    Raises:
        UsageError: one does not.
    """
    fixed = [target.name for target in targets if not target.open_batch]
    if batch == "dynamic" and fixed:
        open_ones = [name for name, target in TABLE.items() if target.open_batch]
        raise UsageError(
            f"{', '.join(fixed)} needs a fixed batch; give a number in place of dynamic, or build "
            f"for {', '.join(open_ones)} alone"
        )


def check_feature_targets(targets: Sequence[Target], feature_outputs: bool) -> None:
    """Make sure that all targets can have further outputs if there are to be some.

    Raises:
        UsageError: one cannot.
    """
    without = [target.name for target in targets if not target.further]
    if feature_outputs and without:
        able = [name for name, target in TABLE.items() if target.further]
        raise UsageError(
            f"{', '.join(without)} cannot have further outputs; feature_outputs "
            f"(--feature-output) is for --to {', '.join(able)}"
        )


def stages_of(form: str, stages: int | None, weights: CausalWeights | None) -> int:
    """Return the stages of a form with state: those asked for, those of its weights, or 2.

    Raises:
        UsageError: the weights are for another form, or for another number of stages.
    """
    if weights is None:
        return 2 if stages is None else stages
    if form != SEMI_CAUSAL:
        raise UsageError(
            f"form weights are for --form {SEMI_CAUSAL}; add it, or leave --form-weights out"
        )
    if stages not in (None, weights.stages):
        raise UsageError(
            f"stages is {stages}, and the form weights are for {weights.stages}; leave --stages out"
        )
    return weights.stages


def check_form(
    targets: Sequence[Target], form: str, stages: int, graph: str, judge: FormJudge | None
) -> FormJudge | None:
    """Return the measurement of the form with state; None where none is asked for.

    Raises:
        UsageError: there is no such form, a target cannot have it, or it is not measured.
    """
    if form not in EXPORT_FORMS:
        raise UsageError(f"no form {form!r}; choose from {', '.join(EXPORT_FORMS)}")
    if form == "clip":
        return None
    without = [target.name for target in targets if form not in target.stateful]
    if without:
        having = [name for name, target in TABLE.items() if form in target.stateful]
        raise UsageError(
            f"{', '.join(without)} cannot have a {form} form; choose --to {','.join(having)}"
        )
    if stages not in (known := EXPORT_FORMS[form]):
        raise UsageError(
            f"stages is {stages}; choose one of {', '.join(map(str, known))} for the {form} form, "
            "as with others the answers differ too often from the clip model's, or come too late"
        )
    if graph == "conv2d":
        raise UsageError(
            f"the form without 3-D convolutions cannot have a {form} form beside it; leave "
            "--graph out"
        )
    if judge is None:
        raise UsageError(
            f"a {form} form was asked for without a measurement; pass judge=AgreementJudge(...) "
            "of r2p_edge.calibration.form_agreement, which says on what"
        )
    return judge
