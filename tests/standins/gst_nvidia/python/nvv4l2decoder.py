"""A stand-in for NVIDIA's element of the same name: its decoder."""

from gi.repository import GObject, Gst
from nvmemory import Chip, on_chip, sink, src

# Whole pictures, each with its start codes, as parsers give them.
IN = "image/jpeg,parsed=true;" + ";".join(
    f"video/x-{codec},stream-format=byte-stream,alignment=au" for codec in ("h264", "h265")
)
OUT = on_chip("NV12,I420")


class Decoder(Chip):
    """A decoder."""

    __gstmetadata__ = ("NVIDIA v4l2 video decoder", "Codec/Decoder/Video", "A stand-in", "r2p_edge")
    __gsttemplates__ = (sink(IN), src(OUT))
    mjpeg = GObject.Property(type=bool, default=False)

    def __init__(self):
        super().__init__()
        self.put(
            f'capsfilter name=sink caps="{IN}" ! decodebin ! videoconvert ! nvmemory ! '
            f'capsfilter name=src caps="{OUT}"'
        )


__gstelementfactory__ = ("nvv4l2decoder", Gst.Rank.NONE, Decoder)
