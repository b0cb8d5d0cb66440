"""The two forms of TensorRT that build engines: its Python module, and the program trtexec."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from r2p_edge.agreement import agreement
from r2p_edge.errors import MissingDependencyError
from r2p_edge.export.targets.tensorrt.trtexec import (
    TRTEXEC_VARIABLE,
    Trtexec,
    find_trtexec,
)
from r2p_edge.export.verify.parity import ParityReference, check_parity, parity_record
from r2p_edge.runtimes.tensorrt.build import BuildOptions, plan_from_onnx, strongly_typed
from r2p_edge.runtimes.tensorrt.library import logger_of
from r2p_edge.runtimes.tensorrt.runtime import TensorRT
from r2p_edge.spec import ModelSpec


def find_tool() -> Tool:
    """Return the Python module, which can do more, else trtexec.

    Raises:
        MissingDependencyError: neither is installed.
        BackendError: the module is installed and does not work.
        UsageError: R2P_TRTEXEC names no program.
    """
    try:
        TensorRT.library()
    except MissingDependencyError as error:
        if (program := find_trtexec()) is None:
            raise MissingDependencyError(
                f"there is neither TensorRT's Python module nor its trtexec here: {error}; or set "
                f"{TRTEXEC_VARIABLE} to the program"
            ) from error
        return _Program(program)
    return _Module()


class Tool(Protocol):
    """A form of TensorRT that builds engines.

    Attributes:
        name: name in the artifact's spec.
    """

    name: str

    def version(self) -> str:
        """Return the version of TensorRT."""
        ...

    def strongly_typed(self) -> bool:
        """Return whether precision is taken from the ONNX file alone, as from 11 on."""
        ...

    def build(self, model: Path, draft: Path, options: BuildOptions) -> int:
        """Build the engine of an ONNX file as the file `draft`.

        Returns:
            How many kernels were left out for want of memory.

        Raises:
            ModelError: TensorRT refuses the model.
            BackendError: TensorRT, or CUDA, does not work here.
        """
        ...

    def check_parity(
        self, draft: Path, spec: ModelSpec, reference: ParityReference
    ) -> dict[str, Any]:
        """Run an engine and compare its outputs; return the `parity` record.

        Raises:
            ParityError: the tolerance of `spec.precision` is exceeded.
            ModelError, BackendError: the engine cannot be loaded or run.
        """
        ...


class _Module:
    """TensorRT's Python module."""

    name = "tensorrt"

    def version(self) -> str:
        return str(TensorRT.library().__version__)

    def strongly_typed(self) -> bool:
        return strongly_typed(TensorRT.library())

    def build(self, model: Path, draft: Path, options: BuildOptions) -> int:
        draft.write_bytes(plan_from_onnx(model, options, TensorRT.library()))
        return logger_of(TensorRT.library()).log.skipped()

    def check_parity(
        self, draft: Path, spec: ModelSpec, reference: ParityReference
    ) -> dict[str, Any]:
        return check_parity(draft, spec, reference, TensorRT, artifact="the TensorRT engine")


class _Program:
    """trtexec, which neither reports progress nor writes the contract into the engine."""

    name = "trtexec"

    def __init__(self, program: Path) -> None:
        self._trtexec = Trtexec(program)

    def version(self) -> str:
        return ".".join(map(str, self._trtexec.version()))

    def strongly_typed(self) -> bool:
        return self._trtexec.strongly_typed()

    def build(self, model: Path, draft: Path, options: BuildOptions) -> int:
        return self._trtexec.build(
            model,
            draft,
            precision=options.precision,
            workspace=options.workspace,
            timing_cache=options.cache,
        )

    def check_parity(
        self, draft: Path, spec: ModelSpec, reference: ParityReference
    ) -> dict[str, Any]:
        return check_parity_by_trtexec(draft, spec, reference, self._trtexec)


def check_parity_by_trtexec(
    draft: Path, spec: ModelSpec, reference: ParityReference, tool: Trtexec
) -> dict[str, Any]:
    """Run an engine with trtexec and compare its outputs; see `check_parity`.

    Returns:
        The `parity` record of its spec.

    Raises:
        ParityError: the tolerance of `spec.precision` is exceeded.
        ModelError, BackendError, SpecError, UsageError: see `Trtexec.run`.
    """
    outputs = tool.run(draft, spec.input.name, reference.inputs, spec.output.name)
    found = agreement(reference.outputs, outputs)
    return {
        **parity_record(found, spec.precision, reference="onnx", artifact="the TensorRT engine"),
        "runtime": f"trtexec {'.'.join(map(str, tool.version()))} on cuda",
        "computed_in": spec.precision,
        "onnx": reference.of_source,
    }
