"""A PyTorch module as an ONNX file that was compared with it, by the first exporter that can."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from r2p_edge import errors
from r2p_edge.agreement import agreement
from r2p_edge.artifact.scratch import scratch_folder
from r2p_edge.errors import ModelError, ParityError, R2PError
from r2p_edge.export.graph.front import Front, found_front
from r2p_edge.export.graph.model import graph_kind
from r2p_edge.export.targets.program import end_of
from r2p_edge.export.targets.torch_module.child import MEMORY, run_in_child
from r2p_edge.export.targets.torch_module.exporters import (
    Exporter,
    exporters,
    second_exporter,
    tracer_doubts,
)
from r2p_edge.export.targets.torch_module.outputs import (
    chosen_output,
    class_scores,
    places_in_time,
)
from r2p_edge.export.targets.torch_module.user_code import described_error
from r2p_edge.export.verify.ort_session import open_session, run_session
from r2p_edge.export.verify.parity import parity_record
from r2p_edge.export.verify.synthetic_clips import normalized, verification_clips
from r2p_edge.spec import ModelSpec

if TYPE_CHECKING:
    import torch

_RESULT, _LOGITS, _FILE = "result.json", "logits.npy", "module.onnx"


class TracedModule(NamedTuple):
    """A module as an ONNX file.

    Attributes:
        file: from normalised float32 (N, 3, T, H, W) to (N, classes).
        logits: what the module itself answers the clips of `verification_clips`.
        name: of its class.
        answer: what was made of the module's answer, for the spec's record of the source: the
            chosen `output`, and the number of scores of each class that were `averaged`.
        reference: PyTorch and its version, for the record of parity.
        doubts: what the tracer took for a constant, with places in the module's code.
        source: the record of where the weights come from; None for a module in memory.
    """

    file: bytes
    logits: np.ndarray
    name: str
    answer: dict[str, Any]
    reference: str
    doubts: list[str]
    source: Mapping[str, Any] | None = None

    def graph(self) -> Literal["conv3d", "conv2d"] | None:
        """Return the form of the network."""
        import onnx

        return graph_kind(onnx.load_model_from_string(self.file))

    def front(self, spec: ModelSpec) -> Front | None:
        """Return what the network makes of its pixels before its first layer; None for nothing.

        Args:
            spec: the contract that it was traced with.
        """
        import onnx

        return found_front(onnx.load_model_from_string(self.file), spec, "NCTHW")


def trace_module(
    make: Callable[[], torch.nn.Module],
    spec: ModelSpec,
    *,
    batch: int = 1,
    output: int | str | None = None,
    name: str = "the module",
) -> TracedModule:
    """Export a module, and compare what ONNX Runtime answers with what the module does.

    Each exporter works in a child process, in which the module is made, changed and run.

    Args:
        make: returns the module; called in the child.
        spec: says the shape and the normalisation of clips, and the number of classes.
        batch: size of the static batch axis.
        output: place of the scores in what the module answers, see `tensors_in`.
        name: of what makes the module, for errors.

    Raises:
        ModelError: the module cannot be made, does not run, or no exporter can write it.
        SpecError: its output has another number of classes.
        UsageError: it returns several tensors and `output` chooses none of them.
        ParityError: what an exporter wrote answers otherwise.
    """
    clips = normalized(verification_clips(spec), spec)
    place = None if output is None else str(output)
    failures: list[R2PError] = []
    for exporter in exporters():
        work = _Work(make, name, clips, spec.outputs, batch, place, exporter)
        try:
            return work.result()
        except _ExportError as error:
            failures.append(error.cause)
    first, *others = failures
    more = "; ".join(["", *map(str, others)]) if others else second_exporter()
    raise type(first)(f"{first}{more}") from first


class _ExportError(Exception):
    """An exporter that failed, where another one may do."""

    def __init__(self, cause: R2PError) -> None:
        super().__init__(cause)
        self.cause = cause


class _Work(NamedTuple):
    """One attempt to export a module."""

    make: Callable[[], torch.nn.Module]
    name: str
    clips: np.ndarray
    classes: int
    batch: int
    output: str | None
    exporter: Exporter

    def result(self) -> TracedModule:
        """Return the module as an ONNX file that answers as it does."""
        with scratch_folder(self.name) as folder:
            ended = run_in_child(lambda: self._in_child(folder))
            found = self._found(folder, ended)
        outputs = self._answers(found)
        try:
            parity_record(
                agreement(found.logits, outputs),
                "fp32",
                reference=found.reference,
                artifact=f"what {self.exporter.name} makes of {found.name}",
            )
        except ParityError as error:
            why = f"; it warned of {found.doubts[0]}" if found.doubts else ""
            raise _ExportError(ParityError(f"{error}{why}")) from error
        return found

    def _answers(self, found: TracedModule) -> np.ndarray:
        try:
            return run_session(open_session(found.file), self.clips)
        except ModelError as error:
            text = f"{self.exporter.name} makes a file of {found.name} that does not run ({error})"
            raise _ExportError(ModelError(text)) from error

    def _found(self, folder: Path, ended: int) -> TracedModule:
        """Return what the child wrote.

        Raises:
            R2PError: the module fails.
            _ExportError: the exporter does.
        """
        said: dict[str, Any] = {"stage": "make", "name": self.name}
        if (folder / _RESULT).exists():
            said = json.loads((folder / _RESULT).read_text())
        if "error" in said:
            error: R2PError = getattr(errors, said["kind"])(said["error"])
        elif ended:
            text = f"{said['name']} {end_of(ended)} when it was {self._done(said)}"
            error = ModelError(f"{text} in a process of its own; export it to ONNX by other means")
        else:
            file = (folder / _FILE).read_bytes()
            logits = np.load(folder / _LOGITS)
            given = {field: said[field] for field in ("name", "answer", "reference", "doubts")}
            return TracedModule(file, logits, **given)
        if said["stage"] == "export":
            raise _ExportError(error)
        raise error

    def _in_child(self, folder: Path) -> None:
        """Make, run and export the module; write what comes of it into the folder."""
        said: dict[str, Any] = {"stage": "make", "name": self.name}
        try:
            self._export(folder, said)
        except R2PError as error:
            kind = next(c.__name__ for c in type(error).mro() if hasattr(errors, c.__name__))
            said |= {"error": str(error), "kind": kind}
        except BaseException as error:  # their code may raise anything
            said |= {"error": self._sentence(error, said), "kind": "ModelError"}
        _write(folder, said)

    def _export(self, folder: Path, said: dict[str, Any]) -> None:
        import torch

        from r2p_edge.export.targets.torch_module.network import Scored, prepared

        torch.set_num_threads(1)  # those of the caller are not in this process
        module = self.make()
        said |= {"stage": "prepare", "name": _class_of(module)}
        module = prepared(module)
        name = type(module).__qualname__
        version = torch.__version__.partition("+")[0]
        said |= {"stage": "run", "name": _class_of(module), "reference": f"torch {version}"}
        _write(folder, said)
        clips = torch.from_numpy(self.clips)
        with warnings.catch_warnings(record=True) as caught, torch.no_grad():
            warnings.simplefilter("always")
            said["answer"], first = self._described(module, clips[:1], name)
            scored = Scored(module, self.output, self.classes, name)
            logits = torch.cat([scored(clip[None].clone()) for clip in clips])
            _check_answers(first, logits, name)
            np.save(folder / _LOGITS, logits.numpy())
            said["stage"] = "export"
            _write(folder, said)
            example = clips[:1].expand(self.batch, -1, -1, -1, -1).clone()
            self.exporter.write(scored, example, folder / _FILE)
        said["doubts"] = tracer_doubts(caught)

    def _described(
        self, module: torch.nn.Module, clip: torch.Tensor, name: str
    ) -> tuple[dict[str, Any], torch.Tensor]:
        """Run the module once; return what is taken from its answer, and the scores."""
        answer = _answered(module, clip, name)
        place, tensor = chosen_output(answer, self.output, name)
        scores = class_scores(tensor, self.classes, name)
        described: dict[str, Any] = {"output": place} if place else {}
        if (places := places_in_time(tensor)) > 1:
            described["averaged"] = places
        return described, scores

    def _done(self, said: dict[str, Any]) -> str:
        by = {
            "run": f" for clips of {tuple(self.clips.shape[1:])}",
            "export": f" by {self.exporter.name}",
        }
        return _STAGES[said["stage"]] + by.get(said["stage"], "")

    def _sentence(self, error: BaseException, said: dict[str, Any]) -> str:
        why = described_error(error)
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            why = f"it takes more than {MEMORY >> 30} GiB of memory, or than is free here"
        return f"{said['name']} cannot be {self._done(said)} ({why})"


_STAGES = {"make": "made", "prepare": "prepared", "run": "run", "export": "exported"}


def _class_of(module: torch.nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _check_answers(first: torch.Tensor, logits: torch.Tensor, name: str) -> None:
    """Raise ModelError where nothing can be compared with what a module answers.

    Args:
        first: what it answered the first clip before.
        logits: what it answers all clips.
        name: of the module.
    """
    if not logits.isfinite().all():
        raise ModelError(
            f"{name} answers numbers that are not finite; check its weights, and scale, mean and "
            "std of the spec"
        )
    if (first - logits[:1]).abs().max() > 1e-3 * logits.abs().max():
        raise ModelError(
            f"{name} answers the same clip differently each time, so that nothing can be compared "
            "with it; look for a dropout that evaluation mode does not switch off, such as "
            "F.dropout without training=self.training"
        )


def _write(folder: Path, said: dict[str, Any]) -> None:
    draft = folder / f"{_RESULT}.draft"
    draft.write_text(json.dumps(said))
    draft.replace(folder / _RESULT)


def _answered(module: torch.nn.Module, clip: torch.Tensor, name: str) -> Any:
    """Return what a module answers.

    Raises:
        ModelError: it wants two clips: that of a slow pathway and that of a fast one.
    """
    try:
        return module(clip.clone())
    except Exception as error:
        for pair in ([clip[:, :, ::4], clip], [clip, clip]):
            try:
                module(pair)
            except Exception:
                continue
            raise ModelError(
                f"{name} takes a list of two clips, as SlowFast does for its two pathways, and an "
                "artifact has one; wrap it in a module whose forward(clip) makes both, such as "
                "self.network([clip[:, :, ::4], clip]), by the rule of its training"
            ) from error
        raise
