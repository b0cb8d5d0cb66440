"""Parts of a per-frame form on OpenVINO: requests whose tensors are arrays of ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

import numpy.typing as npt

from r2p_edge.errors import BackendError, R2PError, one_line
from r2p_edge.runtimes.part import PartCall, PartModel, PartTensor, check_shared


class OpenVinoPart(PartModel):
    """A compiled model whose calls are requests on tensors of ours."""

    def __init__(self, openvino: ModuleType, compiled: Any) -> None:
        self._openvino, self._compiled = openvino, compiled
        self.inputs = {each.get_any_name(): _tensor(each) for each in compiled.inputs}
        self.outputs = {each.get_any_name(): _tensor(each) for each in compiled.outputs}

    def holder(self, array: npt.NDArray[Any]) -> Any:
        tensor = self._openvino.Tensor(array, shared_memory=True)
        check_shared("openvino", tensor.data.ctypes.data, array)
        return tensor

    def call(self) -> PartCall:
        return _Request(self._compiled.create_infer_request(), self.inputs, self.outputs)


class _Request(PartCall):
    def __init__(self, request: Any, inputs: Iterable[str], outputs: Iterable[str]) -> None:
        self._request = request
        self._inputs = {name: place for place, name in enumerate(inputs)}
        self._outputs = {name: place for place, name in enumerate(outputs)}

    def bind(self, name: str, holder: Any) -> None:
        if name in self._inputs:
            self._request.set_input_tensor(self._inputs[name], holder)
        else:
            self._request.set_output_tensor(self._outputs[name], holder)

    def run(self) -> None:
        with failures("cpu"):
            # `infer` would wrap all outputs in arrays at each call.
            self._request.start_async()
            self._request.wait()


@contextlib.contextmanager
def failures(device: str) -> Iterator[None]:
    """Turn what the library raises on a device into an error of ours."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, R2PError):
            raise
        raise BackendError(f"openvino failed on {device} ({one_line(error)})") from error


def _tensor(port: Any) -> PartTensor:
    return PartTensor(shape_of(port), port.element_type.to_dtype().name)


def shape_of(port: Any) -> tuple[int, ...]:
    """Return the shape of an input or output with -1 for open axes."""
    return tuple(axis.get_length() if axis.is_static else -1 for axis in port.get_partial_shape())
