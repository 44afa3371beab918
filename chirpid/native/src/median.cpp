// Spectrograms without the median of each band over the clip.
#include "median.h"

#include <new>
#include <vector>

// Write `count` rows of `length` float32 without their median, the lower one of two. With
// has_floor, values of `floor` and less, and undefined ones, do not count; those of `floor` and
// less become 0. Without, one undefined value makes the row undefined. 2: no memory.
CHIRPID_API int chirpid_centre_rows(const float* rows, int64_t count, int64_t length,
                                    int has_floor, float floor, float* out) {
    try {
        std::vector<int32_t> keys(length + 16);
        CHIRPID_DISPATCH(
            centre_rows(rows, count, length, has_floor != 0, floor, out, keys.data()));
    } catch (const std::bad_alloc&) {
        return 2;
    }
    return 0;
}
