// Samples as they lie in a file to mono floats; elementwise, so that every width gives the same bits.
// Only C headers here: a function of the C++ library that is compiled for wide vectors might be
// linked into code that runs without them.
#include <stdint.h>
#include <string.h>

#include "pcm.h"

namespace CHIRPID_WIDTH {
namespace {

template <int SUBTYPE>
inline float value_of(const unsigned char* at) {
    if constexpr (SUBTYPE == PCM_U8) {
        return static_cast<float>(static_cast<int>(*at) - 128) * (1.0f / 128);
    } else if constexpr (SUBTYPE == PCM_16) {
        int16_t value;
        memcpy(&value, at, 2);
        return static_cast<float>(value) * (1.0f / 32768);
    } else if constexpr (SUBTYPE == PCM_24) {
        const uint32_t value = static_cast<uint32_t>(at[0]) << 8 |
                               static_cast<uint32_t>(at[1]) << 16 |
                               static_cast<uint32_t>(at[2]) << 24;
        return static_cast<float>(static_cast<int32_t>(value)) * (1.0f / 2147483648.0f);
    } else if constexpr (SUBTYPE == PCM_32) {
        int32_t value;
        memcpy(&value, at, 4);
        return static_cast<float>(value) * (1.0f / 2147483648.0f);
    } else if constexpr (SUBTYPE == PCM_FLOAT) {
        float value;
        memcpy(&value, at, 4);
        return value;
    } else {
        double value;
        memcpy(&value, at, 8);
        return static_cast<float>(value);
    }
}

template <int SUBTYPE>
void one_of(const unsigned char* at, int64_t num_frames, int stride, float* out) {
    if (stride == pcm_bytes(SUBTYPE)) {  // a stride known while compiling can be vectorised
        for (int64_t i = 0; i < num_frames; i++)
            out[i] = value_of<SUBTYPE>(at + i * pcm_bytes(SUBTYPE));
    } else {
        for (int64_t i = 0; i < num_frames; i++) out[i] = value_of<SUBTYPE>(at + i * stride);
    }
}

template <int SUBTYPE>
void mean_of(const unsigned char* at, int64_t num_frames, int num_channels, float* out) {
    constexpr int BYTES = pcm_bytes(SUBTYPE);
    if (num_channels == 2) {
        for (int64_t i = 0; i < num_frames; i++)
            out[i] = (value_of<SUBTYPE>(at + i * 2 * BYTES) +
                      value_of<SUBTYPE>(at + i * 2 * BYTES + BYTES)) * 0.5f;
        return;
    }
    const float share = static_cast<float>(1.0 / num_channels);
    for (int64_t i = 0; i < num_frames; i++) {
        const unsigned char* frame = at + i * num_channels * BYTES;
        float sum = value_of<SUBTYPE>(frame);
        for (int c = 1; c < num_channels; c++) sum += value_of<SUBTYPE>(frame + c * BYTES);
        out[i] = sum * share;
    }
}

void make_finite(float* values, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, values + i, 4);
        bits = (bits & 0x7f800000u) == 0x7f800000u ? 0u : bits;
        memcpy(values + i, &bits, 4);
    }
}

template <int SUBTYPE>
int to_mono(const unsigned char* at, int64_t num_frames, int num_channels, int channel,
            float* out) {
    if (num_channels == 1)
        one_of<SUBTYPE>(at, num_frames, pcm_bytes(SUBTYPE), out);
    else if (channel == PCM_MEAN)
        mean_of<SUBTYPE>(at, num_frames, num_channels, out);
    else
        one_of<SUBTYPE>(at + channel * pcm_bytes(SUBTYPE), num_frames,
                        num_channels * pcm_bytes(SUBTYPE), out);
    if (SUBTYPE == PCM_FLOAT || SUBTYPE == PCM_DOUBLE) make_finite(out, num_frames);
    return 0;
}

}  // namespace

int pcm_to_mono(const unsigned char* at, int64_t num_frames, int num_channels, int subtype,
                int channel, float* out) {
    switch (subtype) {
        case PCM_U8: return to_mono<PCM_U8>(at, num_frames, num_channels, channel, out);
        case PCM_16: return to_mono<PCM_16>(at, num_frames, num_channels, channel, out);
        case PCM_24: return to_mono<PCM_24>(at, num_frames, num_channels, channel, out);
        case PCM_32: return to_mono<PCM_32>(at, num_frames, num_channels, channel, out);
        case PCM_FLOAT: return to_mono<PCM_FLOAT>(at, num_frames, num_channels, channel, out);
        case PCM_DOUBLE: return to_mono<PCM_DOUBLE>(at, num_frames, num_channels, channel, out);
        default: return 1;
    }
}

}  // namespace CHIRPID_WIDTH
