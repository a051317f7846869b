#include "data/loader.h"

#include <atomic>
#include <chrono>
#include <thread>

#include "tests/data/support.h"

using namespace ocellus;
using namespace ocellus::test;

namespace {

void nap(uint64_t position) {
  std::this_thread::sleep_for(std::chrono::microseconds(position * 7919 % 400));
}

const std::function<uint64_t(const uint64_t&)> kEight = [](const uint64_t&) { return uint64_t{8}; };

}  // namespace

TEST_CASE("loader: items come in order for any number of threads") {
  for (int threads : {0, 1, 2, 5}) {
    CAPTURE(threads);
    Loader<uint64_t> loader([](uint64_t p) { return nap(p), p * p; }, kEight,
                            {.threads = threads, .max_items = 6, .start = 17});
    for (uint64_t p = 17; p < 217; ++p) {
      CHECK(loader.position() == p);
      CHECK(loader.next() == p * p);
    }
    CHECK(loader.stats().delivered == 200);
  }
}

TEST_CASE("loader: an exception comes at its position and the next item follows") {
  for (int threads : {0, 3}) {
    Loader<uint64_t> loader(
        [](uint64_t p) {
          check<FormatError>(p % 10 != 3, "x.jsonl line {}: bad", p);
          return nap(p), p;
        },
        kEight, {.threads = threads, .end = 40});
    for (uint64_t p = 0; p < 40; ++p) {
      if (p % 10 == 3) {
        CHECK(error_of<FormatError>([&] { loader.next(); }) ==
              "x.jsonl line " + std::to_string(p) + ": bad");
      } else {
        CHECK(loader.next() == p);
      }
    }
    CHECK(error_of<UsageError>([&] { loader.next(); }) ==
          "loader: the last item, 39, was delivered");
  }
}

TEST_CASE("loader: bounded by count and by bytes") {
  std::atomic<uint64_t> made{0}, most_ahead{0};
  std::atomic<uint64_t> taken{0};
  const auto make = [&](uint64_t p) {
    const uint64_t ahead = ++made - taken;
    uint64_t seen = most_ahead;
    while (ahead > seen && !most_ahead.compare_exchange_weak(seen, ahead)) {
    }
    return std::string(1000, static_cast<char>(p));
  };
  const std::function<uint64_t(const std::string&)> size = [](const std::string& s) {
    return s.size();
  };
  {
    Loader<std::string> loader(make, size, {.threads = 4, .max_items = 5});
    for (int i = 0; i < 50; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      loader.next();
      ++taken;
    }
    CHECK(most_ahead >= 2);
    CHECK(most_ahead <= 6);  // five, and one that was delivered but not counted yet
    CHECK(loader.stats().peak_bytes <= 5000);
  }
  {
    Loader<std::string> loader(make, size, {.threads = 4, .max_items = 100, .max_bytes = 3500});
    loader.next();
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    for (int i = 0; i < 50; ++i) loader.next();
    CHECK(loader.stats().peak_bytes <=
          4000);  // before the first item its size is unknown: one claim a thread
  }
  {  // items larger than the bound still come, one by one
    Loader<std::string> loader(make, size, {.threads = 2, .max_items = 100, .max_bytes = 1});
    for (int i = 0; i < 20; ++i) CHECK(loader.next().size() == 1000);
  }
}

TEST_CASE("loader: a slow maker shows as data wait, a fast one does not") {
  const auto slow = [](uint64_t p) {
    return std::this_thread::sleep_for(std::chrono::milliseconds(5)), p;
  };
  Loader<uint64_t> waiting(slow, kEight, {.threads = 1});
  for (int i = 0; i < 10; ++i) waiting.next();
  CHECK(waiting.stats().wait_seconds > 0.03);
  Loader<uint64_t> ahead(slow, kEight, {.threads = 1, .max_items = 4});
  ahead.next();
  const double first = ahead.stats().wait_seconds;
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  for (int i = 0; i < 4; ++i) ahead.next();
  CHECK(ahead.stats().wait_seconds - first < 0.1);
}

TEST_CASE("loader: it ends promptly, with work in flight and after an error") {
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i) {
    Loader<uint64_t> loader([](uint64_t p) { return nap(p), p; }, kEight,
                            {.threads = 4, .max_items = 1000});
    if (i % 2) loader.next();
  }
  {
    Loader<uint64_t> loader([](uint64_t) -> uint64_t { throw 3; }, kEight, {.threads = 2});
  }
  CHECK(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() < 2);
}

TEST_CASE("loader: wrong options are refused") {
  const auto refusal = [](LoaderOptions options) {
    return error_of<UsageError>(
        [&] { Loader<uint64_t>([](uint64_t p) { return p; }, kEight, options); });
  };
  CHECK(refusal({.threads = -1}) == "loader: the number of threads must be in 0 … 1024, got -1");
  CHECK(refusal({.max_items = 0}) == "loader: max_items must be at least 1");
  CHECK(refusal({.start = 5, .end = 4}) == "loader: start 5 lies behind end 4");
}
