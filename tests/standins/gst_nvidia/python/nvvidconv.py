"""A stand-in for NVIDIA's element of the same name: its scaler and converter."""

from gi.repository import GObject, Gst
from nvmemory import Chip, in_memory, on_chip, sink, src

# Those of its source, of Jetson Linux 36: no BGR, and P010_10LE not into common memory.
BOTH = "I420,UYVY,YUY2,YVYU,NV12,NV16,NV24,GRAY8,BGRx,RGBA,Y42B"
IN = f"{on_chip(BOTH + ',P010_10LE')};{in_memory(BOTH + ',P010_10LE')}"
OUT = f"{on_chip(BOTH + ',P010_10LE')};{in_memory(BOTH)}"


class Converter(Chip):
    """A converter and scaler."""

    __gstmetadata__ = (
        "NvVidConv Plugin",
        "Filter/Converter/Video/Scaler",
        "A stand-in",
        "r2p_edge",
    )
    __gsttemplates__ = (sink(IN), src(OUT))
    interpolation_method = GObject.Property(type=int, minimum=0, maximum=5)

    def __init__(self):
        super().__init__()
        self.put(
            f'capsfilter name=sink caps="{IN}" ! nvmemory ! videoconvert ! videoscale ! nvmemory ! '
            f'capsfilter name=src caps="{OUT}"'
        )


__gstelementfactory__ = ("nvvidconv", Gst.Rank.NONE, Converter)
