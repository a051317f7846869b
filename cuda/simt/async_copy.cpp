#include "cuda/simt/async_copy.h"

#include <vector>

#include "cuda/simt/fibers.h"
#include "cuda/simt/report.h"
#include "cuda/simt/schedule.h"
#include "cuda/simt/shadow.h"

namespace ocellus::simt {
namespace {

struct Copy {
  void* target;
  const void* source;
  size_t bytes, source_bytes;
  uintptr_t code;
  int group;
  Site site;
};
struct Copies {
  std::vector<Copy> open;
  int groups = 0;  // committed by this thread
};

std::vector<Copies>& of_threads() {
  static auto* const copies = new std::vector<Copies>(kMaxFibers);
  return *copies;
}

}  // namespace

void async_copy(void* target, const void* source, size_t bytes, size_t source_bytes, Site site) {
  const auto code = reinterpret_cast<uintptr_t>(__builtin_return_address(0));
  if (!is_shared(target) || (source_bytes > 0 && !is_device(source)))
    fault("cp.async", "it copies from device to shared memory, not so at " + describe_site(site));
  check_alignment(target, bytes, site);
  if (source_bytes > 0) {
    check_alignment(source, bytes, site);
    check_access(reinterpret_cast<uintptr_t>(source), source_bytes, Access::kRead, code);
  }
  check_access(reinterpret_cast<uintptr_t>(target), bytes, Access::kWrite, code);
  mark_in_flight(target, bytes, true);
  Copies& mine = of_threads()[runner.thread];
  mine.open.push_back({target, source, bytes, source_bytes, code, mine.groups, site});
}

void async_commit() { ++of_threads()[runner.thread].groups; }

void async_wait(int pending) {
  Copies& mine = of_threads()[runner.thread];
  std::vector<Copy> rest;
  for (const Copy& copy : mine.open) {
    if (copy.group >= mine.groups - pending) {
      rest.push_back(copy);
      continue;
    }
    mark_in_flight(copy.target, copy.bytes, false);
    check_access(reinterpret_cast<uintptr_t>(copy.target), copy.bytes, Access::kWrite, copy.code);
    std::memset(copy.target, 0, copy.bytes);
    if (copy.source_bytes > 0) std::memcpy(copy.target, copy.source, copy.source_bytes);
  }
  mine.open = std::move(rest);
}

void check_no_copies_left(unsigned thread) {
  const Copies& copies = of_threads()[thread];
  if (!copies.open.empty())
    fault("unfinished copy", describe_thread(thread) + " returns without a wait for the copy at " +
                                 describe_site(copies.open.front().site));
}

void forget_copies() {
  for (Copies& copies : of_threads()) copies = Copies();
}

}  // namespace ocellus::simt
