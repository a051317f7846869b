// Kernels with one planted fault each, and some without.
#pragma once
#include <string>
#include <vector>

namespace ocellus {

struct Planted {
  const char* name;
  const char* kind;      // how the report begins; "" for a kernel that is right
  const char* mentions;  // something that the report must say
  void (*run)();
};
const std::vector<Planted>& planted_kernels();

}  // namespace ocellus
