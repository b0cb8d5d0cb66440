"""Fixtures of the tests of published weights: a server on this machine, and a store."""

from __future__ import annotations

import shutil

import pytest
from requirements import is_required
from weights_server import digest_of, registry_of, self_signed, serving_weights, weights_bytes

from r2p_edge.export.published.fetch import get_weights
from r2p_edge.export.published.store import WeightsStore

SIZE = 300_000


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    """The servers are on this machine, whatever proxy the environment has."""
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def content():
    """Bytes of a file of weights."""
    return weights_bytes(SIZE)


@pytest.fixture
def server(content):
    """A server of this file."""
    with serving_weights(content) as server:
        yield server


@pytest.fixture
def certificate(tmp_path):
    """A certificate of this machine that nobody has signed."""
    if shutil.which("openssl") is None and not is_required("openssl"):
        pytest.skip("needs openssl, which is not installed")
    return self_signed(tmp_path)


@pytest.fixture
def store_of(tmp_path):
    """Return a function that makes a store whose registry has one file of a server."""

    def make(server, **entry):
        url = entry.pop("url", server.url())
        usual = {"digest": f"sha256:{digest_of(server.content)}"}
        registry = registry_of(tmp_path / "registry.json", {**usual, **entry})
        store = WeightsStore(tmp_path / "store", registry)
        # Where less than the whole digest is known, a registry may name https alone.
        object.__setattr__(store.entry("net"), "url", url)
        return store

    return make


@pytest.fixture
def get():
    """Return `get_weights` of the one entry, without waiting between attempts."""

    def fetch(store, **options):
        return get_weights("net", store=store, **{"wait": lambda seconds: None, **options})

    return fetch
