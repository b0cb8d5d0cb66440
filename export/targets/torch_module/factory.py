"""Modules that a function of the user's makes: `--module FILE:FACTORY`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from r2p_edge._optional import missing
from r2p_edge.errors import ModelError, ModelNotFoundError, UsageError
from r2p_edge.export.checkpoints.read import Checkpoint, read_checkpoint
from r2p_edge.export.graph.builder import check_batch
from r2p_edge.export.targets.torch_module.state import fitted_state
from r2p_edge.export.targets.torch_module.trace import TracedModule, trace_module
from r2p_edge.spec import ModelSpec

if TYPE_CHECKING:
    import torch

NO_WEIGHTS = "none"
"""Name in place of a checkpoint's for a module that comes with its weights."""


class ModuleFactory(NamedTuple):
    """A function that makes a module, and the weights to load into it.

    Attributes:
        file: Python file, or dotted name of a module.
        function: name in it, of a function, a class or a module.
        arguments: for the function, by name.
        checkpoint: the weights; None for a module that comes with them.
    """

    file: str
    function: str
    arguments: Mapping[str, Any]
    checkpoint: Checkpoint | None

    def __str__(self) -> str:
        return f"{self.file}:{self.function}"

    def source(self) -> dict[str, Any] | None:
        """Return the record of where the weights come from; None if the function has them."""
        if self.checkpoint is None:
            return None
        record = {"file": self.checkpoint.file, "sha256": self.checkpoint.sha256}
        record["module"] = f"{Path(self.file).name}:{self.function}"
        return {**record, **({"args": dict(self.arguments)} if self.arguments else {})}

    def make(self) -> torch.nn.Module:
        """Run the user's code; return the module with the weights in it.

        Raises:
            ModelError: the function is not there, or makes something else.
            CheckpointError: the weights are not of this module.
            Exception: whatever that code raises.
        """
        import torch

        made: Any = self._found()
        if not isinstance(made, torch.nn.Module):
            made = made(**self.arguments)
        elif self.arguments:
            raise UsageError(f"{self} is a module already, so that --args changes nothing")
        if not isinstance(made, torch.nn.Module):
            raise ModelError(
                f"{self} returns {type(made).__name__} and not a torch.nn.Module; write a function "
                "that returns the module alone"
            )
        if self.checkpoint is None:
            return made
        shapes = {name: tuple(each.shape) for name, each in made.state_dict().items()}
        state = fitted_state(
            self.checkpoint.parameters, shapes, file=self.checkpoint.file, module=str(self)
        )
        # A copy: what is read may be a view that cannot be written.
        tensors = {name: torch.from_numpy(np.array(each)) for name, each in state.items()}
        made.load_state_dict(tensors, strict=False)  # the counters may be absent
        return made

    def _found(self) -> Any:
        found: Any = _imported(self.file)
        for name in self.function.split("."):
            if not hasattr(found, name):
                there = [each for each, value in vars(found).items() if _is_made_in(value, found)]
                raise ModelError(
                    f"{self.file} has no {self.function}; it has {', '.join(there[:12]) or 'none'}"
                )
            found = getattr(found, name)
        return found


def module_factory(
    named: str,
    arguments: Mapping[str, Any] | None,
    weights: str | Path | None,
    weights_key: str | None,
    *,
    trust_code: bool,
) -> ModuleFactory:
    """Return the factory that a user names; its code is not run yet.

    Args:
        named: "FILE:FACTORY": a Python file or the dotted name of a module, and a name in it.
        arguments: for the function.
        weights: file of a checkpoint; `NO_WEIGHTS` for a module that comes with its weights.
        weights_key: place of the weights in it, see `read_checkpoint`.
        trust_code: the user's word that the code may run.

    Raises:
        UsageError: the name has another form, the code may not run, or no weights are given.
        ModelNotFoundError: there is no such file.
        CheckpointError: the weights cannot be read.
    """
    file, _, function = named.rpartition(":")
    if not file or not all(name.isidentifier() for name in function.split(".")):
        raise UsageError(
            f"the module is {named}; give FILE:FACTORY, such as models/resnet.py:generate_model"
        )
    if not trust_code:
        raise UsageError(
            f"--module runs the code of {file} with all your rights, unlike everything else here; "
            "add --trust-code if you trust its authors"
        )
    if _is_path(file) and not os.path.isfile(file):
        raise ModelNotFoundError(f"there is no Python file {file}; check the path of --module")
    if weights is None:
        raise UsageError(
            f"no weights are given for {named}; give --weights CKPT, or --weights {NO_WEIGHTS} if "
            "it loads them itself"
        )
    checkpoint = None
    if str(weights) != NO_WEIGHTS:
        checkpoint = read_checkpoint(weights, weights_key)
    elif weights_key is not None:
        raise UsageError(f"there are no weights of which {weights_key} could be chosen")
    return ModuleFactory(file, function, arguments or {}, checkpoint)


def trace_factory(
    factory: ModuleFactory, spec: ModelSpec, *, batch: int = 1, output: str | None = None
) -> TracedModule:
    """Return the module that a factory makes as an ONNX file; see `trace_module`.

    Raises:
        MissingDependencyError: torch is not installed.
        R2PError: see `trace_module`.
    """
    if importlib.util.find_spec("torch") is None:
        raise missing("torch")
    check_batch(batch)
    traced = trace_module(factory.make, spec, batch=batch, output=output, name=str(factory))
    return traced._replace(source=factory.source())


def _is_made_in(value: object, module: object) -> bool:
    """Return whether this is a function, class or object of a module's own."""
    home = getattr(value, "__module__", None)
    return callable(value) and home is not None and home == getattr(module, "__name__", None)


def _is_path(file: str) -> bool:
    return file.endswith(".py") or os.sep in file


def _imported(file: str) -> ModuleType:
    """Import a Python file as `python FILE` would find its imports, or a module by its name."""
    if not _is_path(file):
        sys.path.insert(0, str(Path.cwd()))
        return importlib.import_module(file)
    path = Path(file).resolve()
    folder, names = path.parent, [path.stem]
    while (folder / "__init__.py").is_file():  # so that relative imports work
        names.insert(0, folder.name)
        folder = folder.parent
    sys.path.insert(0, str(folder))
    if len(names) > 1:
        return importlib.import_module(".".join(names))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
