#include "data/loader.h"

#include <chrono>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/check.h"

namespace ocellus {

struct PrefetchQueue::State {
  struct Slot {
    Item item;
    std::exception_ptr error;
    size_t bytes = 0;
    bool ready = false;
  };
  std::function<Item(int64_t, size_t&)> make;
  LoaderOptions options;
  mutable std::mutex mutex;
  std::condition_variable ready, room;
  std::map<int64_t, Slot> slots;  // positions being computed or finished
  int64_t next_position, wanted;  // to be started next; to be delivered next
  size_t bytes = 0;
  bool stop = false;
  double waited = 0;
  std::vector<std::thread> threads;

  bool has_room() const {
    if (next_position == wanted) return true;  // what the consumer waits for is always computed
    return static_cast<int64_t>(slots.size()) < options.max_items && bytes < options.max_bytes;
  }

  void work() {
    std::unique_lock lock(mutex);
    while (true) {
      room.wait(lock, [&] { return stop || has_room(); });
      if (stop) return;
      const int64_t position = next_position++;
      slots[position];
      lock.unlock();
      Slot done;
      try {
        done.item = make(position, done.bytes);
      } catch (...) {
        done.error = std::current_exception();
      }
      done.ready = true;
      lock.lock();
      bytes += done.bytes;
      slots[position] = std::move(done);
      ready.notify_all();
    }
  }
};

PrefetchQueue::PrefetchQueue(std::function<Item(int64_t, size_t&)> make, const LoaderOptions& options)
    : state_(std::make_unique<State>()) {
  check<UsageError>(options.threads > 0 && options.threads <= 256, "loader: threads must be from 1 to 256, got {}",
                    options.threads);
  check<UsageError>(options.max_items > 0, "loader: max_items must be positive, got {}", options.max_items);
  state_->make = std::move(make);
  state_->options = options;
  state_->next_position = state_->wanted = options.first;
  for (int i = 0; i < options.threads; ++i) state_->threads.emplace_back([this] { state_->work(); });
}

PrefetchQueue::~PrefetchQueue() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->room.notify_all();
  for (std::thread& thread : state_->threads) thread.join();
}

PrefetchQueue::Item PrefetchQueue::next() {
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  const auto begin = std::chrono::steady_clock::now();
  s.room.notify_all();
  s.ready.wait(lock, [&] {
    auto found = s.slots.find(s.wanted);
    return found != s.slots.end() && found->second.ready;
  });
  s.waited += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  State::Slot slot = std::move(s.slots[s.wanted]);
  s.slots.erase(s.wanted++);
  s.bytes -= slot.bytes;
  s.room.notify_all();
  if (slot.error) std::rethrow_exception(slot.error);
  return slot.item;
}

double PrefetchQueue::take_wait_seconds() {
  std::lock_guard lock(state_->mutex);
  return std::exchange(state_->waited, 0.0);
}

size_t PrefetchQueue::buffered_bytes() const {
  std::lock_guard lock(state_->mutex);
  return state_->bytes;
}

}  // namespace ocellus
