// The inner loops: one interface, and a file for each instruction set that implements it.
//
// Three loops are written by hand, because compilers cannot vectorise a gather, of pixels or of
// samples, and do poorly at taking three channels apart. The others are plain loops (loops.h) that
// compilers vectorise at -O3; a file for an instruction set repeats those to which its width or its
// shuffles matter. Functions, not files, are compiled for an instruction set: a flag for a file
// would also compile its copies of the standard library's inline functions for it, and the linker
// may choose these copies for all.
#pragma once

#include "../frames.h"
#include "../tables.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define R2P_X86
#elif defined(__aarch64__) && defined(__GNUC__)
#define R2P_NEON
#endif

namespace r2p {

// Loops over rows may write so many values past the end of an int16 row.
constexpr size_t kRowPadding = 8;

struct Kernels {
    const char* name;

    // One source row at the columns of the crop, times 128. OpenCV drops four of the eleven weight
    // bits before it blends rows; dropped here already, a value (at most 255 * 2049 / 16) fits.
    void (*resample_pixels)(const uint8_t* row, const PixelColumns& columns, bool swap,
                            int16_t* out);
    void (*resample_samples)(const uint8_t* row, const SampleColumns& columns, int16_t* out);

    // Two such rows into the one between them: bytes, or samples less `zero` times 64.
    void (*blend_pixels)(const int16_t* upper, const int16_t* lower, const Tap& tap, size_t count,
                         uint8_t* out);
    void (*blend_samples)(const int16_t* upper, const int16_t* lower, const Tap& tap, size_t count,
                          int zero, int16_t* out);

    // One row of y, u and v, of blend_samples, into `count` pixels of red, green and blue.
    void (*convert)(const int16_t* y, const int16_t* u, const int16_t* v, size_t count,
                    const Matrix& matrix, uint8_t* red, uint8_t* green, uint8_t* blue);
    void (*interleave)(const uint8_t* first, const uint8_t* second, const uint8_t* third,
                       size_t count, uint8_t* out);

    // One frame into planes: bytes * scale + bias.
    void (*normalize)(const uint8_t* frame, size_t pixels, const float scale[kChannels],
                      const float bias[kChannels], float* const planes[kChannels]);
};

Kernels scalar();
#if defined(R2P_X86)
// Every chip since 2006 has SSSE3, down to the Atoms without AVX.
Kernels ssse3();
Kernels avx2();

// SSSE3's, from column x on: for the columns that lie too far apart for AVX2's.
void ssse3_resample_pixels(const uint8_t* row, const PixelColumns& columns, bool swap, size_t x,
                           int16_t* out);
#elif defined(R2P_NEON)
// Every aarch64 processor has NEON.
Kernels neon();
#endif

// The best set that this processor has, or the one that R2P_INSTRUCTION_SET names, chosen at the
// first call. Throws std::invalid_argument if that is none of them.
const Kernels& kernels();

}  // namespace r2p
