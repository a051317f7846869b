// Where blocks come from: the three functions that a device must provide. The caching allocator is
// written once on top, so that splitting, reuse and running out of memory are tested without a GPU.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

#include "engine/device.h"

namespace ocellus {

class RawMemory {
 public:
  virtual ~RawMemory() = default;
  /// A block of `bytes`, or nullptr if there is none.
  virtual void* allocate(size_t bytes) = 0;
  virtual void release(void* pointer, size_t bytes) = 0;
  virtual Device device() const = 0;
  /// True where the host may read and write the block (canaries, fake device).
  virtual bool host_visible() const { return true; }
  /// The caching allocator has lent out, and got back, `bytes` at `pointer` within one of the blocks:
  /// for memory that watches every access (cuda/simt).
  virtual void lent(void* /*pointer*/, size_t /*bytes*/) {}
  virtual void returned(void* /*pointer*/, size_t /*bytes*/) {}
};

/// Host memory in pages, huge ones where the kernel gives them.
std::unique_ptr<RawMemory> make_host_memory();

/// A device of `limit` bytes whose blocks lie in host memory: allocator tests, out-of-memory tests.
std::unique_ptr<RawMemory> make_fake_memory(size_t limit, int index = 0);

}  // namespace ocellus
