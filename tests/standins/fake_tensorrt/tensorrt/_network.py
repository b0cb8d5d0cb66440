"""A network, which consists of the ONNX model that was parsed into it."""

from __future__ import annotations

from ._core import ENUMS, GENERATION, Dims, Owned, bound, check, error

__all__ = ["INetworkDefinition", "ITensor"]

_Flag = ENUMS["NetworkDefinitionCreationFlag"]


def _has(flags, name):
    flag = getattr(_Flag, name, None)
    return flag is not None and bool(flags & 1 << int(flag))


@bound
class ITensor(Owned):
    def _setup(self, name, dtype, shape):
        self._name, self._dtype, self._shape = name, dtype, shape

    @property
    def name(self):
        return self._name

    @property
    def dtype(self):
        return self._dtype

    @property
    def shape(self):
        return Dims(self._shape)


@bound
class INetworkDefinition(Owned):
    def _setup(self, builder, flags):
        self._builder, self._flags = builder, flags
        self._implicit_batch = GENERATION < (10,) and not _has(flags, "EXPLICIT_BATCH")
        self._typed = GENERATION > (11,) or _has(flags, "STRONGLY_TYPED")
        self._name = "Unnamed Network 0"
        self._model, self._inputs, self._outputs = None, [], []

    def _take(self, model, inputs, outputs):
        self._model, self._inputs, self._outputs = model, inputs, outputs

    @property
    def name(self):
        return self._name

    @name.setter
    def name(self, name):
        if len(check(name, str)) > 128:
            error(self._builder._logger, "INetworkDefinition::setName", 3, "the name is too long")
        else:
            self._name = name

    @property
    def flags(self):
        return self._flags

    def get_flag(self, flag):
        return _has(self._flags, check(flag, _Flag).name)

    @property
    def num_inputs(self):
        return len(self._inputs)

    @property
    def num_outputs(self):
        return len(self._outputs)

    @property
    def num_layers(self):
        return len(self._model.graph.node) if self._model else 0

    def get_input(self, index):
        return self._inputs[check(index, int)]

    def get_output(self, index):
        return self._outputs[check(index, int)]
