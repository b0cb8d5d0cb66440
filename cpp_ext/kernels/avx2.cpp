// The loops for x86-64 processors with AVX2: SSSE3's, but for those where twice the width pays.
#include "loops.h"

#if defined(R2P_X86)

#include <immintrin.h>

#define R2P_AVX2 __attribute__((target("avx2")))

namespace r2p {

namespace {

constexpr char z = -128;  // as a shuffle index: a zero byte

R2P_AVX2 __m256i load(const void* at) { return _mm256_load_si256(static_cast<const __m256i*>(at)); }

R2P_AVX2 __m256i load_halves(const uint8_t* low, const uint8_t* high) {
    const __m128i first = _mm_loadu_si128(reinterpret_cast<const __m128i*>(low));
    const __m128i second = _mm_loadu_si128(reinterpret_cast<const __m128i*>(high));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(first), second, 1);
}

R2P_AVX2 void store(int16_t* to, __m128i values) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), values);
}

// Four columns per step, as long as they lie near together. Writes two values past the last one.
R2P_AVX2 void resample_pixels(const uint8_t* row, const PixelColumns& columns, bool swap,
                              int16_t* out) {
    // Drops the fourth sum of each column, and swaps its channels here: the groups do not.
    const __m256i order = _mm256_broadcastsi128_si256(
        swap ? _mm_setr_epi8(4, 5, 2, 3, 0, 1, 12, 13, 10, 11, 8, 9, z, z, z, z)
             : _mm_setr_epi8(0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, z, z, z, z));
    int16_t* to = out;
    for (const PixelGroup& group : columns.groups) {
        const __m256i bytes = load_halves(row + group.base[0], row + group.base[1]);
        const __m256i first = _mm256_madd_epi16(
            _mm256_shuffle_epi8(bytes, load(group.first_shuffle)), load(group.first_weights));
        const __m256i second = _mm256_madd_epi16(
            _mm256_shuffle_epi8(bytes, load(group.second_shuffle)), load(group.second_weights));
        const __m256i values = _mm256_shuffle_epi8(
            _mm256_packs_epi32(_mm256_srai_epi32(first, 4), _mm256_srai_epi32(second, 4)), order);
        store(to, _mm256_castsi256_si128(values));
        store(to + 6, _mm256_extracti128_si256(values, 1));
        to += 12;
    }
    ssse3_resample_pixels(row, columns, swap, 4 * columns.groups.size(), out);
}

// Eight pixels per step, four in each half of a register, from two loads of 16 bytes.
R2P_AVX2 void normalize(const uint8_t* frame, size_t pixels, const float scale[kChannels],
                        const float bias[kChannels], float* const planes[kChannels]) {
    // NumPy aligns large arrays to 16 bytes only: from there, every second store of 32 bytes would
    // cross into another cache line.
    const size_t off = reinterpret_cast<uintptr_t>(planes[0]) % 32 / sizeof(float);
    size_t i = std::min((8 - off) % 8, pixels);
    loops::normalize(frame, i, scale, bias, 0, planes);
    const __m256i every_third =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, z, z, z, 3, z, z, z, 6, z, z, z, 9, z, z, z));
    for (; kChannels * i + 28 <= kChannels * pixels; i += 8) {
        const uint8_t* const from = frame + kChannels * i;
        const __m256i bytes = load_halves(from, from + 12);
        for (int c = 0; c < kChannels; ++c) {
            const __m256i of_c =
                _mm256_add_epi8(every_third, _mm256_set1_epi8(static_cast<char>(c)));
            const __m256 values = _mm256_cvtepi32_ps(_mm256_shuffle_epi8(bytes, of_c));
            const __m256 scaled = _mm256_mul_ps(values, _mm256_set1_ps(scale[c]));
            _mm256_storeu_ps(planes[c] + i, _mm256_add_ps(scaled, _mm256_set1_ps(bias[c])));
        }
    }
    loops::normalize(frame, pixels, scale, bias, i, planes);
}

R2P_AVX2 void blend_pixels(const int16_t* upper, const int16_t* lower, const Tap& tap, size_t count,
                           uint8_t* out) {
    loops::blend_pixels(upper, lower, tap, count, out);
}

R2P_AVX2 void blend_samples(const int16_t* upper, const int16_t* lower, const Tap& tap,
                            size_t count, int zero, int16_t* out) {
    loops::blend_samples(upper, lower, tap, count, zero, out);
}

R2P_AVX2 void convert(const int16_t* y, const int16_t* u, const int16_t* v, size_t count,
                      const Matrix& matrix, uint8_t* red, uint8_t* green, uint8_t* blue) {
    loops::convert(y, u, v, count, matrix, red, green, blue);
}

}  // namespace

Kernels avx2() {
    Kernels result = ssse3();
    result.name = "avx2";
    result.resample_pixels = resample_pixels;
    result.blend_pixels = blend_pixels;
    result.blend_samples = blend_samples;
    result.convert = convert;
    result.normalize = normalize;
    return result;
}

}  // namespace r2p

#endif
