// What a backward closure keeps. A saved tensor remembers the version of its storage and refuses to be
// read after an in-place write; one that is cheap to have again is kept as how to rebuild it.
#pragma once
#include <functional>
#include <memory>

#include "autograd/variable.h"

namespace ocellus {

/// Rebuild — how to rebuild the output of a cheap op in backward, once for all its readers.
struct Rebuild {
  std::function<Tensor()> rebuild;
  Tensor cached;
};

class SavedTensor {
 public:
  SavedTensor() = default;
  explicit SavedTensor(const Tensor& tensor) : tensor_(tensor), version_(tensor.version()) {}
  explicit SavedTensor(std::shared_ptr<Rebuild> recipe) : recipe_(std::move(recipe)) {}

  /// The tensor as it was saved. Throws AutogradError naming the reading op and the writer.
  Tensor operator()() const;

 private:
  Tensor tensor_;
  uint32_t version_ = 0;
  std::shared_ptr<Rebuild> recipe_;
};

/// save — keeps x for backward and counts its bytes for the node that the next record() makes.
/// An undefined tensor is saved as such.
SavedTensor save(const Tensor& x);
SavedTensor save(const Variable& x);

}  // namespace ocellus
