// The caching allocator over the fake device: what it packs, splits, merges and reuses, and how it
// runs out of memory.
#include "engine/memory/caching_allocator.h"

#include <doctest/doctest.h>

#include <cstring>
#include <thread>

#include "engine/memory/host_memory.h"
#include "engine/tensor.h"

using namespace ocellus;

namespace {

constexpr size_t kMiB = size_t{1} << 20;

std::shared_ptr<CachingAllocator> fake(size_t limit = 64 * kMiB, int index = 0) {
  return std::make_shared<CachingAllocator>(make_fake_memory(limit, index));
}

std::string message_of(CachingAllocator& allocator, size_t bytes, const char* owner) {
  try {
    allocator.allocate(bytes, owner);
  } catch (const OutOfMemory& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("allocator: small blocks share a slab, large ones have their own segment") {
  auto allocator = fake();
  const Memory a = allocator->allocate(1, "a"), b = allocator->allocate(513, "b");
  CHECK(allocator->stats().raw_calls == 1);
  CHECK(allocator->stats().reserved == CachingAllocator::kSlab);
  CHECK(allocator->stats().in_use == 512 + 1024);  // rounded up to 512 bytes
  CHECK(static_cast<char*>(b.data()) - static_cast<char*>(a.data()) == 512);
  const Memory c = allocator->allocate(3 * kMiB, "c");
  CHECK(allocator->stats().raw_calls == 2);
  CHECK(allocator->stats().reserved == CachingAllocator::kSlab + 3 * kMiB);
  CHECK(reinterpret_cast<uintptr_t>(c.data()) % 512 == 0);
  CHECK(a.bytes() == 1);
  CHECK(a.device() == Device{DeviceType::kFake, 0});
  CHECK(allocator->stats().requests == 3);
}

TEST_CASE("allocator: an empty block has an address of its own") {
  auto allocator = fake();
  const Memory a = allocator->allocate(0, "a"), b = allocator->allocate(0, "b");
  CHECK(a.data() != nullptr);
  CHECK(a.data() != b.data());
}

TEST_CASE("allocator: a block that is given back is used again") {
  auto allocator = fake();
  const void* first;
  {
    const Memory a = allocator->allocate(5 * kMiB, "a");
    first = a.data();
  }
  CHECK(allocator->stats().in_use == 0);
  CHECK(allocator->stats().reserved == 5 * kMiB);
  const Memory b = allocator->allocate(5 * kMiB, "b");
  CHECK(b.data() == first);
  CHECK(allocator->stats().raw_calls == 1);
}

TEST_CASE("allocator: the best fitting cached block is taken, and its rest stays usable") {
  auto allocator = fake();
  { const Memory a = allocator->allocate(20 * kMiB, "a"), b = allocator->allocate(10 * kMiB, "b"); }
  const Memory c = allocator->allocate(8 * kMiB, "c");  // from the 10 MiB, 2 MiB stay
  CHECK(allocator->stats().in_use == 8 * kMiB);
  const Memory d = allocator->allocate(2 * kMiB, "d");
  CHECK(static_cast<char*>(d.data()) == static_cast<char*>(c.data()) + 8 * kMiB);
  CHECK(allocator->stats().raw_calls == 2);
  // A rest below 1 MiB is not worth a block of its own.
  const Memory e = allocator->allocate(20 * kMiB - 4096, "e");
  CHECK(allocator->stats().in_use == 30 * kMiB);
  CHECK(allocator->stats().raw_calls == 2);
}

TEST_CASE("allocator: free neighbours merge") {
  auto allocator = fake();
  { const Memory whole = allocator->allocate(12 * kMiB, "whole"); }
  Memory a = allocator->allocate(4 * kMiB, "a"), b = allocator->allocate(4 * kMiB, "b"),
         c = allocator->allocate(4 * kMiB, "c");
  CHECK(allocator->stats().raw_calls == 1);
  const void* start = a.data();
  SUBCASE("middle last") {
    a = Memory();
    c = Memory();
    b = Memory();
  }
  SUBCASE("in order") {
    a = Memory();
    b = Memory();
    c = Memory();
  }
  SUBCASE("backwards") {
    c = Memory();
    b = Memory();
    a = Memory();
  }
  const Memory again = allocator->allocate(12 * kMiB, "again");
  CHECK(again.data() == start);
  CHECK(allocator->stats().raw_calls == 1);
}

TEST_CASE("allocator: all small blocks merge to their slab, which can then be released") {
  auto allocator = fake();
  {
    std::vector<Memory> blocks;
    for (int i = 0; i < 100; ++i) blocks.push_back(allocator->allocate(10000, "many"));
    CHECK(allocator->stats().reserved == CachingAllocator::kSlab);
    allocator->release_cached();
    CHECK(allocator->stats().reserved == CachingAllocator::kSlab);  // part of it is in use
  }
  allocator->release_cached();
  CHECK(allocator->stats().reserved == 0);
  CHECK(allocator->stats().in_use == 0);
}

TEST_CASE(
    "allocator: when the device refuses, cached blocks are given back and it is asked again") {
  auto allocator = fake(10 * kMiB);
  { const Memory a = allocator->allocate(6 * kMiB, "a"); }
  const uint64_t flushes = allocator->stats().flushes;
  const Memory b = allocator->allocate(8 * kMiB, "b");  // 6 + 8 do not fit, 8 do
  CHECK(allocator->stats().flushes == flushes + 1);
  CHECK(allocator->stats().reserved == 8 * kMiB);
}

TEST_CASE("allocator: out of memory is a table that says who holds what") {
  auto allocator = fake(10 * kMiB);
  const Memory weights = allocator->allocate(5 * kMiB, "weights"),
               cache = allocator->allocate(2 * kMiB, "kv_cache");
  const std::string text = message_of(*allocator, 6 * kMiB, "linear");
  CAPTURE(text);
  CHECK(text.starts_with("linear: out of memory on fake:0\n"));
  CHECK(contains(text, "requested                    6291456 bytes"));
  CHECK(contains(text, "in use                       7340032"));
  CHECK(contains(text, "cached                             0"));
  CHECK(contains(text, "largest free block                 0"));
  CHECK(contains(text, "limit                           none"));
  CHECK(text.find("weights") < text.find("kv_cache"));  // largest first
  CHECK(contains(text, "5242880"));
  // Nothing is broken afterwards.
  CHECK(allocator->allocate(2 * kMiB, "small").data() != nullptr);
}

TEST_CASE("allocator: only the ten largest owners are listed") {
  auto allocator = fake(4 * kMiB);
  const char* names[] = {"o00", "o01", "o02", "o03", "o04", "o05",
                         "o06", "o07", "o08", "o09", "o10", "o11"};
  std::vector<Memory> held;
  for (size_t i = 0; i < 12; ++i) held.push_back(allocator->allocate(512 * (i + 1), names[i]));
  const std::string text = message_of(*allocator, 50 * kMiB, "x");
  CHECK(contains(text, "o11"));
  CHECK(contains(text, "o02"));
  CHECK_FALSE(contains(text, "o01"));
  CHECK(allocator->owners().size() == 12);
  CHECK(allocator->owners().front() == std::pair<std::string, uint64_t>("o11", 12 * 512));
}

TEST_CASE("allocator: a limit holds although the device has more, and can be lifted") {
  auto allocator = fake();
  allocator->set_limit(8 * kMiB);
  const Memory a = allocator->allocate(6 * kMiB, "a");
  CHECK(contains(message_of(*allocator, 4 * kMiB, "b"), "limit                        8388608"));
  allocator->set_limit(0);
  CHECK(allocator->allocate(4 * kMiB, "b").data() != nullptr);
}

TEST_CASE("allocator: a request that no device could fill is refused before any arithmetic on it") {
  auto allocator = fake();
  CHECK_THROWS_WITH_AS(allocator->allocate(SIZE_MAX - 100, "op"),
                       "op: cannot allocate 18446744073709551515 bytes", OutOfMemory);
}

TEST_CASE("allocator: more than the host's memory is refused before the kernel promises it") {
  REQUIRE(host_memory_bytes() > 0);
  const auto elements = static_cast<int64_t>(host_memory_bytes());  // of 4 bytes each
  CHECK_THROWS_WITH_AS(Tensor::empty({elements}, DType::kF32, kCpu, "greedy"),
                       doctest::Contains("out of memory on cpu"), OutOfMemory);
}

TEST_CASE("allocator: canaries find a write before or after a block, live or given back") {
  auto allocator = fake();
  allocator->set_canaries(true);
  {
    Memory a = allocator->allocate(1000, "careful");
    std::memset(a.data(), 0, 1000);
    CHECK_NOTHROW(allocator->check_canaries());
  }
  CHECK_NOTHROW(allocator->check_canaries());
  SUBCASE("after") {
    Memory a = allocator->allocate(1000, "beyond");
    static_cast<char*>(a.data())[1000] = 0;
    CHECK_THROWS_WITH_AS(allocator->check_canaries(),
                         "beyond: wrote outside of a block of 1000 bytes it owns", Error);
  }
  SUBCASE("before") {
    Memory a = allocator->allocate(1000, "before");
    static_cast<char*>(a.data())[-1] = 0;
    CHECK_THROWS_WITH_AS(allocator->check_canaries(),
                         "before: wrote outside of a block of 1000 bytes it owns", Error);
  }
  SUBCASE("given back") {
    {
      Memory a = allocator->allocate(7, "gone");
      static_cast<char*>(a.data())[9] = 0;
    }
    CHECK_THROWS_WITH_AS(allocator->check_canaries(),
                         "gone: wrote outside of a block of 7 bytes it owns", Error);
  }
  SUBCASE("switched off") {
    allocator->set_canaries(false);
    Memory a = allocator->allocate(1000, "free");
    static_cast<char*>(a.data())[1000] = 0;
    CHECK_NOTHROW(allocator->check_canaries());
  }
}

TEST_CASE("allocator: canaries need memory that the host can see") {
  struct Hidden : RawMemory {
    void* allocate(size_t) override { return nullptr; }
    void release(void*, size_t) override {}
    Device device() const override { return {DeviceType::kFake, 3}; }
    bool host_visible() const override { return false; }
  };
  CachingAllocator allocator(std::make_unique<Hidden>());
  CHECK_THROWS_WITH_AS(allocator.set_canaries(true),
                       "set_canaries: fake:3 memory is not visible to the host", DeviceError);
}

TEST_CASE("allocator: a block keeps its allocator alive") {
  auto allocator = fake();
  std::weak_ptr<CachingAllocator> watch = allocator;
  Memory block = allocator->allocate(100, "last");
  allocator.reset();
  CHECK_FALSE(watch.expired());
  std::memset(block.data(), 1, 100);
  block = Memory();
  CHECK(watch.expired());
}

TEST_CASE("allocator: statistics and the peak of a scope") {
  auto allocator = fake(64 * kMiB, 7);
  register_allocator(allocator);
  const Device device{DeviceType::kFake, 7};
  const Memory held = allocator->allocate(2 * kMiB, "held");
  { const Memory before = allocator->allocate(30 * kMiB, "before"); }
  const PeakScope scope(device);
  CHECK(scope.peak_bytes() == 0);
  {
    const Memory a = allocator->allocate(3 * kMiB, "a");
    const Memory b = allocator->allocate(4 * kMiB, "b");
  }
  { const Memory c = allocator->allocate(5 * kMiB, "c"); }
  CHECK(scope.peak_bytes() == 7 * kMiB);
  CHECK(allocator_of(device) == allocator);
  // A tensor of that device comes from its allocator, in the name of the op that asked.
  const Tensor t = Tensor::empty({3}, DType::kF32, device, "my_op");
  bool found = false;
  for (const auto& [owner, bytes] : allocator->owners()) found = found || owner == "my_op";
  CHECK(found);
  auto other = fake(kMiB, 7);  // a later one of the same device takes its place
  register_allocator(other);
  CHECK(allocator_of(device) == other);
}

TEST_CASE("allocator: blocks may be taken and given back by several threads at once") {
  auto allocator = fake(256 * kMiB);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < 300; ++i) {
        const size_t bytes = (i * 7919 + static_cast<size_t>(t) * 104729) % (3 * kMiB) + 1;
        Memory block = allocator->allocate(bytes, "thread");
        auto* data = static_cast<unsigned char*>(block.data());
        data[0] = data[bytes - 1] = static_cast<unsigned char>(t);
        std::this_thread::yield();
        if (data[0] != t || data[bytes - 1] != t) std::abort();  // handed out twice
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(allocator->stats().in_use == 0);
  CHECK(allocator->stats().requests == 1200);
  allocator->release_cached();
  CHECK(allocator->stats().reserved == 0);
}
