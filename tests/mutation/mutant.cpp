#include "tests/mutation/mutant.h"

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "engine/kernels/elementwise.h"
#include "engine/tensor.h"

namespace ocellus::mutation {
namespace {

int from_environment() {
  const char* text = std::getenv("OCELLUS_MUTANT");
  return text ? std::atoi(text) : 0;
}

// Sites that are mutated, and of them those reached; printed at exit: "live 1 2 3", "reached 1 3".
constexpr size_t kMost = 65536;
struct Record {
  std::array<std::atomic<bool>, kMost> live{}, reached{};
  ~Record() {
    if (active >= 0) return;
    for (const auto& [name, sites] : {std::pair("live", &live), std::pair("reached", &reached)}) {
      std::printf("%s", name);
      for (size_t i = 0; i < kMost; ++i)
        if ((*sites)[i]) std::printf(" %zu", i);
      std::printf("\n");
    }
  }
};
Record& record() {
  static Record all;
  return all;
}

}  // namespace

const int active = from_environment();

void note(int site) { record().reached[static_cast<size_t>(site)].store(true, std::memory_order_relaxed); }

bool announce(int site) {
  record().live[static_cast<size_t>(site)] = true;
  return true;
}

Tensor wrong(const Tensor& x, int kind) {
  if (!x.defined() || !is_floating(x.dtype())) return x;
  if (kind == kDroppedTerm) return Tensor::zeros(x.shape(), x.dtype());
  Tensor y = x.clone();
  scale_in_place(y, kind == kSign ? -1 : kWrongFactor);
  return y;
}

std::vector<Tensor> wrong(const std::vector<Tensor>& xs, int kind) {
  std::vector<Tensor> out;
  for (const Tensor& x : xs) out.push_back(wrong(x, kind));
  return out;
}

}  // namespace ocellus::mutation
