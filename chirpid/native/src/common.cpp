// Which vector width runs, and which sources this library was made from.
#include "common.h"

#include <atomic>

#ifndef CHIRPID_SOURCES
#define CHIRPID_SOURCES "unknown"
#endif

namespace {

int widest_here() {
#if defined(CHIRPID_HAS_X86_WIDTHS)
    __builtin_cpu_init();
    // Each of these also asks whether the operating system keeps the wide registers.
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        return CHIRPID_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c")) return CHIRPID_AVX2;
#endif
    return CHIRPID_BASELINE;
}

std::atomic<int> in_use{-1};

}  // namespace

int chirpid_width_in_use() {
    int width = in_use.load(std::memory_order_relaxed);
    if (width < 0) in_use.store(width = widest_here(), std::memory_order_relaxed);
    return width;
}

// The hash of the sources, as chirpid/native/build.py computes it.
CHIRPID_API const char* chirpid_sources() { return CHIRPID_SOURCES; }

CHIRPID_API int chirpid_widest() { return widest_here(); }

CHIRPID_API int chirpid_width() { return chirpid_width_in_use(); }

// Use a width from here on; 1 where this processor does not have it.
CHIRPID_API int chirpid_use_width(int width) {
    if (width < CHIRPID_BASELINE || width > widest_here()) return 1;
    in_use.store(width, std::memory_order_relaxed);
    return 0;
}
