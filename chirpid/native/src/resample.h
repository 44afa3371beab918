// A resampler whose weights lie as the lanes of a vector want them.
#pragma once

#include <stdint.h>

#include "common.h"

constexpr int RESAMPLE_LANES = 16;

// The layout is shared with chirpid/native/resample.py. A frame is the shortest stretch after which
// the weights repeat.
struct ChirpidResample {
    int64_t inputs_per_frame;
    int64_t outputs_per_frame;
    int64_t first_input;        // of all groups, counted from the first input of the frame
    int64_t num_inputs;         // that a frame reads
    const int64_t* input_at;    // of each group of 16 outputs, counted from `first_input`
    const int64_t* num_taps;    // of each group
    const int64_t* weight_at;   // of each group
    const float* weights;       // [taps][16] of each group
};

// See resample.cpp.
CHIRPID_API int chirpid_resample(const ChirpidResample* plan, const float* in, int64_t num_in,
                                 int64_t first, int64_t count, float* out);
