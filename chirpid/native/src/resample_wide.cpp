// Polyphase resampling: lanes are neighbouring output samples, taps are summed one after the other.
//
// Neighbouring outputs read nearly the same inputs, so 16 of them share one band of inputs; what a
// lane does not want is weighted with zero, which changes no bit of its sum. Every output is thus
// the same sum in the same order at every vector width and wherever a window begins.
#include <algorithm>
#include <cstring>
#include <vector>

#include "common.h"
#include "resample.h"

namespace CHIRPID_WIDTH {
namespace {

constexpr int LANES = RESAMPLE_LANES;
// As many lanes as a register holds, and as many frames at once as there are registers for.
#if defined(__AVX512F__)
constexpr int WIDTH = 16, FRAMES = 8;
#elif defined(__AVX2__)
constexpr int WIDTH = 8, FRAMES = 3;
#else
constexpr int WIDTH = 4, FRAMES = 1;
#endif
constexpr int PARTS = LANES / WIDTH;

typedef float Lanes __attribute__((vector_size(4 * WIDTH)));

// Add one tap of a group of lanes to the sums of N frames that begin `step` inputs apart.
template <int N>
inline __attribute__((always_inline)) void add_tap(const float* weights, const float* in,
                                                   int64_t step, Lanes (&sum)[N][PARTS]) {
#pragma GCC unroll 4
    for (int part = 0; part < PARTS; part++) {
        Lanes weight;
        std::memcpy(&weight, weights + part * WIDTH, sizeof weight);
#pragma GCC unroll 8
        for (int n = 0; n < N; n++) sum[n][part] += weight * in[n * step];
    }
}

// Sum the taps of one group of lanes for N frames, into [N][LANES]. Every other tap goes to another
// sum, which halves the error; which of the two is which makes no difference to their total.
template <int N>
inline void sum_taps(const float* weights, int64_t num_taps, const float* in, int64_t step,
                     float* sums) {
    Lanes one[N][PARTS] = {}, other[N][PARTS] = {};
    int64_t tap = 0;
    for (; tap + 2 <= num_taps; tap += 2) {
        add_tap<N>(weights + tap * LANES, in + tap, step, one);
        add_tap<N>(weights + (tap + 1) * LANES, in + tap + 1, step, other);
    }
    if (tap < num_taps) add_tap<N>(weights + tap * LANES, in + tap, step, one);
#pragma GCC unroll 8
    for (int n = 0; n < N; n++)
#pragma GCC unroll 4
        for (int part = 0; part < PARTS; part++) {
            const Lanes total = one[n][part] + other[n][part];
            std::memcpy(sums + n * LANES + part * WIDTH, &total, sizeof total);
        }
}

// Outputs [first, stop) of whole frames beginning at `frame`, all inputs being there.
template <int N>
void frames_of(const ChirpidResample& plan, const float* in, int64_t frame, int64_t first,
               int64_t stop, float* out) {
    const int64_t per_frame = plan.outputs_per_frame, step = plan.inputs_per_frame;
    for (int group = 0; group * LANES < per_frame; group++) {
        const int64_t lane = frame * per_frame + group * LANES;
        if (lane >= stop || lane + (N - 1) * per_frame + LANES <= first) continue;
        float sums[N * LANES];
        sum_taps<N>(plan.weights + plan.weight_at[group], plan.num_taps[group],
                    in + plan.input_at[group], step, sums);
        for (int n = 0; n < N; n++) {
            const int64_t at = lane + n * per_frame;
            const int64_t end = std::min<int64_t>(LANES, per_frame - group * LANES);
            if (at >= first && at + end <= stop && end == LANES) {
                std::memcpy(out + (at - first), sums + n * LANES, 4 * LANES);
                continue;
            }
            for (int64_t i = 0; i < end; i++)
                if (at + i >= first && at + i < stop) out[at + i - first] = sums[n * LANES + i];
        }
    }
}

}  // namespace

int resample(const ChirpidResample& plan, const float* in, int64_t num_in, int64_t first,
             int64_t count, float* out) {
    const int64_t per_frame = plan.outputs_per_frame, step = plan.inputs_per_frame;
    const int64_t stop = first + count;
    static thread_local std::vector<float> padded;
    const int64_t last_frame = (stop - 1) / per_frame;
    for (int64_t frame = first / per_frame; frame <= last_frame;) {
        const int64_t left = last_frame + 1 - frame;
        int64_t begin = frame * step + plan.first_input;
        int64_t num = left >= FRAMES ? FRAMES : 1;
        if (begin < 0 || begin + (num - 1) * step + plan.num_inputs > num_in) num = 1;
        if (begin >= 0 && begin + (num - 1) * step + plan.num_inputs <= num_in) {
            if (num == FRAMES)
                frames_of<FRAMES>(plan, in + begin, frame, first, stop, out);
            else
                frames_of<1>(plan, in + begin, frame, first, stop, out);
        } else {  // at an end: zeros beside the inputs that there are
            padded.assign(plan.num_inputs, 0.0f);
            const int64_t from = std::clamp<int64_t>(begin, 0, num_in);
            const int64_t to = std::clamp<int64_t>(begin + plan.num_inputs, from, num_in);
            std::copy(in + from, in + to, padded.data() + (from - begin));
            frames_of<1>(plan, padded.data(), frame, first, stop, out);
        }
        frame += num;
    }
    return 0;
}

}  // namespace CHIRPID_WIDTH
