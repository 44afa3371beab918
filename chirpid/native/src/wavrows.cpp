// Rows of a batch from WAV files, clip by clip: open, read, resample, log-mel, round as if kept.
// One call for all of them, so that no clip waits for Python's lock.
#include "wavrows.h"

#include <time.h>

#include <new>
#include <vector>

#include "logmel.h"

namespace {

enum Stage { DECODE = 0, RESAMPLE = 1, FRONTEND = 2, NUM_STAGES = 3 };

// Adds up where the time goes.
class Clock {
   public:
    explicit Clock(double* seconds) : seconds_(seconds), last_(now()) {}
    void charge(Stage stage) {
        const double time = now();
        seconds_[stage] += time - last_;
        last_ = time;
    }

   private:
    static double now() {
        timespec time;
        clock_gettime(CLOCK_MONOTONIC, &time);
        return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
    }
    double* seconds_;
    double last_;
};

class OpenWav {
   public:
    explicit OpenWav(const char* path) : is_open_(chirpid_wav_open(path, &wav_) == 0) {}
    ~OpenWav() {
        if (is_open_) chirpid_wav_close(&wav_);
    }
    OpenWav(const OpenWav&) = delete;
    OpenWav& operator=(const OpenWav&) = delete;

    bool read(const ChirpidClip& clip, float* out) const {
        return is_open_ && clip.channel < wav_.num_channels &&
               chirpid_wav_read(&wav_, clip.start_frame, clip.num_frames, clip.channel, out) == 0;
    }

   private:
    ChirpidWav wav_;
    bool is_open_;
};

// Memory of this thread, kept between calls.
struct Work {
    std::vector<float> frames, wave;
};

float* at_least(std::vector<float>& memory, int64_t count) {
    if (static_cast<int64_t>(memory.size()) < count) memory.resize(count);
    return memory.data();
}

// Write one row; false where something is in the way, and then not all of it may be written.
bool make_row(const ChirpidClip& clip, const ChirpidRowRule& rule, Work& work, Clock& clock,
              float* out) {
    float* wave = rule.logmel ? at_least(work.wave, rule.num_samples) : out;
    float* frames = clip.resample ? at_least(work.frames, clip.num_frames) : wave;
    const bool was_read = OpenWav(clip.path).read(clip, frames);
    clock.charge(DECODE);
    if (!was_read) return false;
    if (clip.resample) {
        if (chirpid_resample(clip.resample, frames, clip.num_frames, clip.first_output,
                             rule.num_samples, wave))
            return false;
        clock.charge(RESAMPLE);
    }
    if (rule.logmel) {
        const int code = chirpid_logmel(rule.logmel, wave, 1, rule.num_samples, 1, out);
        if (code == 2) throw std::bad_alloc();
        if (code) return false;
    }
    if (chirpid_through_kept(rule.kind, out, rule.row_numbers, rule.scale, rule.step, rule.offset))
        return false;
    clock.charge(FRONTEND);
    return true;
}

}  // namespace

// Write the rows of clips to float32 `out` [num_clips, row_numbers] and note those that are `done`;
// the others are for libsndfile. Adds to `seconds` of [decoding, resampling, the rest].
// 1: a window and its clip differ in length; 2: no memory.
CHIRPID_API int chirpid_wav_rows(const ChirpidRowRule* rule, ChirpidClip* clips, int64_t num_clips,
                                 float* out, double* seconds) {
    static thread_local Work work;
    Clock clock(seconds);
    try {
        for (int64_t i = 0; i < num_clips; i++) {
            ChirpidClip& clip = clips[i];
            clip.done = 0;
            if (clip.num_frames < 0 || (!clip.resample && clip.num_frames != rule->num_samples))
                return 1;
            if (clip.path)
                clip.done = make_row(clip, *rule, work, clock, out + i * rule->row_numbers);
        }
    } catch (const std::bad_alloc&) {
        return 2;
    }
    return 0;
}
