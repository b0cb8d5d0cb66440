"""The contract of optical flow: what it holds, and what it refuses."""

import dataclasses

import pytest
from flows import LEVELS, PIXELS, of_frames, spec_of_flow
from models import spec_of_brightness

from r2p_edge.errors import SpecError
from r2p_edge.spec import FLOW_PARAMETERS, FLOW_RECIPES, FlowSpec, ModelSpec


def test_a_contract_of_flow_says_all_and_is_read_again():
    spec = spec_of_flow(FlowSpec("farneback", bound=20.0, parameters={"winsize": 15}))
    data = spec.to_dict()
    assert data["flow"] == {
        "method": "farneback",
        "picture": "crop",
        "bound": 20.0,
        "levels": "float32",
        "parameters": {**FLOW_PARAMETERS["farneback"], "winsize": 15},
    }
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert spec.input_shape == (1, 2, 4, 48, 48)
    assert spec.pictures == dataclasses.replace(spec.clip, frames=5)
    assert spec.flow.numbers["winsize"] == 15
    assert isinstance(spec.flow.numbers["winsize"], int)


def test_flow_decides_the_contract_and_changes_none_of_colours():
    assert spec_of_flow().contract_digest() != spec_of_flow(FlowSpec("dis")).contract_digest()
    colours = spec_of_brightness()
    assert "flow" not in colours.to_dict()
    # As it was before there was flow.
    assert colours.contract_digest().startswith("391f5b5ed8b8405d")
    assert (colours.pictures, colours.channels) == (colours.clip, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FlowSpec("brox"), "flow.method is 'brox'; it must be one of farneback, tvl1, dis"),
        (lambda: FlowSpec("dis", parameters={"tau": 1.0}), "flow.parameters has tau; those of dis"),
        (lambda: FlowSpec("dis", parameters={"preset": 1.5}), "it must be a whole number"),
        (lambda: FlowSpec("tvl1", parameters={"tau": float("nan")}), "it must be a finite number"),
        (lambda: FlowSpec("dis", bound=0), "flow.bound is 0; it must be a number above 0"),
        (lambda: FlowSpec("dis", levels="uint8"), "256 levels have to end somewhere"),
        (lambda: spec_of_flow().replace(flow=None), "input.modality is flow but flow is missing"),
        (
            lambda: spec_of_brightness(flow=FlowSpec("dis")),
            "input.modality is rgb but flow is given",
        ),
        (lambda: spec_of_flow(mean=(0.0, 0.0, 0.0)), "it must be 2 numbers"),
        (lambda: spec_of_flow(input=LEVELS), "flow.levels is float32 but input.dtype is uint8"),
        (
            lambda: spec_of_flow(input=dataclasses.replace(PIXELS, color="BGR")),
            "flow has no colours",
        ),
        (
            lambda: of_frames(spec_of_flow(), 4, sampling="index", order="lexicographic"),
            "clip.order is lexicographic, and flow goes",
        ),
        (lambda: of_frames(spec_of_flow(), 4, offsets="linspace"), "clip.offsets is linspace"),
    ],
)
def test_what_contradicts_itself_is_refused(make, message):
    with pytest.raises(SpecError) as caught:
        make()
    assert message in str(caught.value)


def test_recipes_are_those_of_their_papers():
    paper, i3d = FLOW_RECIPES["r2plus1d"], FLOW_RECIPES["i3d"]
    assert (paper.method, paper.picture, paper.bound, paper.levels) == (
        *("farneback", "crop", None, "float32"),
    )
    assert (i3d.method, i3d.picture, i3d.bound, i3d.levels) == ("tvl1", "resized", 20.0, "uint8")
