"""The registry of published weights: what is shipped, and what a damaged one says."""

from __future__ import annotations

import json

import pytest
from paths import ROOT
from weights_server import registry_of

from r2p_edge.errors import ModelError, ModelNotFoundError, UsageError
from r2p_edge.export.checkpoints.families import FAMILIES
from r2p_edge.export.presets import PRESETS
from r2p_edge.export.published.registry import read_registry, weights_of_id

REGISTRY = read_registry()
LABELS = ROOT / "r2p_edge" / "assets" / "labels"


@pytest.mark.parametrize("entry", REGISTRY.values(), ids=lambda entry: entry.id)
def test_an_entry_names_what_exists(entry):
    assert entry.family is None or entry.family in FAMILIES
    if entry.preset is not None:
        preset = PRESETS[entry.preset]
        assert preset.classes == entry.classes
        assert entry.family in preset.families
        assert (entry.labels and f"{entry.labels}.txt") == preset.label_file
        assert entry.frames == preset.clip.frames or entry.id == "ig65m-34-8-k400"
    assert entry.labels is None or (LABELS / f"{entry.labels}.txt").is_file()
    assert entry.url.startswith("https://")
    if entry.status == "direct":
        assert entry.url.endswith(f"/{entry.file}")
    if entry.published is None:
        assert "no digest is published" in entry.notes
    elif entry.file.endswith(".pth"):
        # As torch.hub, GluonCV and MMAction2 name files.
        assert f"-{entry.published.digits[:8]}.pth" in entry.file


def test_files_in_the_store_have_names_of_their_own():
    stored = [entry.stored_as for entry in REGISTRY.values()]
    assert len(set(stored)) == len(stored)
    assert REGISTRY["tv-r2plus1d_18"].stored_as == "tv-r2plus1d_18.pth"


def test_an_unknown_id_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean tv-r2plus1d_18"):
        weights_of_id("tv-r2plus1d-18", REGISTRY)
    with pytest.raises(UsageError, match="weights list has all"):
        weights_of_id("\n" * 1000, REGISTRY)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": "../net"}, "id is"),
        ({"id": "net/net"}, "id is"),
        ({"id": 3}, "of type str"),
        ({"file": "../net.pth"}, "file is"),
        ({"file": "net"}, "with a suffix"),
        ({"status": "maybe"}, "must be one of"),
        ({"url": "http://example.org/a.pth"}, "whole digest"),
        ({"url": "http://example.org/a.pth", "digest": "sha256-prefix:12345678"}, "whole digest"),
        ({"url": "ftp://example.org/a.pth"}, "url is"),
        ({"url": "https:///a.pth"}, "url is"),
        ({"url": "https://example.org/a b"}, "url is"),
        ({"url": "https://[example.org/"}, "url is"),
        ({"size": 0}, "size is"),
        ({"size": 10**5000}, "not valid JSON|size is"),
        ({"size": 1.5}, "size is"),
        ({"size": True}, "size is"),
        ({"digest": "sha256:12"}, "digest is"),
        ({"digest": "md5:" + 32 * "0"}, "digest is"),
        ({"digest": "sha256:" + 64 * "A"}, "digest is"),
        ({"licence": ""}, "licence is"),
        ({"more": 1}, "has 'more'"),
    ],
)
def test_a_wrong_entry_is_one_sentence(tmp_path, change, words):
    file = tmp_path / "registry.json"
    text = json.loads(registry_of(file, {}).read_text())
    text["weights"][0] |= change
    digits = 10_000 if change.get("size") == 10**5000 else 0
    file.write_text(json.dumps(text) if not digits else _with_a_long_number(text))
    with pytest.raises(ModelError, match=words) as refused:
        read_registry(file)
    assert len(str(refused.value)) < 1000
    assert "\n" not in str(refused.value)


def _with_a_long_number(text):
    text["weights"][0]["size"] = "HERE"
    return json.dumps(text).replace('"HERE"', "9" * 5000)


def test_registries_that_are_none(tmp_path):
    file = tmp_path / "registry.json"
    for content in ("", "[]", "{}", '{"format": 2, "weights": []}', "[" * 100_000, "\xff"):
        file.write_text(content, encoding="latin-1")
        with pytest.raises(ModelError, match="registry"):
            read_registry(file)
    file.write_text(json.dumps({"format": 1, "weights": [3]}))
    with pytest.raises(ModelError, match="entry 0 is 3"):
        read_registry(file)
    file.write_text(" " * (1 << 21))
    with pytest.raises(ModelError, match="more than"):
        read_registry(file)
    with pytest.raises(ModelNotFoundError):
        read_registry(tmp_path / "absent.json")
    registry_of(file, {}, {})
    with pytest.raises(ModelError, match="entry before it"):
        read_registry(file)
