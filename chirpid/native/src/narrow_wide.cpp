// Float32 to the numbers that rows are kept in: the nearest there is, the last one beyond them.
// Only C headers here: a function of the C++ library that is compiled for wide vectors might be
// linked into code that runs without them.
#include <stdint.h>
#include <string.h>

#include "gather.h"

namespace CHIRPID_WIDTH {
namespace {

// Choices are made between integers: between floats, compilers would keep branches in the loop.
inline int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }
inline int32_t larger(int32_t a, int32_t b) { return a > b ? a : b; }

inline int32_t bits_of(float value) {
    int32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

inline float of_bits(int32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

// The nearest integer, ties to the even one; what lies beyond `most`, at most 2**21, is that.
inline int32_t nearest(float value, float most) {
    const int32_t magnitude = smaller(bits_of(value) & INT32_MAX, bits_of(most));
    const float magic = 12582912.0f;  // 1.5 * 2**23: its neighbours are 1 apart
    return bits_of(of_bits(magnitude | (bits_of(value) & INT32_MIN)) + magic) - bits_of(magic);
}

// The bits of the nearest float16, in steps that vectorise without a conversion instruction.
inline uint16_t half_bits(float value) {
    const int32_t all = bits_of(value) & INT32_MAX, largest = 0x477fe000;  // 65504
    const int32_t bits = smaller(all, largest);
    // normal numbers: drop 13 bits of fraction, ties to even, and move the exponent
    const int32_t normal = (bits + 0xfff + (bits >> 13 & 1) - (112 << 23)) >> 13;
    // subnormal numbers: the last bit of 0.5 is the smallest float16
    const int32_t subnormal = bits_of(of_bits(bits) + 0.5f) - bits_of(0.5f);
    const int32_t is_subnormal = -static_cast<int32_t>(bits < 0x38800000);
    const int32_t is_no_number = -static_cast<int32_t>(all > 0x7f800000);
    const int32_t found = (subnormal & is_subnormal) | (normal & ~is_subnormal);
    const int32_t sign = bits_of(value) >> 16 & 0x8000;
    return static_cast<uint16_t>(sign | (found & ~is_no_number) | (0x7e00 & is_no_number));
}

}  // namespace

void narrow(int kind, const float* __restrict from, void* __restrict to, int64_t n, float scale,
            float offset) {
    if (kind == CHIRPID_FLOAT16) {
        uint16_t* out = static_cast<uint16_t*>(to);
        for (int64_t i = 0; i < n; i++) out[i] = half_bits(from[i]);
    } else if (kind == CHIRPID_INT16) {
        int16_t* out = static_cast<int16_t*>(to);
        for (int64_t i = 0; i < n; i++) {
            const int32_t steps = nearest(from[i] * scale, 32768.0f);
            out[i] = static_cast<int16_t>(smaller(steps, 32767));
        }
    } else if (kind == CHIRPID_UINT8) {
        uint8_t* out = static_cast<uint8_t*>(to);
        for (int64_t i = 0; i < n; i++) {
            const int32_t steps = nearest((from[i] - offset) / scale, 256.0f);
            out[i] = static_cast<uint8_t>(larger(smaller(steps, 255), 0));
        }
    } else {
        memcpy(to, from, 4 * n);
    }
}

}  // namespace CHIRPID_WIDTH
