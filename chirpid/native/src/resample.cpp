// The way into the resampler.
#include "resample.h"

#include <vector>

#include "common.h"

#define DECLARE_WIDTH(name)                                                                     \
    namespace name {                                                                            \
    int resample(const ChirpidResample& plan, const float* in, int64_t num_in, int64_t first,   \
                 int64_t count, float* out, float* padded);                                     \
    }
DECLARE_WIDTH(baseline)
#if defined(CHIRPID_HAS_X86_WIDTHS)
DECLARE_WIDTH(avx2)
DECLARE_WIDTH(avx512)
#endif

// Write outputs first..first+count-1 of the inputs [num_in], which have zeros on both sides.
CHIRPID_API int chirpid_resample(const ChirpidResample* plan, const float* in, int64_t num_in,
                                 int64_t first, int64_t count, float* out) {
    if (first < 0 || count < 0 || num_in < 0) return 1;
    if (count == 0) return 0;
    static thread_local std::vector<float> padded;
    if (static_cast<int64_t>(padded.size()) < plan->num_inputs) padded.resize(plan->num_inputs);
    return CHIRPID_DISPATCH(resample(*plan, in, num_in, first, count, out, padded.data()));
}
