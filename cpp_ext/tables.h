// The source positions and weights of a resize. They depend on sizes alone, so a Resizer computes
// them once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace r2p {

constexpr int kChannels = 3;

struct Geometry {
    int height, width;                       // of the frames
    int resized_height, resized_width;       // of the whole resized frame
    int top, left, crop_height, crop_width;  // of the part of it that is computed
};

// One position of the resized frame, along one axis.
struct Tap {
    int first;           // it lies between this source position and the next; may be -1
    int16_t weights[2];  // of the two, in 1/2048
};

struct PixelColumn {
    alignas(16) int16_t weights[8];  // the pair, four times: one vector register
    int32_t offset;                  // bytes from the row's start to the left pixel of the pair
};

// Four columns, in two couples whose pixels lie so near together that one load gets all of a
// couple. An array is for one register, with a couple in each half of it.
struct PixelGroup {
    alignas(32) uint8_t first_shuffle[32];   // picks the pairs of the first column of a couple,
    alignas(32) uint8_t second_shuffle[32];  // or of the second, with a zero byte after each byte
    alignas(32) int16_t first_weights[16];
    alignas(32) int16_t second_weights[16];
    int32_t base[2];  // bytes from the row's start to the load of a couple
};

// Columns of a frame with interleaved channels.
struct PixelColumns {
    std::vector<PixelColumn> columns;
    std::vector<PixelGroup> groups;  // of the first columns, as many as have one
    int pair_step;      // bytes from the left pixel to the right one; 0 in a frame one pixel wide
    size_t wide_loads;  // so many columns, from the left, may read 8 bytes where they need 6
};

struct SampleColumn {
    int32_t left, right;  // bytes from the row's start
    int16_t weights[2];
};

// Four columns of a plane whose samples lie so near together that one load gets all of them.
struct SampleGroup {
    alignas(16) uint8_t shuffle[16];  // picks the pairs, each sample with a zero byte behind it
    alignas(16) int16_t weights[8];
    int32_t base;  // bytes from the row's start to the load
};

// Columns of a plane.
struct SampleColumns {
    std::vector<SampleColumn> columns;
    std::vector<SampleGroup> groups;  // of the first columns, as many as have one
};

// `count` positions of a side of `resized` pixels, from `start` on, in one of `source` pixels.
std::vector<Tap> taps(int source, int resized, int start, int count);

PixelColumns pixel_columns(const Geometry& geometry);

// For a plane that has every column of the frame (shift 0) or half of them (shift 1), with samples
// `step` bytes apart.
SampleColumns sample_columns(const Geometry& geometry, int shift, int step);

}  // namespace r2p
