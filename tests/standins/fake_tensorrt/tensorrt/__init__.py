"""A stand-in for NVIDIA's tensorrt that computes with ONNX Runtime and sets its traps.

It has the names of one release and no others (`api/<release>.json`), and fails as the real library
does: a method says None or False, and why goes to the logger. What it does and says comes from the
real bindings of the four releases, from the documentation and from messages in users' reports. In
what an adapter can get wrong:

- flags, members and parameters come and go from release to release;
- arguments have types, enumerations are no numbers, and unknown attributes cannot be set;
- a network's types, its precision flags, the Q/DQ nodes and the profile have to fit together;
- a plan is for one version and one compute capability;
- a context needs addresses of device memory, a stream and one thread at a time, and what it
  enqueues runs later; memory that is freed before, or a context that is gone, are an error then.

Environment variables: FAKE_TENSORRT_VERSION; FAKE_TENSORRT_CONTEXT_MEMORY, what a context takes of
the device; FAKE_TENSORRT_NO_TACTIC, to find no kernel for any layer; FAKE_TENSORRT_WRONG, to build
a plan that computes something else. R2P_CUDART names the stand-in for libcudart that it runs on.
"""

from . import _build, _core, _network, _parser, _run

__version__ = _core.VERSION

globals().update(_core.ENUMS)
for _module in (_core, _network, _parser, _build, _run):
    globals().update(_core.public(_module))
