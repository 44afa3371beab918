// Rows by their ids into a float32 batch.
#include "gather.h"

#include "common.h"
#include "pool.h"

namespace {

// Numbers in a chunk of work: 256 KiB of output. Smaller ones end runs that a prefetcher follows.
// Plain stores: those that go around the caches took longer, and the batch is about to be read.
constexpr int64_t kChunkNumbers = 65536;
// Batches smaller than this are done before a helper would be awake.
constexpr int64_t kPoolNumbers = 2 * kChunkNumbers;
// How far ahead of the copy rows are asked for: rows lie anywhere, which no prefetcher foresees.
constexpr int64_t kAheadBytes = 12 * 1024;
constexpr int64_t kLineBytes = 64;

struct Batch {
    const ChirpidRows* rows;
    const int64_t* ids;
    const int64_t* places;
    int64_t num_ids;
    float* out;
    int64_t row_bytes;
    int64_t rows_ahead;
    int64_t parts;           // of a row, where it is larger than a chunk
    int64_t rows_per_chunk;  // where it is not

    const char* row(int64_t position) const {
        return static_cast<const char*>(rows->data) + ids[position] * row_bytes;
    }

    void fetch_ahead(int64_t position) const {
        if (position >= num_ids) return;
        const char* from = row(position);
        const int64_t bytes = row_bytes < kAheadBytes ? row_bytes : kAheadBytes;
        for (int64_t at = 0; at < bytes; at += kLineBytes) __builtin_prefetch(from + at);
    }

    void copy(int64_t position, int64_t first, int64_t count) const {
        const int64_t place = places ? places[position] : position;
        const char* from = row(position) + first * chirpid_number_bytes(rows->kind);
        float* to = out + place * rows->row_numbers + first;
        CHIRPID_DISPATCH(widen(rows->kind, from, to, count, rows->scale, rows->offset));
    }

    void copy_rows(int64_t begin, int64_t end) const {
        for (int64_t position = begin; position < end; position++) {
            if (rows_ahead) fetch_ahead(position + rows_ahead);
            copy(position, 0, rows->row_numbers);
        }
    }

    void copy_chunk(int64_t chunk) const {
        if (parts == 1) {
            const int64_t begin = chunk * rows_per_chunk, end = begin + rows_per_chunk;
            return copy_rows(begin, end < num_ids ? end : num_ids);
        }
        const int64_t first = chunk % parts * kChunkNumbers;
        const int64_t left = rows->row_numbers - first;
        copy(chunk / parts, first, left < kChunkNumbers ? left : kChunkNumbers);
    }
};

bool all_within(const int64_t* numbers, int64_t count, int64_t end) {
    uint64_t outside = 0;
    for (int64_t i = 0; i < count; i++)
        outside |= static_cast<uint64_t>(numbers[i]) >= static_cast<uint64_t>(end);
    return outside == 0;
}

}  // namespace

// Write row ids[i] into row places[i] of `out`, or into row i where `places` is null.
//
// Returns 0; or, with nothing written, 1 if an id is not that of a row, 2 if a place is not one of
// num_out rows, 3 if the rows are of no kind known here.
CHIRPID_API int chirpid_gather(const ChirpidRows* rows, const int64_t* ids, const int64_t* places,
                               int64_t num_ids, float* out, int64_t num_out, int num_threads) {
    if (rows->kind < CHIRPID_UINT8 || rows->kind > CHIRPID_FLOAT32) return 3;
    if (!all_within(ids, num_ids, rows->num_rows)) return 1;
    if (places ? !all_within(places, num_ids, num_out) : num_ids > num_out) return 2;
    const int64_t numbers = rows->row_numbers;
    if (numbers == 0 || num_ids == 0) return 0;
    Batch batch{rows, ids, places, num_ids, out, 0, 0, 1, 1};
    batch.row_bytes = numbers * chirpid_number_bytes(rows->kind);
    batch.rows_ahead = 1 + (kAheadBytes - 1) / batch.row_bytes;
    if (num_threads < 2 || num_ids * numbers < kPoolNumbers) {
        batch.copy_rows(0, num_ids);
        return 0;
    }
    if (numbers > kChunkNumbers)
        batch.parts = (numbers + kChunkNumbers - 1) / kChunkNumbers;
    else
        batch.rows_per_chunk = kChunkNumbers / numbers;
    const int64_t num_chunks = batch.parts > 1
                                   ? num_ids * batch.parts
                                   : (num_ids + batch.rows_per_chunk - 1) / batch.rows_per_chunk;
    chirpid_parallel(
        num_threads, num_chunks,
        [](void* context, int64_t chunk) { static_cast<Batch*>(context)->copy_chunk(chunk); },
        &batch);
    return 0;
}
