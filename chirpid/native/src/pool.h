// A few threads that wait without using any processor, for work that is cut into chunks.
#pragma once

#include <cstdint>

// Called with a number from 0 to num_chunks - 1, each exactly once, on any thread.
using ChirpidWork = void (*)(void* context, int64_t chunk);

// Do all chunks and return. The caller works too, and takes whatever the others have not begun,
// so that a helper that comes late, or not at all, costs nothing. Where the pool is busy for
// somebody else, the caller does it alone.
void chirpid_parallel(int num_threads, int64_t num_chunks, ChirpidWork work, void* context);
