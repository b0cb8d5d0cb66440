"""Base of the stand-ins for NVIDIA's GStreamer elements, and their memory, in name.

GStreamer's loader of Python plug-ins finds them in `GST_PLUGIN_PATH`; each module is an element.
They have NVIDIA's names, properties and caps, so that a pipeline that parses, negotiates and gives
a frame with them is spelled right; the CPU does their work. FAKE_NVIDIA, as `nvvidconv=hangs`,
makes one give no frame, `nvvidconv=ends` end without one, and `nvvidconv=fails` an error.
"""

import os

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstBase", "1.0")

from gi.repository import Gst, GstBase  # noqa: E402

Gst.init(None)

_FAULTS = {
    "hangs": "valve drop=true",
    "ends": "identity eos-after=1",
    "fails": "identity error-after=1",
}
_ANY = "width=[1,2147483647],height=[1,2147483647],framerate=[0/1,2147483647/1]"


def on_chip(formats):
    """Return the caps of pictures of these formats in the memory of the chips."""
    return f"video/x-raw(memory:NVMM),format={{{formats}}},{_ANY}"


def in_memory(formats):
    """Return the caps of pictures of these formats in common memory."""
    return f"video/x-raw,format={{{formats}}},{_ANY}"


def sink(caps):
    """Return the template of an element's input."""
    return _template("sink", Gst.PadDirection.SINK, caps)


def src(caps):
    """Return the template of an element's output."""
    return _template("src", Gst.PadDirection.SRC, caps)


def _template(name, direction, caps):
    return Gst.PadTemplate.new(name, direction, Gst.PadPresence.ALWAYS, Gst.Caps(caps))


class Memory(GstBase.BaseTransform):
    """Gives frames another kind of memory, in name."""

    __gstmetadata__ = ("Memory", "Filter", "Moves frames between kinds of memory", "r2p_edge")
    __gsttemplates__ = (sink("ANY"), src("ANY"))

    def __init__(self):
        super().__init__()
        self.set_passthrough(True)

    def do_transform_caps(self, _, caps, wanted):
        """Return the caps with each kind of memory."""
        if caps.is_any():
            return caps
        both = Gst.Caps.new_empty()
        for number in range(caps.get_size()):
            for features in (None, Gst.CapsFeatures.from_string("memory:NVMM")):
                both.append_structure_full(caps.get_structure(number).copy(), features)
        return both if wanted is None else wanted.intersect_full(both, Gst.CapsIntersectMode.FIRST)


class Chip(Gst.Bin):
    """Elements in a row whose ends have the caps of one of NVIDIA's."""

    def put(self, inside):
        """Put elements into this one, as gst-launch takes them; the ends are `sink` and `src`."""
        element, _, fault = os.environ.get("FAKE_NVIDIA", "").partition("=")
        if element == type(self).__module__:
            inside = inside.replace(
                "! capsfilter name=src", f"! {_FAULTS[fault]} ! capsfilter name=src"
            )
        row = Gst.parse_bin_from_description(inside, False)
        self.add(row)
        for template in self.__gsttemplates__:
            name = template.name_template
            row.add_pad(Gst.GhostPad.new(name, row.get_by_name(name).get_static_pad(name)))
            pad = Gst.GhostPad.new_from_template(name, row.get_static_pad(name), template)
            self.add_pad(pad)


__gstelementfactory__ = ("nvmemory", Gst.Rank.NONE, Memory)
