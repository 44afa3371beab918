// Log-mel: what the plan of one setting holds, and the kernel that runs it at one vector width.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common.h"

// Plain pointers and numbers: the wide sources must not instantiate templates of the standard
// library, of which the linker keeps one copy only, perhaps that for the widest processor.
struct LogMelPlan {
    int fft_samples;
    int half;  // complex points of the transform: two real samples each
    int hop_samples;
    int num_bands;
    int num_levels;  // passes of the transform, radix 8 or 4 each
    int radix[6];
    const float* twiddle[6];    // [L / radix][radix - 1][re, im] of the pass over blocks of L
    const float* window;        // [fft_samples], halved
    const int32_t* row_of;      // [half] row in which frequency k ends up
    const float* post;          // [half / 2 + 1][re, im] exp(-2 pi i k / fft_samples)
    const int32_t* pairs;       // [num_pairs] k of which bin k or half - k is in a band
    int num_pairs;
    const int32_t* first_bin;   // [num_bands]
    const int32_t* num_bins;    // [num_bands]
    const int32_t* weight_at;   // [num_bands] offset into weights
    const float* weights;
    int to_db;       // 10 log10(power), not below floor_db; or the power itself
    float floor_db;  // at least what min_power reads
};

#define CHIRPID_LOGMEL_KERNEL                                                                   \
    /* Frames that run side by side. */                                                         \
    int logmel_lanes();                                                                         \
    /* Floats of working memory that logmel_groups needs. */                                    \
    size_t logmel_work_floats(const LogMelPlan& plan);                                          \
    /* Write groups first..end-1 of logmel_lanes() frames each of one clip to out [M, F];       \
       work is aligned to 64 bytes. */                                                          \
    void logmel_groups(const LogMelPlan& plan, const float* wave, int64_t num_samples,          \
                       float* out, int64_t num_frames, int64_t first, int64_t end, float* work);

namespace baseline { CHIRPID_LOGMEL_KERNEL }
#if defined(CHIRPID_HAS_X86_WIDTHS)
namespace avx2 { CHIRPID_LOGMEL_KERNEL }
namespace avx512 { CHIRPID_LOGMEL_KERNEL }
#endif

// See logmel.cpp.
CHIRPID_API int chirpid_logmel(const void* plan, const float* waves, int64_t num_clips,
                               int64_t num_samples, int num_threads, float* out);
