"""Published weights as the source of an export: by their ID, from the store alone."""

from __future__ import annotations

import numpy as np
import pytest
from checkpoints import to_torchvision
from networks import SMALL, random_parameters, spec_for
from requirements import needs
from weights_server import registry_of

from r2p_edge.artifact import embedded_spec
from r2p_edge.errors import CheckpointError, ModelError, ModelNotFoundError, UsageError
from r2p_edge.export.build import build
from r2p_edge.export.contract import contract_of
from r2p_edge.export.published.fetch import add_weights
from r2p_edge.export.published.store import WeightsStore
from r2p_edge.export.source import facts_of, find_source

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("safetensors")]

SPEC = spec_for(SMALL["classes"], name="net")


@pytest.fixture
def file(tmp_path):
    """Weights that are VMZ's by names and shapes, and those of two other families."""
    from safetensors.numpy import save_file

    found = to_torchvision(random_parameters(**SMALL, per_conv=True))
    save_file(
        {name: np.ascontiguousarray(found[name]) for name in found},
        tmp_path / "fetched.safetensors",
    )
    return tmp_path / "fetched.safetensors"


@pytest.fixture
def store(tmp_path, file):
    """A store with weights whose family, preset and frames are known, and without others."""
    usual = {"file": "net.safetensors"}
    known = {**usual, "id": "known", "family": "vmz", "preset": "kinetics400-ig65m", "frames": 8}
    rows = (known, {**usual, "id": "unknown"}, {**usual, "id": "absent"})
    by_hand = {**usual, "id": "by-hand", "status": "by-hand"}
    registry = registry_of(tmp_path / "registry.json", *rows, by_hand)
    store = WeightsStore(tmp_path / "store", registry)
    for name in ("known", "unknown"):
        add_weights(name, file, store=store)
    return store


def contract(source, **options):
    """Return the contract of an export with these options."""
    nothing = dict.fromkeys(("preset_name", "spec", "labels", "name", "size", "input"))
    options = {**nothing, "clip": {"frames": None}, **options}
    return contract_of(source, facts_of(source), **options)


def test_an_id_brings_its_family(store, tmp_path, file):
    (built,) = build("known", targets=["onnx"], out=tmp_path / "out", spec=SPEC, store=store).built
    source = embedded_spec(built.path).source
    assert source["dialect"] == "vmz"
    assert (source["weights"], source["dialect_by"]) == ("known", "weights")
    with pytest.raises(CheckpointError, match="several families"):
        build("unknown", targets=["onnx"], out=tmp_path / "out", spec=SPEC, store=store)
    options = {"spec": SPEC, "family": "fewshot"}
    (own,) = build("known", targets=["onnx"], out=tmp_path / "out", store=store, **options).built
    assert embedded_spec(own.path).source["dialect"] == "fewshot"
    (same,) = build(
        file, targets=["onnx"], out=tmp_path / "same", **{**options, "family": "vmz"}
    ).built
    assert same.spec.arch == built.spec.arch
    assert "weights" not in same.spec.source


def test_an_id_brings_its_preset_and_frames(store):
    source = find_source("known", store=store)
    found = contract(source)
    assert (found.name, found.clip.frames, found.clip.fps) == ("known", 8, 30.0)
    assert found.resize.mode == "short_side"
    assert contract(source, clip={"frames": 4}).clip.frames == 4
    other = contract(source, preset_name="kinetics400-vmz")
    assert (other.clip.frames, other.clip.fps) == (8, 15.0)
    assert contract(source, spec=SPEC).clip.frames == 4
    with pytest.raises(UsageError, match="does not say how it was trained"):
        contract(find_source("unknown", store=store, weights=_weights(family="vmz")))


def _weights(**options):
    from r2p_edge.export.checkpoints.weights import WeightsOptions

    return WeightsOptions(**options)


def test_what_is_not_in_the_store_is_not_fetched(store, monkeypatch):
    monkeypatch.setattr("socket.socket", None)
    with pytest.raises(ModelNotFoundError, match=r"nothing is fetched unasked; run .* get absent"):
        find_source("absent", store=store)
    with pytest.raises(ModelNotFoundError, match=r"fetch net.safetensors at .* add by-hand"):
        find_source("by-hand", store=store)
    with pytest.raises(ModelNotFoundError, match="or an ID that r2p-edge weights list has"):
        find_source("nobody", store=store)


def test_what_has_changed_in_the_store_is_refused(store):
    path = store.path(store.entry("known"))
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(ModelError, match="is damaged: it has sha256"):
        find_source("known", store=store)


def test_a_file_goes_before_an_id(store, tmp_path, monkeypatch, file):
    monkeypatch.chdir(tmp_path)
    file.rename(tmp_path / "known")
    assert find_source("known", store=store).published is None
