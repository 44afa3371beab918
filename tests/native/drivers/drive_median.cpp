#include <cmath>
#include <cstdint>
#include <vector>

#include "drive.h"

extern "C" int chirpid_centre_rows(const float* rows, int64_t count, int64_t length, int has_floor,
                                   float floor, float* out);

void drive_median() {
    for (int64_t length : {1, 2, 15, 16, 17, 501}) {
        std::vector<float> rows(3 * length), out(3 * length, NAN);
        for (size_t i = 0; i < rows.size(); i++) rows[i] = std::sin(0.7f * i);
        for (int has_floor : {0, 1}) {
            CHECK(chirpid_centre_rows(rows.data(), 3, length, has_floor, -2, out.data()) == 0);
            for (float value : out) CHECK(std::isfinite(value));
        }
    }
}
