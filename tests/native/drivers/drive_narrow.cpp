#include <cmath>
#include <cstdint>
#include <vector>

#include "drive.h"
#include "gather.h"

extern "C" int chirpid_narrow(int kind, const float* from, void* to, int64_t count, float scale,
                              float offset);
extern "C" int chirpid_through_kept(int kind, float* values, int64_t count, float scale,
                                    float step, float offset);

void drive_narrow() {
    for (int kind = CHIRPID_UINT8; kind <= CHIRPID_FLOAT32; kind++)
        for (int64_t count : {0, 1, 15, 64, 9001}) {
            std::vector<float> values(count, 3.0f);
            if (count > 14) {
                values[0] = NAN, values[1] = INFINITY, values[2] = -INFINITY, values[3] = 1e30f;
                values[4] = -3e38f, values[5] = 1e-40f, values[6] = -0.0f, values[7] = 65519.0f;
            }
            std::vector<unsigned char> kept(count * chirpid_number_bytes(kind));
            CHECK(chirpid_narrow(kind, values.data(), kept.data(), count, 2.0f, 1.0f) == 0);
            CHECK(chirpid_through_kept(kind, values.data(), count, 1.0f, 1.0f, 0.0f) == 0);
            for (int64_t i = 8; i < count; i++) CHECK(values[i] == 3.0f);
        }
    CHECK(chirpid_narrow(9, nullptr, nullptr, 0, 1.0f, 0.0f) != 0);
    CHECK(chirpid_through_kept(CHIRPID_UINT8, nullptr, -1, 1.0f, 1.0f, 0.0f) != 0);
}
