#include "frames.h"

#include <algorithm>

#include "kernels/kernels.h"

namespace r2p {

namespace {

// Source rows at the columns of the crop. The two newest are kept: the rows of a tap are
// neighbours, and the next tap may want one of them again.
template <typename Resample>
class Rows {
public:
    Rows(size_t width, const Resample& resample)
        : resample_(resample), padded_(width + kRowPadding), values_(2 * padded_) {}

    const int16_t* at(int y) {
        int16_t* const row = values_.data() + (y % 2) * padded_;
        if (kept_[y % 2] != y) resample_(y, row);
        kept_[y % 2] = y;
        return row;
    }

private:
    const Resample resample_;
    const size_t padded_;
    std::vector<int16_t> values_;
    int kept_[2] = {-1, -1};
};

void prefetch([[maybe_unused]] const uint8_t* begin, [[maybe_unused]] const uint8_t* end) {
#if defined(__GNUC__)
    for (; begin < end; begin += 64) __builtin_prefetch(begin);
#endif
}

}  // namespace

Resizer::Resizer(const Geometry& geometry)
    : geometry_(geometry),
      kernels_(&kernels()),
      rows_(taps(geometry.height, geometry.resized_height, geometry.top, geometry.crop_height + 1)),
      pixels_(pixel_columns(geometry)),
      luma_(sample_columns(geometry, 0, 1)),
      chroma_{sample_columns(geometry, 1, 1), sample_columns(geometry, 1, 2)} {}

void Resizer::resize(const Image& image, bool swap, uint8_t* out) const {
    const size_t count = static_cast<size_t>(kChannels) * geometry_.crop_width;
    // Rows outside the image are its border rows.
    const auto inside = [&](int y) { return std::clamp(y, 0, geometry_.height - 1); };
    const auto source = [&](int y) { return image.pixels + y * image.row_stride; };
    Rows rows(count, [&](int y, int16_t* row) {
        kernels_->resample_pixels(source(y), pixels_, swap, row);
    });
    const int begin = pixels_.columns.front().offset, end = pixels_.columns.back().offset;
    for (const Tap* tap = rows_.data(); tap != rows_.data() + geometry_.crop_height; ++tap) {
        // A strong reduction jumps over source rows, and no hardware prefetcher follows the jumps.
        const int next = tap[1].first;
        if (next > tap->first + 1) {
            for (const int y : {inside(next), inside(next + 1)})
                prefetch(source(y) + begin, source(y) + end);
        }
        const int16_t* const upper = rows.at(inside(tap->first));
        const int16_t* const lower = rows.at(inside(tap->first + 1));
        kernels_->blend_pixels(upper, lower, *tap, count, out);
        out += count;
    }
}

void Resizer::resize_yuv(const Planes& planes, const Matrix& matrix, bool swap,
                         uint8_t* out) const {
    const size_t count = geometry_.crop_width;
    const auto rows_of = [&](const Plane& plane, const SampleColumns& columns) {
        return Rows(count, [this, &plane, &columns](int y, int16_t* row) {
            kernels_->resample_samples(plane.samples + y * plane.row_stride, columns, row);
        });
    };
    auto y = rows_of(planes.y, luma_);
    auto u = rows_of(planes.u, chroma_[planes.u.step - 1]);
    auto v = rows_of(planes.v, chroma_[planes.v.step - 1]);

    std::vector<int16_t> samples(kChannels * count);
    std::vector<uint8_t> colors(kChannels * count);
    int16_t *const ys = samples.data(), *const us = ys + count, *const vs = us + count;
    uint8_t *const red = colors.data(), *const green = red + count, *const blue = green + count;
    for (int line = 0; line < geometry_.crop_height; ++line) {
        const Tap& tap = rows_[line];
        const auto blend = [&](auto& rows, int shift, int zero, int16_t* blended) {
            const auto row = [&](int at) {
                return rows.at(std::clamp(at, 0, geometry_.height - 1) >> shift);
            };
            const int16_t* const upper = row(tap.first);
            kernels_->blend_samples(upper, row(tap.first + 1), tap, count, zero, blended);
        };
        blend(y, 0, matrix.black, ys);
        blend(u, 1, 128, us);
        blend(v, 1, 128, vs);
        kernels_->convert(ys, us, vs, count, matrix, red, green, blue);
        kernels_->interleave(swap ? blue : red, green, swap ? red : blue, count, out);
        out += kChannels * count;
    }
}

void stack(const uint8_t* frames, size_t count, size_t pixels, const float scale[kChannels],
           const float bias[kChannels], float* out) {
    const Kernels& set = kernels();
    for (size_t t = 0; t < count; ++t) {
        float* const planes[] = {out + t * pixels, out + (count + t) * pixels,
                                 out + (2 * count + t) * pixels};
        set.normalize(frames + kChannels * t * pixels, pixels, scale, bias, planes);
    }
}

}  // namespace r2p
