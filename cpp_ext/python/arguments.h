// Checks of what Python hands in. An argument of the wrong type is a TypeError, one of the wrong
// shape, layout or value a ValueError; both say what was expected and what was found.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <array>
#include <climits>
#include <cmath>
#include <string>
#include <utility>

namespace r2p::python {

namespace py = pybind11;

constexpr long long kMaxSide = 32767;

inline std::string type_name(py::handle object) {
    return py::str(py::type::handle_of(object).attr("__name__"));
}

inline std::string describe(py::handle object) {
    if (!py::isinstance<py::array>(object)) return type_name(object);
    return py::str("{} array of shape {}").format(object.attr("dtype"), object.attr("shape"));
}

template <size_t N>
using Shape = std::array<py::ssize_t, N>;

// "name must be a dtype array of shape (2, 3)", or of the shape in words.
template <typename T, size_t N>
std::string expected(const char* name, const Shape<N>& shape, const char* in_words) {
    py::tuple sides(N);
    for (size_t axis = 0; axis < N; ++axis) sides[axis] = shape[axis];
    const py::str shown = in_words ? py::str(in_words) : py::str(sides);
    return py::str("{} must be a {} array of shape {}").format(name, py::dtype::of<T>(), shown);
}

// An array of exactly this element type and shape, where a side of -1 is any from 1 on. Nothing is
// converted, so that an output is the caller's memory.
template <typename T, size_t N>
py::array checked_array(py::handle object, const char* name, const Shape<N>& shape,
                        const char* in_words = nullptr) {
    if (!py::isinstance<py::array_t<T>>(object))
        throw py::type_error(expected<T>(name, shape, in_words) + ", got " + describe(object));
    auto array = py::reinterpret_borrow<py::array>(object);
    bool matches = array.ndim() == static_cast<py::ssize_t>(N) && array.size() > 0;
    for (size_t axis = 0; matches && axis < N; ++axis)
        matches = shape[axis] == -1 || shape[axis] == array.shape(axis);
    if (!matches)
        throw py::value_error(expected<T>(name, shape, in_words) + ", got " + describe(array));
    return array;
}

inline void check_dense(const py::array& array, const std::string& name) {
    using py::detail::npy_api;
    constexpr int dense = npy_api::NPY_ARRAY_C_CONTIGUOUS_ | npy_api::NPY_ARRAY_ALIGNED_;
    if ((array.flags() & dense) != dense)
        throw py::value_error(name + " must be C-contiguous and aligned");
}

// An array to write to.
template <typename T, size_t N>
py::array checked_out(py::handle object, const Shape<N>& shape) {
    py::array out = checked_array<T>(object, "out", shape);
    check_dense(out, "out");
    if (!out.writeable()) throw py::value_error("out must be writable");
    return out;
}

// The first and one past the last byte that an array may touch.
inline std::pair<const char*, const char*> extent(const py::array& array) {
    const char* low = static_cast<const char*>(array.data());
    const char* high = low + array.itemsize();
    for (py::ssize_t axis = 0; axis < array.ndim(); ++axis) {
        const py::ssize_t reach = (array.shape(axis) - 1) * array.strides(axis);
        (reach < 0 ? low : high) += reach;
    }
    return {low, high};
}

inline void check_apart(const py::array& input, const py::array& out, const char* name) {
    const auto [input_low, input_high] = extent(input);
    const auto [out_low, out_high] = extent(out);
    if (input_low < out_high && out_low < input_high)
        throw py::value_error(std::string("out must not share memory with ") + name);
}

// Values past the range of long long are clamped to it: every range checked here is far smaller.
inline long long integer(py::handle object, const char* name) {
    const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(object.ptr()));
    if (!index) {
        PyErr_Clear();
        throw py::type_error(std::string(name) + " must be an integer, got " + type_name(object));
    }
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
    return overflow == 0 ? value : overflow > 0 ? LLONG_MAX : LLONG_MIN;
}

inline int side(py::handle object, const char* name) {
    const long long value = integer(object, name);
    if (value < 1 || value > kMaxSide)
        throw py::value_error(
            py::str("{} must be from 1 to {}, got {}").format(name, kMaxSide, value));
    return static_cast<int>(value);
}

inline bool flag(py::handle object, const char* name) {
    if (!PyBool_Check(object.ptr()))
        throw py::type_error(std::string(name) + " must be a bool, got " + type_name(object));
    return object.ptr() == Py_True;
}

inline std::array<float, 3> three_floats(py::handle object, const std::string& name) {
    const std::string expected = name + " must be 3 finite numbers";
    constexpr int flags = py::array::c_style | py::array::forcecast;
    const auto values = py::array_t<float, flags>::ensure(object);
    if (!values) throw py::type_error(expected + ", got " + describe(object));
    if (values.ndim() != 1 || values.shape(0) != 3)
        throw py::value_error(expected + ", got " + describe(values));
    std::array<float, 3> result{};
    for (int i = 0; i < 3; ++i) {
        result[i] = values.at(i);
        if (!std::isfinite(result[i]))
            throw py::value_error(expected + ", got " + std::to_string(result[i]));
    }
    return result;
}

inline std::array<int16_t, 6> six_integers(py::handle object, const std::string& name) {
    const std::string expected = name + " must be 6 integers from -32768 to 32767";
    if (!PySequence_Check(object.ptr()) || py::len(object) != 6)
        throw py::type_error(expected + ", got " + type_name(object));
    const std::string each = "each number of " + name;
    std::array<int16_t, 6> result{};
    for (size_t i = 0; i < result.size(); ++i) {
        const long long value = integer(object[py::int_(i)], each.c_str());
        if (value < INT16_MIN || value > INT16_MAX)
            throw py::value_error(expected + ", got " + std::to_string(value));
        result[i] = static_cast<int16_t>(value);
    }
    return result;
}

}  // namespace r2p::python
