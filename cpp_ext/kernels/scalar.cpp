// The loops for the processor that the compiler targets by default, on any machine.
#include "loops.h"

namespace r2p {

namespace {

void resample_pixels(const uint8_t* row, const PixelColumns& columns, bool swap, int16_t* out) {
    loops::resample_pixels(row, columns, swap, 0, out);
}

void resample_samples(const uint8_t* row, const SampleColumns& columns, int16_t* out) {
    loops::resample_samples(row, columns, 0, out);
}

void blend_pixels(const int16_t* upper, const int16_t* lower, const Tap& tap, size_t count,
                  uint8_t* out) {
    loops::blend_pixels(upper, lower, tap, count, out);
}

void blend_samples(const int16_t* upper, const int16_t* lower, const Tap& tap, size_t count,
                   int zero, int16_t* out) {
    loops::blend_samples(upper, lower, tap, count, zero, out);
}

void convert(const int16_t* y, const int16_t* u, const int16_t* v, size_t count,
             const Matrix& matrix, uint8_t* red, uint8_t* green, uint8_t* blue) {
    loops::convert(y, u, v, count, matrix, red, green, blue);
}

void interleave(const uint8_t* first, const uint8_t* second, const uint8_t* third, size_t count,
                uint8_t* out) {
    loops::interleave(first, second, third, count, out);
}

void normalize(const uint8_t* frame, size_t pixels, const float scale[kChannels],
               const float bias[kChannels], float* const planes[kChannels]) {
    loops::normalize(frame, pixels, scale, bias, 0, planes);
}

}  // namespace

Kernels scalar() {
    return {"scalar",      resample_pixels, resample_samples, blend_pixels,
            blend_samples, convert,         interleave,       normalize};
}

}  // namespace r2p
