"""Parts of a spec: the values that they refuse, with the words, and those that they allow."""

from __future__ import annotations

import pytest

from r2p_edge.errors import SpecError
from r2p_edge.spec import ClipSpec, CropSpec, ModelSpec, ResizeSpec

HUGE = 10**400  # beyond every float


def nested(depth):
    return {"a": nested(depth - 1)} if depth else {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("colour", 1, "unknown field colour"),
        ("clip.stride", 1, "unknown field clip.stride"),
        ("std", [0.2, 0.2, float("nan")], "std is .*nan.*finite"),
        ("std", [0.2, 0.2, 0.0], "must be positive"),
        ("scale", float("inf"), "scale is inf"),
        ("mean", [0.5, 0.5], "it must be 3 numbers"),
        ("mean", "0.5", "list of items"),
        ("scale", True, "of type float"),
        ("labels", [], "labels is empty"),
        ("labels", ["run", "run"], "run more than once"),
        ("labels", ["x" * 10**6] * 2, r"labels has 'xxx.{20,60} more than once"),
        ("labels", [f"{n // 2}" for n in range(10**5)], r"labels has 0, 1, .*, \.\.\. more than"),
        ("clip.frames", 100_000, "a clip of 3763200000 bytes; make it at most 1073741824"),
        ("labels", [1, 2], r"labels\[0\]"),
        ("clip.frames", 0, "clip.frames is 0"),
        ("clip.frames", 16.5, "clip.frames is 16.5; it must be of type int"),
        ("clip.fps", float("nan"), "clip.fps is nan"),
        ("clip.order", "random", '"temporal", "lexicographic"'),
        ("clip.order", "lexicographic", "set clip.sampling to index"),
        ("resize.mode", "letterbox", '"stretch", "short_side"'),
        ("resize.size", 128, "resize.size has no meaning"),
        ("resize.height", None, "resize.height is None"),
        ("crop.height", 200, "crop is 200x112"),
        ("input.normalized_in_graph", False, "normalized_in_graph"),
        ("format", 2, "format is 2"),
        ("precision", "int4", '"int8"'),
        ("clip", 16, "clip is 16; it must be an object"),
        ("calibration", 5, "calibration is 5"),
        ("format", True, "format is True"),
        ("clip.frames", 1_000_001, "clip.frames is 1000001; .* from 1 to 1000000"),
        ("clip.frames", HUGE, "clip.frames is 1000.*0000; .* from 1 to"),
        ("clip.interval", 500_000, "a clip of 8000000 frames; make it at most 1000000"),
        ("clip.fps", 9e-4, "clip.fps is 0.0009; .* from 0.001 to 10000"),
        ("clip.fps", 10_001, "clip.fps is 10001"),
        ("clip.fps", HUGE, "clip.fps is 1000.*finite number"),
        ("resize.height", 32_768, "resize.height is 32768; .* from 1 to 32767"),
        ("resize.width", -1, "resize.width is -1"),
        ("crop.height", HUGE, "crop.height is 1000"),
        ("crop.width", True, "crop.width is True"),
        ("scale", HUGE, "scale is 1000.*finite"),
        ("scale", 1e-42, "leave the range of float32"),
        ("scale", 1e300, "leave the range of float32"),
        ("mean", [0.0, 0.0, 1e38], "leave the range of float32"),
        ("mean", [0.0, 0.0, HUGE], r"mean\[2\] is 1000.*finite"),
        ("std", [1e-42, 1.0, 1.0], "leave the range of float32"),
        ("std", [1e300, 1.0, 1.0], "leave the range of float32"),
        ("labels", ["run", " "], r"labels\[1\] is ' '; it must be one line"),
        ("labels", ["run\n", "jump"], r"labels\[0\]"),
        ("labels", ["run\u2028jump", "jump"], r"labels\[0\]"),
        ("labels", ["run", "\ud800"], r"labels\[1\] is .*UTF-8"),
        ("name", "", "name is ''; it must be one line of text"),
        ("name", "\udcff", "name is .*UTF-8"),
        ("arch", "", "arch is ''"),
        ("input.name", "", "input.name is ''"),
        ("output.name", "\ud800", "output.name is .*UTF-8"),
        ("parity", {"max_rel": float("nan")}, "parity.max_rel is nan"),
        ("accuracy", {"top1": [1.0, float("inf")]}, r"accuracy.top1\[1\] is inf"),
        ("source", {"size": HUGE}, "source.size is 1000.*64 bits"),
        ("source", {"file": "\ud800"}, "source.file is .*UTF-8"),
        ("source", {"\ud800": 1}, "a key of source is .*UTF-8"),
        ("target", nested(40), "nested more than 32 deep"),
        ("colour\nof", 1, r"unknown field 'colour\\nof'"),
    ],
    # pytest shortens long values itself; lone surrogates do not go into an id.
    ids=ascii,
)
def test_a_wrong_field_is_named(spec, path, value, message):
    data = spec.to_dict()
    *groups, name = path.split(".")
    target = data
    for group in groups:
        target = target[group]
    target[name] = value
    with pytest.raises(SpecError, match=message):
        ModelSpec.from_dict(data)


def test_the_bounds_themselves_are_allowed(spec):
    for changes in (
        {"clip": ClipSpec(frames=1_000_000, interval=1, fps=1e-3), "crop": CropSpec(18, 19)},
        {"clip": ClipSpec(frames=1, interval=1_000_000, fps=1e4)},
        {"resize": ResizeSpec(mode="short_side", size=32_767)},
        {"scale": 1, "std": (255, 255, 255)},
        {"std": (1e-30, 1.0, 1e30)},
    ):
        changed = spec.replace(**changes)
        assert ModelSpec.from_json(changed.to_json()) == changed
