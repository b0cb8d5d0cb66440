"""A stand-in for GStreamer's element of the same name: a USB camera with two sizes of MJPEG."""

from gi.repository import GObject, Gst
from nvmemory import Chip, src

OUT = ";".join(
    f"image/jpeg,width={size[0]},height={size[1]},framerate=30/1"
    for size in ((1280, 720), (80, 60))
)


class Camera(Chip):
    """A camera."""

    __gstmetadata__ = ("Video (video4linux2) Source", "Source/Video", "A stand-in", "r2p_edge")
    __gsttemplates__ = (src(OUT),)
    device = GObject.Property(type=str)
    io_mode = GObject.Property(type=int, minimum=0, maximum=5)

    def __init__(self):
        super().__init__()
        self.put(f'videotestsrc is-live=true ! jpegenc ! capsfilter name=src caps="{OUT}"')


__gstelementfactory__ = ("v4l2src", Gst.Rank.NONE, Camera)
