// Rows without their median: the kernel.
#pragma once

#include <cstdint>

#include "common.h"

#define CHIRPID_MEDIAN_KERNEL                                                                    \
    /* Write rows [count] of `length` values without their median; keys has room for length     \
       rounded up to 16. */                                                                      \
    void centre_rows(const float* rows, int64_t count, int64_t length, bool has_floor,           \
                     float floor, float* out, int32_t* keys);

namespace baseline { CHIRPID_MEDIAN_KERNEL }
#if defined(CHIRPID_HAS_X86_WIDTHS)
namespace avx2 { CHIRPID_MEDIAN_KERNEL }
namespace avx512 { CHIRPID_MEDIAN_KERNEL }
#endif
