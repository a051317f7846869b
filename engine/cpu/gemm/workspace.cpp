#include "engine/cpu/gemm/workspace.h"

#include <sys/mman.h>

#include <cstdlib>

#include "engine/check.h"

namespace ocellus::gemm_detail {

Workspace::~Workspace() { std::free(data_); }

void Workspace::grow(size_t bytes) {
  constexpr size_t kHugePage = size_t{2} << 20;
  const size_t alignment = bytes >= kHugePage ? kHugePage : 64;
  const size_t rounded = (bytes + bytes / 4 + alignment - 1) / alignment * alignment;
  std::free(data_);
  data_ = nullptr;
  bytes_ = 0;
  data_ = std::aligned_alloc(alignment, rounded);
  check<OutOfMemory>(data_ != nullptr, "gemm: no memory for a buffer of {} bytes for packed panels",
                     rounded);
  if (alignment == kHugePage) madvise(data_, rounded, MADV_HUGEPAGE);
  bytes_ = rounded;
}

Workspaces& workspaces() {
  thread_local Workspaces buffers;
  return buffers;
}

}  // namespace ocellus::gemm_detail
