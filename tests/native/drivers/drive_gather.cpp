#include "gather.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <thread>
#include <vector>

#include "drive.h"

extern "C" int chirpid_gather(const ChirpidRows* rows, const int64_t* ids, const int64_t* places,
                              int64_t num_ids, float* out, int64_t num_out, int num_threads);

namespace {

// Rows of exactly the bytes that they take, so that a byte too far is seen.
void gather(int kind, int64_t numbers, int num_threads) {
    const int64_t num_rows = 7, num_ids = 9;
    std::vector<unsigned char> kept(num_rows * numbers * chirpid_number_bytes(kind), 1);
    const ChirpidRows rows{kept.data(), num_rows, numbers, kind, 0.5f, -1.0f};
    const std::vector<int64_t> ids{0, 6, 6, 3, 2, 1, 0, 5, 4};
    std::vector<float> out(num_ids * numbers, 77.0f);
    CHECK(chirpid_gather(&rows, ids.data(), nullptr, num_ids, out.data(), num_ids, num_threads) == 0);
    for (float value : out) CHECK(value == out[0]);
    const std::vector<int64_t> places{8, 7, 6, 5, 4, 3, 2, 1, 0}, bad{0, 7}, negative{-1, 0};
    CHECK(chirpid_gather(&rows, ids.data(), places.data(), num_ids, out.data(), num_ids, 2) == 0);
    CHECK(chirpid_gather(&rows, bad.data(), nullptr, 2, out.data(), num_ids, 1) == 1);
    CHECK(chirpid_gather(&rows, negative.data(), nullptr, 2, out.data(), num_ids, 1) == 1);
    CHECK(chirpid_gather(&rows, ids.data(), negative.data(), 2, out.data(), num_ids, 1) == 2);
    CHECK(chirpid_gather(&rows, ids.data(), nullptr, num_ids, out.data(), 8, 1) == 2);
    CHECK(chirpid_gather(&rows, nullptr, nullptr, 0, nullptr, 0, 2) == 0);
}

}  // namespace

void drive_gather() {
    for (int kind = CHIRPID_UINT8; kind <= CHIRPID_FLOAT32; kind++)
        for (int64_t numbers : {1, 17, 784, 70001})
            for (int num_threads : {1, 3}) gather(kind, numbers, num_threads);
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++)
        threads.emplace_back([] {
            for (int turn = 0; turn < 6; turn++) gather(CHIRPID_FLOAT16, 70001, 3);
        });
    for (std::thread& thread : threads) thread.join();
}
