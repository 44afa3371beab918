#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "drive.h"
#include "wavrows.h"

extern "C" int chirpid_logmel_plan(int fft_samples, int hop_samples, int num_bands,
                                   const float* window, const float* mel, int to_db,
                                   float min_power, float floor_db, void** plan);
extern "C" void chirpid_logmel_free(void* plan);
extern "C" int chirpid_wav_rows(const ChirpidRowRule* rule, ChirpidClip* clips, int64_t num_clips,
                                float* out, double* seconds);

namespace {

constexpr int64_t NUM_SAMPLES = 500;

void put(std::string& bytes, uint64_t number, int size) {
    for (int i = 0; i < size; i++) bytes += static_cast<char>(number >> 8 * i);
}

// A WAV file of 16-bit mono samples that lies there until its end.
class File {
   public:
    explicit File(int num_frames) {
        std::string bytes = "RIFF";
        put(bytes, 36 + 2 * num_frames, 4);
        bytes += "WAVEfmt ";
        put(bytes, 16, 4);
        put(bytes, 1 | 1 << 16, 4);  // linear, one channel
        put(bytes, 32000, 4);
        put(bytes, 64000, 4);
        put(bytes, 2 | 16 << 16, 4);
        bytes += "data";
        put(bytes, 2 * num_frames, 4);
        for (int i = 0; i < num_frames; i++) put(bytes, 37 * i, 2);
        const int file = mkstemp(path);
        CHECK(file >= 0);
        CHECK(write(file, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
        close(file);
    }
    ~File() { unlink(path); }
    char path[32] = "/tmp/chirpid-drive-XXXXXX";
};

void drive_rule(const ChirpidRowRule& rule, const ChirpidResample& resample) {
    const File file(700);
    std::vector<ChirpidClip> clips{
        {file.path, -20, NUM_SAMPLES, nullptr, 0, PCM_MEAN, 0},
        {file.path, 650, 60, &resample, 32, 0, 0},
        {nullptr, 0, NUM_SAMPLES, nullptr, 0, 0, 1},
        {"/tmp/chirpid-not-there", 0, NUM_SAMPLES, nullptr, 0, 0, 1},
        {file.path, 0, NUM_SAMPLES, nullptr, 0, 1, 1},  // it has no second channel
    };
    std::vector<float> out(clips.size() * rule.row_numbers, NAN);
    double seconds[3] = {};
    CHECK(chirpid_wav_rows(&rule, clips.data(), clips.size(), out.data(), seconds) == 0);
    for (size_t i = 0; i < clips.size(); i++) CHECK(clips[i].done == (i < 2));
    for (int64_t i = 0; i < 2 * rule.row_numbers; i++) CHECK(std::isfinite(out[i]));
    for (double stage : seconds) CHECK(stage > 0);
    clips[0].num_frames = NUM_SAMPLES + 1;
    CHECK(chirpid_wav_rows(&rule, clips.data(), 1, out.data(), seconds) == 1);
}

}  // namespace

void drive_wavrows() {
    const std::vector<int64_t> input_at{0, 2}, num_taps{5, 4}, weight_at{0, 5 * RESAMPLE_LANES};
    const std::vector<float> weights(9 * RESAMPLE_LANES, 0.125f);
    const ChirpidResample resample{3, 32, -2, 6, input_at.data(), num_taps.data(),
                                   weight_at.data(), weights.data()};
    const int num_bands = 3, hop = 50;
    const std::vector<float> window(64, 0.5f), mel(num_bands * 33, 0.1f);
    void* plan = nullptr;
    CHECK(chirpid_logmel_plan(64, hop, num_bands, window.data(), mel.data(), 1, 1e-10f, -100.0f,
                              &plan) == 0);
    for (int kind = CHIRPID_UINT8; kind <= CHIRPID_FLOAT32; kind++) {
        const int64_t row = num_bands * (1 + NUM_SAMPLES / hop);
        drive_rule({NUM_SAMPLES, row, plan, kind, 0.5f, 0.5f, -100.0f}, resample);
        drive_rule({NUM_SAMPLES, NUM_SAMPLES, nullptr, kind, 2.0f, 0.5f, 0.0f}, resample);
    }
    chirpid_logmel_free(plan);
}
