"""The ONNX files that targets are built from: a model in every form that a target asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from r2p_edge.export.checkpoints.weights import WeightsOptions
from r2p_edge.export.contract import with_input
from r2p_edge.export.recognition import is_onnx_model
from r2p_edge.export.targets.base import GraphForm, OnnxForm, Quantizer, Target
from r2p_edge.spec import InputSpec, ModelSpec

if TYPE_CHECKING:  # it brings in onnx
    from r2p_edge.export.targets.torch_module.trace import TracedModule


class _Form(NamedTuple):
    """Graph and input of a form; a graph of None is the model's own."""

    graph: GraphForm | None
    input: InputSpec


class OnnxForms:
    """Forms of one model, each written and verified once.

    Args:
        source: file of a checkpoint or ONNX model.
        contract: spec of the artifacts.
        scratch: folder for the files.
        graph: form of all targets; "auto" for what each of them runs best.
        any_input: whether each target may choose the input that it is known to take.
        batch: clips per call, or "dynamic"; None for the model's own, 1 where that is open.
        quantizer: maker of int8; None where no form is quantized.
        weights: how the weights of a checkpoint are read.
        traced: a PyTorch module, in place of the source's file.
        output: name of an ONNX model's output, where it has several.
        feature_outputs: whether the forms of targets that can have them get further outputs, see
            `r2p_edge.spec.further`.

    Raises:
        ModelError: an ONNX model cannot be read.
    """

    def __init__(
        self,
        source: Path,
        contract: ModelSpec,
        scratch: Path,
        *,
        graph: Literal["auto", "conv3d", "conv2d"] = "auto",
        any_input: bool = False,
        batch: int | Literal["dynamic"] | None = None,
        quantizer: Quantizer | None = None,
        weights: WeightsOptions | None = None,
        traced: TracedModule | None = None,
        output: str | None = None,
        feature_outputs: bool = False,
    ) -> None:
        self._source, self._contract, self._scratch = source, contract, scratch
        self._graph, self._batch, self._quantizer = graph, batch, quantizer
        self._weights = weights or WeightsOptions()
        self._traced, self._output, self._further = traced, output, feature_outputs
        self._is_onnx = traced is None and is_onnx_model(source)
        self._own: GraphForm | None = "conv3d"
        self._any_input, self._takes_pixels = any_input, False
        if traced is not None:
            self._own = traced.graph()
        elif self._is_onnx:
            from r2p_edge.export.graph.model import graph_kind, load_onnx, takes_pixels

            model = load_onnx(source)
            self._own = graph_kind(model)
            self._takes_pixels = takes_pixels(model)
            # The normalisation that is in a graph stays there.
            self._any_input = any_input and not self._takes_pixels
        self._plain: dict[_Form, OnnxForm] = {}
        self._qdq: dict[tuple[Path, str], OnnxForm] = {}
        self._with_features: dict[Path, OnnxForm] = {}

    def get(self, target: Target) -> OnnxForm:
        """Return the form that a target is built from.

        Raises:
            R2PError: the form cannot be written or verified; see `onnx_from_checkpoint`,
                `onnx_from_onnx`, `Quantizer.qdq` and `with_feature_outputs`.
        """
        form = self._get(target)
        if not (self._further and target.further):
            return form
        if form.path not in self._with_features:
            from r2p_edge.export.targets.onnx import write_with_features

            path = form.path.with_name(f"{form.path.stem}-features.onnx")
            spec = write_with_features(form.path, form.spec, path)
            self._with_features[form.path] = form._replace(path=path, spec=spec)
        return self._with_features[form.path]

    def _get(self, target: Target) -> OnnxForm:
        form = self._form(target)
        plain = self._get_plain(form)
        if target.second is not None and form.graph == "conv3d" and self._graph == "auto":
            other = form._replace(graph=target.second)
            plain = plain._replace(second=lambda: self._get_plain(other))
        if self._quantizer is None or target.quantized is None or target.quantized == "tool":
            return plain
        key = plain.path, target.quantized
        if key not in self._qdq:
            path = self._scratch / f"qdq{len(self._qdq)}.onnx"
            spec = self._quantizer.qdq(plain.path, path, target.quantized)
            self._qdq[key] = OnnxForm(path, spec, plain.path)
        return self._qdq[key]

    def own_input(self) -> OnnxForm:
        """Return the form that takes what the network itself takes.

        That is normalised numbers, or pixels where the model normalises them.

        Raises:
            R2PError: see `get`.
        """
        taken = self._contract.input
        if not self._takes_pixels:
            taken = with_input(taken, "float32")
        return self._get_plain(_Form(self._own, taken))

    def _form(self, target: Target) -> _Form:
        graph = self._own
        if self._graph != "auto":
            graph = self._graph
        elif target.graph == "conv2d" and graph == "conv3d":
            graph = "conv2d"
        taken = self._contract.input
        if self._any_input and target.input == "float32":
            taken = with_input(taken, "float32")
        return _Form(graph, taken)

    def _get_plain(self, form: _Form) -> OnnxForm:
        if form not in self._plain:
            from r2p_edge.export.targets.onnx import onnx_from_checkpoint, onnx_from_onnx

            contract = self._contract.replace(input=form.input)
            path = self._scratch / f"model{len(self._plain)}.onnx"
            # A model's own form need not be asked for, and None could not be.
            own = form.graph == self._own and self._graph == "auto"
            graph = None if own else form.graph
            batch = 1 if self._batch is None else self._batch
            if self._traced is not None:
                from r2p_edge.export.targets.onnx_torch import onnx_from_traced

                assert batch != "dynamic"  # `build` refuses it for a module
                spec = onnx_from_traced(self._traced, contract, path, batch=batch, graph=graph)
            elif self._is_onnx:
                spec = onnx_from_onnx(
                    self._source,
                    contract,
                    path,
                    batch=self._batch,
                    graph=graph,
                    output=self._output,
                    pixels="normalized",  # as the contract says by now
                )
            else:
                spec = onnx_from_checkpoint(
                    self._source,
                    contract,
                    path,
                    batch=batch,
                    graph=form.graph or "conv3d",
                    weights_key=self._weights.key,
                    family=self._weights.family,
                    hints=self._weights.hints,
                    bn_eps=self._weights.bn_eps,
                    head=self._weights.head,
                    head_activation=self._weights.head_activation,
                    weights_id=self._weights.id,
                    settled=self._weights.settled,
                )
            self._plain[form] = OnnxForm(path, spec)
        return self._plain[form]
