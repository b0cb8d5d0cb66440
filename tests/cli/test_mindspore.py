"""The command line with MindSpore, MindSpore Lite, both or none of them installed."""

import json
import sys
from pathlib import Path

import onnx
import pytest
from exit_codes import BACKEND, DATA, KIT, MODEL, USAGE
from fake_mindspore_lite import install_program, installed
from models import brightness_model, spec_of_brightness
from networks import SMALL, random_parameters, spec_for
from requirements import needs

from r2p_edge.artifact.open import open_artifact
from r2p_edge.artifact.sidecar import sidecar_path, write_sidecar
from r2p_edge.calibration import motion

pytestmark = [pytest.mark.slow, needs("onnx"), needs("onnxruntime"), needs("safetensors")]

ASCENDS = ("ascend310", "ascend310p", "ascend310b")


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    monkeypatch.delenv("R2P_CONVERTER_LITE", raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


def hide(monkeypatch, *names):
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def neither(monkeypatch):
    hide(monkeypatch, "mindspore", "mindspore_lite")


@pytest.fixture
def lite():
    with installed():
        yield


@pytest.fixture
def framework(monkeypatch):
    """Provide MindSpore without MindSpore Lite."""
    hide(monkeypatch, "mindspore_lite")


@pytest.fixture(scope="session")
def network(tmp_path_factory):
    """Write a small R(2+1)D as a file of weights, and a file of its contract."""
    from safetensors.numpy import save_file

    folder = tmp_path_factory.mktemp("network")
    save_file(random_parameters(**SMALL), folder / "net.safetensors")
    (folder / "net.json").write_text(spec_for(SMALL["classes"], name="net").to_json())
    return folder / "net.safetensors", "--spec", folder / "net.json"


@pytest.fixture
def export(run, network, tmp_path):
    """Return a function that exports the network into `out`: exit code and {target: record}."""

    def export(targets, *options, out=tmp_path / "out"):
        code, output, errors = run(
            "export", *network, "--to", targets, "--out", out, "--json", *options
        )
        assert errors == ""
        return code, {each["target"]: each for each in json.loads(output)["artifacts"]}

    return export


def files(folder):
    """Return the names of the files in a folder, without its manifest."""
    names = {file.name for file in folder.iterdir()} if folder.exists() else set()
    return names - {"manifest.json"}


def spec_of(record):
    return open_artifact(record["path"]).spec


# Neither of them.


def test_a_kit_where_nothing_is_installed(export, neither, tmp_path):
    code, records = export("onnx,mindspore")
    assert code == 0
    assert list(records) == ["onnx", "mindspore"]
    kit = tmp_path / "out" / "net-fp32-conv2d-mindspore-lite-kit"
    assert records["mindspore"] == {
        "target": "mindspore",
        "precision": "fp32",
        "graph": "conv2d",
        "status": "kit",
        "path": str(kit),
        "parity": None,
    }
    assert (records["onnx"]["status"], records["onnx"]["graph"]) == ("built", "conv3d")
    assert files(tmp_path / "out") == {"net-fp32.onnx", "net-fp32.onnx.json", kit.name}


def test_strict_is_not_content_with_a_kit(run, export, neither, network, tmp_path):
    code, records = export("onnx,mindspore", "--strict")
    assert code == KIT
    assert [each["status"] for each in records.values()] == ["built", "kit"]
    assert export("onnx", "--strict", out=tmp_path / "other")[0] == 0
    # The same for people.
    code, output, errors = run(
        "export", *network, "--to", "onnx,mindspore", "--out", tmp_path / "out", "--strict"
    )
    assert (code, errors) == (KIT, "")
    one, other = output.splitlines()
    assert (
        "net-fp32.onnx: onnx fp32 conv3d, verified against its checkpoint, computed in NumPy: "
        in one
    )
    assert "-kit: mindspore fp32 kit" in other
    assert other.endswith("run build.py there")
    # ATC takes the kit, too, and a 310B has no other way.
    _, output, _ = run("export", *network, "--to", "ascend310b", "--out", tmp_path / "out")
    assert output.endswith(", or build an .om of it on the board: examples/atlas/build_om.sh\n")


@pytest.mark.parametrize("graph", ["auto", "conv2d"])
def test_no_two_targets_share_a_name(export, neither, graph):
    targets = ("onnx", "mindspore-lite", *ASCENDS)
    _, records = export(",".join(targets), "--graph", graph)
    paths = [Path(each["path"]) for each in records.values()]
    kits = [path / "kit.json" for path in paths if path.is_dir()]
    artifacts = [json.loads(kit.read_text())["artifact"] for kit in kits]
    assert (len(set(paths)), len(set(artifacts))) == (5, 4)


def test_a_folder_in_the_way_of_a_kit(fails, neither, network, tmp_path):
    taken = tmp_path / "out" / "net-fp32-conv2d-mindspore-lite-kit"
    taken.mkdir(parents=True)
    (taken / "mine.txt").touch()
    fails(
        DATA, "exists and is not a kit; remove it, or choose another --out",
        "export", *network, "--to", "mindspore", "--out", tmp_path / "out",
    )  # fmt: skip
    assert files(taken) == {"mine.txt"}


def test_predict_without_either(run, fails, export, neither, lite, clip, monkeypatch):
    path = export("mindspore-lite")[1]["mindspore-lite"]["path"]
    hide(monkeypatch, "mindspore", "mindspore_lite")
    fails(BACKEND, "mindspore_lite is not installed; it is not on PyPI", "predict", path, clip)
    fails(
        BACKEND, "mindspore is not installed; pip install",
        "predict", brightness_mindir(clip.parent), clip,
    )  # fmt: skip


def brightness_mindir(folder):
    """Write as much of the framework's file as is looked at before the library is."""
    path = folder / "brightness.mindir"
    tensor = b"\x08\x01\x08\x04\x08\x08\x08\x08\x08\x03\x10\x02"  # (1, 4, 8, 8, 3), uint8
    for number in (2, 5, 7):
        tensor = bytes([number << 3 | 2, len(tensor)]) + tensor
    path.write_bytes(tensor)
    target = {"runtime": "mindspore", "device": "cpu"}
    write_sidecar(path, spec_of_brightness(target=target))
    return path


# MindSpore Lite, which is a stand-in here.


def test_what_lite_builds(run, export, lite, clip, tmp_path):
    code, records = export("onnx,mindspore", "--strict")
    assert code == 0
    record, path = records["mindspore"], tmp_path / "out" / "net-fp32-conv2d.mindir"
    assert (record["status"], record["graph"], record["path"]) == ("built", "conv2d", str(path))
    assert record["parity"]["max_rel"] <= 1e-4
    assert record["parity"]["top1"] == 1
    spec = open_artifact(path).spec
    assert (spec.input.dtype, spec.input.layout) == ("float32", "NCTHW")
    assert spec_of(records["onnx"]).input.dtype == "uint8"
    names = {"net-fp32.onnx", "net-fp32-conv2d.mindir"}
    assert files(tmp_path / "out") == names | {f"{name}.json" for name in names}
    code, output, _ = run("predict", path, clip, "--json")
    assert (code, json.loads(output)["runtime"]) == (0, "mindspore_lite")
    code, output, _ = run("info", tmp_path / "out", "--json")
    *models, folder = map(json.loads, output.splitlines())
    assert ([model["verified"] for model in models], folder["files"]) == ([True, True], 4)


def test_both_names_of_lite_give_one_file(export, lite):
    _, records = export("mindspore,mindspore-lite")
    assert records["mindspore"]["path"] == records["mindspore-lite"]["path"]
    assert open_artifact(records["mindspore"]["path"]).verified


def test_uint8_for_lite(export, lite):
    record = export("mindspore-lite", "--input", "uint8")[1]["mindspore-lite"]
    spec = spec_of(record)
    assert (spec.input.dtype, spec.input.layout, spec.graph) == ("uint8", "NTHWC", "conv2d")
    assert record["parity"]["max_rel"] <= 1e-4


def test_several_clips_at_once(run, export, lite, clip):
    record = export("mindspore-lite", "--batch", "2")[1]["mindspore-lite"]
    assert record["parity"]["max_rel"] <= 1e-4
    code, output, _ = run("predict", record["path"], clip, "--views", 3, "--json")
    assert (code, json.loads(output)["clips"]) == (0, 3)


def test_an_artifact_is_exported_again(run, export, lite, tmp_path):
    source = export("onnx")[1]["onnx"]["path"]
    out = tmp_path / "again"
    code, output, _ = run("export", source, "--to", "mindspore-lite", "--out", out, "--json")
    assert code == 0
    (record,) = json.loads(output)["artifacts"]
    assert record["path"] == str(out / "net-fp32-conv2d.mindir")
    # The normalisation that is in its graph stays there.
    assert spec_of(record).input == open_artifact(source).spec.input
    assert spec_of(record).contract_digest() == open_artifact(source).spec.contract_digest()
    assert record["parity"]["max_rel"] <= 1e-4


def test_a_name_and_a_folder_of_any_letters(run, export, lite, clip, tmp_path):
    out = tmp_path / "mein [größter] Ordner; {1}"
    record = export("mindspore-lite", "--name", "gehen (2) & räumen", out=out)[1]["mindspore-lite"]
    assert record["path"] == str(out / "gehen (2) & räumen-fp32-conv2d.mindir")
    code, _, errors = run("predict", record["path"], clip)
    assert (code, errors) == (0, "")


def test_for_an_ascend(run, export, fails, lite, clip):
    _, records = export(",".join(ASCENDS))
    for target, record in records.items():
        assert (record["status"], record["precision"]) == ("built", "fp16")
        assert record["parity"] is None
        assert record["graph"] == ("conv2d" if target == "ascend310b" else "conv3d")
        assert spec_of(record).target["device"] == target
    path = records["ascend310p"]["path"]
    fails(BACKEND, "mindspore_lite has no device 'ascend' here; it has cpu", "predict", path, clip)
    fails(
        MODEL, "was made for ascend310p and cannot run on cpu; open it on ascend, or export it",
        "predict", path, clip, "--device", "cpu",
    )  # fmt: skip


def test_a_file_for_another_device_on_the_framework(fails, export, lite, clip, monkeypatch):
    _, records = export("ascend310p,mindspore-lite")
    hide(monkeypatch, "mindspore_lite")
    for target, name in (("ascend310p", "ascend310p"), ("mindspore-lite", "cpu")):
        fails(
            MODEL, f"was made for mindspore_lite on {name} and not for mindspore on cpu",
            "predict", records[target]["path"], clip, "--runtime", "mindspore",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("mindspore-lite", "--graph", "conv3d"), MODEL, "export with --graph conv2d"),
        (("ascend310b", "--graph", "conv3d"), MODEL, "export with --graph conv2d"),
        (("mindspore", "--precision", "fp16"), USAGE, "mindspore has no precision fp16; it has fp"),
        (("mindspore-lite", "--precision", "fp16"), USAGE, "mindspore-lite has no precision fp16"),
        (("ascend310p", "--precision", "fp32"), USAGE, "ascend310p has no precision fp32; it has"),
        (("onnx,ascend310p", "--precision", "fp16"), USAGE, "onnx has no precision fp16"),
        (
            ("ascend910",),
            USAGE,
            "no target ascend910; did you mean ascend310? choose from onnx, openvino, ",
        ),
    ],
)
def test_refused(fails, lite, network, tmp_path, options, code, message):
    out = tmp_path / "out"
    fails(code, message, "export", *network, "--out", out, "--to", *options)
    assert not out.exists()


def test_one_target_fails_among_others(run, lite, network, tmp_path):
    out = tmp_path / "out"
    code, output, errors = run(
        "export", *network, "--graph", "conv3d", "--to", "mindspore-lite,onnx", "--out", out,
        "--json",
    )  # fmt: skip
    assert code == MODEL
    report = json.loads(output)
    assert [each["target"] for each in report["artifacts"]] == ["onnx"]
    assert [each["target"] for each in report["failed"]] == ["mindspore-lite"]
    assert report["failed"][0]["error"] in errors
    assert files(out) == {"net-fp32.onnx", "net-fp32.onnx.json"}


@pytest.mark.parametrize("failure", ["exit1", "nothing", "empty", "abort"])
@pytest.mark.parametrize("kind", ["class", "program"])
def test_a_converter_that_fails(fails, export, lite, network, tmp_path, monkeypatch, kind, failure):
    said = {
        "exit1": "said: [ERROR] LITE: Unsupported to convert ops: [Wobble]; try ",
        "nothing": "wrote no file for ",
        "empty": "wrote no file for ",
        "abort": "was killed by SIGABRT for ",
    }
    if kind == "program":
        monkeypatch.setenv("R2P_CONVERTER_LITE", str(install_program(tmp_path / "lite")))
    export("mindspore-lite")
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    monkeypatch.setenv("FAKE_LITE_CONVERTER", failure)
    # Not a kit: the tool is here.
    fails(MODEL, said[failure], "export", *network, "--to", "mindspore", "--out", tmp_path / "out")
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == before
    fails(MODEL, said[failure], "export", *network, "--to", "mindspore", "--out", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_converter_that_is_named_wrongly(fails, lite, network, tmp_path, monkeypatch):
    monkeypatch.setenv("R2P_CONVERTER_LITE", str(tmp_path / "absent"))
    fails(
        USAGE, "absent, which is not a program; correct or unset it",
        "export", *network, "--to", "mindspore", "--out", tmp_path / "out",
    )  # fmt: skip
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("target", ["mindspore-lite", "ascend310p"])
def test_an_operator_that_lite_lacks(fails, lite, tmp_path, target):
    refuses_wobble(fails, tmp_path, target)


def refuses_wobble(fails, folder, target):
    model = onnx.load(brightness_model(folder / "model.onnx"))
    model.graph.node[0].op_type = "Wobble"
    model.graph.node[0].domain = "com.example"
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    onnx.save(model, folder / "odd.onnx")
    out = folder / "out"
    fails(MODEL, "Wobble", "export", folder / "odd.onnx", "--to", target, "--out", out)
    assert not out.exists()


# Files that are something else.


def test_another_models_sidecar(run, fails, export, lite, clip, tmp_path):
    path = export("mindspore-lite")[1]["mindspore-lite"]["path"]
    other = export("mindspore-lite", "--input", "uint8", "--name", "other")[1]["mindspore-lite"]
    sidecar_path(tmp_path / "out" / "net-fp32-conv2d.mindir").write_bytes(
        sidecar_path(tmp_path / "out" / "other-fp32-conv2d.mindir").read_bytes()
    )
    for verb in (("predict", path, clip), ("info", path)):
        fails(MODEL, "but its sidecar says", *verb)
    # Of the same size and hash, but of another input.
    write_sidecar(tmp_path / "out" / "net-fp32-conv2d.mindir", spec_of(other))
    fails(MODEL, "but its spec says", "predict", path, clip)


def test_a_file_of_the_device_side_library(fails, lite, clip, tmp_path):
    path = tmp_path / "model.ms"
    path.write_bytes(b"ms")
    fails(MODEL, "is for MindSpore Lite's device-side libraries", "predict", path, clip)
    write_sidecar(path, spec_of_brightness())
    fails(MODEL, "is for MindSpore Lite's device-side libraries", "predict", path, clip)
    (tmp_path / "spec.json").write_text(spec_of_brightness().to_json())
    sidecar_path(path).unlink()
    fails(
        MODEL, "is for MindSpore Lite's device-side libraries",
        "predict", path, clip, "--spec", tmp_path / "spec.json",
    )  # fmt: skip


def test_an_offline_model_without_its_library(fails, neither, clip, tmp_path, monkeypatch):
    hide(monkeypatch, "ais_bench", "acl")
    path = tmp_path / "model.om"
    path.write_bytes(b"om")
    fails(MODEL, "has no sidecar model.om.json", "predict", path, clip)
    write_sidecar(path, spec_of_brightness(precision="fp16"))
    fails(BACKEND, "acl is not installed; it comes with CANN", "predict", path, clip)
    fails(
        BACKEND, "ais_bench is not installed; with g++ and CANN's environment, build it from",
        "predict", path, clip, "--runtime", "ais_bench",
    )  # fmt: skip
    fails(
        MODEL, "model.om is not a model file for mindspore_lite: mindspore_lite runs .mindir",
        "predict", path, clip, "--runtime", "mindspore_lite",
    )  # fmt: skip
    fails(MODEL, "was made for ascend and cannot", "predict", path, clip, "--device", "cpu")


def test_a_mindir_that_is_none(run, lite, clip, tmp_path):
    path = tmp_path / "model.mindir"
    path.write_bytes(b"no MindIR")
    write_sidecar(path, spec_of_brightness())
    code, _, errors = run("predict", path, clip)
    assert code == MODEL
    *logged, error = errors.splitlines()  # the library's own, and ours
    assert logged == ["[ERROR] LITE: Unsupported model: no MindIR"]
    assert error.startswith(f"r2p-edge: error: mindspore_lite 2.7.0 cannot load {path} on cpu (")


# MindSpore itself.


@needs("mindspore")
def test_what_the_framework_builds(run, framework, clip, tmp_path):
    code, output, errors = run(
        "export", "motion", "--to", "onnx,mindspore", "--out", tmp_path / "out", "--json"
    )
    assert (code, errors) == (0, "")
    one, record = json.loads(output)["artifacts"]
    assert (record["status"], record["graph"], record["target"]) == ("built", "conv3d", "mindspore")
    assert record["parity"]["max_rel"] <= 1e-4
    assert record["parity"]["top1"] == 1
    names = {"motion-fp32.onnx", "motion-fp32.mindir"}
    assert files(tmp_path / "out") == names | {f"{name}.json" for name in names}
    code, output, _ = run("predict", record["path"], clip, "--json")
    answer = json.loads(output)
    assert (code, answer["label"], answer["runtime"]) == (0, motion.CLASSES[0], "mindspore")
    code, output, _ = run("compare", one["path"], record["path"], "--num-clips", 3, "--json")
    (result,) = json.loads(output)["results"]
    assert (code, result["runtime"], result["within"]) == (0, "mindspore", True)
    assert (result["top1"], result["differs"]) == (1.0, [])
    assert result["max_rel"] <= 1e-4


@pytest.mark.long
@needs("mindspore")
def test_the_demo_has_a_row_for_mindspore(demo):
    report, _ = demo
    results = {each["runtime"]: each for each in report["results"] if each["precision"] == "fp32"}
    assert abs(results["mindspore"]["top1"] - results["onnxruntime"]["top1"]) <= 0.005
    assert results["mindspore"]["agreement"] == 1
    assert results["mindspore"]["path"].endswith("motion-fp32.mindir")
    left = {each["runtime"]: each["reason"] for each in report["left_out"]}
    assert "is not installed" in left["mindspore_lite"]


@pytest.mark.long
def test_the_demo_has_a_row_for_lite(run, lite, tmp_path, monkeypatch):
    for clips in ("_CALIBRATED", "_JUDGED"):  # int8 is measured elsewhere
        monkeypatch.setattr(f"r2p_edge.demo.{clips}", 2)
    code, output, _ = run("demo", "--num-clips", 12, "--out", tmp_path, "--json")
    assert code == 0
    report = json.loads(output)
    results = {each["runtime"]: each for each in report["results"] if each["precision"] == "fp32"}
    assert results["mindspore_lite"]["top1"] == results["onnxruntime"]["top1"]
    assert "mindspore" not in results
    assert "mindspore" in {each["runtime"] for each in report["left_out"]}


@needs("mindspore")
def test_the_framework_beside_what_else_is_built(export, framework, tmp_path):
    _, records = export("mindspore,mindspore-lite,ascend310p,ascend310b,onnx")
    found = {target: (each["status"], each["graph"]) for target, each in records.items()}
    assert found == {
        "mindspore": ("built", "conv3d"),
        "mindspore-lite": ("kit", "conv2d"),
        "ascend310p": ("kit", "conv3d"),
        "ascend310b": ("kit", "conv2d"),
        "onnx": ("built", "conv3d"),
    }
    assert len({each["path"] for each in records.values()}) == 5
    assert records["mindspore"]["path"].endswith("/net-fp32.mindir")


@needs("mindspore")
@pytest.mark.parametrize(
    "options", [("--graph", "conv2d"), ("--input", "float32"), ("--batch", "2")]
)
def test_other_forms_for_the_framework(run, export, framework, clip, options):
    record = export("mindspore", *options)[1]["mindspore"]
    assert record["status"] == "built"
    assert record["parity"]["max_rel"] <= 1e-4
    code, output, _ = run("predict", record["path"], clip, "--views", 3, "--json")
    assert (code, json.loads(output)["runtime"]) == (0, "mindspore")


@needs("mindspore")
def test_a_framework_name_and_folder_of_any_letters(run, export, framework, clip, tmp_path):
    out = tmp_path / "mein [größter] Ordner; {1}"
    record = export("mindspore", "--name", "gehen (2) & räumen", out=out)[1]["mindspore"]
    assert record["path"] == str(out / "gehen (2) & räumen-fp32.mindir")
    code, output, errors = run("predict", record["path"], clip, "--json")
    assert (code, errors, json.loads(output)["runtime"]) == (0, "", "mindspore")


@needs("mindspore")
def test_an_operator_that_the_framework_lacks(fails, framework, tmp_path):
    refuses_wobble(fails, tmp_path, "mindspore")


@needs("mindspore")
def test_a_file_of_the_framework_that_is_damaged(fails, export, framework, clip):
    path = Path(export("mindspore")[1]["mindspore"]["path"])
    whole = path.read_bytes()
    spec = open_artifact(path).spec
    path.write_bytes(whole[:-100])
    fails(MODEL, "but its sidecar says", "predict", path, clip)
    write_sidecar(path, spec)
    fails(MODEL, "is not a whole MindIR file", "predict", path, clip)
