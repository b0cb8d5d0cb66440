"""`TwoStreamSpec`: a model of colours and one of optical flow, whose answers become one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import SpecError, UsageError
from r2p_edge.spec.checks import is_number, shown
from r2p_edge.spec.model_spec import ModelSpec
from r2p_edge.spec.parts import ClipSpec, OutputSpec

StreamName = Literal["rgb", "flow"]
"""Modality of a stream, which is its name."""

VERBS_OF_TWO = "predict, stream, watch, timeline, annotate, eval or benchmark"
"""Verbs that take two streams, for a message."""

_PRECISIONS = ("int8", "bf16", "fp16", "fp32")  # the coarsest first


@dataclass(frozen=True)
class FusionSpec:
    """Late fusion: how the answers of two streams to one clip become one.

    Attributes:
        of: "logits", whose weighted sum goes through one softmax; or "probabilities", of which
            the weighted mean is taken.
        rgb, flow: weights of the streams. The sum of logits is not divided by theirs.

    Raises:
        SpecError: a weight is negative or no number, or both are 0.
    """

    of: Literal["logits", "probabilities"]
    rgb: float = 1.0
    flow: float = 1.0

    def __post_init__(self) -> None:
        if self.of not in ("logits", "probabilities"):
            raise SpecError(
                f"fusion.of is {shown(self.of)}; it must be one of logits, probabilities"
            )
        weights = {"rgb": self.rgb, "flow": self.flow}
        for name, weight in weights.items():
            if not is_number(weight) or weight < 0:
                raise SpecError(f"fusion.{name} is {shown(weight)}; it must be a number from 0 on")
        if not any(weights.values()):
            raise SpecError("fusion.rgb and fusion.flow are 0; one of the streams must count")

    def combine(
        self, rgb: npt.NDArray[np.float64], flow: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Return one answer of two, both (clips, classes): logits or probabilities as `of` says."""
        combined = self.rgb * rgb + self.flow * flow
        return combined if self.of == "logits" else combined / (self.rgb + self.flow)


FUSION_RECIPES: Mapping[str, FusionSpec] = {
    "i3d": FusionSpec("logits"),
    "r2plus1d": FusionSpec("probabilities", rgb=0.6, flow=0.4),
}
"""Published fusions.

"i3d" is the sum of logits of google-deepmind/kinetics-i3d `evaluate_sample.py`; "r2plus1d" that of
facebookresearch/VMZ `c2/tools/dense_prediction_fusion.py` (alpha of the softmax of colours and 1 -
alpha of that of flow) with the alpha of its `c2/scripts/fuse_prediction.sh`, 0.6.
"""


def fusion_named(fusion: FusionSpec | str) -> FusionSpec:
    """Return a fusion, or the published one of that name.

    Raises:
        UsageError: there is none of that name.
    """
    if isinstance(fusion, FusionSpec):
        return fusion
    if fusion not in FUSION_RECIPES:
        raise UsageError(
            f"fusion is {fusion!r}; it must be {' or '.join(FUSION_RECIPES)}, or a FusionSpec with "
            "weights of your own"
        )
    return FUSION_RECIPES[fusion]


@dataclass(frozen=True, kw_only=True)
class TwoStreamSpec(ModelSpec):
    """Contract of two models that answer together.

    `output` says what the fused answer is. The other fields of a `ModelSpec` are those of the
    stream of colours. A frame of a clip is a record of a frame of colours, "rgb", and one of
    flow, "flow".

    Attributes:
        rgb, of_flow: contracts of the two models.
        fusion: how their answers become one.
    """

    rgb: ModelSpec
    of_flow: ModelSpec
    fusion: FusionSpec

    @classmethod
    def of_streams(
        cls, rgb: ModelSpec, flow: ModelSpec, fusion: FusionSpec, names: tuple[str, str]
    ) -> TwoStreamSpec:
        """Return the contract of two models.

        Args:
            rgb, flow: their contracts.
            fusion: how their answers become one.
            names: of the models, in errors.

        Raises:
            SpecError: they cannot answer together: two models of colours or of flow, or of other
                labels, clips, or kinds of answers.
        """
        kind = _check_pair(rgb, flow, fusion, " and ".join(names))
        fields = {each.name: getattr(rgb, each.name) for each in dataclasses.fields(ModelSpec)}
        precisions = (rgb.precision, flow.precision)
        fields |= {
            "name": f"{rgb.name}+{flow.name}",
            "output": OutputSpec(kind=kind),
            "precision": next(each for each in _PRECISIONS if each in precisions),
            "graph": rgb.graph if rgb.graph == flow.graph else None,
            "feature_outputs": None,
            "per_frame": None,
        }
        return cls(**fields, rgb=rgb, of_flow=flow, fusion=fusion)

    @property
    def streams(self) -> dict[StreamName, ModelSpec]:
        """Contracts of the two models by their names."""
        return {"rgb": self.rgb, "flow": self.of_flow}

    @property
    def pictures(self) -> ClipSpec:
        """The frames of a video that a clip is made of: one more than it has."""
        return self.of_flow.pictures

    def contract_digest(self) -> str:
        """Return the sha256 of what decides the answer: both contracts, and the fusion."""
        import hashlib

        parts: list[Any] = [each.contract_digest() for each in self.streams.values()]
        parts.append(dataclasses.asdict(self.fusion))
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def require_one_model(spec: ModelSpec, what: str) -> None:
    """Refuse two streams where one model is needed.

    Args:
        spec: of the model.
        what: subject of the sentence, and what it does with one.

    Raises:
        UsageError: there are two.
    """
    if isinstance(spec, TwoStreamSpec):
        raise UsageError(
            f"{spec.name} is a model of two streams, and {what}; give one of its models, or use "
            f"{VERBS_OF_TWO}, which take both"
        )


def _check_pair(rgb: ModelSpec, flow: ModelSpec, fusion: FusionSpec, pair: str) -> Any:
    """Check that two models can answer together; return the kind of their fused answer."""
    modalities = rgb.input.modality, flow.input.modality
    if modalities != ("rgb", "flow"):
        both = f"{'colours' if modalities[0] == 'rgb' else 'optical flow'}"
        found = f"both take {both}" if modalities[0] == modalities[1] else "are the other way round"
        raise SpecError(
            f"{pair} {found}; two streams are a model of colours and then one of optical flow"
        )
    if rgb.labels != flow.labels:
        problem = f"have {len(rgb.labels)} and {len(flow.labels)} labels"
        if len(rgb.labels) == len(flow.labels):
            number, one, other = next(
                (number, *labels)
                for number, labels in enumerate(zip(rgb.labels, flow.labels))
                if labels[0] != labels[1]
            )
            problem = f"have other labels, of which number {number} is {one!r} and {other!r}"
        raise SpecError(f"{pair} {problem}; two streams know the same classes in the same order")
    if rgb.clip != flow.clip:
        differing = {
            name: (value, getattr(flow.clip, name))
            for name, value in dataclasses.asdict(rgb.clip).items()
            if value != getattr(flow.clip, name)
        }
        told = ", ".join(f"clip.{name} {one} and {two}" for name, (one, two) in differing.items())
        raise SpecError(f"{pair} look at different clips ({told}); two streams see the same one")
    kinds = rgb.output.kind, flow.output.kind
    given = f"{pair} give {' and '.join(kinds)}"
    if not {"values", "features"}.isdisjoint(kinds):
        raise SpecError(f"{given}; two streams are fused by the scores of classes, of both")
    if fusion.of == "logits":
        if kinds != ("logits", "logits"):
            raise SpecError(
                f"{given}, and their logits cannot be summed; fuse their probabilities (fusion of "
                "probabilities, such as r2plus1d)"
            )
        return "logits"
    fused = tuple("probabilities" if kind == "logits" else kind for kind in kinds)
    if fused[0] != fused[1]:
        raise SpecError(f"{given}; two streams are fused by probabilities of the same kind")
    return fused[0]
