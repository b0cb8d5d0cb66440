"""An RTSP server of GStreamer's, `/usr/bin/python3 rtsp_server.py PORT FIRST CODEC`: live, 25 fps.

rtsp://127.0.0.1:PORT/camera has a picture and a sound. Frame k is all of the grey `swing(k)`; each
client gets them from FIRST on. Without arguments it only looks whether it could serve. It runs in
the system's Python, which has the distribution's GObject bindings. With R2P_RTSP_LOGIN, which is
USER:PASSWORD, it lets in nobody else.
"""

import os
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")

from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402
from swing import swing  # noqa: E402

# Without `qos` it leaves out no frame where it is late.
FRAMES = (
    "appsrc name=frames is-live=true format=time "
    "caps=video/x-raw,format=RGB,width=64,height=48,framerate=25/1 ! videoconvert qos=false"
)
PICTURE = {
    # Frames that build on others, as a camera's do.
    "h264": "video/x-raw,format=I420 ! x264enc tune=zerolatency key-int-max=10 "
    "option-string=scenecut=0 pass=qual quantizer=4 ! rtph264pay name=pay0",
    "h265": "video/x-raw,format=I420 ! x265enc tune=zerolatency key-int-max=10 ! "
    "rtph265pay name=pay0",
    # In the range of colours that JPEG has.
    "mjpeg": "video/x-raw,format=I420,colorimetry=1:4:0:0 ! jpegenc ! rtpjpegpay name=pay0",
}
SOUND = "audiotestsrc is-live=true ! audioconvert ! mulawenc ! rtppcmupay name=pay1"


class Camera(GstRtspServer.RTSPMediaFactory):
    """Makes what each client is sent."""

    def __init__(self, first, codec):
        super().__init__()
        self._first, self._codec = first, codec

    def do_create_element(self, _):
        element = Gst.parse_launch(f"{FRAMES} ! {PICTURE[self._codec]} {SOUND}")
        sent = 0

        def send(source, _):
            nonlocal sent
            buffer = Gst.Buffer.new_wrapped(bytes([swing(self._first + sent)]) * (64 * 48 * 3))
            buffer.pts = buffer.dts = sent * Gst.SECOND // 25
            buffer.duration = Gst.SECOND // 25
            sent += 1
            source.emit("push-buffer", buffer)

        element.get_by_name("frames").connect("need-data", send)
        return element


def protect(server, camera, user, password):
    """Demand a user and a password of whoever comes."""
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("user", "media.factory.access", True)
    permissions.add_permission_for_role("user", "media.factory.construct", True)
    camera.set_permissions(permissions)


def serve(port, first, codec):
    """Serve until it is killed; say so once clients can come."""
    server = GstRtspServer.RTSPServer()
    server.set_service(port)
    camera = Camera(int(first), codec)
    if login := os.environ.get("R2P_RTSP_LOGIN"):
        protect(server, camera, *login.split(":"))
    server.get_mount_points().add_factory("/camera", camera)
    if not server.attach(None):
        sys.exit(f"port {port} is taken")
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    Gst.init(None)
    if len(sys.argv) > 1:
        serve(*sys.argv[1:])
    for codec in PICTURE:
        Camera(0, codec).do_create_element(None)
