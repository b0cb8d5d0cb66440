"""`r2p-edge export`: build artifacts of a trained model for several targets into one folder."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from r2p_edge.artifact import bundle
from r2p_edge.artifact.atomic import check_folder, made_folder
from r2p_edge.artifact.parts import part_files
from r2p_edge.artifact.scratch import scratch_folder
from r2p_edge.errors import ModelError, R2PError, SpecError, UsageError, shown_as
from r2p_edge.export.causal_weights import weights_of_form
from r2p_edge.export.checkpoints.weights import WeightsOptions
from r2p_edge.export.contract import WAYS_TO_SAY, check_channels, check_labels, contract_of
from r2p_edge.export.doubts import Choices, doubts_of
from r2p_edge.export.module_source import factory_of, named_after, traced_source
from r2p_edge.export.onnx_forms import OnnxForms
from r2p_edge.export.pixels import Pixels
from r2p_edge.export.presets import PRESETS
from r2p_edge.export.published.store import WeightsStore
from r2p_edge.export.replacing import check_replaced
from r2p_edge.export.source import BUNDLED, SourceModel, facts_of, find_source, is_bundled
from r2p_edge.export.target_checks import (
    check_batch_axis,
    check_chips,
    check_engine_options,
    check_feature_targets,
    check_form,
    check_targets,
    stages_of,
)
from r2p_edge.export.targets.base import Built, Calibrator, FormJudge, TargetOptions
from r2p_edge.export.targets.table import target_here
from r2p_edge.export.verify.golden import GoldenPair, check_golden, read_golden
from r2p_edge.export.warned import warnings_of
from r2p_edge.spec import ModelSpec, OutputKind
from r2p_edge.spec.per_frame import SEMI_CAUSAL, check_per_frame_clip

if TYPE_CHECKING:  # it brings in onnx
    from r2p_edge.export.targets.torch_module.trace import TracedModule

__all__ = ["Built", "ExportReport", "Failure", "build"]


class Failure(NamedTuple):
    """A target that could not be built, and the reason."""

    target: str
    error: R2PError


@dataclass(frozen=True)
class ExportReport:
    """The outcome of an export.

    Attributes:
        built: one artifact per target that could be built, in the order of the targets.
        failed: the targets that could not; empty unless `keep_going` was set.
        warnings: what speaks against the recipe, a sentence each; in the artifacts' `checks` too.
    """

    built: list[Built]
    failed: list[Failure]
    warnings: list[str] = field(default_factory=list)


def build(
    source: str | Path | None,
    *,
    targets: Sequence[str],
    out: str | Path,
    name: str | None = None,
    precision: Literal["fp32", "fp16", "int8"] | None = None,
    graph: Literal["auto", "conv3d", "conv2d"] = "auto",
    preset: str | None = None,
    spec: ModelSpec | str | Path | None = None,
    labels: str | Path | None = None,
    frames: int | None = None,
    interval: int | None = None,
    fps: float | None = None,
    size: int | None = None,
    sampling: Literal["time", "index"] | None = None,
    order: Literal["temporal", "lexicographic"] | None = None,
    input: Literal["uint8", "float32"] | None = None,
    pixels: Pixels | None = None,
    output: str | None = None,
    output_kind: OutputKind | None = None,
    batch: int | Literal["dynamic"] | None = None,
    weights_key: str | None = None,
    family: str | None = None,
    bn_eps: float | None = None,
    head: str | None = None,
    head_activation: Literal["relu", "none"] | None = None,
    golden: str | Path | None = None,
    feature_outputs: bool | None = None,
    strict: bool = False,
    module: str | None = None,
    args: Mapping[str, Any] | None = None,
    trust_code: bool = False,
    calibration: Calibrator | None = None,
    workspace: int | None = None,
    timing_cache: str | Path | None = None,
    chips: Sequence[str] = (),
    progress: Callable[[str, int, int], None] = lambda *_: None,
    keep_going: bool = False,
    replace: bool = False,
    form: Literal["clip", "per-frame", "semi-causal"] = "clip",
    stages: int | None = None,
    form_weights: str | Path | None = None,
    judge: FormJudge | None = None,
    store: WeightsStore | None = None,
) -> ExportReport:
    """Build one artifact per target into the folder `out`, each verified against the source.

    Every target is tried. The artifacts that were built are recorded in the folder's manifest, see
    `r2p_edge.artifact.bundle`, whether or not another target fails.

    Args:
        source: checkpoint (.ckpt, .pth, .pt, .pt2, .safetensors), .onnx file, ID of published
            weights that are in the store, or "motion", the bundled model. With `module` the
            checkpoint of its weights, or "none".
        targets: names from `r2p_edge.export.TARGETS`. "mindspore" is MindSpore Lite where that is
            installed, else the framework, else a kit for the former.
        out: output folder; made if it does not exist.
        name: name of the artifact and its file; by default that of the spec, or the source's.
        precision: precision of the artifacts; by default the source's. Not every target has all.
        graph: "conv2d" is the exact form without 3-D convolutions, for runtimes that have none;
            "auto" is the form that each target runs best.
        preset: name in `presets.PRESETS`: how the published model was trained.
        spec: the contract itself, instead of a preset.
        labels: file of class names; see `labels.read_labels`.
        frames, interval, fps, sampling, order: changes to the clip; see `ClipSpec`.
        size: side of the crop in pixels; the resize grows in proportion.
        input: "uint8" has the normalisation in the graph; "float32" is NCTHW, normalised by the
            caller. By default float32 for MindSpore Lite and Ascend, and for the others what the
            spec says.
        pixels: what the network takes: "normalized" pixels, as the preset or spec says, or pixels
            from 0 to 1 ("unit") or 0 to 255 ("raw"), which it may normalise by itself. By default
            as the preset or spec says, and an error where an ONNX source begins with a
            normalisation that is another one.
        output: name of the output of an ONNX source that has several; of a `module`, the place of
            the scores in what it returns, see `onnx_from_torch`.
        output_kind: meaning of the outputs, see `OutputSpec`; by default what the spec says, or
            the last nodes of an ONNX source show: logits unless there is a softmax or sigmoid, and
            values for a single output.
        batch: clips per call; by default 1, or what an ONNX source has. "dynamic" leaves it open,
            for the targets that take that.
        weights_key: the place of the weights in a PyTorch file that has several sets of them, as
            keys with dots between them ("model_ema").
        family: name in `checkpoints.families.FAMILIES`, where the names and shapes of a checkpoint
            are those of several families that compute different things; a preset of one of them
            decides too.
        bn_eps: epsilon of all batch norms, which a checkpoint does not hold unless it is a whole
            module.
        head: name of the classifier's module, where a checkpoint has several of them; where it has
            several layers, their names in their order, with commas between them; or a file with
            the classifier, see `checkpoints.head_file.read_head_file`.
        head_activation: function between the classifier's layers, where the file does not say it.
        golden: .npz file of clips and the answers of the framework that trained the model, which
            the network and the recipe must reproduce; see `verify.golden.read_golden`.
        feature_outputs: whether the artifacts get further outputs, which do not change the answer:
            see `r2p_edge.features.Features`. By default those of an ONNX source that has them,
            where the target can.
        strict: refuse what `ExportReport.warnings` would say.
        module: "FILE:FACTORY", a Python file (or the dotted name of a module) and a function in it
            that makes the PyTorch module of the weights. Its code runs, in a child process.
        args: arguments of that function, by name.
        trust_code: whether that code may run.
        calibration: settings for int8, see `r2p_edge.calibration.calibrate.Calibration`; required
            for that precision.
        workspace, timing_cache: options of TensorRT; see `tensorrt_from_onnx`.
        chips: chips that TensorRT for RTX builds for, see `tensorrt_rtx_from_onnx`; and the one
            that RKNN-Toolkit2 builds for, see `rknn_from_onnx`.
        progress: called with the step that long work has reached, and how many of how many targets
            have been tried.
        keep_going: return the targets that failed in the report, as long as another one was built;
            by default the first error is raised once all were tried.
        replace: let the artifacts take the place of a model of other classes, or of another
            network, that has the same name in `out`.
        form: "per-frame" writes graphs with state beside each artifact, which compute the first
            stages once for each frame; "semi-causal" one that answers at each frame, for weights
            that were fitted for it. See `PerFrameSpec`.
        stages: last one that stays as it was trained, 1 or 2; of "per-frame" also 0, the stem. By
            default 2, or that of the weights.
        form_weights: file of weights for "semi-causal", see `causal_weights.weights_of_form`.
        judge: measures how often they give the artifact's answer, see
            `r2p_edge.calibration.form_agreement.AgreementJudge`; required for that form.
        store: of published weights; by default `published.store.WeightsStore()`.

    Raises:
        UsageError: a target or preset is unknown, a number is impossible, the name cannot be a
            file's, or is another model's in `out`, or the options contradict each other.
        ModelError: the source cannot be used, see `CheckpointError`, `SpecError`, `ParityError`,
            or has an operator that the target lacks; or the golden pair contradicts it; or it can
            have no per-frame form, or one that agrees with it too rarely.
        OutputError: `out` cannot be written.
        MissingDependencyError: a package that the source or target needs is not installed.
    """
    wanted = check_targets(targets, precision)
    tried = 0

    def step(text: str) -> None:
        progress(text, tried, len(wanted))

    step("reading the source")
    cache = check_engine_options(wanted, workspace, timing_cache)
    check_chips(wanted, chips)
    check_batch_axis(wanted, batch)
    check_feature_targets(wanted, bool(feature_outputs))
    own = module is None and str(source) == BUNDLED
    given = weights_of_form(form, stages, form_weights, bundled=own)
    stages = stages_of(form, stages, given)
    judging = check_form(wanted, form, stages, graph, judge)
    hints = PRESETS[preset].families if preset is not None and preset in PRESETS else ()
    weights = WeightsOptions(
        weights_key, family, hints, bn_eps, head, head_activation, settled=golden is not None
    )
    factory = factory_of(module, args, source, weights, trust_code=trust_code)
    if factory is None:
        model = find_source(source or "", weights, store, output)
    else:
        model = SourceModel(named_after(factory, source), False, None, weights)
        if preset is None and spec is None:
            raise UsageError(f"{factory} does not say how it was trained; give {WAYS_TO_SAY}")
    if feature_outputs is None:
        feature_outputs = model.carried is not None and model.carried.feature_outputs is not None
    pair = None if golden is None else read_golden(golden)
    calibrator = _calibrator(model, precision, calibration)
    facts = None if factory is not None else facts_of(model)
    contract = contract_of(
        model,
        facts,
        preset_name=preset,
        spec=spec,
        labels=labels,
        name=name,
        clip={
            "frames": frames,
            "interval": interval,
            "fps": fps,
            "sampling": sampling,
            "order": order,
        },
        size=size,
        input=input,
        output_kind=output_kind,
        pixels=pixels,
    )
    check_channels(model, facts, contract)
    check_labels(model, facts, contract, preset, labels)
    if judging is not None:
        check_per_frame_clip(contract.clip, contract.input, "conv3d")
        judging.check(contract)
    if not replace:
        check_replaced(Path(out), contract)
    choices = Choices(preset, labels is not None, golden is not None)
    doubts = doubts_of(facts, choices, contract, is_bundled(model, facts))
    if model.onnx and model.carried is None:
        doubts = [*doubts, *warnings_of(contract)]
    _check_strict(doubts, strict)
    with _output_folder(Path(out)) as folder, scratch_folder(model.path) as scratch:
        traced = None
        if factory is not None:
            traced, contract, doubt = traced_source(
                factory,
                contract,
                pixels=pixels,
                given=spec is not None,
                batch=batch,
                output=output,
                progress=step,
            )
            if doubt is not None:
                doubts = [*doubts, doubt]
                _check_strict(doubts, strict)
        checks: dict[str, Any] = {"warnings": doubts} if doubts else {}
        if pair is not None:
            checks["golden"] = _golden_record(pair, model, contract, scratch, batch, traced)
        if checks:
            contract = contract.replace(checks={**(contract.checks or {}), **checks})
        quantizer = None
        if calibrator is not None:
            quantizer = calibrator.quantizer(contract, wanted, step)
        forms = OnnxForms(
            model.path,
            contract,
            scratch,
            graph=graph,
            any_input=input is None,
            batch=batch,
            quantizer=quantizer,
            weights=model.weights,
            traced=traced,
            output=model.output,
            feature_outputs=feature_outputs,
        )
        maker = None
        if judging is not None:
            from r2p_edge.export.form_maker import PerFrameMaker

            maker = PerFrameMaker(stages, judging, step, causal=form == SEMI_CAUSAL, weights=given)
        report = ExportReport([], [], doubts)
        for number, target in enumerate(wanted):
            tried = number
            step(target.name)
            options = TargetOptions(
                target.name,
                precision,
                quantizer,
                workspace,
                cache,
                tuple(chip for chip in chips if chip in target.chips),
                step,
                maker,
            )
            try:
                with shown_as(scratch, model.path):  # as the report keeps the error
                    report.built.append(_build_one(forms, folder, options))
            except R2PError as error:
                report.failed.append(Failure(target.name, error))
        tried = len(wanted)
        step("done")
        if report.failed and not (keep_going and report.built):
            raise report.failed[0].error
        return report


def _check_strict(doubts: Sequence[str], strict: bool) -> None:
    if doubts and strict:
        raise SpecError(f"{'; '.join(doubts)} (an error because of --strict)")


def _golden_record(
    pair: GoldenPair,
    model: SourceModel,
    contract: ModelSpec,
    scratch: Path,
    batch: int | Literal["dynamic"] | None,
    traced: TracedModule | None,
) -> dict[str, Any]:
    """Compare the network with a golden pair; return what that proves."""
    folder = scratch / "golden"
    folder.mkdir()
    forms = OnnxForms(
        model.path,
        contract,
        folder,
        batch=batch,
        weights=model.weights,
        traced=traced,
        output=model.output,
    )
    form = forms.own_input()
    return check_golden(pair, form.path, form.spec)


def _build_one(forms: OnnxForms, folder: Path, options: TargetOptions) -> Built:
    """Build one artifact and record it, so that the manifest is right if the next one fails."""
    target = target_here(options.target)
    built = target.build(forms.get(target), folder, options)
    clips = [] if options.quantizer is None else options.quantizer.store(folder)
    parts = part_files(built.path, built.spec) if built.status == "built" else []
    bundle.record(folder, [built.path], [*clips, *parts])
    return built


def _calibrator(
    model: SourceModel, precision: str | None, calibration: Calibrator | None
) -> Calibrator | None:
    """Return the settings for int8; None for other precisions."""
    if precision != "int8":
        return None
    if model.carried is not None and model.carried.precision == "int8":
        raise ModelError(
            f"{model.path} is int8 already; export it without a precision to keep it as it is, or "
            "give the fp32 model that it was made from"
        )
    if calibration is None:
        raise UsageError(
            "int8 was asked for without a calibration; pass calibration=Calibration(...) of "
            "r2p_edge.calibration.calibrate, which chooses the clips"
        )
    return calibration


@contextlib.contextmanager
def _output_folder(folder: Path) -> Iterator[Path]:
    """Make the folder if it does not exist, and see that it can take an export."""
    with made_folder(folder):
        # Long work would end in vain where nothing can be written, or something else is in the way.
        check_folder(folder / bundle.NAME)
        bundle.listed(folder)
        yield folder
