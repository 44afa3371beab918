// Polyphase resampling: lanes are neighbouring output samples, taps are summed one after the other.
//
// Neighbouring outputs read nearly the same inputs, so 16 of them share one band of inputs; what a
// lane does not want is weighted with zero, which changes no bit of its sum. Every output is thus
// the same sum in the same order at every vector width and wherever a window begins.
//
// Only C headers here: a function of the C++ library that is compiled for wide vectors might be
// linked into code that runs without them.
#include <stdint.h>
#include <string.h>

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
        memcpy(&weight, weights + part * WIDTH, sizeof weight);
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
            memcpy(sums + n * LANES + part * WIDTH, &total, sizeof total);
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
            const int64_t left = per_frame - group * LANES, end = left < LANES ? left : LANES;
            if (at >= first && at + end <= stop && end == LANES) {
                memcpy(out + (at - first), sums + n * LANES, 4 * LANES);
                continue;
            }
            for (int64_t i = 0; i < end; i++)
                if (at + i >= first && at + i < stop) out[at + i - first] = sums[n * LANES + i];
        }
    }
}

}  // namespace

int resample(const ChirpidResample& plan, const float* in, int64_t num_in, int64_t first,
             int64_t count, float* out, float* padded) {
    const int64_t per_frame = plan.outputs_per_frame, step = plan.inputs_per_frame;
    const int64_t stop = first + count;
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
            for (int64_t i = 0; i < plan.num_inputs; i++) {
                const int64_t at = begin + i;
                padded[i] = at >= 0 && at < num_in ? in[at] : 0.0f;
            }
            frames_of<1>(plan, padded, frame, first, stop, out);
        }
        frame += num;
    }
    return 0;
}

}  // namespace CHIRPID_WIDTH
