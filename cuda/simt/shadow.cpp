#include "cuda/simt/shadow.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <vector>

#include "cuda/simt/fibers.h"
#include "cuda/simt/report.h"
#include "cuda/simt/schedule.h"

extern "C" char __executable_start, _end;  // of the program: its constants and statics

namespace ocellus::simt {
namespace {

constexpr size_t kSharedBytes = size_t{1} << 20;  // room for gaps; the limit below is CUDA's
constexpr size_t kDeviceBytes = size_t{256} << 20;
constexpr size_t kArenaBytes = kSharedBytes + kDeviceBytes;
constexpr size_t kMostShared = size_t{227} << 10;  // of a block on sm_90
constexpr size_t kMostStatic = size_t{48} << 10;
constexpr size_t kGap = 16;    // between shared arrays
constexpr int kPoison = 0xff;  // NaN in f32 and bf16

// One touch of some of the four bytes.
struct Record {
  uint32_t segment = 0;  // 0: none
  uint32_t code = 0;     // offset in the program
  uint16_t clock = 0;    // of the thread's lane
  uint16_t thread : 10 = 0;
  uint16_t bytes : 4 = 0;
  uint16_t atomic : 1 = 0;
};
struct Cell {
  Record write, reads[2];
  uint8_t allowed = 0, initialised = 0, in_flight = 0;  // a bit a byte
};

struct Uninitialised {
  uintptr_t address, code;
  unsigned thread;
  uint3 block;
};
struct SharedArray {
  const void* key;
  const char* name;
  size_t offset, bytes;
};

struct Arena {
  char* base = nullptr;
  Cell* cells = nullptr;
  std::map<char*, size_t> lent;       // what kernels may address
  std::multimap<size_t, char*> free;  // given back, by size
  size_t device_used = 0;
  std::vector<SharedArray> shared;
  size_t shared_used = 0, shared_counted = 0;  // with gaps; without
  size_t dynamic_bytes = 0;
  std::vector<Uninitialised> uninitialised;

  Arena() {
    auto map = [](size_t bytes) {
      void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      check<OutOfMemory>(memory != MAP_FAILED, "simt: cannot reserve {} bytes of addresses", bytes);
      return memory;
    };
    base = static_cast<char*>(map(kArenaBytes));
    cells = static_cast<Cell*>(map(kArenaBytes / 4 * sizeof(Cell)));
  }
};
Arena& arena() {
  static auto* const made = new Arena;
  return *made;
}
// Copies for the hook, which runs some ten million times a second.
char* arena_base = nullptr;
Cell* arena_cells = nullptr;

char* program_start() { return &__executable_start; }

/// Calls f(cell, mask) for the cells of [offset, offset + bytes) of the arena.
template <class F>
void for_cells(size_t offset, size_t bytes, F&& f) {
  const size_t end = offset + bytes;
  Cell* cells = arena().cells;
  for (size_t at = offset & ~size_t{3}; at < end; at += 4) {
    unsigned mask = 0xf;
    if (at < offset) mask &= 0xfu << (offset - at);
    if (at + 4 > end) mask &= 0xfu >> (at + 4 - end);
    f(cells[at / 4], static_cast<uint8_t>(mask));
  }
}

size_t offset_of(const void* pointer) {
  return static_cast<size_t>(static_cast<const char*>(pointer) - arena().base);
}

std::string describe_address(uintptr_t address) {
  in_kernel = false;
  const Arena& a = arena();
  const size_t offset = address - reinterpret_cast<uintptr_t>(a.base);
  if (offset < kSharedBytes) {
    const SharedArray* best = nullptr;
    for (const SharedArray& array : a.shared)
      if (array.offset <= offset) best = &array;
    if (!best) return fmt::format("shared memory + {}", offset);
    return fmt::format("shared {} + {} bytes (of {})", best->name, offset - best->offset,
                       best->bytes);
  }
  char* at = a.base + offset;
  auto next = a.lent.upper_bound(at);
  if (next == a.lent.begin()) return fmt::format("device memory before any block");
  const auto& [start, bytes] = *std::prev(next);
  return fmt::format("byte {} of a device block of {}", at - start, bytes);
}

std::string describe_record(const Record& r) {
  return r.segment < runner.block_begin
             ? fmt::format("thread {} of another block", static_cast<unsigned>(r.thread))
             : describe_thread(r.thread);
}

std::string code_of(const Record& r) {
  return describe_code(reinterpret_cast<uintptr_t>(program_start()) + r.code);
}

// What happened before in another block of this launch, or in this step by a thread that no barrier
// separates from this one.
bool conflicts(const Record& r, unsigned mask, bool atomic) {
  if (!(r.bytes & mask) || r.segment < runner.launch_begin || (atomic && r.atomic)) return false;
  if (r.segment < runner.block_begin) return true;
  if (r.segment != runner.segment || r.thread == runner.thread) return false;
  if (r.thread / 32 != runner.thread / 32) return true;
  return runner.clocks[r.thread % 32] < r.clock;
}

[[noreturn]] void report_race(uintptr_t address, bool now_writes, uintptr_t code,
                              const Record& before, bool before_wrote) {
  const bool blocks = before.segment < runner.block_begin;
  fault("race",
        fmt::format("{}:\n    {} {} at {}\n    {} {} at {}\n    {}", describe_address(address),
                    describe_thread(runner.thread), now_writes ? "writes" : "reads",
                    describe_code(code), describe_record(before), before_wrote ? "wrote" : "read",
                    code_of(before),
                    blocks ? "and blocks run in any order" : "with no barrier between"));
}

[[noreturn]] void report_bounds(uintptr_t address, size_t bytes, bool write, uintptr_t code) {
  fault("out of bounds", fmt::format("{} {} {} bytes at {}, at {}", describe_thread(runner.thread),
                                     write ? "writes" : "reads", bytes, describe_address(address),
                                     describe_code(code)));
}

void check_elsewhere(uintptr_t address, size_t bytes, bool write, uintptr_t code) {
  if (on_stack(address)) return;
  const uintptr_t start = reinterpret_cast<uintptr_t>(program_start());
  if (address - start < static_cast<size_t>(&_end - program_start())) return;
  if (!write && in_closure(address)) return;
  fault("host pointer",
        fmt::format("{} {} {} bytes of host memory at {}", describe_thread(runner.thread),
                    write ? "writes" : "reads", bytes, describe_code(code)));
}

Record record_now(unsigned mask, bool atomic, uintptr_t code) {
  Record r;
  r.segment = runner.segment;
  r.code = static_cast<uint32_t>(code - reinterpret_cast<uintptr_t>(program_start()));
  r.clock = runner.clocks[runner.thread % 32];
  r.thread = static_cast<uint16_t>(runner.thread & 1023);
  r.bytes = static_cast<uint16_t>(mask & 15);
  r.atomic = atomic;
  return r;
}

void write_cell(Cell& cell, unsigned mask, uintptr_t address, bool atomic, uintptr_t code) {
  if (conflicts(cell.write, mask, atomic)) report_race(address, true, code, cell.write, true);
  for (const Record& read : cell.reads)
    if (conflicts(read, mask, atomic)) report_race(address, true, code, read, false);
  const Record now = record_now(mask, atomic, code);
  const bool extends = cell.write.segment == now.segment && cell.write.thread == now.thread;
  const unsigned before = extends ? cell.write.bytes : 0u;
  cell.write = now;
  cell.write.bytes = static_cast<uint16_t>((before | mask) & 15);
  cell.initialised = static_cast<uint8_t>(cell.initialised | mask);
}

void read_cell(Cell& cell, unsigned mask, uintptr_t address, uintptr_t code) {
  if (conflicts(cell.write, mask, false)) report_race(address, false, code, cell.write, true);
  if ((cell.initialised & mask) != mask && arena().uninitialised.size() < 64)
    arena().uninitialised.push_back({address, code, runner.thread, blockIdx});
  const Record now = record_now(mask, false, code);
  for (Record& read : cell.reads)
    if (read.segment == now.segment && read.thread == now.thread) {
      const unsigned before = read.bytes;
      read = now;
      read.bytes = static_cast<uint16_t>((before | mask) & 15);
      return;
    }
  cell.reads[1] = cell.reads[0];
  cell.reads[0] = now;
}

}  // namespace

void check_access(uintptr_t address, size_t bytes, Access access, uintptr_t code) {
  if (!in_kernel) return;
  const size_t offset = address - reinterpret_cast<uintptr_t>(arena_base);
  if (offset >= kArenaBytes) return check_elsewhere(address, bytes, access != Access::kRead, code);
  const bool write = access != Access::kRead;
  for (size_t at = offset & ~size_t{3}; at < offset + bytes; at += 4) {
    unsigned mask = 0xf;
    if (at < offset) mask &= 0xfu << (offset - at);
    if (at + 4 > offset + bytes) mask &= 0xfu >> (at + 4 - offset - bytes);
    Cell& cell = arena_cells[at / 4];
    const uintptr_t place = reinterpret_cast<uintptr_t>(arena_base) + std::max(at, offset);
    if ((cell.allowed & mask) != mask) report_bounds(place, bytes, write, code);
    if (cell.in_flight & mask)
      fault("unfinished copy",
            fmt::format("{} {} {} before cp_async_wait, at {}", describe_thread(runner.thread),
                        write ? "writes" : "reads", describe_address(place), describe_code(code)));
    if (access == Access::kAtomic && (cell.initialised & mask) != mask &&
        arena().uninitialised.size() < 64)
      arena().uninitialised.push_back({place, code, runner.thread, blockIdx});
    if (write)
      write_cell(cell, mask, place, access == Access::kAtomic, code);
    else
      read_cell(cell, mask, place, code);
  }
}

// --- device memory ---

size_t arena_bytes() { return kDeviceBytes; }

void* reserve(size_t bytes) {
  Arena& a = arena();
  arena_base = a.base;
  arena_cells = a.cells;
  bytes = (bytes + 511) / 512 * 512;
  if (auto found = a.free.find(bytes); found != a.free.end()) {
    char* block = found->second;
    a.free.erase(found);
    return block;
  }
  if (bytes > kDeviceBytes - a.device_used) return nullptr;
  char* block = a.base + kSharedBytes + a.device_used;
  a.device_used += bytes;
  return block;
}

void unreserve(void* pointer, size_t bytes) {
  arena().free.emplace((bytes + 511) / 512 * 512, static_cast<char*>(pointer));
}

void allow(void* pointer, size_t bytes) {
  arena().lent[static_cast<char*>(pointer)] = bytes;
  for_cells(offset_of(pointer), bytes, [](Cell& cell, uint8_t mask) {
    cell = Cell();
    cell.allowed = mask;
  });
  std::memset(pointer, kPoison, bytes);
}

void forbid(void* pointer, size_t bytes) {
  arena().lent.erase(static_cast<char*>(pointer));
  for_cells(offset_of(pointer), bytes, [](Cell& cell, uint8_t) { cell = Cell(); });
}

bool is_device(const void* pointer) {
  const size_t offset = offset_of(pointer);
  return kSharedBytes <= offset && offset < kArenaBytes;
}
bool is_shared(const void* pointer) { return offset_of(pointer) < kSharedBytes; }

void host_reads(const void* pointer, size_t bytes, const char* who) {
  size_t at = offset_of(pointer);
  for_cells(at, bytes, [&](const Cell& cell, uint8_t mask) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(arena().base) + at;
    check<SimtError>((cell.allowed & mask) == mask, "{} reads outside of a block: {}", who,
                     describe_address(address));
    check<SimtError>((cell.initialised & mask) == mask, "{} reads what nobody has written: {}", who,
                     describe_address(address));
    at = (at & ~size_t{3}) + 4;
  });
}

void host_writes(void* pointer, size_t bytes, const char* who) {
  for_cells(offset_of(pointer), bytes, [&](Cell& cell, uint8_t mask) {
    check<SimtError>((cell.allowed & mask) == mask, "{} writes outside of a block", who);
    cell.initialised = static_cast<uint8_t>(cell.initialised | mask);
  });
}

// --- shared memory ---

void begin_shared(size_t dynamic_bytes) {
  Arena& a = arena();
  arena_base = a.base;
  arena_cells = a.cells;
  for_cells(0, a.shared_used, [](Cell& cell, uint8_t) { cell = Cell(); });
  a.shared.clear();
  a.shared_used = a.shared_counted = 0;
  a.dynamic_bytes = dynamic_bytes;
}

void* shared_array(const void* key, const char* name, size_t bytes) {
  Arena& a = arena();
  for (const SharedArray& array : a.shared)
    if (array.key == key) return a.base + array.offset;
  const size_t offset = (a.shared_used + 127) / 128 * 128;
  a.shared_used = offset + bytes + kGap;
  const bool dynamic = key == &a.dynamic_bytes;
  if (!dynamic) a.shared_counted += bytes;
  if ((!dynamic && a.shared_counted > kMostStatic) ||
      a.shared_counted + a.dynamic_bytes > kMostShared) {
    in_kernel = false;
    fault("shared memory", fmt::format("{} bytes declared and {} dynamic are more than a block has",
                                       a.shared_counted, a.dynamic_bytes));
  }
  a.shared.push_back({key, name, offset, bytes});
  for_cells(offset, bytes, [](Cell& cell, uint8_t mask) { cell.allowed = mask; });
  std::memset(a.base + offset, kPoison, bytes);
  return a.base + offset;
}

void* dynamic_shared() {
  Arena& a = arena();
  if (a.dynamic_bytes == 0) fault("shared memory", "the launch gave no dynamic shared memory");
  return shared_array(&a.dynamic_bytes, "dynamic memory", a.dynamic_bytes);
}

void misaligned(uintptr_t address, size_t bytes, uintptr_t code) {
  fault("misaligned",
        fmt::format("{}: address {:#x} is no multiple of {}, at {}", describe_thread(runner.thread),
                    address, bytes, describe_code(code)));
}

void check_alignment(const void* pointer, size_t bytes, Site site) {
  if (reinterpret_cast<uintptr_t>(pointer) % bytes == 0) return;
  fault("misaligned",
        fmt::format("{}: address {} is no multiple of {}, at {}", describe_thread(runner.thread),
                    pointer, bytes, describe_site(site)));
}

// --- reads of what nobody has written ---

void report_uninitialised_after(bool device_too, std::string& report) {
  for (const Uninitialised& u : arena().uninitialised) {
    if (!device_too && !is_shared(reinterpret_cast<const void*>(u.address))) continue;
    report = fmt::format("uninitialised read in {}, block ({},{},{}): {} reads {} at {}",
                         kernel_name(), u.block.x, u.block.y, u.block.z, describe_thread(u.thread),
                         describe_address(u.address), describe_code(u.code));
    return;
  }
}

void report_uninitialised(bool device_too) {
  if (arena().uninitialised.empty()) return;
  std::string report;
  report_uninitialised_after(device_too, report);
  if (!report.empty()) abort_kernel(report.c_str());
}

void forget_uninitialised() { arena().uninitialised.clear(); }

void mark_in_flight(void* target, size_t bytes, bool on) {
  for_cells(offset_of(target), bytes, [on](Cell& cell, uint8_t mask) {
    cell.in_flight = static_cast<uint8_t>(on ? cell.in_flight | mask : cell.in_flight & ~mask);
  });
}

}  // namespace ocellus::simt
