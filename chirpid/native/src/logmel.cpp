// Log-mel spectra of float32 waveforms: plans, and clips shared out over threads.
#include "logmel.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

namespace {

enum { OK = 0, BAD_SETTING = 1, NO_MEMORY = 2 };

// What a plan points to lives as long as it does.
struct OwnedPlan : LogMelPlan {
    std::vector<float> twiddles[6], posts, windows, bank;
    std::vector<int32_t> rows, first, count, at, pair;
};

constexpr double PI = 3.14159265358979323846;

std::vector<int> radices(int points) {
    std::vector<int> found;
    int bits = 0;
    while ((1 << bits) < points) ++bits;
    for (; bits % 3 == 0 ? bits > 0 : bits > 4; bits -= 3) found.push_back(8);
    for (; bits > 0; bits -= 2) found.push_back(4);
    return found;
}

void plan_transform(OwnedPlan& plan) {
    const std::vector<int> radix = radices(plan.half);
    plan.num_levels = (int)radix.size();
    plan.rows.resize(plan.half);
    for (int k = 0; k < plan.half; ++k) {
        int rest = k, row = 0, points = plan.half;
        for (const int r : radix) {
            points /= r;
            row += rest % r * points;
            rest /= r;
        }
        plan.rows[k] = row;
    }
    int points = plan.half;
    for (int level = 0; level < plan.num_levels; points /= radix[level++]) {
        plan.radix[level] = radix[level];
        std::vector<float>& twiddle = plan.twiddles[level];
        for (int j = 0; j < points / radix[level]; ++j)
            for (int q = 1; q < radix[level]; ++q) {
                const double angle = -2 * PI * ((int64_t)j * q % points) / points;
                twiddle.push_back((float)std::cos(angle));
                twiddle.push_back((float)std::sin(angle));
            }
        plan.twiddle[level] = twiddle.data();
    }
    for (int k = 0; k <= plan.half / 2; ++k) {
        const double angle = -2 * PI * k / plan.fft_samples;
        plan.posts.push_back((float)std::cos(angle));
        plan.posts.push_back((float)std::sin(angle));
    }
    plan.row_of = plan.rows.data();
    plan.post = plan.posts.data();
}

void plan_bands(OwnedPlan& plan, const float* mel) {
    const int bins = plan.half + 1;
    std::vector<bool> wanted(bins);
    for (int m = 0; m < plan.num_bands; ++m) {
        const float* w = mel + (size_t)m * bins;
        int first = 0, end = bins;
        while (first < end && w[first] == 0) ++first;
        while (end > first && w[end - 1] == 0) --end;
        plan.first.push_back(first < end ? first : 0);
        plan.count.push_back(end - first);
        plan.at.push_back((int32_t)plan.bank.size());
        for (int bin = first; bin < end; ++bin) {
            plan.bank.push_back(w[bin]);
            wanted[bin] = true;
        }
    }
    for (int k = 0; k <= plan.half / 2; ++k)
        if (wanted[k] || wanted[plan.half - k]) plan.pair.push_back(k);
    plan.first_bin = plan.first.data();
    plan.num_bins = plan.count.data();
    plan.weight_at = plan.at.data();
    plan.weights = plan.bank.data();
    plan.pairs = plan.pair.data();
    plan.num_pairs = (int)plan.pair.size();
}

// Working memory of a thread, kept between calls, aligned to a cache line.
float* workspace(size_t floats) {
    struct Free {
        void operator()(float* p) const { ::operator delete[](p, std::align_val_t(64)); }
    };
    static thread_local std::unique_ptr<float[], Free> memory;
    static thread_local size_t size = 0;
    if (size < floats) {
        memory.reset();
        size = 0;
        memory.reset(new (std::align_val_t(64)) float[floats]);
        size = floats;
    }
    return memory.get();
}

struct Job {
    const LogMelPlan& plan;
    const float* waves;
    int64_t num_samples;
    float* out;
    int64_t num_frames, groups;

    // Groups begin..end-1, counted through all clips.
    int run(int64_t begin, int64_t end) const {
        try {
            float* work = workspace(CHIRPID_DISPATCH(logmel_work_floats(plan)));
            while (begin < end) {
                const int64_t clip = begin / groups, first = begin % groups;
                const int64_t last = groups - first < end - begin ? groups : first + end - begin;
                CHIRPID_DISPATCH(logmel_groups(plan, waves + clip * num_samples, num_samples,
                                               out + clip * plan.num_bands * num_frames,
                                               num_frames, first, last, work));
                begin += last - first;
            }
        } catch (const std::bad_alloc&) {
            return NO_MEMORY;
        }
        return OK;
    }
};

}  // namespace

// Make the plan of a setting. window [fft_samples] and mel [num_bands, fft_samples / 2 + 1] are
// copied. 1: fft_samples is not a power of two from 64 to 8192, or another number is below 1;
// 2: no memory.
CHIRPID_API int chirpid_logmel_plan(int fft_samples, int hop_samples, int num_bands,
                                    const float* window, const float* mel, int to_db,
                                    float min_power, float floor_db, void** plan) {
    *plan = nullptr;
    if (fft_samples < 64 || fft_samples > 8192 || (fft_samples & (fft_samples - 1)) ||
        hop_samples < 1 || num_bands < 1)
        return BAD_SETTING;
    try {
        auto made = std::make_unique<OwnedPlan>();
        made->fft_samples = fft_samples;
        made->half = fft_samples / 2;
        made->hop_samples = hop_samples;
        made->num_bands = num_bands;
        made->to_db = to_db;
        // What min_power reads may be above the floor that is asked for.
        if (to_db) made->floor_db = std::max(floor_db, (float)(10 * std::log10(min_power)));
        // Half, which the split into two real transforms asks for; exact.
        for (int n = 0; n < fft_samples; ++n) made->windows.push_back(0.5f * window[n]);
        made->window = made->windows.data();
        plan_transform(*made);
        plan_bands(*made, mel);
        *plan = static_cast<LogMelPlan*>(made.release());
    } catch (const std::bad_alloc&) {
        return NO_MEMORY;
    }
    return OK;
}

CHIRPID_API void chirpid_logmel_free(void* plan) {
    delete static_cast<OwnedPlan*>(static_cast<LogMelPlan*>(plan));
}

// Write spectra [num_clips, num_bands, 1 + num_samples / hop_samples] of waves
// [num_clips, num_samples] on at most num_threads threads. The bits of a clip depend on neither
// its neighbours nor the threads. 1: num_samples < fft_samples; 2: no memory.
CHIRPID_API int chirpid_logmel(const void* handle, const float* waves, int64_t num_clips,
                               int64_t num_samples, int num_threads, float* out) {
    const auto& plan = *static_cast<const LogMelPlan*>(handle);
    if (num_samples < plan.fft_samples) return BAD_SETTING;
    const int64_t frames = 1 + num_samples / plan.hop_samples;
    const int64_t lanes = CHIRPID_DISPATCH(logmel_lanes());
    const Job job{plan, waves, num_samples, out, frames, (frames + lanes - 1) / lanes};
    const int64_t total = num_clips * job.groups;
    int64_t parts = total * lanes / 512;  // a thread is worth its start from about 512 frames on
    if (parts > num_threads) parts = num_threads;
    if (parts <= 1) return job.run(0, total);
    std::vector<int> codes(parts, OK);
    std::vector<std::thread> others;
    int64_t done = 0;  // parts that have a thread
    try {
        others.reserve(parts);
        for (; done + 1 < parts; ++done)
            others.emplace_back([&job, &codes, done, total, parts] {
                codes[done] = job.run(total * done / parts, total * (done + 1) / parts);
            });
    } catch (const std::system_error&) {
        // No more threads here: this one does the rest.
    }
    int code = job.run(total * done / parts, total);
    for (std::thread& thread : others) thread.join();
    for (const int other : codes) code = other ? other : code;
    return code;
}
