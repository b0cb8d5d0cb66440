"""A stand-in for NVIDIA's element of the same name: a camera on the ribbon connector."""

from gi.repository import GObject, Gst
from nvmemory import Chip, on_chip, src

OUT = on_chip("NV12,P010_10LE")


class Camera(Chip):
    """A camera."""

    __gstmetadata__ = ("NvArgusCameraSrc", "Video/Capture", "A stand-in", "r2p_edge")
    __gsttemplates__ = (src(OUT),)
    sensor_id = GObject.Property(type=int, minimum=0, maximum=255)

    def __init__(self):
        super().__init__()
        self.put(f'videotestsrc is-live=true ! nvmemory ! capsfilter name=src caps="{OUT}"')


__gstelementfactory__ = ("nvarguscamerasrc", Gst.Rank.NONE, Camera)
