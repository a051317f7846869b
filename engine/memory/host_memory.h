// How much memory the host has for this process.
#pragma once
#include <cstddef>

namespace ocellus {

/// Bytes of memory that this process may use: the machine's, or the bound of its control group.
size_t host_memory_bytes();

}  // namespace ocellus
