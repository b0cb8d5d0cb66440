// From decoded frames to the model's input: bilinear resize of a crop, and normalisation into
// planes. Plain C++17, no Python. Callers check the sizes; nothing outside what they describe is
// read or written.
//
// Compile with -ffp-contract=off: OpenCV and NumPy round between a multiplication and an addition.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tables.h"

namespace r2p {

struct Kernels;

struct Image {
    const uint8_t* pixels;  // interleaved, three channels
    ptrdiff_t row_stride;   // bytes; may be negative
};

// A plane of a YUV 4:2:0 frame. Planes u and v have one sample for each 2 x 2 pixels, the last ones
// of an odd side for what is left.
struct Plane {
    const uint8_t* samples;
    ptrdiff_t row_stride;  // bytes; may be negative
    int step;              // bytes from one sample to the next: 1, or 2 where u and v alternate
};

struct Planes {
    Plane y, u, v;  // the step of y is 1
};

// From y, u and v to red, green and blue, in 1/8192: all have gain * (y - black), to which red
// adds red_v * (v - 128), green green_u * (u - 128) + green_v * (v - 128), blue blue_u * (u - 128).
struct Matrix {
    int16_t black, gain, red_v, green_u, green_v, blue_u;
};

// Resizes frames of one size and writes one crop of the result. Immutable: threads may share one.
class Resizer {
public:
    explicit Resizer(const Geometry& geometry);

    const Geometry& geometry() const { return geometry_; }

    // Writes crop_height x crop_width pixels to out: the bytes of
    //     cv2.resize(image, (resized_width, resized_height), interpolation=INTER_LINEAR)[top:,
    //     left:]
    // with the channels reversed if swap. Equal sizes and exact halving, for which OpenCV has other
    // code, need none here: with weights of 2048 and 1024 this arithmetic is a copy and a rounded
    // mean of four. Found equal byte for byte to the x86-64 wheels of OpenCV 4.8, 4.14 and 5.0;
    // that of 5.0 for aarch64 rounds otherwise and differs by up to 2 in places, where this code
    // gives these bytes.
    void resize(const Image& image, bool swap, uint8_t* out) const;

    // The same of a frame that is still in planes: these are resized, and only the pixels of the
    // crop are then converted, to RGB or with swap to BGR. Up to rounding that is resize() of the
    // converted frame; where colours beyond the range of RGB are cut off, they are so afterwards.
    void resize_yuv(const Planes& planes, const Matrix& matrix, bool swap, uint8_t* out) const;

private:
    Geometry geometry_;
    const Kernels* kernels_;
    std::vector<Tap> rows_;  // one more than the crop has, for the prefetch
    PixelColumns pixels_;
    SampleColumns luma_, chroma_[2];  // u and v of step 1, and of step 2
};

// THWC bytes to CTHW floats: frames * scale + bias, per channel. `pixels` is height * width.
void stack(const uint8_t* frames, size_t count, size_t pixels, const float scale[kChannels],
           const float bias[kChannels], float* out);

}  // namespace r2p
