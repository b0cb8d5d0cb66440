// From decoded frames to the model's input: bilinear resize of a crop, and normalisation into
// planes. Plain C++17, no Python. Callers check the sizes; nothing outside what they describe is
// read or written.
//
// Three loops are written by hand, because compilers cannot vectorise a gather, of pixels or of
// samples, and do poorly at taking three channels apart. On x86-64 they are in SSSE3, chosen at run
// time: every chip since 2006 has it, down to the Atoms without AVX. A second copy in AVX2 was
// measured to take a tenth of a millisecond off a clip of 16 frames, too little to keep it. On
// aarch64 the gather of pixels is in NEON, which is always there, and the rest is left to the
// compiler, which has an instruction for the channels (LD3). The rest is plain loops that vectorise
// at -O3.
//
// Compile with -ffp-contract=off: OpenCV and NumPy round between a multiplication and an addition.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#if defined(__x86_64__) && defined(__GNUC__)
#define R2P_SSSE3 __attribute__((target("ssse3")))
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__GNUC__)
#define R2P_NEON
#include <arm_neon.h>
#endif

namespace r2p {

constexpr int kChannels = 3;

struct Image {
    const uint8_t* pixels;  // interleaved, three channels
    ptrdiff_t row_stride;   // bytes; may be negative
    int height, width;
};

struct Crop {
    int resized_height, resized_width;  // the frame that is cropped
    int top, left, height, width;       // the part of it that is computed
};

namespace detail {

// Bilinear weights are 11-bit integers, as in OpenCV: round(weight * 2048), half to even.
constexpr float kWeightScale = 2048.0f;

struct Tap {
    int first;  // the tap lies between this source position and the next; -1 before the first pixel
    int16_t weights[2];
};

// The arithmetic is OpenCV's, down to the rounding of the position to float.
inline Tap tap(int position, double scale) {
    const float source = static_cast<float>((position + 0.5) * scale - 0.5);
    int first = static_cast<int>(source);
    first -= source < static_cast<float>(first);
    const float fraction = source - static_cast<float>(first);
    const auto fixed = [](float weight) {
        return static_cast<int16_t>(std::lrint(weight * kWeightScale));
    };
    return {first, {fixed(1.0f - fraction), fixed(fraction)}};
}

// OpenCV inverts the inverse; so do we, to the last bit.
inline double scale(int source, int resized) {
    return 1.0 / (static_cast<double>(resized) / source);
}

struct Column {
    alignas(16) int16_t weights[8];  // the pair, four times: one vector register
    int32_t offset;                  // bytes from the row's start to the left pixel of the pair
};

struct Columns {
    std::vector<Column> columns;
    int pair_step;   // bytes from the left pixel to the right one; 0 in an image one pixel wide
    int wide_loads;  // so many columns, from the left, may read 8 bytes where they need 6
};

inline Columns columns_of(const Image& image, const Crop& crop) {
    Columns result{std::vector<Column>(crop.width), image.width > 1 ? kChannels : 0, 0};
    const double step = scale(image.width, crop.resized_width);
    const int last_pair = std::max(image.width - 2, 0);
    for (int x = 0; x < crop.width; ++x) {
        Tap t = tap(crop.left + x, step);
        // Beyond the centre of a border pixel, OpenCV gives that pixel the full weight.
        if (t.first < 0) t = {0, {2048, 0}};
        if (t.first >= image.width - 1) t = {last_pair, {0, 2048}};
        Column& column = result.columns[x];
        for (int i = 0; i < 8; ++i) column.weights[i] = t.weights[i % 2];
        column.offset = kChannels * t.first;
        result.wide_loads += column.offset + 8 <= kChannels * image.width;
    }
    return result;
}

#if defined(R2P_SSSE3)

// Two columns per step; returns how many are done. Writes two values past the last one.
R2P_SSSE3 inline int interpolate_columns_wide(const uint8_t* row, const Columns& columns, bool swap,
                                              int16_t* out) {
    constexpr char z = -128;  // as a shuffle index: a zero byte
    // Bytes left0 left1 left2 right0 right1 right2 -> 16-bit pairs (left, right) of each channel.
    const __m128i pairs = swap ? _mm_setr_epi8(2, z, 5, z, 1, z, 4, z, 0, z, 3, z, z, z, z, z)
                               : _mm_setr_epi8(0, z, 3, z, 1, z, 4, z, 2, z, 5, z, z, z, z, z);
    const __m128i high_pairs = _mm_add_epi8(pairs, _mm_set1_epi8(8));  // z stays negative: zero
    const __m128i drop_fourth = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, z, z, z, z);
    const Column* column = columns.columns.data();
    const int count = columns.wide_loads & ~1;
    for (int x = 0; x < count; x += 2) {
        const Column &a = *column++, &b = *column++;
        const __m128i bytes =
            _mm_unpacklo_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(row + a.offset)),
                               _mm_loadl_epi64(reinterpret_cast<const __m128i*>(row + b.offset)));
        const __m128i sum_a =
            _mm_madd_epi16(_mm_shuffle_epi8(bytes, pairs),
                           _mm_load_si128(reinterpret_cast<const __m128i*>(a.weights)));
        const __m128i sum_b =
            _mm_madd_epi16(_mm_shuffle_epi8(bytes, high_pairs),
                           _mm_load_si128(reinterpret_cast<const __m128i*>(b.weights)));
        const __m128i values = _mm_packs_epi32(_mm_srai_epi32(sum_a, 4), _mm_srai_epi32(sum_b, 4));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + kChannels * x),
                         _mm_shuffle_epi8(values, drop_fourth));
    }
    return count;
}

#elif defined(R2P_NEON)

// One column per step; returns how many are done. Writes one value past the last one.
inline int interpolate_columns_wide(const uint8_t* row, const Columns& columns, bool swap,
                                    int16_t* out) {
    const uint8x8_t order = vcreate_u8(swap ? 0x0706030405000102 : 0x0706050403020100);
    for (int x = 0; x < columns.wide_loads; ++x) {
        const Column& column = columns.columns[x];
        const uint8x8_t bytes = vtbl1_u8(vld1_u8(row + column.offset), order);
        const int16x8_t pixels = vreinterpretq_s16_u16(vmovl_u8(bytes));
        const int16x4_t left = vget_low_s16(pixels);
        const int16x4_t right = vget_low_s16(vextq_s16(pixels, pixels, kChannels));
        const int32x4_t sum =
            vmlal_n_s16(vmull_n_s16(left, column.weights[0]), right, column.weights[1]);
        vst1_s16(out + kChannels * x, vshrn_n_s32(sum, 4));
    }
    return columns.wide_loads;
}

#endif

// One source row at the crop's columns. OpenCV drops four of the eleven weight bits before it
// blends rows; dropped here already, a value (at most 255 * 2049 / 16) fits in 16 bits.
inline void interpolate_columns(const uint8_t* row, const Columns& columns, bool swap,
                                int16_t* out) {
    size_t x = 0;
#if defined(R2P_SSSE3)
    if (__builtin_cpu_supports("ssse3")) x = interpolate_columns_wide(row, columns, swap, out);
#elif defined(R2P_NEON)
    x = interpolate_columns_wide(row, columns, swap, out);
#endif
    for (; x < columns.columns.size(); ++x) {
        const Column& column = columns.columns[x];
        const uint8_t* left = row + column.offset;
        const uint8_t* right = left + columns.pair_step;
        for (int c = 0; c < kChannels; ++c) {
            const int from = swap ? kChannels - 1 - c : c;
            const int sum = left[from] * column.weights[0] + right[from] * column.weights[1];
            out[kChannels * x + c] = static_cast<int16_t>(sum >> 4);
        }
    }
}

// OpenCV's second rounding: the high halves of two 16-bit products. Everything is int16 because
// compilers then use the instruction that gives just that half.
inline void interpolate_rows(const int16_t* __restrict upper, const int16_t* __restrict lower,
                             const Tap& t, int count, uint8_t* __restrict out) {
    const int16_t upper_weight = t.weights[0], lower_weight = t.weights[1];
    for (int i = 0; i < count; ++i) {
        const int16_t high_upper = static_cast<int16_t>((upper[i] * upper_weight) >> 16);
        const int16_t high_lower = static_cast<int16_t>((lower[i] * lower_weight) >> 16);
        const int16_t sum = static_cast<int16_t>(high_upper + high_lower + 2);
        out[i] = static_cast<uint8_t>(static_cast<uint16_t>(sum) >> 2);
    }
}

inline void prefetch(const uint8_t* begin, const uint8_t* end) {
#if defined(__GNUC__)
    for (; begin < end; begin += 64) __builtin_prefetch(begin);
#else
    (void)begin, (void)end;
#endif
}

}  // namespace detail

// Writes crop.height x crop.width pixels to out: the bytes of
//     cv2.resize(image, (resized_width, resized_height), interpolation=INTER_LINEAR)[top:, left:]
// with the channels reversed if swap. Equal sizes and exact halving, for which OpenCV has other
// code, need none here: with weights of 2048 and 1024 this arithmetic is a copy and a rounded mean
// of four. Found equal byte for byte to the x86-64 wheels of OpenCV 4.8, 4.14 and 5.0; that of 5.0
// for aarch64 rounds otherwise and differs by up to 2 in places, where this code gives these bytes.
inline void resize_crop(const Image& image, const Crop& crop, bool swap, uint8_t* out) {
    using namespace detail;
    const Columns columns = columns_of(image, crop);
    const double step = scale(image.height, crop.resized_height);
    const int count = kChannels * crop.width;
    const int padded = count + 8;  // interpolate_columns_wide writes a little past the end
    std::vector<int16_t> rows(2 * static_cast<size_t>(padded));

    // Source row y, resampled, is kept in half y % 2: the rows of a tap are neighbours, and the
    // next output row may want one of them again. Rows outside the image are its border rows.
    int held[2] = {-1, -1};
    const auto inside = [&](int y) { return std::clamp(y, 0, image.height - 1); };
    const auto source = [&](int y) { return image.pixels + inside(y) * image.row_stride; };
    const auto resampled = [&](int y) {
        const int half = inside(y) % 2;
        int16_t* row = rows.data() + half * padded;
        if (held[half] != inside(y)) {
            interpolate_columns(source(y), columns, swap, row);
            held[half] = inside(y);
        }
        return row;
    };

    const int begin = columns.columns.front().offset, end = columns.columns.back().offset;
    Tap t = tap(crop.top, step);
    for (int y = 0; y < crop.height; ++y) {
        const Tap next = tap(crop.top + y + 1, step);
        // A strong reduction jumps over source rows, and no hardware prefetcher follows the jumps.
        if (next.first > t.first + 1) {
            prefetch(source(next.first) + begin, source(next.first) + end);
            prefetch(source(next.first + 1) + begin, source(next.first + 1) + end);
        }
        const int16_t* upper = resampled(t.first);
        const int16_t* lower = resampled(t.first + 1);
        interpolate_rows(upper, lower, t, count, out + static_cast<size_t>(y) * count);
        t = next;
    }
}

// The planes of a YUV 4:2:0 frame: one sample of u and v for each 2 x 2 pixels, the last ones of
// an odd side for what is left.
struct Plane {
    const uint8_t* samples;
    ptrdiff_t row_stride;  // bytes; may be negative
    int step;              // bytes from one sample to the next: 1, or 2 where u and v alternate
};

struct Planes {
    Plane y, u, v;
    int height, width;  // of the frame and of plane y
};

// From y, u and v to red, green and blue, in 1/8192: all have gain * (y - black), to which red
// adds red_v * (v - 128), green green_u * (u - 128) + green_v * (v - 128), blue blue_u * (u - 128).
struct Matrix {
    int16_t black, gain, red_v, green_u, green_v, blue_u;
};

namespace detail {

// Four columns of a plane whose samples lie so near together that one load gets all of them.
struct SampleGroup {
    alignas(16) uint8_t shuffle[16];  // picks the pairs, each sample with a zero byte behind it
    alignas(16) int16_t weights[8];
    int32_t base;  // bytes from the row's start to the load
};

struct SampleColumn {
    int32_t left, right;  // bytes from the row's start
    int16_t weights[2];
};

struct SampleColumns {
    std::vector<SampleColumn> columns;
    std::vector<SampleGroup> groups;  // of the first columns, as many as have one; none on ARM
};

// Where the columns of the crop take their samples in a plane that has the frame's columns, or of u
// and v half of them (shift is 1). Pixels that share a sample have all of it: so FFmpeg converts
// whole frames, and what a model has learnt from was converted so.
inline SampleColumns sample_columns(const Planes& image, const Crop& crop, int shift, int step) {
    SampleColumns result{std::vector<SampleColumn>(crop.width), {}};
    const double factor = scale(image.width, crop.resized_width);
    const auto offset = [&](int x) {
        return (std::clamp(x, 0, image.width - 1) >> shift) * step;
    };
    for (int x = 0; x < crop.width; ++x) {
        const Tap t = tap(crop.left + x, factor);
        result.columns[x] = {offset(t.first), offset(t.first + 1), {t.weights[0], t.weights[1]}};
    }
#if defined(R2P_SSSE3)
    const int end = offset(image.width - 1) + 1;
    for (int x = 0; x + 4 <= crop.width; x += 4) {
        const SampleColumn* const four = result.columns.data() + x;
        const int base = std::min(four[0].left, end - 16);
        if (base < 0 || four[3].right - base >= 16) break;
        SampleGroup group{{}, {}, base};
        for (int i = 0; i < 4; ++i) {
            const int at[2] = {four[i].left - base, four[i].right - base};
            for (int side = 0; side < 2; ++side) {
                group.shuffle[4 * i + 2 * side] = static_cast<uint8_t>(at[side]);
                group.shuffle[4 * i + 2 * side + 1] = 0x80;
                group.weights[2 * i + side] = four[i].weights[side];
            }
        }
        result.groups.push_back(group);
    }
#endif
    return result;
}

#if defined(R2P_SSSE3)

// Returns how many columns are done. Writes four values past the last one.
R2P_SSSE3 inline size_t interpolate_samples_wide(const uint8_t* row, const SampleColumns& columns,
                                                 int16_t* out) {
    for (const SampleGroup& group : columns.groups) {
        const __m128i bytes =
            _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + group.base));
        const __m128i pairs = _mm_shuffle_epi8(
            bytes, _mm_load_si128(reinterpret_cast<const __m128i*>(group.shuffle)));
        const __m128i sums = _mm_srai_epi32(
            _mm_madd_epi16(pairs, _mm_load_si128(reinterpret_cast<const __m128i*>(group.weights))),
            4);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_packs_epi32(sums, sums));
        out += 4;
    }
    return 4 * columns.groups.size();
}

#endif

// Rows of one plane at the crop's columns; the two newest are kept.
class SampleRows {
public:
    SampleRows(const Planes& image, const Plane& plane, const Crop& crop, int shift)
        : plane_(plane),
          columns_(sample_columns(image, crop, shift, plane.step)),
          last_(image.height - 1),
          shift_(shift),
          padded_(columns_.columns.size() + 4),
          rows_(2 * padded_) {}

    // The samples of the frame's row y, times 128; there until the row after the next is wanted.
    const int16_t* at(int y) {
        const int source = std::clamp(y, 0, last_) >> shift_;
        int16_t* const out = rows_.data() + (source % 2) * padded_;
        if (held_[source % 2] == source) return out;
        held_[source % 2] = source;
        const uint8_t* const row = plane_.samples + source * plane_.row_stride;
        size_t x = 0;
#if defined(R2P_SSSE3)
        if (__builtin_cpu_supports("ssse3")) x = interpolate_samples_wide(row, columns_, out);
#endif
        for (; x < columns_.columns.size(); ++x) {
            const SampleColumn& c = columns_.columns[x];
            const int sum = row[c.left] * c.weights[0] + row[c.right] * c.weights[1];
            out[x] = static_cast<int16_t>(sum >> 4);
        }
        return out;
    }

private:
    const Plane plane_;
    const SampleColumns columns_;
    const int last_, shift_;
    const size_t padded_;
    std::vector<int16_t> rows_;
    int held_[2] = {-1, -1};
};

// Samples less `zero`, times 64.
inline void blend_rows(const int16_t* __restrict upper, const int16_t* __restrict lower,
                       const Tap& t, int count, int zero, int16_t* __restrict out) {
    const int16_t upper_weight = t.weights[0], lower_weight = t.weights[1];
    for (int i = 0; i < count; ++i) {
        const int sum = upper[i] * upper_weight + lower[i] * lower_weight;  // times 2^18
        out[i] = static_cast<int16_t>(((sum + (1 << 11)) >> 12) - 64 * zero);
    }
}

// A sample times 64 with a number of the matrix, in eighths: half of a product, as above.
inline int16_t eighths(int16_t sample, int16_t factor) {
    return static_cast<int16_t>((sample * factor) >> 16);
}

// Whole numbers, 0 to 255. Each of the two terms that FFmpeg adds up is rounded down there, which
// makes its colours one level darker than they are, in the mean; with this constant so are ours.
inline uint8_t color_byte(int sum) {
    const auto value = static_cast<int16_t>(static_cast<int16_t>(sum - 3) >> 3);
    return static_cast<uint8_t>(std::clamp<int16_t>(value, 0, 255));
}

inline void color_row(const int16_t* __restrict y, const int16_t* __restrict u,
                      const int16_t* __restrict v, size_t count, const Matrix& m,
                      uint8_t* __restrict red, uint8_t* __restrict green,
                      uint8_t* __restrict blue) {
    for (size_t i = 0; i < count; ++i) {
        const int16_t gray = eighths(y[i], m.gain);
        red[i] = color_byte(gray + eighths(v[i], m.red_v));
        green[i] = color_byte(gray + eighths(u[i], m.green_u) + eighths(v[i], m.green_v));
        blue[i] = color_byte(gray + eighths(u[i], m.blue_u));
    }
}

inline void interleave(const uint8_t* __restrict first, const uint8_t* __restrict second,
                       const uint8_t* __restrict third, size_t count, uint8_t* __restrict out) {
    for (size_t i = 0; i < count; ++i) {
        out[kChannels * i] = first[i];
        out[kChannels * i + 1] = second[i];
        out[kChannels * i + 2] = third[i];
    }
}

}  // namespace detail

// resize_crop of a frame that is still in planes: these are resized, and only the pixels of the
// crop are then converted, to RGB or with swap to BGR. Up to rounding that is resize_crop of the
// converted frame; where colours beyond the range of RGB are cut off, they are so after resizing.
inline void resize_crop_yuv(const Planes& image, const Crop& crop, const Matrix& matrix, bool swap,
                            uint8_t* out) {
    using namespace detail;
    SampleRows y(image, image.y, crop, 0), u(image, image.u, crop, 1), v(image, image.v, crop, 1);
    const double step = scale(image.height, crop.resized_height);
    const size_t count = crop.width;
    std::vector<int16_t> samples(3 * count);
    std::vector<uint8_t> colors(3 * count);
    int16_t *const ys = samples.data(), *const us = ys + count, *const vs = us + count;
    uint8_t *const red = colors.data(), *const green = red + count, *const blue = green + count;
    for (int line = 0; line < crop.height; ++line) {
        const Tap t = tap(crop.top + line, step);
        const auto blend = [&](SampleRows& rows, int zero, int16_t* blended) {
            const int16_t* upper = rows.at(t.first);
            blend_rows(upper, rows.at(t.first + 1), t, crop.width, zero, blended);
        };
        blend(y, matrix.black, ys);
        blend(u, 128, us);
        blend(v, 128, vs);
        color_row(ys, us, vs, count, matrix, red, green, blue);
        interleave(swap ? blue : red, green, swap ? red : blue, count,
                   out + static_cast<size_t>(line) * kChannels * count);
    }
}

namespace detail {

#if defined(R2P_SSSE3)

// Four pixels per step; returns how many are done.
R2P_SSSE3 inline size_t stack_frame_wide(const uint8_t* frame, size_t pixels, const float* scale,
                                         const float* bias, float* const planes[kChannels]) {
    constexpr char z = -128;
    size_t i = 0;
    for (; kChannels * i + 16 <= kChannels * pixels; i += 4) {
        const __m128i bytes =
            _mm_loadu_si128(reinterpret_cast<const __m128i*>(frame + kChannels * i));
        for (int c = 0; c < kChannels; ++c) {
            const __m128i every_third =
                _mm_add_epi8(_mm_setr_epi8(0, z, z, z, 3, z, z, z, 6, z, z, z, 9, z, z, z),
                             _mm_set1_epi8(static_cast<char>(c)));
            const __m128 values = _mm_cvtepi32_ps(_mm_shuffle_epi8(bytes, every_third));
            const __m128 scaled = _mm_mul_ps(values, _mm_set1_ps(scale[c]));
            _mm_storeu_ps(planes[c] + i, _mm_add_ps(scaled, _mm_set1_ps(bias[c])));
        }
    }
    return i;
}

#endif

inline void stack_frame(const uint8_t* __restrict frame, size_t pixels, const float* scale,
                        const float* bias, float* const planes[kChannels]) {
    size_t i = 0;
#if defined(R2P_SSSE3)
    if (__builtin_cpu_supports("ssse3")) i = stack_frame_wide(frame, pixels, scale, bias, planes);
#endif
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

}  // namespace detail

// THWC bytes to CTHW floats: frames * scale + bias, per channel. `pixels` is height * width.
inline void stack(const uint8_t* frames, size_t count, size_t pixels, const float scale[kChannels],
                  const float bias[kChannels], float* out) {
    for (size_t t = 0; t < count; ++t) {
        float* const planes[kChannels] = {out + t * pixels, out + (count + t) * pixels,
                                          out + (2 * count + t) * pixels};
        detail::stack_frame(frames + kChannels * t * pixels, pixels, scale, bias, planes);
    }
}

}  // namespace r2p
