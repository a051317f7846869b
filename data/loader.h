// Ordered prefetch: worker threads compute items ahead, the consumer gets them in order.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

namespace ocellus {

struct LoaderOptions {
  int threads = 1;
  int64_t first = 0;              // position of the first item
  int64_t max_items = 4;          // computed or being computed, not yet taken
  size_t max_bytes = 256u << 20;  // of finished items; one item is let through whatever its size
};

/// PrefetchQueue — the machinery of Loader, on type-erased items.
class PrefetchQueue {
 public:
  using Item = std::shared_ptr<void>;
  /// make(position, bytes) computes an item and says how many bytes it holds.
  PrefetchQueue(std::function<Item(int64_t position, size_t& bytes)> make, const LoaderOptions& options);
  ~PrefetchQueue();
  Item next();
  double take_wait_seconds();
  size_t buffered_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Loader — make(first), make(first + 1), … computed by threads, delivered in order. An exception of
/// make(p) is thrown by the next() that would have returned item p. The destructor stops the threads
/// after the item they are at.
template <class T>
class Loader {
 public:
  Loader(std::function<T(int64_t)> make, std::function<size_t(const T&)> bytes, const LoaderOptions& options)
      : queue_(
            [make = std::move(make), bytes = std::move(bytes)](int64_t position, size_t& size) {
              auto item = std::make_shared<T>(make(position));
              size = bytes(*item);
              return std::static_pointer_cast<void>(item);
            },
            options) {}
  T next() { return std::move(*std::static_pointer_cast<T>(queue_.next())); }
  /// Seconds that next() has waited since the last call of this function.
  double take_wait_seconds() { return queue_.take_wait_seconds(); }
  size_t buffered_bytes() const { return queue_.buffered_bytes(); }

 private:
  PrefetchQueue queue_;
};

}  // namespace ocellus
