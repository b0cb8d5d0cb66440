"""Forms with state of the artifacts of one export: their parts, checked and measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx

from r2p_edge.agreement import agreement
from r2p_edge.artifact.atomic import atomic_write, check_folder
from r2p_edge.artifact.files import fingerprint_of_bytes
from r2p_edge.artifact.openvino_ir import PART_INFO, weights_path
from r2p_edge.artifact.parts import PART_KEY
from r2p_edge.artifact.scratch import scratch_folder
from r2p_edge.errors import ModelError, one_line
from r2p_edge.export.causal_weights import CausalWeights
from r2p_edge.export.graph.model import load_onnx
from r2p_edge.export.graph.per_frame.forms import (
    FormGraphs,
    per_frame_form,
    semi_causal_form,
)
from r2p_edge.export.graph.per_frame.tail import one_camera
from r2p_edge.export.targets.base import FormJudge, OnnxForm, StepProgress
from r2p_edge.export.targets.onnx import onnx_bytes
from r2p_edge.export.targets.openvino import save_ir
from r2p_edge.export.verify.ort_session import answer_of
from r2p_edge.export.verify.parity import parity_record
from r2p_edge.export.verify.per_frame_run import PartRunner, PerFrameRun, onnx_part
from r2p_edge.export.verify.synthetic_clips import verification_clips
from r2p_edge.runtimes.onnxruntime import OnnxRuntime
from r2p_edge.runtimes.openvino import OpenVino, new_core
from r2p_edge.spec import ModelSpec, PartSpec, PerFrameSpec
from r2p_edge.spec.per_frame import PER_FRAME, SEMI_CAUSAL

_CLIPS = 2  # to compare with the clip's answer


class FormFiles(NamedTuple):
    """A form's contract, and the bytes of its files by name."""

    contract: PerFrameSpec
    files: Mapping[str, bytes]


class PerFrameMaker:
    """Maker of the forms of an export's artifacts.

    Args:
        stages: stages that see one frame at a time as they were trained.
        judge: measures each form.
        progress: called with the step that long work has reached.
        causal: make the semi-causal form, whose later stages see one frame at a time too.
        weights: those of its later stages; by default the artifact's own.
    """

    def __init__(
        self,
        stages: int,
        judge: FormJudge,
        progress: StepProgress | None = None,
        *,
        causal: bool = False,
        weights: CausalWeights | None = None,
    ) -> None:
        self._stages, self._judge, self._progress = stages, judge, progress
        self._causal, self._weights = causal, weights
        self._made: dict[Path, tuple[FormGraphs, dict[str, Any]]] = {}

    def as_onnx(self, source: OnnxForm, path: Path) -> FormFiles:
        """Return the form of the ONNX artifact that is to be written as `path`.

        Args:
            source: the artifact.
            path: gives the parts their names, and need not exist.

        Raises:
            SpecError, ModelError: the artifact can have no such form, see `per_frame_form` and
                `semi_causal_form`.
            ParityError: the form's first answer is not the artifact's, or it agrees too rarely.
            OutputError: a part cannot be written there.
        """
        graphs, record = self._form(source)
        files, parts = {}, {}
        for name, model in graphs.parts.items():
            model.metadata_props.add(key=PART_KEY, value=name)
            file = path.with_name(f"{path.stem}-{name}{path.suffix}")
            check_folder(file)
            files[file.name] = onnx_bytes(model)
            del model.metadata_props[:]
            sha256 = fingerprint_of_bytes(files[file.name])["sha256"]
            parts[name] = PartSpec(file.name, sha256)
        return FormFiles(_agreeing(graphs.contract(parts), record), files)

    def as_models(self, source: OnnxForm, folder: Path) -> tuple[PerFrameSpec, dict[str, Path]]:
        """Write the parts of an ONNX artifact's form as ONNX files that a tool is to build.

        The tail answers one camera at a time.

        Args:
            source: the artifact.
            folder: for the files, which are named like their parts.

        Returns:
            The form's contract, with these files as its parts, and their paths by name.

        Raises:
            R2PError: see `as_onnx`.
        """
        graphs, record = self._form(source)
        files, parts = {}, {}
        for name, graph in graphs.parts.items():
            files[name] = folder / f"{name}.onnx"
            content = onnx_bytes(one_camera(graph))
            atomic_write(files[name], content)
            parts[name] = PartSpec(files[name].name, fingerprint_of_bytes(content)["sha256"])
        return _agreeing(graphs.contract(parts), record), files

    def as_openvino(self, source: OnnxForm, path: Path, spec: ModelSpec) -> FormFiles:
        """Return the form of the OpenVINO artifact that is to be written as `path`.

        Args:
            source: the ONNX artifact that it is made from.
            path: gives the parts their names, and need not exist.
            spec: of the artifact.

        Raises:
            BackendError: openvino is not installed or does not work.
            ModelError: it cannot write a part.
            R2PError: see `as_onnx`.
        """
        graphs, record = self._form(source)
        files: dict[str, bytes] = {}
        parts: dict[str, PartSpec] = {}
        runners: dict[str, PartRunner] = {}
        with scratch_folder(path) as folder:
            for name, graph in graphs.parts.items():
                file = path.with_name(f"{path.stem}-{name}{path.suffix}")
                check_folder(file)
                draft = folder / file.name
                _save_part(graph, name, draft, source.path, half=spec.precision == "fp16")
                runners[name] = _openvino_part(draft)
                content, weights = draft.read_bytes(), weights_path(draft).read_bytes()
                files |= {file.name: content, weights_path(file).name: weights}
                sha256s = [fingerprint_of_bytes(data)["sha256"] for data in (content, weights)]
                parts[name] = PartSpec(file.name, *sha256s)
            record = {**record, **self._parity(source, graphs, spec, runners)}
            runners.clear()  # they hold the files of the folder
        return FormFiles(_agreeing(graphs.contract(parts), record), files)

    def _form(self, source: OnnxForm) -> tuple[FormGraphs, dict[str, Any]]:
        """Return the graphs of an ONNX artifact's form, and the record of its agreement."""
        if source.path not in self._made:
            self._tell(f"making the {self._name} form")
            spec, graphs = source.spec, self._graphs(source)
            parts = {name: onnx_part(onnx_bytes(each)) for name, each in graphs.parts.items()}
            parity = {} if self._causal else self._parity(source, graphs, spec, parts)
            answer = answer_of(source.path, spec)
            run = PerFrameRun(graphs, spec.clip.frames, parts)
            measured = self._judge.measure(run, answer, spec, graphs.wait, self._progress)
            ran = f"onnxruntime {OnnxRuntime.library().__version__}"
            fitted = {} if self._weights is None else {"weights": dict(self._weights.record)}
            self._made[source.path] = graphs, {**measured, "runtime": ran, **parity, **fitted}
        return self._made[source.path]

    @property
    def _name(self) -> str:
        return SEMI_CAUSAL if self._causal else PER_FRAME

    def _graphs(self, source: OnnxForm) -> FormGraphs:
        model = load_onnx(source.path)
        if not self._causal:
            return per_frame_form(model, source.spec, self._stages)
        if self._weights is None:
            graphs = semi_causal_form(model, source.spec, self._stages)
            # Its newest feature is centred on the window's last frame then.
            return graphs._replace(wait=graphs.delay)
        wait, constants = self._weights.wait, self._weights.constants
        return semi_causal_form(model, source.spec, self._stages, wait=wait, weights=constants)

    def _parity(
        self,
        source: OnnxForm,
        graphs: FormGraphs,
        spec: ModelSpec,
        runners: Mapping[str, PartRunner],
    ) -> dict[str, Any]:
        """Return how the parts' answers equal those of the artifact, or of the ONNX form."""
        if self._causal:
            steps = {name: onnx_part(onnx_bytes(each)) for name, each in graphs.parts.items()}
            expected = _answers_at_steps(graphs, spec, steps)
            found, name = _answers_at_steps(graphs, spec, runners), "steps"
        else:
            expected = _clip_answers(source)
            found, name = _first_windows(graphs, spec, runners), "first"
        record = parity_record(
            agreement(expected, found),
            spec.precision,
            reference="onnx",
            artifact=f"the {self._name} form",
        )
        return {name: record}

    def _tell(self, step: str) -> None:
        if self._progress is not None:
            self._progress(step)


def _agreeing(contract: PerFrameSpec, record: Mapping[str, Any]) -> PerFrameSpec:
    return dataclasses.replace(contract, agreement=dict(record))


def _clip_answers(source: OnnxForm) -> npt.NDArray[np.float32]:
    answer = answer_of(source.path, source.spec)
    return np.stack([answer(clip) for clip in verification_clips(source.spec, _CLIPS)])


def _first_windows(
    graphs: FormGraphs, spec: ModelSpec, parts: Mapping[str, PartRunner]
) -> npt.NDArray[np.float32]:
    """Return the form's answers, (clips, classes), for the first window after a reset.

    It has zeros on both sides, as a clip has.
    """
    run, found = PerFrameRun(graphs, spec.clip.frames, parts), []
    for clip in verification_clips(spec, _CLIPS):
        run.reset()
        for frame in clip:
            run.step(frame)
        found.append(run.answer("flush"))
    return np.stack(found)


def _answers_at_steps(
    graphs: FormGraphs, spec: ModelSpec, parts: Mapping[str, PartRunner]
) -> npt.NDArray[np.float32]:
    """Return the form's answers, (ticks, classes), for clips one after the other."""
    run = PerFrameRun(graphs, spec.clip.frames, parts)
    frames = np.concatenate(list(verification_clips(spec, _CLIPS)))
    found = [run.step(frame) for frame in frames]
    return np.concatenate([each for each in found[graphs.delay :] if each is not None])


def _save_part(graph: onnx.ModelProto, name: str, draft: Path, source: Path, *, half: bool) -> None:
    """Write a part as OpenVINO IR, marked as one."""
    original = draft.with_suffix(".onnx")
    original.write_bytes(onnx_bytes(graph))
    openvino = OpenVino.library()
    try:
        model = new_core(openvino).read_model(str(original))
    except RuntimeError as error:
        raise ModelError(
            f"openvino cannot read the {name} of {source} ({one_line(error)}); use the per-frame "
            "form of the ONNX artifact (--to onnx)"
        ) from error
    model.set_friendly_name(name)
    model.set_rt_info(name, list(PART_INFO))
    save_ir(model, draft, source=source, half=half)


def _openvino_part(file: Path) -> PartRunner:
    """Return what runs a part in OpenVINO on the CPU, in fp32, as its artifact is checked.

    Raises:
        ModelError: OpenVINO cannot load it.
    """
    exact = {"INFERENCE_PRECISION_HINT": "f32"}  # else bf16 where the chip has it
    try:
        compiled = new_core(OpenVino.library()).compile_model(str(file), "CPU", exact)
    except RuntimeError as error:
        raise ModelError(
            f"openvino cannot load {file.name} ({one_line(error)}); use the per-frame form of the "
            "ONNX artifact (--to onnx)"
        ) from error

    def run(inputs: Mapping[str, npt.NDArray[Any]]) -> Mapping[str, npt.NDArray[Any]]:
        found = compiled(dict(inputs))
        return {output.get_any_name(): np.array(found[output]) for output in compiled.outputs}

    return run
