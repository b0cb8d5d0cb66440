// The Python face of frames.h: checks every argument, then computes without the GIL. Numbers are
// read before arrays: converting one may run Python code, which could reshape an array once
// checked.
#include <stdexcept>

#include "../frames.h"
#include "../kernels/kernels.h"
#include "arguments.h"

namespace r2p::python {

namespace {

Resizer resizer(py::handle height, py::handle width, py::handle resized_height,
                py::handle resized_width, py::handle top_, py::handle left_, py::handle crop_height,
                py::handle crop_width) {
    Geometry geometry{side(height, "height"),
                      side(width, "width"),
                      side(resized_height, "resized_height"),
                      side(resized_width, "resized_width"),
                      0,
                      0,
                      side(crop_height, "crop_height"),
                      side(crop_width, "crop_width")};
    const long long top = integer(top_, "top"), left = integer(left_, "left");
    if (top < 0 || left < 0 || top > geometry.resized_height - geometry.crop_height ||
        left > geometry.resized_width - geometry.crop_width)
        throw py::value_error(
            py::str("the crop of {}x{} at top {}, left {} is not inside the resized frame of {}x{}")
                .format(geometry.crop_height, geometry.crop_width, top, left,
                        geometry.resized_height, geometry.resized_width));
    geometry.top = static_cast<int>(top);
    geometry.left = static_cast<int>(left);
    return Resizer(geometry);
}

py::array crop_out(const Resizer& self, py::handle out) {
    const Geometry& geometry = self.geometry();
    return checked_out<uint8_t>(out,
                                Shape<3>{geometry.crop_height, geometry.crop_width, kChannels});
}

void resize(const Resizer& self, py::handle image_, py::handle out_, py::handle swap_) {
    const bool swap = flag(swap_, "swap");
    const Geometry& geometry = self.geometry();
    const py::array image = checked_array<uint8_t>(
        image_, "image", Shape<3>{geometry.height, geometry.width, kChannels});
    // NumPy leaves the stride of an axis of length 1 undefined.
    if (image.strides(2) != 1 || (image.shape(1) > 1 && image.strides(1) != kChannels))
        throw py::value_error(
            py::str("image must have strides (any, 3, 1), got {}").format(image.attr("strides")));
    py::array out = crop_out(self, out_);
    check_apart(image, out, "image");

    const Image source{static_cast<const uint8_t*>(image.data()), image.strides(0)};
    auto* const target = static_cast<uint8_t*>(out.mutable_data());
    const py::gil_scoped_release unlocked;
    self.resize(source, swap, target);
}

// `widest` is how many bytes one sample may be from the next.
py::array checked_plane(py::handle plane_, const char* name, const Shape<2>& shape,
                        py::ssize_t widest) {
    const py::array plane = checked_array<uint8_t>(plane_, name, shape);
    if (plane.shape(1) > 1 && (plane.strides(1) < 1 || plane.strides(1) > widest))
        throw py::value_error(
            py::str("{} must have its samples {} apart, got strides {}")
                .format(name, widest == 1 ? "1 byte" : "1 or 2 bytes", plane.attr("strides")));
    return plane;
}

Plane plane_of(const py::array& plane) {
    return {static_cast<const uint8_t*>(plane.data()), plane.strides(0),
            plane.shape(1) > 1 ? static_cast<int>(plane.strides(1)) : 1};
}

void resize_yuv(const Resizer& self, py::handle y_, py::handle u_, py::handle v_, py::handle out_,
                py::handle matrix_, py::handle swap_) {
    const bool swap = flag(swap_, "swap");
    const std::array<int16_t, 6> m = six_integers(matrix_, "matrix");
    const int height = self.geometry().height, width = self.geometry().width;
    const Shape<2> half{(height + 1) / 2, (width + 1) / 2};
    const py::array y = checked_plane(y_, "y", {height, width}, 1);
    const py::array u = checked_plane(u_, "u", half, 2);
    const py::array v = checked_plane(v_, "v", half, 2);
    py::array out = crop_out(self, out_);
    check_apart(y, out, "y");
    check_apart(u, out, "u");
    check_apart(v, out, "v");

    const Planes planes{plane_of(y), plane_of(u), plane_of(v)};
    auto* const target = static_cast<uint8_t*>(out.mutable_data());
    const py::gil_scoped_release unlocked;
    self.resize_yuv(planes, {m[0], m[1], m[2], m[3], m[4], m[5]}, swap, target);
}

void stack(py::handle frames_, py::handle out_, py::handle scale_, py::handle bias_) {
    const auto scale = three_floats(scale_, "scale");
    const auto bias = three_floats(bias_, "bias");
    const py::array frames = checked_array<uint8_t>(
        frames_, "frames", Shape<4>{-1, -1, -1, kChannels}, "(count, height, width, 3)");
    check_dense(frames, "frames");
    const py::ssize_t count = frames.shape(0), height = frames.shape(1), width = frames.shape(2);
    py::array out = checked_out<float>(out_, Shape<4>{kChannels, count, height, width});
    check_apart(frames, out, "frames");

    const auto* const source = static_cast<const uint8_t*>(frames.data());
    auto* const target = static_cast<float*>(out.mutable_data());
    const py::gil_scoped_release unlocked;
    r2p::stack(source, count, static_cast<size_t>(height) * width, scale.data(), bias.data(),
               target);
}

}  // namespace

}  // namespace r2p::python

PYBIND11_MODULE(_frames, module, pybind11::mod_gil_not_used()) {
    using namespace r2p::python;
    try {
        module.attr("instruction_set") = r2p::kernels().name;
    } catch (const std::invalid_argument& error) {
        throw py::import_error(error.what());
    }
    py::class_<r2p::Resizer>(module, "Resizer")
        .def(py::init(&resizer), py::arg("height"), py::arg("width"), py::arg("resized_height"),
             py::arg("resized_width"), py::arg("top"), py::arg("left"), py::arg("crop_height"),
             py::arg("crop_width"))
        .def("resize", &resize, py::arg("image"), py::arg("out"), py::arg("swap"))
        .def("resize_yuv", &resize_yuv, py::arg("y"), py::arg("u"), py::arg("v"), py::arg("out"),
             py::arg("matrix"), py::arg("swap"));
    module.def("stack", &stack, py::arg("frames"), py::arg("out"), py::arg("scale"),
               py::arg("bias"));
}
