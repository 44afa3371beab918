// The way into narrowing.
#include <algorithm>
#include <cstdint>

#include "common.h"
#include "gather.h"

#define DECLARE_NARROW(width)                                                               \
    namespace width {                                                                       \
    void narrow(int kind, const float* from, void* to, int64_t n, float scale, float offset); \
    }
DECLARE_NARROW(baseline)
#if defined(CHIRPID_HAS_X86_WIDTHS)
DECLARE_NARROW(avx2)
DECLARE_NARROW(avx512)
#endif

namespace {

constexpr int64_t BLOCK = 4096;  // stays in the nearest cache between the two steps

bool is_sane(int kind, int64_t count) {
    return kind >= CHIRPID_UINT8 && kind <= CHIRPID_FLOAT32 && count >= 0;
}

}  // namespace

// Write `count` values as numbers of a kind: int16 is value * scale, uint8 (value - offset) / scale.
CHIRPID_API int chirpid_narrow(int kind, const float* from, void* to, int64_t count, float scale,
                               float offset) {
    if (!is_sane(kind, count)) return 1;
    if (count) CHIRPID_DISPATCH(narrow(kind, from, to, count, scale, offset));
    return 0;
}

// Replace values by what they are after being kept: narrowed, then number * step + offset.
CHIRPID_API int chirpid_through_kept(int kind, float* values, int64_t count, float scale,
                                     float step, float offset) {
    if (!is_sane(kind, count)) return 1;
    if (kind == CHIRPID_FLOAT32) return 0;
    int16_t kept[BLOCK];  // as large as any of the other kinds
    for (int64_t at = 0; at < count; at += BLOCK) {
        const int64_t n = std::min(BLOCK, count - at);
        CHIRPID_DISPATCH(narrow(kind, values + at, kept, n, scale, offset));
        CHIRPID_DISPATCH(widen(kind, kept, values + at, n, step, offset));
    }
    return 0;
}
