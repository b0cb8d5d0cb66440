// The loops in plain C++. They are inlined into functions for an instruction set, and compiled for
// it there.
#pragma once

#include <algorithm>

#include "kernels.h"

#if defined(__GNUC__)
#define R2P_INLINE inline __attribute__((always_inline))
#else
#define R2P_INLINE __forceinline
#endif

namespace r2p::loops {

// Loops that start at a column x or a pixel i do what vectors have left.
R2P_INLINE void resample_pixels(const uint8_t* row, const PixelColumns& columns, bool swap,
                                size_t x, int16_t* out) {
    for (; x < columns.columns.size(); ++x) {
        const PixelColumn& column = columns.columns[x];
        const uint8_t* left = row + column.offset;
        const uint8_t* right = left + columns.pair_step;
        for (int c = 0; c < kChannels; ++c) {
            const int from = swap ? kChannels - 1 - c : c;
            const int sum = left[from] * column.weights[0] + right[from] * column.weights[1];
            out[kChannels * x + c] = static_cast<int16_t>(sum >> 4);
        }
    }
}

R2P_INLINE void resample_samples(const uint8_t* row, const SampleColumns& columns, size_t x,
                                 int16_t* out) {
    for (; x < columns.columns.size(); ++x) {
        const SampleColumn& column = columns.columns[x];
        const int sum =
            row[column.left] * column.weights[0] + row[column.right] * column.weights[1];
        out[x] = static_cast<int16_t>(sum >> 4);
    }
}

// Half of a product: compilers have an instruction for just that half, if all is int16.
R2P_INLINE int16_t high_half(int16_t a, int16_t b) { return static_cast<int16_t>((a * b) >> 16); }

// OpenCV's second rounding: the high halves of two 16-bit products.
R2P_INLINE void blend_pixels(const int16_t* __restrict upper, const int16_t* __restrict lower,
                             const Tap& tap, size_t count, uint8_t* __restrict out) {
    const int16_t upper_weight = tap.weights[0], lower_weight = tap.weights[1];
    for (size_t i = 0; i < count; ++i) {
        const auto sum = static_cast<uint16_t>(high_half(upper[i], upper_weight) +
                                               high_half(lower[i], lower_weight) + 2);
        out[i] = static_cast<uint8_t>(sum >> 2);
    }
}

R2P_INLINE void blend_samples(const int16_t* __restrict upper, const int16_t* __restrict lower,
                              const Tap& tap, size_t count, int zero, int16_t* __restrict out) {
    const int16_t upper_weight = tap.weights[0], lower_weight = tap.weights[1];
    for (size_t i = 0; i < count; ++i) {
        const int sum = upper[i] * upper_weight + lower[i] * lower_weight;  // times 2^18
        out[i] = static_cast<int16_t>(((sum + (1 << 11)) >> 12) - 64 * zero);
    }
}

// From eighths to whole numbers, 0 to 255. Each of the two terms that FFmpeg adds up is rounded
// down there, which makes its colours one level darker than they are, in the mean; with this
// constant so are ours.
R2P_INLINE uint8_t color_byte(int eighths) {
    const auto value = static_cast<int16_t>(static_cast<int16_t>(eighths - 3) >> 3);
    return static_cast<uint8_t>(std::clamp<int16_t>(value, 0, 255));
}

// A sample times 64, with a factor in 1/8192: half of their product is in eighths.
R2P_INLINE void convert(const int16_t* __restrict y, const int16_t* __restrict u,
                        const int16_t* __restrict v, size_t count, const Matrix& matrix,
                        uint8_t* __restrict red, uint8_t* __restrict green,
                        uint8_t* __restrict blue) {
    const Matrix m = matrix;
    for (size_t i = 0; i < count; ++i) {
        const int16_t gray = high_half(y[i], m.gain);
        red[i] = color_byte(gray + high_half(v[i], m.red_v));
        green[i] = color_byte(gray + high_half(u[i], m.green_u) + high_half(v[i], m.green_v));
        blue[i] = color_byte(gray + high_half(u[i], m.blue_u));
    }
}

R2P_INLINE void interleave(const uint8_t* __restrict first, const uint8_t* __restrict second,
                           const uint8_t* __restrict third, size_t count, uint8_t* __restrict out) {
    for (size_t i = 0; i < count; ++i) {
        out[kChannels * i] = first[i];
        out[kChannels * i + 1] = second[i];
        out[kChannels * i + 2] = third[i];
    }
}

R2P_INLINE void normalize(const uint8_t* __restrict frame, size_t pixels,
                          const float scale[kChannels], const float bias[kChannels], size_t i,
                          float* const planes[kChannels]) {
    float* __restrict first = planes[0];
    float* __restrict second = planes[1];
    float* __restrict third = planes[2];
    const float s0 = scale[0], s1 = scale[1], s2 = scale[2];
    const float b0 = bias[0], b1 = bias[1], b2 = bias[2];
    for (; i < pixels; ++i) {
        first[i] = static_cast<float>(frame[kChannels * i]) * s0 + b0;
        second[i] = static_cast<float>(frame[kChannels * i + 1]) * s1 + b1;
        third[i] = static_cast<float>(frame[kChannels * i + 2]) * s2 + b2;
    }
}

}  // namespace r2p::loops
