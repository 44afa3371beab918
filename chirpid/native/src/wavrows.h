// What chirpid_wav_rows is told of clips and of their rows.
#pragma once

#include <stdint.h>

#include "gather.h"
#include "pcm.h"
#include "resample.h"

// A window of a file. The layout is shared with chirpid/native/wavrows.py.
struct ChirpidClip {
    const char* path;                 // null for what is not to be tried
    int64_t start_frame;              // in the rate of the file; may be negative
    int64_t num_frames;               // to read; without a resampler, the samples of the window
    const ChirpidResample* resample;  // null where the file has the wanted rate
    int64_t first_output;             // of the resampler that belongs to the window
    int32_t channel;
    int32_t done;  // set to 1 with the row, to 0 where it was not made
};

// What becomes of the samples of a window. The layout is shared with chirpid/native/wavrows.py.
struct ChirpidRowRule {
    int64_t num_samples;
    int64_t row_numbers;  // numbers in a row
    const void* logmel;   // plan, or null: rows are waveforms
    int32_t kind;         // of number that rows are rounded to
    float scale, step, offset;
};
