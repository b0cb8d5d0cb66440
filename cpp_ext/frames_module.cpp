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

void resize_crop(py::handle image_, py::handle out_, py::handle resized_height_,
                 py::handle resized_width_, py::handle top_, py::handle left_, py::handle swap_) {
    // Numbers first: converting one may run Python code, which could reshape an array once checked.
    const long long resized_height = integer(resized_height_, "resized_height");
    const long long resized_width = integer(resized_width_, "resized_width");
    const long long top = integer(top_, "top"), left = integer(left_, "left");
    if (!PyBool_Check(swap_.ptr()))
        throw py::type_error("swap must be a bool, got " + type_name(swap_));
    check_side(resized_height, "resized_height");
    check_side(resized_width, "resized_width");

    const std::string image_is = "image must be a uint8 array of shape (height, width, 3)";
    const std::string out_is = "out must be a uint8 array of shape (height, width, 3)";
    const py::array image = checked_array<uint8_t>(image_, image_is);
    py::array out = checked_array<uint8_t>(out_, out_is);
    check_shape(image, image.ndim() == 3 && image.shape(2) == r2p::kChannels, image_is);
    check_shape(out, out.ndim() == 3 && out.shape(2) == r2p::kChannels, out_is);
    check_side(image.shape(0), "the height of image");
    check_side(image.shape(1), "the width of image");
    // NumPy leaves the stride of an axis of length 1 undefined.
    if (image.strides(2) != 1 || (image.shape(1) > 1 && image.strides(1) != r2p::kChannels))
        throw py::value_error(py::str("image must have strides (any, 3, 1), got {}")
                                  .format(image.attr("strides")));
    check_dense(out, "out");
    check_writable(out, "out");
    const py::ssize_t height = out.shape(0), width = out.shape(1);
    if (top < 0 || left < 0 || top > resized_height - height || left > resized_width - width)
        throw py::value_error(
            py::str("the crop of {}x{} at top {}, left {} is not inside the resized frame of {}x{}")
                .format(height, width, top, left, resized_height, resized_width));
    check_apart(image, out, "image");

    const r2p::Image source{static_cast<const uint8_t*>(image.data()), image.strides(0),
                            static_cast<int>(image.shape(0)), static_cast<int>(image.shape(1))};
    const r2p::Crop crop{static_cast<int>(resized_height), static_cast<int>(resized_width),
                         static_cast<int>(top),            static_cast<int>(left),
                         static_cast<int>(height),         static_cast<int>(width)};
    const bool swap = swap_.ptr() == Py_True;
    auto* target = static_cast<uint8_t*>(out.mutable_data());
    const py::gil_scoped_release unlocked;
    r2p::resize_crop(source, crop, swap, target);
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
    module.def("stack", &stack, py::arg("frames"), py::arg("out"), py::arg("scale"),
               py::arg("bias"));
}
