"""Artifacts with another head: the same network, in the same format, with other classes."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from r2p_edge.agreement import agreement
from r2p_edge.artifact.openvino_ir import RT_INFO
from r2p_edge.errors import UsageError
from r2p_edge.export.graph.builder import embed_spec
from r2p_edge.export.graph.linear_head import TEACH_ANOTHER, put_head_on, take_head_off
from r2p_edge.export.graph.model import load_onnx
from r2p_edge.export.graph.openvino_head import (
    openvino_linear_head,
    put_openvino_head_on,
    take_openvino_head_off,
)
from r2p_edge.export.graph.pooled_head import LinearHead, pooled_head
from r2p_edge.export.packages import built_with
from r2p_edge.export.targets.onnx import onnx_bytes, write_with_spec
from r2p_edge.export.targets.openvino import save_ir, write_ir
from r2p_edge.export.verify.feature_outputs import with_feature_outputs
from r2p_edge.export.verify.ort_session import run_runtime
from r2p_edge.export.verify.parity import parity_record
from r2p_edge.export.verify.synthetic_clips import input_from_clips, verification_clips
from r2p_edge.runtimes.base import Options, Runtime
from r2p_edge.runtimes.onnxruntime import OnnxRuntime
from r2p_edge.runtimes.openvino import OpenVino, new_core, read_model
from r2p_edge.spec import ModelSpec, OutputSpec
from r2p_edge.spec.further import CLASS_ACTIVATION
from r2p_edge.teaching.head import TaughtHead

_CLIPS = 3  # synthetic ones, on which a new head is verified


class Network(ABC):
    """The network of an artifact, whose head can be read and replaced in copies of it.

    Attributes:
        runtime: library that its copies are verified on.
        suffix: of its file's name.

    Args:
        source: the artifact.
        spec: its contract.
    """

    runtime: ClassVar[type[Runtime]]
    suffix: ClassVar[str]

    def __init__(self, source: Path, spec: ModelSpec) -> None:
        self._source, self._spec = source, spec

    @abstractmethod
    def head(self) -> LinearHead | None:
        """Return the network's own head; None if it is more than a linear layer.

        Raises:
            ModelError: the network does not end in an average pool and layers.
        """

    @abstractmethod
    def write_features(self, draft: Path) -> ModelSpec:
        """Write a copy whose answer is the features of a clip; return its contract.

        Raises:
            ModelError: the network does not end in an average pool and layers.
            OutputError: there is too little room.
        """

    @abstractmethod
    def write_draft(self, head: TaughtHead, spec: ModelSpec, draft: Path) -> ModelSpec:
        """Write a copy with another head; return its contract.

        It has the further outputs that the network has.

        Args:
            head: of `spec.labels`.
            spec: contract of the copy.
            draft: a temporary file to write.

        Raises:
            ModelError: the network does not end in an average pool and layers, or has another
                number of features.
            OutputError: there is too little room.
        """

    @abstractmethod
    def write(self, draft: Path, spec: ModelSpec, path: Path) -> None:
        """Write a copy with its final contract as an artifact.

        Raises:
            OutputError: `path` cannot be written.
        """

    def parity(self, draft: Path, spec: ModelSpec, head: TaughtHead) -> dict[str, Any]:
        """Return the parity record of a copy with another head.

        It is compared with the head in NumPy on the features of the network, on synthetic clips.

        Raises:
            ParityError: the two differ by more than the precision allows.
        """
        inputs = input_from_clips(verification_clips(self._spec, _CLIPS), self._spec)
        alone = draft.with_name(f"parent-{draft.name}")
        features = self._run(alone, self.write_features(alone), inputs)
        found = agreement(head.logits(features), self._run(draft, spec, inputs))
        # Of int8 too the head is in float.
        precision = "fp32" if spec.precision == "int8" else spec.precision
        record = parity_record(found, precision, reference="numpy", artifact="the taught model")
        version = str(self.runtime.library().__version__).partition("-")[0]
        parent = self._spec.parity
        return {
            **record,
            "of": "the head, on the features of the parent",
            "runtime": f"{self.runtime.name} {version}",
            "parent": None if parent is None else dict(parent),
        }

    def _run(self, file: Path, spec: ModelSpec, inputs: np.ndarray) -> npt.NDArray[Any]:
        with contextlib.closing(self.runtime.open(file, spec, Options())) as model:
            return np.asarray(run_runtime(model, inputs))

    def _spec_of_features(self, count: int) -> ModelSpec:
        return self._spec.replace(
            labels=(),
            output=OutputSpec(self._spec.output.name, "features", count),
            feature_outputs=None,
            per_frame=None,
        )


class OnnxNetwork(Network):
    """The network of an ONNX artifact."""

    runtime = OnnxRuntime
    suffix = ".onnx"

    def head(self) -> LinearHead | None:
        model = load_onnx(self._source)
        return pooled_head(model, self._spec.output.name, TEACH_ANOTHER).linear

    def write_features(self, draft: Path) -> ModelSpec:
        model = load_onnx(self._source)
        count = take_head_off(model, self._spec)
        draft.write_bytes(onnx_bytes(model))
        return self._spec_of_features(count)

    def write_draft(self, head: TaughtHead, spec: ModelSpec, draft: Path) -> ModelSpec:
        model = load_onnx(self._source)
        put_head_on(model, self._spec, head)
        spec = spec.replace(feature_outputs=None, built_with=built_with("onnx"))
        if self._spec.feature_outputs is not None:
            spec = with_feature_outputs(model, spec)
        embed_spec(model, spec)
        draft.write_bytes(onnx_bytes(model))
        return spec

    def write(self, draft: Path, spec: ModelSpec, path: Path) -> None:
        write_with_spec(draft, spec, path)


class OpenVinoNetwork(Network):
    """The network of an OpenVINO artifact."""

    runtime = OpenVino
    suffix = ".xml"

    def head(self) -> LinearHead | None:
        return openvino_linear_head(OpenVino.library(), self._model(), self._spec)

    def write_features(self, draft: Path) -> ModelSpec:
        model = self._model()
        count = take_openvino_head_off(OpenVino.library(), model, self._spec)
        save_ir(model, draft, source=self._source, half=False)
        return self._spec_of_features(count)

    def write_draft(self, head: TaughtHead, spec: ModelSpec, draft: Path) -> ModelSpec:
        model = self._model()
        activated = put_openvino_head_on(OpenVino.library(), model, self._spec, head)
        further = self._spec.feature_outputs
        if further is not None and CLASS_ACTIVATION in further:
            places = list(further[CLASS_ACTIVATION])[1:]
            further = {name: shape for name, shape in further.items() if name != CLASS_ACTIVATION}
            if activated:
                further[CLASS_ACTIVATION] = [len(spec.labels), *places]
        spec = spec.replace(feature_outputs=further, built_with=built_with("openvino"))
        model.set_rt_info(spec.to_json(), list(RT_INFO))
        save_ir(model, draft, source=self._source, half=False)
        return spec

    def write(self, draft: Path, spec: ModelSpec, path: Path) -> None:
        library = OpenVino.library()
        model = read_model(library, new_core(library), draft, spec)
        again = draft.with_name(
            f"final{self.suffix}"
        )  # OpenVINO may still read the draft's weights
        write_ir(model, spec, path, draft=again, source=self._source, half=False)

    def _model(self) -> Any:
        library = OpenVino.library()
        return read_model(library, new_core(library), self._source, self._spec)


_NETWORKS: tuple[type[Network], ...] = (OnnxNetwork, OpenVinoNetwork)
_EXPORTED = {
    ".engine": "tensorrt",
    ".plan": "tensorrt",
    ".mindir": "mindspore",
    ".om": "ascend310b",
}


def network_in(source: Path, spec: ModelSpec) -> Network:
    """Return the network of an artifact.

    Raises:
        UsageError: no head can be written into a file of its format.
    """
    suffix = source.suffix.lower()
    for kind in _NETWORKS:
        if kind.suffix == suffix:
            return kind(source, spec)
    target = _EXPORTED.get(suffix, "TARGET")
    raise UsageError(
        f"no new head can be written into {source}; teach the ONNX file that it was made from, "
        f"and export what that gives (r2p-edge export NEW.onnx --to {target})"
    )
