// Shadow memory: for every 4 bytes that a kernel may address, what has been allocated, what has
// been written, and who touched it last.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "cuda/simt/simt.h"

namespace ocellus::simt {

enum class Access { kRead, kWrite, kAtomic };

/// The hook behind every load and store of a kernel.
void check_access(uintptr_t address, size_t bytes, Access access, uintptr_t code);

/// Fails: `address` is no multiple of `bytes`.
[[noreturn]] void misaligned(uintptr_t address, size_t bytes, uintptr_t code);

// --- device memory, from the host's side ---

/// Memory for kernels, uninitialised and not yet addressable; nullptr if the arena is full.
void* reserve(size_t bytes);
void unreserve(void* pointer, size_t bytes);
size_t arena_bytes();
/// Kernels may address these bytes from now on, or no longer.
void allow(void* pointer, size_t bytes);
void forbid(void* pointer, size_t bytes);
bool is_device(const void* pointer);
/// The host (a copy, a library call) reads or writes: throws SimtError beyond a block, or for a
/// read of what nobody has written.
void host_reads(const void* pointer, size_t bytes, const char* who);
void host_writes(void* pointer, size_t bytes, const char* who);

// --- shared memory ---

/// A new block: all shared memory is gone, `dynamic_bytes` of new dynamic memory.
void begin_shared(size_t dynamic_bytes);

// --- reads of what nobody has written ---

/// Faults with the first noted read of shared (or any) memory, if there is one.
void report_uninitialised(bool device_too);
/// The same after a block has ended: writes the report instead.
void report_uninitialised_after(bool device_too, std::string& report);
void forget_uninitialised();

// --- copies in flight (async_copy.h) ---
void mark_in_flight(void* target, size_t bytes, bool on);
bool is_shared(const void* pointer);

}  // namespace ocellus::simt
