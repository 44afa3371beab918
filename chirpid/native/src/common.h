// What all native sources share. The interface is plain C: numbers and pointers, 0 for success.
#pragma once

#define CHIRPID_API extern "C" __attribute__((visibility("default")))

// Vector widths, narrowest first. A `*_wide.cpp` is compiled once for each of them, in a namespace
// named CHIRPID_WIDTH; the results are the same bits, only their speed differs.
enum ChirpidWidth { CHIRPID_BASELINE = 0, CHIRPID_AVX2 = 1, CHIRPID_AVX512 = 2 };

// The width in use: the widest that this processor and this library have, or what was asked for.
int chirpid_width_in_use();

#if defined(CHIRPID_HAS_X86_WIDTHS)
#define CHIRPID_DISPATCH(call)                                \
    (chirpid_width_in_use() == CHIRPID_AVX512 ? avx512::call  \
     : chirpid_width_in_use() == CHIRPID_AVX2 ? avx2::call    \
                                              : baseline::call)
#else
#define CHIRPID_DISPATCH(call) (baseline::call)
#endif
