// The loops for x86-64 processors with SSSE3, whose byte shuffle takes channels apart.
#include "loops.h"

#if defined(R2P_X86)

#include <immintrin.h>

#define R2P_SSSE3 __attribute__((target("ssse3")))

namespace r2p {

namespace {

constexpr char z = -128;  // as a shuffle index: a zero byte

R2P_SSSE3 __m128i load(const void* at) { return _mm_load_si128(static_cast<const __m128i*>(at)); }

R2P_SSSE3 __m128i load_unaligned(const void* at) {
    return _mm_loadu_si128(static_cast<const __m128i*>(at));
}

R2P_SSSE3 __m128i load_half(const void* at) {
    return _mm_loadl_epi64(static_cast<const __m128i*>(at));
}

R2P_SSSE3 void store(void* at, __m128i values) {
    _mm_storeu_si128(static_cast<__m128i*>(at), values);
}

void resample_pixels(const uint8_t* row, const PixelColumns& columns, bool swap, int16_t* out) {
    ssse3_resample_pixels(row, columns, swap, 0, out);
}

// Four columns per step. Writes four values past the last one.
R2P_SSSE3 void resample_samples(const uint8_t* row, const SampleColumns& columns, int16_t* out) {
    size_t x = 0;
    for (const SampleGroup& group : columns.groups) {
        const __m128i pairs =
            _mm_shuffle_epi8(load_unaligned(row + group.base), load(group.shuffle));
        const __m128i sums = _mm_srai_epi32(_mm_madd_epi16(pairs, load(group.weights)), 4);
        store(out + x, _mm_packs_epi32(sums, sums));
        x += 4;
    }
    loops::resample_samples(row, columns, x, out);
}

// Four pixels per step, from a load of 16 bytes.
R2P_SSSE3 void normalize(const uint8_t* frame, size_t pixels, const float scale[kChannels],
                         const float bias[kChannels], float* const planes[kChannels]) {
    const __m128i every_third = _mm_setr_epi8(0, z, z, z, 3, z, z, z, 6, z, z, z, 9, z, z, z);
    size_t i = 0;
    for (; kChannels * i + 16 <= kChannels * pixels; i += 4) {
        const __m128i bytes = load_unaligned(frame + kChannels * i);
        for (int c = 0; c < kChannels; ++c) {
            const __m128i of_c = _mm_add_epi8(every_third, _mm_set1_epi8(static_cast<char>(c)));
            const __m128 values = _mm_cvtepi32_ps(_mm_shuffle_epi8(bytes, of_c));
            const __m128 scaled = _mm_mul_ps(values, _mm_set1_ps(scale[c]));
            _mm_storeu_ps(planes[c] + i, _mm_add_ps(scaled, _mm_set1_ps(bias[c])));
        }
    }
    loops::normalize(frame, pixels, scale, bias, i, planes);
}

R2P_SSSE3 void interleave(const uint8_t* first, const uint8_t* second, const uint8_t* third,
                          size_t count, uint8_t* out) {
    loops::interleave(first, second, third, count, out);
}

}  // namespace

// Two columns per step. Writes two values past the last one.
R2P_SSSE3 void ssse3_resample_pixels(const uint8_t* row, const PixelColumns& columns, bool swap,
                                     size_t x, int16_t* out) {
    // Bytes left0 left1 left2 right0 right1 right2 -> 16-bit pairs (left, right) of each channel.
    const __m128i pairs = swap ? _mm_setr_epi8(2, z, 5, z, 1, z, 4, z, 0, z, 3, z, z, z, z, z)
                               : _mm_setr_epi8(0, z, 3, z, 1, z, 4, z, 2, z, 5, z, z, z, z, z);
    const __m128i high_pairs = _mm_add_epi8(pairs, _mm_set1_epi8(8));  // z stays negative: zero
    const __m128i drop_fourth = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, z, z, z, z);
    const PixelColumn* const all = columns.columns.data();
    const size_t count = columns.wide_loads;
    for (; x + 2 <= count; x += 2) {
        const PixelColumn &a = all[x], &b = all[x + 1];
        const __m128i bytes =
            _mm_unpacklo_epi64(load_half(row + a.offset), load_half(row + b.offset));
        const __m128i sum_a = _mm_madd_epi16(_mm_shuffle_epi8(bytes, pairs), load(a.weights));
        const __m128i sum_b = _mm_madd_epi16(_mm_shuffle_epi8(bytes, high_pairs), load(b.weights));
        const __m128i values = _mm_packs_epi32(_mm_srai_epi32(sum_a, 4), _mm_srai_epi32(sum_b, 4));
        store(out + kChannels * x, _mm_shuffle_epi8(values, drop_fourth));
    }
    loops::resample_pixels(row, columns, swap, x, out);
}

Kernels ssse3() {
    Kernels result = scalar();
    result.name = "ssse3";
    result.resample_pixels = resample_pixels;
    result.resample_samples = resample_samples;
    result.interleave = interleave;
    result.normalize = normalize;
    return result;
}

}  // namespace r2p

#endif
