// Python face of frames.h: checks every argument, then computes without the GIL.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <array>
#include <climits>
#include <cmath>
#include <string>
#include <utility>

#include "frames.h"

namespace py = pybind11;

namespace {

constexpr long long kMaxSide = 32767;

std::string type_name(py::handle object) {
    return py::str(py::type::handle_of(object).attr("__name__"));
}

std::string describe(py::handle object) {
    if (!py::isinstance<py::array>(object)) return type_name(object);
    return py::str("{} array of shape {}").format(object.attr("dtype"), object.attr("shape"));
}

// An array of exactly this element type: nothing is converted, so that out is the caller's memory.
template <typename T>
py::array checked_array(py::handle object, const std::string& expected) {
    if (!py::isinstance<py::array_t<T>>(object))
        throw py::type_error(expected + ", got " + describe(object));
    return py::reinterpret_borrow<py::array>(object);
}

void check_shape(const py::array& array, bool matches, const std::string& expected) {
    if (!matches || array.size() == 0) throw py::value_error(expected + ", got " + describe(array));
}

void check_dense(const py::array& array, const std::string& name) {
    using py::detail::npy_api;
    constexpr int dense = npy_api::NPY_ARRAY_C_CONTIGUOUS_ | npy_api::NPY_ARRAY_ALIGNED_;
    if ((array.flags() & dense) != dense)
        throw py::value_error(name + " must be C-contiguous and aligned");
}

void check_writable(const py::array& array, const std::string& name) {
    if (!array.writeable()) throw py::value_error(name + " must be writable");
}

// The first and one past the last byte that an array may touch.
std::pair<const char*, const char*> extent(const py::array& array) {
    const char* low = static_cast<const char*>(array.data());
    const char* high = low + array.itemsize();
    for (py::ssize_t axis = 0; axis < array.ndim(); ++axis) {
        const py::ssize_t reach = (array.shape(axis) - 1) * array.strides(axis);
        (reach < 0 ? low : high) += reach;
    }
    return {low, high};
}

void check_apart(const py::array& input, const py::array& out, const std::string& name) {
    const auto [input_low, input_high] = extent(input);
    const auto [out_low, out_high] = extent(out);
    if (input_low < out_high && out_low < input_high)
        throw py::value_error("out must not share memory with " + name);
}

// Values past the range of long long are clamped to it: every range checked here is far smaller.
long long integer(py::handle object, const std::string& name) {
    const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(object.ptr()));
    if (!index) {
        PyErr_Clear();
        throw py::type_error(name + " must be an integer, got " + type_name(object));
    }
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
    return overflow == 0 ? value : overflow > 0 ? LLONG_MAX : LLONG_MIN;
}

void check_side(long long side, const std::string& name) {
    if (side < 1 || side > kMaxSide)
        throw py::value_error(
            py::str("{} must be from 1 to {}, got {}").format(name, kMaxSide, side));
}

std::array<float, r2p::kChannels> three_floats(py::handle object, const std::string& name) {
    const std::string expected = name + " must be 3 finite numbers";
    constexpr int flags = py::array::c_style | py::array::forcecast;
    const auto values = py::array_t<float, flags>::ensure(object);
    if (!values) throw py::type_error(expected + ", got " + describe(object));
    if (values.ndim() != 1 || values.shape(0) != r2p::kChannels)
        throw py::value_error(expected + ", got " + describe(values));
    std::array<float, r2p::kChannels> result{};
    for (int c = 0; c < r2p::kChannels; ++c) {
        result[c] = values.at(c);
        if (!std::isfinite(result[c]))
            throw py::value_error(expected + ", got " + std::to_string(result[c]));
    }
    return result;
}

// Where in the resized frame out is, and whether its channels are reversed.
struct Place {
    long long resized_height, resized_width, top, left;
    bool swap;
};

// Numbers are read before arrays: converting one may run Python code, which could reshape an array
// once checked.
Place place(py::handle resized_height, py::handle resized_width, py::handle top, py::handle left,
            py::handle swap) {
    Place result{integer(resized_height, "resized_height"), integer(resized_width, "resized_width"),
                 integer(top, "top"), integer(left, "left"), swap.ptr() == Py_True};
    if (!PyBool_Check(swap.ptr())) throw py::type_error("swap must be a bool, got " + type_name(swap));
    check_side(result.resized_height, "resized_height");
    check_side(result.resized_width, "resized_width");
    return result;
}

py::array checked_out(py::handle out_) {
    const std::string out_is = "out must be a uint8 array of shape (height, width, 3)";
    py::array out = checked_array<uint8_t>(out_, out_is);
    check_shape(out, out.ndim() == 3 && out.shape(2) == r2p::kChannels, out_is);
    check_dense(out, "out");
    check_writable(out, "out");
    return out;
}

r2p::Crop checked_crop(const Place& at, const py::array& out) {
    const py::ssize_t height = out.shape(0), width = out.shape(1);
    if (at.top < 0 || at.left < 0 || at.top > at.resized_height - height ||
        at.left > at.resized_width - width)
        throw py::value_error(
            py::str("the crop of {}x{} at top {}, left {} is not inside the resized frame of {}x{}")
                .format(height, width, at.top, at.left, at.resized_height, at.resized_width));
    return {static_cast<int>(at.resized_height), static_cast<int>(at.resized_width),
            static_cast<int>(at.top),            static_cast<int>(at.left),
            static_cast<int>(height),            static_cast<int>(width)};
}

void check_frame_size(const py::array& image, const std::string& name) {
    check_side(image.shape(0), "the height of " + name);
    check_side(image.shape(1), "the width of " + name);
}

void resize_crop(py::handle image_, py::handle out_, py::handle resized_height,
                 py::handle resized_width, py::handle top, py::handle left, py::handle swap) {
    const Place at = place(resized_height, resized_width, top, left, swap);
    const std::string image_is = "image must be a uint8 array of shape (height, width, 3)";
    const py::array image = checked_array<uint8_t>(image_, image_is);
    check_shape(image, image.ndim() == 3 && image.shape(2) == r2p::kChannels, image_is);
    check_frame_size(image, "image");
    // NumPy leaves the stride of an axis of length 1 undefined.
    if (image.strides(2) != 1 || (image.shape(1) > 1 && image.strides(1) != r2p::kChannels))
        throw py::value_error(py::str("image must have strides (any, 3, 1), got {}")
                                  .format(image.attr("strides")));
    py::array out = checked_out(out_);
    const r2p::Crop crop = checked_crop(at, out);
    check_apart(image, out, "image");

    const r2p::Image source{static_cast<const uint8_t*>(image.data()), image.strides(0),
                            static_cast<int>(image.shape(0)), static_cast<int>(image.shape(1))};
    auto* target = static_cast<uint8_t*>(out.mutable_data());
    const py::gil_scoped_release unlocked;
    r2p::resize_crop(source, crop, at.swap, target);
}

r2p::Matrix checked_matrix(py::handle matrix_) {
    const std::string expected = "matrix must be 6 integers from -32768 to 32767";
    if (!PySequence_Check(matrix_.ptr()) || py::len(matrix_) != 6)
        throw py::type_error(expected + ", got " + type_name(matrix_));
    std::array<int16_t, 6> values{};
    for (size_t i = 0; i < values.size(); ++i) {
        const long long value = integer(matrix_[py::int_(i)], "each number of matrix");
        if (value < INT16_MIN || value > INT16_MAX)
            throw py::value_error(expected + ", got " + std::to_string(value));
        values[i] = static_cast<int16_t>(value);
    }
    return {values[0], values[1], values[2], values[3], values[4], values[5]};
}

// A plane of this size; `widest` is how many bytes one sample may be from the next.
py::array checked_plane(py::handle plane_, const std::string& name, py::ssize_t height,
                        py::ssize_t width, py::ssize_t widest) {
    const std::string plane_is = name + " must be a uint8 array of shape " +
                                 (height == 0 ? std::string("(height, width)")
                                              : std::string(py::str("({}, {})").format(height, width)));
    const py::array plane = checked_array<uint8_t>(plane_, plane_is);
    check_shape(plane, plane.ndim() == 2 && (height == 0 || (plane.shape(0) == height &&
                                                             plane.shape(1) == width)),
                plane_is);
    if (plane.shape(1) > 1 && (plane.strides(1) < 1 || plane.strides(1) > widest))
        throw py::value_error(py::str("{} must have its samples {} apart, got strides {}")
                                  .format(name, widest == 1 ? "1 byte" : "1 or 2 bytes",
                                          plane.attr("strides")));
    return plane;
}

r2p::Plane plane_of(const py::array& plane) {
    return {static_cast<const uint8_t*>(plane.data()), plane.strides(0),
            plane.shape(1) > 1 ? static_cast<int>(plane.strides(1)) : 1};
}

void resize_crop_yuv(py::handle y_, py::handle u_, py::handle v_, py::handle out_,
                     py::handle resized_height, py::handle resized_width, py::handle top,
                     py::handle left, py::handle matrix_, py::handle swap) {
    const Place at = place(resized_height, resized_width, top, left, swap);
    const r2p::Matrix matrix = checked_matrix(matrix_);
    const py::array y = checked_plane(y_, "y", 0, 0, 1);
    check_frame_size(y, "y");
    const py::ssize_t height = (y.shape(0) + 1) / 2, width = (y.shape(1) + 1) / 2;
    const py::array u = checked_plane(u_, "u", height, width, 2);
    const py::array v = checked_plane(v_, "v", height, width, 2);
    py::array out = checked_out(out_);
    const r2p::Crop crop = checked_crop(at, out);
    check_apart(y, out, "y");
    check_apart(u, out, "u");
    check_apart(v, out, "v");

    const r2p::Planes source{plane_of(y), plane_of(u), plane_of(v), static_cast<int>(y.shape(0)),
                             static_cast<int>(y.shape(1))};
    auto* target = static_cast<uint8_t*>(out.mutable_data());
    const py::gil_scoped_release unlocked;
    r2p::resize_crop_yuv(source, crop, matrix, at.swap, target);
}

void stack(py::handle frames_, py::handle out_, py::handle scale_, py::handle bias_) {
    const auto scale = three_floats(scale_, "scale");
    const auto bias = three_floats(bias_, "bias");

    const std::string frames_is = "frames must be a uint8 array of shape (count, height, width, 3)";
    const py::array frames = checked_array<uint8_t>(frames_, frames_is);
    check_shape(frames, frames.ndim() == 4 && frames.shape(3) == r2p::kChannels, frames_is);
    check_dense(frames, "frames");
    const py::ssize_t count = frames.shape(0), height = frames.shape(1), width = frames.shape(2);

    const std::string out_is = py::str("out must be a float32 array of shape (3, {}, {}, {})")
                                   .format(count, height, width);
    py::array out = checked_array<float>(out_, out_is);
    const bool matches = out.ndim() == 4 && out.shape(0) == r2p::kChannels &&
                         out.shape(1) == count && out.shape(2) == height && out.shape(3) == width;
    check_shape(out, matches, out_is);
    check_dense(out, "out");
    check_writable(out, "out");
    check_apart(frames, out, "frames");

    const auto* source = static_cast<const uint8_t*>(frames.data());
    auto* target = static_cast<float*>(out.mutable_data());
    const auto pixels = static_cast<size_t>(height) * static_cast<size_t>(width);
    const py::gil_scoped_release unlocked;
    r2p::stack(source, static_cast<size_t>(count), pixels, scale.data(), bias.data(), target);
}

}  // namespace

PYBIND11_MODULE(_frames, module, py::mod_gil_not_used()) {
    module.def("resize_crop", &resize_crop, py::arg("image"), py::arg("out"),
               py::arg("resized_height"), py::arg("resized_width"), py::arg("top"),
               py::arg("left"), py::arg("swap"));
    module.def("resize_crop_yuv", &resize_crop_yuv, py::arg("y"), py::arg("u"), py::arg("v"),
               py::arg("out"), py::arg("resized_height"), py::arg("resized_width"), py::arg("top"),
               py::arg("left"), py::arg("matrix"), py::arg("swap"));
    module.def("stack", &stack, py::arg("frames"), py::arg("out"), py::arg("scale"),
               py::arg("bias"));
}
