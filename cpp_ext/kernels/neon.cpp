// The loops for aarch64, where NEON is always there and the compiler uses it in plain loops too: it
// has an instruction for the channels (LD3). Left to write are the two gathers.
#include "loops.h"

#if defined(R2P_NEON)

#include <arm_neon.h>

namespace r2p {

namespace {

// One column per step. Writes one value past the last one.
void resample_pixels(const uint8_t* row, const PixelColumns& columns, bool swap, int16_t* out) {
    const uint8x8_t order = vcreate_u8(swap ? 0x0706030405000102 : 0x0706050403020100);
    size_t x = 0;
    for (; x < columns.wide_loads; ++x) {
        const PixelColumn& column = columns.columns[x];
        const uint8x8_t bytes = vtbl1_u8(vld1_u8(row + column.offset), order);
        const int16x8_t pixels = vreinterpretq_s16_u16(vmovl_u8(bytes));
        const int16x4_t left = vget_low_s16(pixels);
        const int16x4_t right = vget_low_s16(vextq_s16(pixels, pixels, kChannels));
        const int32x4_t sum =
            vmlal_n_s16(vmull_n_s16(left, column.weights[0]), right, column.weights[1]);
        vst1_s16(out + kChannels * x, vshrn_n_s32(sum, 4));
    }
    loops::resample_pixels(row, columns, swap, x, out);
}

// Four columns per step.
void resample_samples(const uint8_t* row, const SampleColumns& columns, int16_t* out) {
    size_t x = 0;
    for (const SampleGroup& group : columns.groups) {
        const uint8x16_t bytes = vqtbl1q_u8(vld1q_u8(row + group.base), vld1q_u8(group.shuffle));
        const int16x8_t pairs = vreinterpretq_s16_u8(bytes), weights = vld1q_s16(group.weights);
        const int32x4_t low = vmull_s16(vget_low_s16(pairs), vget_low_s16(weights));
        const int32x4_t high = vmull_high_s16(pairs, weights);
        vst1_s16(out + x, vshrn_n_s32(vpaddq_s32(low, high), 4));
        x += 4;
    }
    loops::resample_samples(row, columns, x, out);
}

}  // namespace

Kernels neon() {
    Kernels result = scalar();
    result.name = "neon";
    result.resample_pixels = resample_pixels;
    result.resample_samples = resample_samples;
    return result;
}

}  // namespace r2p

#endif
