// Internal: memory of a thread for packed panels.
#pragma once
#include <cstddef>
#include <cstdint>

namespace ocellus::gemm_detail {

/// Workspace — a buffer that only grows, aligned to a cache line, or to huge pages where it is
/// large. Throws OutOfMemory.
class Workspace {
 public:
  Workspace() = default;
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  ~Workspace();

  /// at_least — room for `count` elements; what was there before is lost.
  template <class T>
  T* at_least(int64_t count) {
    const size_t bytes = static_cast<size_t>(count) * sizeof(T);
    if (bytes > bytes_) grow(bytes);
    return static_cast<T*>(data_);
  }

 private:
  void grow(size_t bytes);
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

/// The buffers of this thread: packed A, packed B, and f32 values of a C of bf16.
struct Workspaces {
  Workspace a, b, c;
};
Workspaces& workspaces();

}  // namespace ocellus::gemm_detail
