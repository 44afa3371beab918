// The median by bisection of its bits: counting is done for LANES values at a time.
#include "median.h"

#include <cstring>

namespace CHIRPID_WIDTH {

namespace {
#include "lanes.inc"

constexpr int32_t NOT_COUNTED = INT32_MAX;  // above the key of every number

// Keys order as their numbers do. Returns how many count.
int64_t make_keys(const float* row, int64_t length, bool has_floor, float floor, int32_t* keys) {
    int64_t counted = 0;
    for (int64_t i = 0; i < length; ++i) {
        int32_t bits;
        std::memcpy(&bits, row + i, 4);
        const bool counts = row[i] == row[i] && !(has_floor && row[i] <= floor);
        keys[i] = counts ? bits ^ ((bits >> 31) & INT32_MAX) : NOT_COUNTED;
        counted += counts;
    }
    for (int64_t i = length; i % LANES; ++i) keys[i] = NOT_COUNTED;
    return counted;
}

int64_t num_below(const int32_t* keys, int64_t length, int32_t limit) {
    vi found = {};
    for (int64_t i = 0; i < length; i += LANES) {
        vi some;
        std::memcpy(&some, keys + i, sizeof some);
        found -= some < limit;  // -1 where true
    }
    int64_t sum = 0;
    for (int lane = 0; lane < LANES; ++lane) sum += found[lane];
    return sum;
}

// The number of which `rank` are below: the largest key with no more than that below it.
float of_rank(const int32_t* keys, int64_t length, int64_t rank) {
    uint32_t key = 0;  // counted from the lowest
    for (uint32_t bit = 1u << 31; bit; bit >>= 1)
        if (num_below(keys, length, (int32_t)((key | bit) ^ (1u << 31))) <= rank) key |= bit;
    int32_t bits = (int32_t)(key ^ (1u << 31));
    bits ^= (bits >> 31) & INT32_MAX;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

}  // namespace

void centre_rows(const float* rows, int64_t count, int64_t length, bool has_floor, float floor,
                 float* out, int32_t* keys) {
    for (int64_t n = 0; n < count; ++n, rows += length, out += length) {
        const int64_t counted = make_keys(rows, length, has_floor, floor, keys);
        const bool defined = counted > 0 && (has_floor || counted == length);
        const float median =
            defined ? of_rank(keys, length, (counted - 1) / 2) : __builtin_nanf("");
        for (int64_t i = 0; i < length; ++i) {
            const float centred = rows[i] - median;
            out[i] = has_floor && rows[i] <= floor ? 0.0f : centred;
        }
    }
}

}  // namespace CHIRPID_WIDTH
