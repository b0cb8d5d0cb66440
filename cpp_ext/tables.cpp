#include "tables.h"

#include <algorithm>
#include <cmath>

namespace r2p {

namespace {

// OpenCV's weights are 11-bit integers: round(weight * 2048), half to even.
int16_t fixed_point(float weight) { return static_cast<int16_t>(std::lrint(weight * 2048.0f)); }

constexpr int kLoad = 16;
constexpr uint8_t kZero = 0x80;  // as an index of a shuffle: a zero byte

std::vector<Tap> column_taps(const Geometry& geometry) {
    return taps(geometry.width, geometry.resized_width, geometry.left, geometry.crop_width);
}

void fill_half(const PixelColumn& column, int base, int half, uint8_t* shuffle, int16_t* weights) {
    uint8_t* const to = shuffle + kLoad * half;
    std::fill_n(to, kLoad, kZero);
    for (int c = 0; c < kChannels; ++c) {
        to[4 * c] = static_cast<uint8_t>(column.offset - base + c);
        to[4 * c + 2] = static_cast<uint8_t>(column.offset - base + kChannels + c);
    }
    std::copy_n(column.weights, 8, weights + 8 * half);
}

// The columns in fours, up to the first couple that one load of 16 bytes does not get.
std::vector<PixelGroup> groups_of(const std::vector<PixelColumn>& columns, int row_bytes) {
    std::vector<PixelGroup> groups;
    for (size_t x = 0; x + 4 <= columns.size(); x += 4) {
        PixelGroup group;
        for (int couple = 0; couple < 2; ++couple) {
            const PixelColumn& first = columns[x + 2 * couple];
            const PixelColumn& second = columns[x + 2 * couple + 1];
            const int base = std::min(first.offset, row_bytes - kLoad);
            if (base < 0 || second.offset + 2 * kChannels > base + kLoad) return groups;
            group.base[couple] = base;
            fill_half(first, base, couple, group.first_shuffle, group.first_weights);
            fill_half(second, base, couple, group.second_shuffle, group.second_weights);
        }
        groups.push_back(group);
    }
    return groups;
}

// The columns in fours, up to the first four that one load of 16 bytes does not get.
std::vector<SampleGroup> groups_of(const std::vector<SampleColumn>& columns, int row_bytes) {
    std::vector<SampleGroup> groups;
    for (size_t x = 0; x + 4 <= columns.size(); x += 4) {
        const SampleColumn* const four = columns.data() + x;
        const int base = std::min(four[0].left, row_bytes - kLoad);
        if (base < 0 || four[3].right - base >= kLoad) break;
        SampleGroup group{{}, {}, base};
        for (int i = 0; i < 4; ++i) {
            const int at[2] = {four[i].left - base, four[i].right - base};
            for (int side = 0; side < 2; ++side) {
                group.shuffle[4 * i + 2 * side] = static_cast<uint8_t>(at[side]);
                group.shuffle[4 * i + 2 * side + 1] = kZero;
                group.weights[2 * i + side] = four[i].weights[side];
            }
        }
        groups.push_back(group);
    }
    return groups;
}

}  // namespace

// The arithmetic is OpenCV's, down to the rounding of a position to float. It inverts the inverse
// of the scale; so do we, to the last bit.
std::vector<Tap> taps(int source, int resized, int start, int count) {
    const double scale = 1.0 / (static_cast<double>(resized) / source);
    std::vector<Tap> result(count);
    for (int i = 0; i < count; ++i) {
        const float position = static_cast<float>((start + i + 0.5) * scale - 0.5);
        const float first = std::floor(position), fraction = position - first;
        result[i] = {static_cast<int>(first),
                     {fixed_point(1.0f - fraction), fixed_point(fraction)}};
    }
    return result;
}

PixelColumns pixel_columns(const Geometry& geometry) {
    const int width = geometry.width;
    PixelColumns result{{}, {}, width > 1 ? kChannels : 0, 0};
    for (Tap tap : column_taps(geometry)) {
        // Beyond the centre of a border pixel, OpenCV gives that pixel the full weight.
        if (tap.first < 0) tap = {0, {2048, 0}};
        if (tap.first >= width - 1) tap = {std::max(width - 2, 0), {0, 2048}};
        PixelColumn column{{}, kChannels * tap.first};
        for (int i = 0; i < 8; ++i) column.weights[i] = tap.weights[i % 2];
        result.columns.push_back(column);
        result.wide_loads += column.offset + 8 <= kChannels * width;
    }
    result.groups = groups_of(result.columns, kChannels * width);
    return result;
}

// Pixels that share a sample of u and v have all of it: so FFmpeg converts whole frames, and what a
// model has learnt from was converted so.
SampleColumns sample_columns(const Geometry& geometry, int shift, int step) {
    const int last = geometry.width - 1;
    const auto offset = [&](int x) { return (std::clamp(x, 0, last) >> shift) * step; };
    SampleColumns result;
    for (const Tap& tap : column_taps(geometry))
        result.columns.push_back(
            {offset(tap.first), offset(tap.first + 1), {tap.weights[0], tap.weights[1]}});
    result.groups = groups_of(result.columns, offset(last) + 1);
    return result;
}

}  // namespace r2p
