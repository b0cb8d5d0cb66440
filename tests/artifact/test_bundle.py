"""The manifest of an export's folder, and `info` on the folder."""

from __future__ import annotations

import hashlib
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from exit_codes import MODEL
from requirements import needs

from r2p_edge.artifact import bundle
from r2p_edge.errors import ModelError, OutputError
from r2p_edge.export.build import build

pytestmark = [needs("onnxruntime"), needs("openvino")]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    out = tmp_path_factory.mktemp("bundle")
    build("motion", targets=["openvino", "ascend310b"], precision="fp16", out=out)
    build("motion", targets=["onnx"], out=out)
    return out


@pytest.fixture
def copy(exported, tmp_path):
    """The folder as it comes to a board."""
    subprocess.run(["cp", "-r", exported, tmp_path / "board"], check=True)
    return tmp_path / "board"


@pytest.mark.slow
def test_everything_is_listed(exported):
    done = subprocess.run(
        "find . -type f ! -name manifest.json | xargs sha256sum",
        shell=True, cwd=exported, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    found = bundle.listed(exported)
    assert {name: entry["sha256"] for name, entry in found.items()} == {
        name.removeprefix("./"): digest for digest, name in lines
    }
    assert any("-kit/" in name for name in found)
    assert {"motion-fp32.onnx", "motion-fp16.bin", "motion-fp16.xml.json"} <= set(found)


@pytest.mark.slow
def test_info(run, copy):
    code, output, errors = run("info", copy)
    assert (code, errors) == (0, "")
    count = len(bundle.listed(copy))
    assert output.endswith(f"   bundle  {copy}: {count} files as exported\n")
    kit = copy / "motion-fp16-conv2d-ascend310b-kit"
    told = f"      kit  {kit}: no model yet; copy it to its device and run build.py there"
    assert told in output.splitlines()
    assert output.count("    model  ") == 2

    code, output, _ = run("info", copy, "--json")
    *models, of_kit, of_folder = map(json.loads, output.splitlines())
    assert [model["verified"] for model in models] == [True, True]
    assert of_kit == {"path": str(kit), "status": "kit"}
    assert of_folder == {"path": str(copy), "files": count}

    code, output, _ = run("info", kit)
    assert code == 0
    assert output.splitlines()[-1] == told


def spoil(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "damage", "found"),
    [
        ("motion-fp16-conv2d-ascend310b-kit/model.onnx", spoil, "has another sha256"),
        ("motion-fp16.bin", lambda file: file.write_bytes(b"12"), "has 2 bytes instead of "),
        ("motion-fp32.onnx.json", lambda file: file.unlink(), "is missing"),
    ],
)
def test_damage_is_named(run, copy, name, damage, found):
    damage(copy / name)
    code, _, errors = run("info", copy)
    assert code == MODEL
    last = errors.splitlines()[-1]
    assert f"{copy} is not as it was exported: {name} {found}" in last
    assert last.endswith("copy the folder again")


@pytest.mark.slow
def test_what_is_replaced_and_deleted(run, copy):
    before = bundle.listed(copy)
    for file in copy.glob("motion-fp16.*"):
        file.unlink()
    (copy / "notes.txt").write_text("mine")
    build("motion", targets=["onnx"], frames=8, out=copy)
    after = bundle.listed(copy)
    assert set(before) - set(after) == {
        "motion-fp16.bin",
        "motion-fp16.xml",
        "motion-fp16.xml.json",
    }
    assert before["motion-fp32.onnx"] != after["motion-fp32.onnx"]
    assert run("info", copy)[0] == 0


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "app", "icons": []}',
        '{"format": 2, "files": {}}',
        '{"format": 1, "files": ["a"]}',
        '{"format": 1, "files": {"a": {"size": 1}}}',
        '{"format": 1, "files": {"../a": {"size": 1, "sha256": ""}}}',
        '{"format": 1, "files": {"/a": {"size": 1, "sha256": ""}}}',
        '{"format": 1',
    ],
)
def test_another_file_of_that_name(fails, tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    fails(MODEL, f"{tmp_path / 'manifest.json'} is not", "export", "motion", "--out", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["manifest.json"]
    with pytest.raises(ModelError, match="is not"):
        bundle.check(tmp_path)


def test_two_exports_at_once(tmp_path):
    """Make sure that each adds to what the other has written."""
    files = [tmp_path / f"{i}.onnx" for i in range(24)]
    for file in files:
        file.write_bytes(file.name.encode())
        file.with_name(file.name + ".json").write_text("{}")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda file: bundle.record(tmp_path, [file]), files))
    found = bundle.listed(tmp_path)
    assert len(found) == 48
    assert found["7.onnx"] == {"size": 6, "sha256": hashlib.sha256(b"7.onnx").hexdigest()}


@pytest.mark.long
def test_calibrate_into_the_folder(run, copy):
    model = copy / "motion-fp32.onnx"
    assert run("calibrate", model, "--num-clips", 12, "--out", copy / "p.onnx")[0] == 0
    assert {"p.onnx", "p.onnx.json"} <= set(bundle.listed(copy))
    assert bundle.check(copy) == len(bundle.listed(copy))


@pytest.mark.parametrize("name", ["absent", "n" * 300])
def test_a_manifest_that_cannot_be_written(tmp_path, name):
    with pytest.raises(OutputError, match=rf"the manifest of .*{name} cannot be written"):
        bundle.record(tmp_path / name, [])


def test_a_file_that_cannot_be_listed(tmp_path):
    with pytest.raises(OutputError, match=r"cannot be written \(.*No such file"):
        bundle.record(tmp_path, [], [tmp_path / "absent"])


def test_a_folder_of_which_no_manifest_can_be_read(tmp_path):
    with pytest.raises(ModelError, match=r"cannot be read \(File name too long\)"):
        bundle.check(tmp_path / ("n" * 300))
