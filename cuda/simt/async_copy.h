// cp.async: copies from device to shared memory that are under way while the thread goes on. Here a
// copy happens at the wait, the latest moment that the hardware allows; until then nobody may touch
// its target.
#pragma once
#include <cstddef>

#include "cuda/simt/simt.h"

namespace ocellus::simt {

/// Starts a copy of 4, 8 or 16 bytes; of the source only the first `source_bytes` are read, zeros
/// fill the rest.
void async_copy(void* target, const void* source, size_t bytes, size_t source_bytes, Site site);
/// Copies of this thread since the last commit become a group.
void async_commit();
/// Waits until at most `pending` groups of this thread are under way.
void async_wait(int pending);

// --- for the scheduler ---
void check_no_copies_left(unsigned thread);
void forget_copies();

}  // namespace ocellus::simt
