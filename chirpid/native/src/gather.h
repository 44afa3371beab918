// Rows of one kind of number, and how they become float32.
#pragma once

#include <cstdint>

#include "common.h"

enum ChirpidKind { CHIRPID_UINT8 = 0, CHIRPID_INT16 = 1, CHIRPID_FLOAT16 = 2, CHIRPID_FLOAT32 = 3 };

struct ChirpidRows {
    const void* data;
    int64_t num_rows;
    int64_t row_numbers;  // numbers in a row
    int32_t kind;
    float scale;   // value = number * scale + offset, in two roundings
    float offset;  // an offset of 0 is not added: it would turn -0 into 0
};

inline int64_t chirpid_number_bytes(int kind) {
    return kind == CHIRPID_FLOAT32 ? 4 : kind == CHIRPID_UINT8 ? 1 : 2;
}

#define CHIRPID_DECLARE_WIDEN(width)                                                        \
    namespace width {                                                                       \
    void widen(int kind, const void* from, float* to, int64_t n, float scale, float offset); \
    }

CHIRPID_DECLARE_WIDEN(baseline)
CHIRPID_DECLARE_WIDEN(avx2)
CHIRPID_DECLARE_WIDEN(avx512)

// See narrow.cpp.
CHIRPID_API int chirpid_through_kept(int kind, float* values, int64_t count, float scale,
                                     float step, float offset);
