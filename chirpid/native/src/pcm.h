// Linear samples of WAV files as mono floats.
#pragma once

#include <stdint.h>

#include "common.h"

// The numbers of a subtype are shared with chirpid/native/pcm.py.
enum ChirpidPcm { PCM_U8 = 0, PCM_16 = 1, PCM_24 = 2, PCM_32 = 3, PCM_FLOAT = 4, PCM_DOUBLE = 5 };

// The mean of the channels; else the number of the channel to take.
constexpr int PCM_MEAN = -1;

constexpr int pcm_bytes(int subtype) {
    return subtype == PCM_U8 ? 1 : subtype == PCM_16 ? 2 : subtype == PCM_24 ? 3
           : subtype == PCM_DOUBLE ? 8 : 4;
}

// An open WAV file whose header holds no surprise. The layout is shared with Python.
struct ChirpidWav {
    int64_t num_frames;
    int64_t data_offset;
    int32_t sample_rate_hz;
    int32_t num_channels;
    int32_t subtype;
    int32_t descriptor;
};

// Little-endian interleaved samples to float32 [num_frames]: scaled to full scale 1, one channel or
// the mean summed in channel order; floats that are not finite become 0.
int pcm_to_mono(const unsigned char* samples, int64_t num_frames, int num_channels, int subtype,
                int channel, float* out);

// See wavfile.cpp.
CHIRPID_API int chirpid_wav_open(const char* path, ChirpidWav* wav);
CHIRPID_API int chirpid_wav_read(const ChirpidWav* wav, int64_t start, int64_t num_frames,
                                 int channel, float* out);
CHIRPID_API int chirpid_wav_close(ChirpidWav* wav);
