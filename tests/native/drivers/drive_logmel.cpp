#include <cmath>
#include <cstdint>
#include <vector>

#include "drive.h"

extern "C" int chirpid_logmel_plan(int fft_samples, int hop_samples, int num_bands,
                                   const float* window, const float* mel, int to_db,
                                   float min_power, float floor_db, void** plan);
extern "C" void chirpid_logmel_free(void* plan);
extern "C" int chirpid_logmel(const void* plan, const float* waves, int64_t num_clips,
                              int64_t num_samples, int num_threads, float* out);

void drive_logmel() {
    void* plan = nullptr;
    CHECK(chirpid_logmel_plan(100, 10, 4, nullptr, nullptr, 1, 1e-10f, -80, &plan) != 0);
    for (int fft : {64, 128, 256, 512, 1024, 2048}) {
        const int num_bands = 5, bins = fft / 2 + 1, hop = fft / 3;
        std::vector<float> window(fft, 1.0f), mel(static_cast<size_t>(num_bands) * bins);
        for (int bin = 0; bin < bins; bin++) mel[bin * num_bands / bins * bins + bin] = 1.0f;
        CHECK(chirpid_logmel_plan(fft, hop, num_bands, window.data(), mel.data(), 1, 1e-10f, -80,
                                  &plan) == 0);
        for (int64_t num_samples : {fft, fft + 1, 5 * fft + 7}) {
            const int64_t num_clips = 3, num_frames = 1 + num_samples / hop;
            std::vector<float> waves(num_clips * num_samples);
            for (size_t i = 0; i < waves.size(); i++) waves[i] = std::sin(0.1f * i);
            std::vector<float> out(num_clips * num_bands * num_frames, NAN);
            for (int num_threads : {1, 3})
                CHECK(chirpid_logmel(plan, waves.data(), num_clips, num_samples, num_threads,
                                     out.data()) == 0);
            for (float value : out) CHECK(std::isfinite(value));
        }
        CHECK(chirpid_logmel(plan, window.data(), 1, fft - 1, 1, nullptr) != 0);
        chirpid_logmel_free(plan);
    }
}
