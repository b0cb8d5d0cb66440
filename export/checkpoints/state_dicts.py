"""The search for a network's parameters in whatever a training script saved around them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.inert_pickle import Global, Instance
from r2p_edge.export.checkpoints.numpy_pickle import numpy_value
from r2p_edge.export.checkpoints.torch_pickle import OtherTensor, TensorView
from r2p_edge.spec.checks import plain, some_of

Tensor = TensorView | OtherTensor | npt.NDArray[np.generic]
_T = TypeVar("_T")
StateDict = dict[str, Tensor]
"""A network's parameters by name, in the file's order."""

WHOLE = "."
"""Key of parameters that the file holds directly."""

_OPTIMISER = {"state", "param_groups"}  # keys of its state_dict
_SCRIPTED = "__torch__"  # where TorchScript's classes are
_SHOWN = 8  # keys in a message
_DEPTH = 64  # the most containers or layers, one in another
_NETWORK_AXES = 4  # of the weights of a convolution, at least
_MODULES = 100_000  # the most layers of a network; one in itself has no end


class Weights(NamedTuple):
    """The parameters of a network.

    Attributes:
        module: the module that has them, if they are not in a dict.
    """

    tensors: StateDict
    module: Instance | None


def find_weights(content: Any, key: str | None = None) -> Weights:
    """Return the parameters of the one network in an object that a training script saved.

    They are a dict of tensors or a whole module, at any depth of dicts, lists and attributes.
    Those whose tensors have the most axes count, as a video network's convolutions have; the same
    tensors count once. Optimisers have numbers for their tensors, not names.

    Args:
        content: the object, as `inert_pickle.read_pickle` returns it.
        key: the place of the parameters, if there are several: keys with dots between them. Of
            a set with several networks, what their names begin with.

    Raises:
        CheckpointError: there are none, none under that key, or several and no key.
    """
    found = dict(_state_dicts(content))
    if key is not None:
        if key in found:
            return found[key]
        if (below := _below(found, key)) is not None:
            return below
        raise CheckpointError(f"the file has no weights under the key {key}; {_listed(found)}")
    most = max((_axes(each.tensors) for each in found.values()), default=0)
    found = _without_copies(
        {path: each for path, each in found.items() if _axes(each.tensors) == most}
    )
    if not found and isinstance(content, Mapping) and content.keys() >= _OPTIMISER:
        raise CheckpointError(
            "the file is the state of an optimiser (state, param_groups), without the weights of "
            "a network; give the file of weights that was saved beside it"
        )
    if not found:
        raise CheckpointError(
            f"the file contains {_described(content)} and no parameters by name; save "
            "model.state_dict() instead"
        )
    arrays = [tensor for each in found.values() for tensor in each.tensors.values()]
    if most < _NETWORK_AXES and all(isinstance(array, np.ndarray) for array in arrays):
        names = [plain(name) for name in next(iter(found.values())).tensors]
        raise CheckpointError(
            f"the file contains {_described(content)} with NumPy arrays ({some_of(names, 3)}) and "
            "no network of PyTorch's; give the checkpoint that the training of the network saved"
        )
    if len(found) > 1:
        raise CheckpointError(f"the file has several sets of weights; {_listed(found)}")
    return next(iter(found.values()))


def _below(found: Mapping[str, Weights], key: str) -> Weights | None:
    """Return the network of several in one set of parameters whose names begin with a key."""
    for path, each in found.items():
        prefix = key.removeprefix(f"{path}.")
        tensors = those_below(each.tensors, prefix)
        if tensors:
            modules = {} if each.module is None else dict(walk(each.module))
            return Weights(tensors, modules.get(prefix))
    return None


def those_below(named: Mapping[str, _T], prefix: str) -> dict[str, _T]:
    """Return what has names that begin with a prefix and a dot, by the rest of these."""
    start = f"{prefix}."
    return {
        name.removeprefix(start): value for name, value in named.items() if name.startswith(start)
    }


def _state_dicts(content: Any) -> Iterator[tuple[str, Weights]]:
    """Yield the place and the tensors of each dict or module that has some, outermost first."""
    waiting, seen = deque([("", 0, content)]), {id(content)}
    while waiting:
        path, depth, value = waiting.popleft()
        tensors = _tensors_of(value)
        if tensors:
            yield path or WHOLE, Weights(tensors, value if is_module(value) else None)
        if is_module(value) or depth == _DEPTH:
            continue
        for name, part in parts_of(value):
            if isinstance(part, (Mapping, list, tuple, Instance)) and id(part) not in seen:
                seen.add(id(part))
                waiting.append((f"{path}.{name}" if path else name, depth + 1, part))


def _tensors_of(value: Any) -> StateDict:
    if is_module(value):
        return dict(_of_module(value))
    if isinstance(value, Mapping):
        return {
            name: tensor
            for name, item in value.items()
            if isinstance(name, str) and (tensor := _tensor(item)) is not None
        }
    return {}


def _tensor(value: Any) -> Tensor | None:
    return value if isinstance(value, (TensorView, OtherTensor)) else numpy_value(value)


def parts_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what an object contains, each with its name."""
    if isinstance(value, Mapping):
        yield from ((name, part) for name, part in value.items() if isinstance(name, str))
    elif isinstance(value, (list, tuple)):
        yield from ((str(number), part) for number, part in enumerate(value))
    elif isinstance(value, Instance):
        for inner in (value.state, value.items, value.elements, value.arguments):
            yield from parts_of(inner) if isinstance(inner, (Mapping, list, tuple)) else ()


def is_module(value: Any) -> bool:
    """Tell whether this is a module of PyTorch's, or one of TorchScript's."""
    if not isinstance(value, Instance) or not isinstance(value.state, Mapping):
        return False
    scripted = isinstance(value.called, Global) and value.called.module.startswith(_SCRIPTED)
    return scripted or isinstance(value.state.get("_modules"), Mapping)


def _of_module(module: Instance) -> Iterator[tuple[str, Tensor]]:
    """Yield a module's parameters in the order of `state_dict()`."""
    for name, value in walk(module):
        state = value.state
        own = [state] if "_modules" not in state else [state.get("_parameters"), state["_buffers"]]
        for group in own:
            for leaf, tensor in _tensors_of(group).items():
                yield f"{name}.{leaf}" if name else leaf, tensor


def walk(module: Instance) -> Iterator[tuple[str, Instance]]:
    """Yield a module and all modules in it, each with its name, outermost first.

    Raises:
        CheckpointError: it contains itself.
    """
    waiting, count = [("", 0, module)], 0
    while waiting:
        name, depth, value = waiting.pop()
        count += 1
        if count > _MODULES or depth > _DEPTH:
            raise CheckpointError(
                "the file has a network that contains itself; save model.state_dict()"
            )
        yield name, value
        children = value.state.get("_modules", value.state).items()
        waiting += [
            (f"{name}.{key}" if name else str(key), depth + 1, child)
            for key, child in reversed(children)
            if is_module(child)
        ]


def _axes(tensors: StateDict) -> int:
    """Return the most axes of a tensor of them."""
    return max(len(getattr(tensor, "shape", ())) for tensor in tensors.values())


def _without_copies(found: Mapping[str, Weights]) -> dict[str, Weights]:
    """Leave out sets of the very same tensors; of those, a module says most."""
    kept: dict[Any, str] = {}
    for path, weights in found.items():
        identity = frozenset(
            (tensor.storage.key, tensor.offset, tensor.shape)
            if isinstance(tensor, TensorView)
            else id(tensor)
            for tensor in weights.tensors.values()
        )
        if identity not in kept or (weights.module and not found[kept[identity]].module):
            kept[identity] = path
    return {path: found[path] for path in kept.values()}


def _listed(found: Mapping[str, Weights]) -> str:
    if not found:
        return "it has no weights at all"
    sets = [f"{plain(path)} ({len(each.tensors)} tensors)" for path, each in found.items()]
    return f"choose one of {some_of(sets, _SHOWN)} with --weights-key"


def _described(content: Any) -> str:
    if isinstance(content, Mapping):
        keys = [plain(key) for key in content if isinstance(key, str)]
        return f"a dict of {', '.join(keys[:_SHOWN]) or 'nothing'}"
    if isinstance(content, (TensorView, np.ndarray)):
        return f"a single tensor ({'x'.join(map(str, content.shape)) or 'a number'})"
    if isinstance(content, Instance) and isinstance(content.called, Global):
        if is_module(content) and content.called.module.startswith(_SCRIPTED):
            return "a TorchScript program whose weights are frozen into it"
        return f"a {plain(str(content.called))}"
    return f"a {type(content).__name__}"
