// Ordered prefetch: worker threads make items for coming positions, the consumer gets them in
// order. Which items come, and in what order, does not depend on the number of threads.
#pragma once
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <utility>

namespace ocellus {

struct LoaderOptions {
  int threads = 1;                           // 0: items are made inside next()
  uint64_t max_items = 8;                    // made or being made, not yet delivered
  uint64_t max_bytes = uint64_t{256} << 20;  // the same in bytes; one item may always be made
  uint64_t start = 0, end = ~uint64_t{0};    // positions start … end − 1
};

/// What the loader did so far.
struct LoaderStats {
  uint64_t delivered = 0;   // items given out
  double wait_seconds = 0;  // time that next() waited: the data wait
  uint64_t peak_bytes = 0;  // most bytes that were ready at a time
};

/// PrefetchQueue — the machinery behind Loader, without the item's type.
class PrefetchQueue {
 public:
  struct Item {
    std::shared_ptr<void> value;
    uint64_t bytes = 0;
    std::exception_ptr error;  // instead of a value
  };
  using Make = std::function<Item(uint64_t position)>;

  PrefetchQueue(Make make, const LoaderOptions& options);
  ~PrefetchQueue();  // waits for items being made, drops the rest
  PrefetchQueue(const PrefetchQueue&) = delete;
  PrefetchQueue& operator=(const PrefetchQueue&) = delete;

  Item next();
  uint64_t position() const;
  LoaderStats stats() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Loader — next() gives make(start), make(start + 1), …; `bytes_of` tells the size of an item.
/// An exception thrown by make(p) comes out of the next() that would have given item p; the
/// following next() gives item p + 1. `make` is called by several threads at once. At the end,
/// next() throws UsageError.
template <class T>
class Loader {
 public:
  Loader(std::function<T(uint64_t position)> make, std::function<uint64_t(const T&)> bytes_of,
         const LoaderOptions& options = {})
      : queue_(
            [make = std::move(make), bytes_of = std::move(bytes_of)](uint64_t position) {
              auto value = std::make_shared<T>(make(position));
              const uint64_t bytes = bytes_of(*value);
              return PrefetchQueue::Item{std::move(value), bytes, nullptr};
            },
            options) {}

  T next() { return std::move(*static_cast<T*>(queue_.next().value.get())); }
  /// The position that next() gives next.
  uint64_t position() const { return queue_.position(); }
  LoaderStats stats() const { return queue_.stats(); }

 private:
  PrefetchQueue queue_;
};

}  // namespace ocellus
