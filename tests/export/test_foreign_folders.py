"""Folders in place of a model's file are named for what they are, with the way out."""

import json
import re
import shlex
import subprocess
import sys

import pytest
from requirements import needs

from r2p_edge.errors import CheckpointError, ModelNotFoundError
from r2p_edge.export.checkpoints.read import read_checkpoint
from r2p_edge.export.foreign_folders import describe_folder
from r2p_edge.export.source import find_source

FOLDERS = {
    "tensorflow": (["checkpoint", "a.ckpt.index"], "the folder of a TensorFlow check.* SavedModel"),
    "deepspeed": (
        ["latest", "zero_to_fp32.py", "global_step5/mp_rank_00_model_states.pt"],
        r"DeepSpeed's in parts; join them: \(cd \S+ && python zero_to_fp32.py \. joined\)",
    ),
    "adapter": (
        ["adapter_config.json", "adapter_model.safetensors"],
        "an adapter .* and no network; merge it .*from_pretrained",
    ),
    "shards": (
        [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)],
        r"one model in 2 parts; join the parts: \(cd \S+ && python -c",
    ),
    "one shard": (["model-00001-of-00001.safetensors"], r"in it \(model-00001-of-00001"),
    "unpacked": (
        ["plain/data.pkl", "plain/version", "plain/data/0"],
        r"a folder, and \S+plain in it is the contents of a PyTorch checkpoint; pack them again",
    ),
    "trainer": (
        ["checkpoint-500/optimizer.pt", "checkpoint-500/rng_state.pth"],
        r"the state of a training \(checkpoint-500/optimizer.pt, .*\) and without its model",
    ),
    "state": (["optimizer.pt", "scheduler.pt"], r"the state of a training \(optimizer.pt, sched"),
    "below": (
        ["checkpoint-500/optimizer.pt", "checkpoint-500/model.safetensors"],
        r"give the checkpoint or ONNX file in it \(checkpoint-500/model.safetensors\)",
    ),
    "openvino": (["a.xml", "a.bin", "b.onnx"], r"ONNX file in it \(b.onnx\)"),
    "many": ([f"epoch_{number}.pth" for number in range(7)], r"epoch_4.pth, \.\.\.\)"),
}


@pytest.mark.parametrize(("names", "words"), FOLDERS.values(), ids=FOLDERS)
def test_a_folder_is_named(tmp_path, names, words):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    with pytest.raises(ModelNotFoundError, match=f"{re.escape(str(tmp_path))} is .*{words}"):
        find_source(tmp_path)


@pytest.mark.parametrize("name", ["a.mlpackage", "a.mlmodelc"])
def test_models_of_apples_are_folders(tmp_path, name):
    (tmp_path / name / "Data").mkdir(parents=True)
    assert describe_folder(tmp_path / name).startswith("a model that was converted for one device")


def command_in(message):
    """Return the shell command in a message: all between its first "(cd" and the ")" of that."""
    return re.search(r"(\(cd .*\)), and give", message)[1]


@pytest.mark.long
@needs("safetensors")
@needs("torch")
def test_shards_are_joined_by_the_command(tmp_path):
    import torch
    from safetensors.torch import save_file

    folder = tmp_path / "a model's shards"
    folder.mkdir()
    for number in (1, 2):
        part = {f"layer{number}.weight": torch.full((2,), float(number))}
        save_file(part, folder / f"model-0000{number}-of-00002.safetensors")
        torch.save(part, folder / f"pytorch_model-0000{number}-of-00002.bin")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors"}}))
    python = f'python() {{ {shlex.quote(sys.executable)} "$@"; }}; '
    for source, joined in (
        (index, "joined.safetensors"),
        (folder / "model-00002-of-00002.safetensors", "joined.safetensors"),
        (folder / "pytorch_model-00001-of-00002.bin", "joined.pth"),
    ):
        with pytest.raises(CheckpointError, match="join the parts") as refused:
            read_checkpoint(source)
        (folder / joined).unlink(missing_ok=True)
        subprocess.run(["bash", "-c", python + command_in(str(refused.value))], check=True)
        assert set(read_checkpoint(folder / joined).parameters) == {
            "layer1.weight",
            "layer2.weight",
        }


@needs("torch")
def test_an_unpacked_checkpoint_is_packed_by_the_command(tmp_path):
    import shutil
    import zipfile

    import torch

    if shutil.which("zip") is None:
        pytest.skip("needs the program zip")
    torch.save({"weight": torch.ones(2)}, tmp_path / "plain.pth")
    zipfile.ZipFile(tmp_path / "plain.pth").extractall(tmp_path / "un packed")
    with pytest.raises(CheckpointError, match="a PyTorch checkpoint that was unpacked") as refused:
        read_checkpoint(tmp_path / "un packed" / "plain" / "data.pkl")
    command = command_in(str(refused.value))
    assert command in describe_folder(tmp_path / "un packed")
    subprocess.run(["bash", "-c", command], check=True, capture_output=True)
    assert list(read_checkpoint(tmp_path / "un packed" / "model.pth").parameters) == ["weight"]


@needs("torch")
def test_parameters_without_numbers_are_deepspeeds(tmp_path):
    import torch

    path = tmp_path / "global_step5" / "mp_rank_00_model_states.pt"
    path.parent.mkdir()
    empty = {f"layer{number}.weight": torch.empty(0) for number in range(3)}
    torch.save({"module": {**empty, "norm.weight": torch.ones(2)}}, path)
    with pytest.raises(CheckpointError, match=r"3 of the 4 parameters, .*zero_to_fp32\.py"):
        read_checkpoint(path)
    whole = {name: torch.ones(2) for name in empty}  # ZeRO 1 and 2 keep all numbers here
    torch.save({"module": whole}, path)
    assert set(read_checkpoint(path).parameters) == set(whole)
