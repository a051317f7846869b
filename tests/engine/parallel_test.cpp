#include "engine/parallel.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/check.h"

using namespace ocellus;

namespace {

// Restores the number of threads when a test ends.
struct Threads {
  explicit Threads(int n) : before(num_threads()) { set_num_threads(n); }
  ~Threads() { set_num_threads(before); }
  int before;
};

std::set<std::pair<int64_t, int64_t>> chunks_of(int64_t count, int64_t grain) {
  std::set<std::pair<int64_t, int64_t>> chunks;
  std::mutex mutex;
  parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    const std::lock_guard lock(mutex);
    CHECK(chunks.emplace(begin, end).second);  // each chunk once
  });
  return chunks;
}

template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("parallel: the chunks depend on count and grain, not on the threads") {
  for (auto [count, grain] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 1}, {7, 7}, {7, 100}, {100, 7}, {64, 16}, {1000, 1}, {70001, 1}, {200003, 2}}) {
    std::set<std::pair<int64_t, int64_t>> expected;
    for (int64_t begin = 0; begin < count; begin += grain)
      expected.emplace(begin, std::min(begin + grain, count));
    for (int threads : {1, 2, 5}) {
      const Threads use(threads);
      CHECK(chunks_of(count, grain) == expected);
    }
  }
}

TEST_CASE("parallel: an empty loop calls nothing, and a count near 2^63 does not overflow") {
  const Threads use(2);
  CHECK(chunks_of(0, 4).empty());
  CHECK(chunks_of(-3, 4).empty());
  CHECK(chunks_of(INT64_MAX, INT64_MAX - 1).size() == 2);
}

TEST_CASE("parallel: helpers take part") {
  const Threads use(3);
  std::set<std::thread::id> ids;
  std::mutex mutex;
  std::atomic<int> arrived{0};
  // Each of three chunks waits until all three are running: they need three threads.
  parallel_for(3, 1, [&](int64_t, int64_t) {
    ++arrived;
    while (arrived < 3) std::this_thread::yield();
    const std::lock_guard lock(mutex);
    ids.insert(std::this_thread::get_id());
  });
  CHECK(ids.size() == 3);
}

TEST_CASE("parallel: no more threads than set are used, after any change") {
  const int before = num_threads();
  for (int threads : {4, 1, 2, 64, 3, 1, 5}) {
    set_num_threads(threads);
    CHECK(num_threads() == threads);
    std::set<std::thread::id> ids;
    std::mutex mutex;
    parallel_for(200, 1, [&](int64_t, int64_t) {
      const std::lock_guard lock(mutex);
      ids.insert(std::this_thread::get_id());
    });
    CHECK(static_cast<int>(ids.size()) <= threads);
  }
  set_num_threads(before);
}

TEST_CASE("parallel: a loop inside a loop runs serially over the same chunks") {
  const Threads use(4);
  std::atomic<int64_t> sum{0};
  std::atomic<int> strangers{0};
  parallel_for(16, 1, [&](int64_t, int64_t) {
    const auto me = std::this_thread::get_id();
    parallel_for(100, 3, [&](int64_t begin, int64_t end) {
      if (std::this_thread::get_id() != me || begin % 3 != 0) ++strangers;
      for (int64_t i = begin; i < end; ++i) sum += i;
    });
  });
  CHECK(sum == 16 * 4950);
  CHECK(strangers == 0);
}

TEST_CASE("parallel: callers at the same time each get their whole loop") {
  const Threads use(3);
  std::atomic<int> wrong{0};
  const auto caller = [&] {
    for (int repeat = 0; repeat < 2000; ++repeat) {
      std::atomic<int64_t> sum{0};
      parallel_for(50, 4, [&](int64_t begin, int64_t end) { sum += end - begin; });
      if (sum != 50) ++wrong;
    }
  };
  std::thread one(caller), two(caller);
  for (int i = 0; i < 20; ++i) set_num_threads(1 + i % 4);  // also while loops run
  caller();
  one.join();
  two.join();
  CHECK(wrong == 0);
}

TEST_CASE("parallel: the exception of the lowest chunk reaches the caller, and the pool lives on") {
  for (int threads : {1, 2, 5}) {
    const Threads use(threads);
    for (int repeat = 0; repeat < 50; ++repeat) {
      std::string caught;
      try {
        parallel_for(100, 1, [](int64_t begin, int64_t) {
          if (begin >= 20) throw std::runtime_error(std::to_string(begin));
        });
      } catch (const std::runtime_error& error) {
        caught = error.what();
      }
      CHECK(caught == "20");
      CHECK(chunks_of(100, 9).size() == 12);
    }
  }
}

TEST_CASE("parallel: wrong arguments are named") {
  CHECK(message_of([] { set_num_threads(0); }) ==
        "set_num_threads: the number of threads must be 1 to 64, got 0");
  CHECK(message_of([] { set_num_threads(65); }) ==
        "set_num_threads: the number of threads must be 1 to 64, got 65");
  CHECK(message_of([] { parallel_for(4, 0, [](int64_t, int64_t) {}); }) ==
        "parallel_for: grain must be at least 1, got 0");
  const Threads use(2);
  CHECK(message_of([] { parallel_for(4, 1, [](int64_t, int64_t) { set_num_threads(1); }); }) ==
        "set_num_threads: the number of threads cannot be changed inside a parallel_for");
}

TEST_CASE("parallel: OCELLUS_THREADS sets the threads, and nonsense is refused") {
  // The variable is read once a process: fresh copies of this program look at it.
  if (const char* role = std::getenv("OCELLUS_PARALLEL_TEST_CHILD")) {
    std::string seen = message_of([&] { fail<UsageError>("{}", num_threads()); });
    std::_Exit(seen == role ? 0 : 1);
  }
  const auto child = [](const std::string& value, const std::string& expected) {
    const std::string command = "OCELLUS_PARALLEL_TEST_CHILD='" + expected + "' OCELLUS_THREADS='" +
                                value + "' /proc/" + std::to_string(getpid()) +
                                "/exe '--test-case=parallel: OCELLUS_THREADS*' > /dev/null 2>&1";
    const int status = std::system(command.c_str());
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  };
  const std::string refused = "OCELLUS_THREADS must be a whole number from 1 to 64, got \"";
  CHECK(child("3", "3"));
  CHECK_FALSE(child("3", "4"));
  CHECK(child("three", refused + "three\""));
  CHECK(child("0", refused + "0\""));
  CHECK(child("65", refused + "65\""));
}
