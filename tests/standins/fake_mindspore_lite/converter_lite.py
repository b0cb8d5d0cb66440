"""A stand-in for the program `converter_lite`; what it does is in `mindspore_lite._tool`."""

import os
import sys

LIBRARY = "tools/converter/lib"
if not any(path.endswith(LIBRARY) for path in os.environ.get("LD_LIBRARY_PATH", "").split(":")):
    print(
        "converter_lite: error while loading shared libraries: libmindspore_converter.so: cannot "
        "open shared object file: No such file or directory",
        file=sys.stderr,
    )
    sys.exit(127)

from mindspore_lite import _tool  # noqa: E402

sys.exit(_tool.main(sys.argv[1:]))
