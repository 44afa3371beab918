// Numbers to float32, once per vector width. Only C headers here: a function of the C++ library
// that is compiled for wide vectors might be linked into code that runs without them.
#include <stdint.h>
#include <string.h>
#if defined(__F16C__)
#include <immintrin.h>
#endif

#include "gather.h"

namespace CHIRPID_WIDTH {
namespace {

inline float to_float(uint8_t number) { return static_cast<float>(number); }
inline float to_float(int16_t number) { return static_cast<float>(number); }
inline float to_float(float number) { return number; }

// float16 by its bits, in steps that vectorise without a conversion instruction: shift exponent
// and fraction into place, correct the exponent, and let a subtraction renormalise subnormals.
struct Half {
    uint16_t bits;
};

inline float to_float(Half number) {
    const uint32_t magnitude = (number.bits & 0x7fffu) << 13;
    const uint32_t exponent = magnitude & (0x7c00u << 13);
    const uint32_t moved = magnitude + ((127u - 15u) << 23);
    const uint32_t special = moved + ((128u - 16u) << 23);  // infinity, not a number
    // A signalling one becomes quiet, as the processor's own conversion does.
    const uint32_t quiet = special | ((magnitude & 0x7fffffu) ? 0x400000u : 0u);
    const uint32_t raised = moved + (1u << 23), smallest_bits = 113u << 23;
    float tiny, smallest;
    memcpy(&tiny, &raised, 4);
    memcpy(&smallest, &smallest_bits, 4);
    tiny -= smallest;
    uint32_t subnormal;
    memcpy(&subnormal, &tiny, 4);
    uint32_t bits = exponent == (0x7c00u << 13) ? quiet : exponent == 0 ? subnormal : moved;
    bits |= (number.bits & 0x8000u) << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

template <bool kScaled, bool kMoved, typename Number>
void each(const Number* __restrict from, float* __restrict to, int64_t n, float scale,
          float offset) {
    for (int64_t i = 0; i < n; i++) {
        float value = to_float(from[i]);
        if (kScaled) value *= scale;
        if (kMoved) value += offset;
        to[i] = value;
    }
}

template <typename Number>
void each(const void* from, float* to, int64_t n, float scale, float offset) {
    const Number* numbers = static_cast<const Number*>(from);
    if (scale == 1.0f && offset == 0.0f) return each<false, false>(numbers, to, n, scale, offset);
    if (offset == 0.0f) return each<true, false>(numbers, to, n, scale, offset);
    if (scale == 1.0f) return each<false, true>(numbers, to, n, scale, offset);
    each<true, true>(numbers, to, n, scale, offset);
}

// Converts what the processor has an instruction for, and returns how many numbers that were.
int64_t halves(const Half* from, float* to, int64_t n) {
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= n; i += 16) {
        const __m256i part = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i));
        _mm512_storeu_ps(to + i, _mm512_cvtph_ps(part));
    }
#elif defined(__F16C__)
    for (; i + 8 <= n; i += 8) {
        const __m128i part = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i));
        _mm256_storeu_ps(to + i, _mm256_cvtph_ps(part));
    }
#else
    (void)from, (void)to, (void)n;
#endif
    return i;
}

}  // namespace

void widen(int kind, const void* from, float* to, int64_t n, float scale, float offset) {
    switch (kind) {
        case CHIRPID_UINT8:
            return each<uint8_t>(from, to, n, scale, offset);
        case CHIRPID_INT16:
            return each<int16_t>(from, to, n, scale, offset);
        case CHIRPID_FLOAT16: {
            const Half* numbers = static_cast<const Half*>(from);
            const bool plain = scale == 1.0f && offset == 0.0f;
            const int64_t done = plain ? halves(numbers, to, n) : 0;
            return each<Half>(numbers + done, to + done, n - done, scale, offset);
        }
        default:
            if (scale == 1.0f && offset == 0.0f)
                memcpy(to, from, static_cast<size_t>(n) * 4);
            else
                each<float>(from, to, n, scale, offset);
    }
}

}  // namespace CHIRPID_WIDTH
