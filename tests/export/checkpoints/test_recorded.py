"""Contracts in the metadata of safetensors files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from networks import spec_for

from r2p_edge.errors import SpecError
from r2p_edge.export.checkpoints.recorded import SPEC_KEY, recorded_spec

SPEC = spec_for(3)


def file(path: Path, metadata: Any) -> Path:
    """Write a safetensors file with this metadata and no tensors."""
    header = json.dumps({"__metadata__": metadata}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    return path


def test_the_contract_is_found(tmp_path):
    path = file(tmp_path / "net.safetensors", {"format": "pt", SPEC_KEY: SPEC.to_json()})
    assert recorded_spec(path) == SPEC


@pytest.mark.parametrize("metadata", [{}, {"format": "pt"}, None, [SPEC_KEY], "pt", 3])
def test_files_without_one(tmp_path, metadata):
    assert recorded_spec(file(tmp_path / "net.safetensors", metadata)) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02}q\x00.",
        b"PK\x03\x04",
        b"\x09\0\0\0\0\0\0\0{damaged",
        b"\x02\0\0\0\0\0\0\0[]",
    ],
)
def test_files_of_other_formats_and_damaged_ones(tmp_path, content):
    (tmp_path / "net").write_bytes(content)
    assert recorded_spec(tmp_path / "net") is None


@pytest.mark.parametrize("text", ["", "{}", "[]", SPEC.to_json()[:-20]])
def test_a_damaged_contract_is_told(tmp_path, text):
    path = file(tmp_path / "net.safetensors", {SPEC_KEY: text})
    with pytest.raises(SpecError, match=r"the contract in .*net\.safetensors"):
        recorded_spec(path)


@pytest.mark.parametrize("value", [3, None, {"name": "net"}])
def test_a_contract_that_is_no_text(tmp_path, value):
    with pytest.raises(SpecError, match=r"the contract in .*net\.safetensors"):
        recorded_spec(file(tmp_path / "net.safetensors", {SPEC_KEY: value}))
