"""The contract of two streams: fusion by NumPy, what it takes from both, and what it refuses."""

import numpy as np
import pytest
from flows import spec_of_flow
from pairs import spec_of_colours

from r2p_edge.errors import SpecError, UsageError
from r2p_edge.spec import FUSION_RECIPES, FusionSpec, OutputSpec, TwoStreamSpec
from r2p_edge.spec.two_streams import require_one_model

NAMES = ("rgb.onnx", "flow.onnx")


def pair(fusion=FUSION_RECIPES["i3d"], rgb=None, flow=None):
    rgb, flow = rgb or spec_of_colours(), flow or spec_of_flow()
    return TwoStreamSpec.of_streams(rgb, flow, fusion, NAMES)


def test_the_published_fusions():
    rgb, flow = np.random.default_rng(0).normal(size=(2, 3, 5))
    np.testing.assert_array_equal(FUSION_RECIPES["i3d"].combine(rgb, flow), rgb + flow)
    mean = FUSION_RECIPES["r2plus1d"].combine(rgb, flow)
    np.testing.assert_allclose(mean, 0.6 * rgb + 0.4 * flow, rtol=1e-12)
    weighted = FusionSpec("probabilities", rgb=3, flow=1).combine(rgb, flow)
    np.testing.assert_allclose(weighted, 0.75 * rgb + 0.25 * flow, rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mean",), "fusion.of is 'mean'"),
        (("logits", True), "fusion.rgb is True"),
        (("logits", 1.0, float("nan")), "fusion.flow is nan"),
        (("probabilities", 0, 0), "one of the streams must count"),
    ],
)
def test_a_fusion_that_is_none(arguments, message):
    with pytest.raises(SpecError, match=message):
        FusionSpec(*arguments)


def test_what_two_contracts_have_in_common():
    both = pair(rgb=spec_of_colours(precision="int8"))
    assert both.labels == spec_of_flow().labels
    assert both.output.kind == "logits"
    assert both.precision == "int8"
    assert both.pictures.frames == both.clip.frames + 1
    assert pair(FUSION_RECIPES["r2plus1d"]).output.kind == "probabilities"


def test_the_digest_is_of_both_and_of_the_fusion():
    digests = [
        pair(),
        pair(FUSION_RECIPES["r2plus1d"]),
        pair(rgb=spec_of_colours(scale=1.0)),
        pair(flow=spec_of_flow().replace(scale=0.5)),
    ]
    assert len({each.contract_digest() for each in digests}) == 4
    assert pair().contract_digest() == pair().contract_digest()


@pytest.mark.parametrize("fusion", FUSION_RECIPES)
@pytest.mark.parametrize("kind", ["values", "features"])
def test_what_names_no_classes_is_not_fused(kind, fusion):
    changes = {"output": OutputSpec(kind="values")}
    if kind == "features":
        changes = {"output": OutputSpec(kind="features", features=4), "labels": ()}
    specs = spec_of_colours(**changes), spec_of_flow().replace(**changes)
    with pytest.raises(SpecError, match=f"give {kind} and {kind}; two streams are fused by"):
        pair(FUSION_RECIPES[fusion], *specs)


def test_values_are_not_fused_with_logits():
    values = spec_of_colours(output=OutputSpec(kind="values"))
    with pytest.raises(SpecError, match="give values and logits; two streams are fused by"):
        pair(rgb=values)


def test_kinds_that_do_not_go_together():
    sigmoid = spec_of_colours(output=OutputSpec(kind="sigmoid"))
    with pytest.raises(SpecError, match="give sigmoid and logits, and their logits cannot be"):
        pair(rgb=sigmoid)
    with pytest.raises(SpecError, match="give sigmoid and logits; two streams are fused by prob"):
        pair(FUSION_RECIPES["r2plus1d"], sigmoid)


def test_one_model_is_let_through():
    require_one_model(spec_of_colours(), "a sheet shows one")
    with pytest.raises(UsageError, match="is a model of two streams, and a sheet shows one; give"):
        require_one_model(pair(), "a sheet shows one")
