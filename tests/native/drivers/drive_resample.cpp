#include "resample.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include "drive.h"

extern "C" int chirpid_resample(const ChirpidResample* plan, const float* in, int64_t num_in,
                                int64_t first, int64_t count, float* out);

void drive_resample() {
    // 3 inputs become 32 outputs: two groups of lanes, the second one tap shorter.
    const std::vector<int64_t> input_at{0, 2}, num_taps{5, 4}, weight_at{0, 5 * RESAMPLE_LANES};
    const std::vector<float> weights(9 * RESAMPLE_LANES, 0.125f);
    const ChirpidResample plan{3, 32, -2, 6, input_at.data(), num_taps.data(), weight_at.data(),
                               weights.data()};
    for (int64_t num_in : {0, 1, 7, 300}) {
        const std::vector<float> in(num_in, 1.0f);
        for (int64_t first : {0, 5, 31, 32, 1000})
            for (int64_t count : {0, 1, 33, 900}) {
                std::vector<float> out(count, NAN);
                CHECK(chirpid_resample(&plan, in.data(), num_in, first, count, out.data()) == 0);
                for (float value : out) CHECK(std::isfinite(value));
            }
    }
    CHECK(chirpid_resample(&plan, nullptr, -1, 0, 1, nullptr) != 0);
}
