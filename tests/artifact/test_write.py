"""Artifacts of several files: at each moment the old one, the new one, or none."""

from __future__ import annotations

from pathlib import Path

import pytest
from models import brightness_model, spec_of_brightness

from r2p_edge.artifact import bundle
from r2p_edge.artifact.open import open_artifact
from r2p_edge.artifact.write import write_artifact
from r2p_edge.errors import ModelNotFoundError, OutputError

OLD = spec_of_brightness(name="old")
NEW = spec_of_brightness(name="new")


def states(path, write, monkeypatch):
    """Yield after each change of a name that `write` makes, as another process would look."""
    seen = []

    def looked(change):
        def changed(*arguments, **options):
            done = change(*arguments, **options)
            try:
                seen.append(open_artifact(path).spec.name)
            except ModelNotFoundError:
                seen.append(None)
            assert bundle.check(path.parent) is not None
            return done

        return changed

    with monkeypatch.context() as patch:
        for name in ("replace", "unlink"):
            patch.setattr(Path, name, looked(getattr(Path, name)))
        write()
    return seen


@pytest.mark.parametrize("name", ["model.onnx", "model.engine"])
def test_no_moment_has_a_mixture(tmp_path, monkeypatch, name):
    path = tmp_path / name
    contents = {}
    for spec in (OLD, NEW):
        contents[spec] = brightness_model(tmp_path / "source.onnx", spec).read_bytes()
    write_artifact(path, OLD, contents[OLD])
    bundle.record(tmp_path, [path])
    seen = states(path, lambda: write_artifact(path, NEW, contents[NEW]), monkeypatch)
    assert (seen[0], seen[-1]) == ("old", "new")
    assert (None in seen) == (path.suffix == ".engine")
    assert bundle.listed(tmp_path) == {}
    assert open_artifact(path).verified


def test_the_same_artifact_stays_in_the_manifest(tmp_path):
    path = tmp_path / "model.onnx"
    content = brightness_model(tmp_path / "source.onnx", OLD).read_bytes()
    write_artifact(path, OLD, content)
    bundle.record(tmp_path, [path])
    write_artifact(path, OLD, content)
    assert bundle.check(tmp_path) == 2


@pytest.mark.parametrize("name", ["model.onnx", "model.engine"])
def test_at_no_moment_does_the_manifest_list_what_is_not_there(tmp_path, monkeypatch, name):
    path = tmp_path / name
    content = brightness_model(tmp_path / "source.onnx", OLD).read_bytes()
    write_artifact(path, OLD, content)
    bundle.record(tmp_path, [path])
    seen = states(path, lambda: write_artifact(path, OLD, content), monkeypatch)
    assert set(seen) == {"old"}
    assert bundle.check(tmp_path) == 2
    # The model's bytes stay, but it has to go for a moment, since its contract changes.
    states(path, lambda: write_artifact(path, NEW, content), monkeypatch)
    assert open_artifact(path).verified


def test_a_full_disk_leaves_the_old_artifact_and_its_place_in_the_manifest(tmp_path, monkeypatch):
    path = tmp_path / "model.engine"
    write_artifact(path, OLD, b"old")
    bundle.record(tmp_path, [path])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_artifact(path, NEW, b"new")
    assert bundle.check(tmp_path) == 2
    assert open_artifact(path).spec.name == "old"


def test_a_manifest_of_another_program_is_none_of_ours(tmp_path):
    (tmp_path / bundle.NAME).write_text("{}")
    write_artifact(tmp_path / "model.engine", OLD, b"old")
    assert (tmp_path / bundle.NAME).read_text() == "{}"


def test_no_moment_has_parts_of_another_artifact(tmp_path, monkeypatch):
    """Parts are named in the contract, so that a mixture would show as a foreign part."""
    path, part = tmp_path / "model.onnx", tmp_path / "model-head.onnx"
    contents, seen = {}, []
    for spec in (OLD, NEW):
        contents[spec] = brightness_model(tmp_path / "source.onnx", spec).read_bytes()
    write_artifact(path, OLD, contents[OLD], parts={part.name: b"old"})
    bundle.record(tmp_path, [path], [part])

    def looked(change):
        def changed(*arguments, **options):
            done = change(*arguments, **options)
            if path.exists():
                seen.append((open_artifact(path).spec.name.encode(), part.read_bytes()))
            return done

        return changed

    for name in ("replace", "unlink"):
        monkeypatch.setattr(Path, name, looked(getattr(Path, name)))
    write_artifact(path, NEW, contents[NEW], parts={part.name: b"new"})
    assert seen[-1] == (b"new", b"new")
    assert all(name == content for name, content in seen)
    assert bundle.listed(tmp_path) == {}
