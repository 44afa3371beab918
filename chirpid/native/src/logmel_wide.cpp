// Mel spectra of LANES frames at once, one in each lane.
#include "logmel.h"

#include <cstring>

namespace CHIRPID_WIDTH {

namespace {
#include "lanes.inc"
#include "logmel_fft.inc"

// Windowed samples n..n+LANES-1 of all frames: LANES / 2 points.
INLINE void fetch(const LogMelPlan& plan, const float* frames, int n, float* z) {
    vf rows[LANES];
    const vf window = load(plan.window + n);
    for (int i = 0; i < LANES; ++i)
        rows[i] = load(frames + (size_t)i * plan.hop_samples + n) * window;
    transpose(rows);
    for (int i = 0; i < LANES; ++i) store(z + ((size_t)n + i) * LANES, rows[i]);
}

void spectrum(const LogMelPlan& plan, const float* frames, float* z) {
    const int radix = plan.radix[0], step = plan.half / radix;
    if (step >= LANES / 2) {
        // The rows that a butterfly needs come into the cache just before it.
        for (int j = 0; j < step; j += LANES / 2) {
            for (int q = 0; q < radix; ++q) fetch(plan, frames, 2 * (q * step + j), z);
            pass(plan, 0, z, plan.half, j, j + LANES / 2);
        }
    } else {
        for (int n = 0; n < plan.fft_samples; n += LANES) fetch(plan, frames, n, z);
        pass(plan, 0, z, plan.half, 0, step);
    }
    transform(plan, 0, z, plan.half);
}

// Power of bins k and half - k from the transform of even samples + i odd samples.
void powers(const LogMelPlan& plan, const float* z, float* power) {
    const int half = plan.half;
    for (int n = 0; n < plan.num_pairs; ++n) {
        const int k = plan.pairs[n];
        const Point a = get(z, plan.row_of[k]), b = get(z, plan.row_of[(half - k) & (half - 1)]);
        const Point even = {a.re + b.re, a.im - b.im};
        const Point odd = turn({a.im + b.im, b.re - a.re}, plan.post + 2 * k);
        const Point x = even + odd, y = even - odd;
        store(power + (size_t)k * LANES, x.re * x.re + x.im * x.im);
        store(power + (size_t)(half - k) * LANES, y.re * y.re + y.im * y.im);
    }
}

// 10 log10(power) of normal numbers, by the logarithm of Cephes (Moshier, 1992): within 1e-5 dB.
INLINE vf decibels(vf power) {
    const vi bits = (vi)power;
    const vi exponent = (bits - 0x3f3504f3) >> 23;  // of a mantissa from sqrt(1/2) to sqrt(2)
    const vf x = (vf)(bits - (exponent << 23)) - 1.0f, xx = x * x;
    vf y = x * 7.0376836292e-2f - 1.1514610310e-1f;
    y = y * x + 1.1676998740e-1f;
    y = y * x - 1.2420140846e-1f;
    y = y * x + 1.4249322787e-1f;
    y = y * x - 1.6668057665e-1f;
    y = y * x + 2.0000714765e-1f;
    y = y * x - 2.4999993993e-1f;
    y = y * x + 3.3333331174e-1f;
    const vf ln = x + (y * x * xx - xx * 0.5f);
    const vf whole = __builtin_convertvector(exponent, vf);
    // 10 log10(2) in two parts: the product with the first, of few bits, is exact.
    return whole * 3.0078125f + (whole * 2.4874566e-3f + ln * 4.3429448190f);
}

INLINE vf level(const LogMelPlan& plan, vf power) {
    const vf lowest = vf{} + plan.floor_db;
    vf db = decibels(power);
    db = db > lowest ? db : lowest;
    return power <= 3.4028235e38f ? db : power;  // infinite and undefined stay so
}

void bands(const LogMelPlan& plan, const float* power, float* out, int64_t num_frames, int valid) {
    for (int m = 0; m < plan.num_bands; ++m) {
        const float* p = power + (size_t)plan.first_bin[m] * LANES;
        const float* w = plan.weights + plan.weight_at[m];
        vf sum = {};
        for (int i = 0; i < plan.num_bins[m]; ++i) sum += load(p + (size_t)i * LANES) * w[i];
        if (plan.to_db) sum = level(plan, sum);
        if (valid == LANES)
            store(out + m * num_frames, sum);
        else
            std::memcpy(out + m * num_frames, &sum, 4 * (size_t)valid);
    }
}

// Samples begin..begin+count-1 of the wave, reflected at both ends; what lies beyond counts not.
void reflected(const float* wave, int64_t num_samples, int64_t begin, int64_t count, float* out) {
    for (int64_t i = 0; i < count; ++i) {
        int64_t at = begin + i;
        if (at < 0) at = -at;
        if (at >= num_samples) at = 2 * (num_samples - 1) - at;
        out[i] = at < 0 || at >= num_samples ? 0.0f : wave[at];
    }
}

int64_t span(const LogMelPlan& plan) {
    return (int64_t)(LANES - 1) * plan.hop_samples + plan.fft_samples;
}

}  // namespace

int logmel_lanes() { return LANES; }

size_t logmel_work_floats(const LogMelPlan& plan) {
    return (size_t)(3 * plan.half + 1) * LANES + span(plan);
}

void logmel_groups(const LogMelPlan& plan, const float* wave, int64_t num_samples, float* out,
                   int64_t num_frames, int64_t first, int64_t end, float* work) {
    float* power = work + (size_t)2 * plan.half * LANES;
    float* edge = power + (size_t)(plan.half + 1) * LANES;
    for (int64_t group = first; group < end; ++group) {
        const int64_t frame = group * LANES, begin = frame * plan.hop_samples - plan.half;
        const int64_t left = num_frames - frame;
        const bool inside = begin >= 0 && begin + span(plan) <= num_samples;
        if (!inside) reflected(wave, num_samples, begin, span(plan), edge);
        spectrum(plan, inside ? wave + begin : edge, work);
        powers(plan, work, power);
        bands(plan, power, out + frame, num_frames, left < LANES ? (int)left : LANES);
    }
}

}  // namespace CHIRPID_WIDTH
