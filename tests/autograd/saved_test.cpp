#include <doctest/doctest.h>

#include <string>

#include "autograd/ops.h"
#include "autograd/saved_tensor.h"
#include "autograd/tape.h"

using namespace ocellus;

namespace {

std::string error_of(auto&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("saved: a tensor that was written since is refused, with the op and the writer") {
  Tape tape;
  Tensor value = Tensor::full({3}, 2, DType::kF32);
  const Variable x = leaf(value), y = square(x);
  value.mutable_data<float>("adamw")[0] = 5;
  // Three writes would be counted too; the count starts at the version that fill() left.
  const uint32_t saved_at = value.version() - 1;
  CHECK(error_of([&] { tape.backward({y}, {Tensor::full({3}, 1, DType::kF32)}); }) ==
        fmt::format("square: a saved tensor was overwritten by adamw (version {}, saved at {})",
                    saved_at + 1, saved_at));
}

TEST_CASE("saved: views share the counter of their storage") {
  Tape tape;
  Tensor buffer = Tensor::full({4, 3}, 2, DType::kF32);
  const Variable x = leaf(buffer.sliced(0, 0, 2)), y = square(x);
  buffer.sliced(0, 2, 4).mutable_data<float>("kv_cache")[0] = 1;  // another part: counted as well
  CHECK(error_of([&] {
          tape.backward({y}, {Tensor::full({2, 3}, 1, DType::kF32)});
        }).find("square: a saved tensor was overwritten by kv_cache") == 0);
}

TEST_CASE("saved: writing what no node has saved is allowed") {
  Tape tape;
  Tensor a = Tensor::full({3}, 2, DType::kF64), b = Tensor::full({3}, 3, DType::kF64);
  const Variable x = leaf(a), y = add(x, constant(b));
  a.mutable_data<double>("test")[0] = 9;
  b.mutable_data<double>("test")[0] = 9;
  tape.backward({y}, {Tensor::full({3}, 1, DType::kF64)});
  CHECK(tape.gradient(x).to_vector<double>() == std::vector<double>{1, 1, 1});
}

TEST_CASE("saved: outside of backward the error names no op") {
  Tensor value = Tensor::full({1}, 1, DType::kF32);
  const SavedTensor saved = save(value);
  CHECK(saved().item() == 1);
  value.mutable_data<float>("test");
  CHECK(error_of([&] { saved(); }).find("saved tensor: a saved tensor was overwritten by test") ==
        0);
}

TEST_CASE("saved: an absent tensor stays absent") {
  const SavedTensor saved = save(Tensor());
  CHECK_FALSE(saved().defined());
  CHECK_FALSE(SavedTensor()().defined());
}

TEST_CASE("saved: bytes count for the next node, and not without a tape") {
  save(Tensor::full({1000}, 1, DType::kF32));  // nobody records: must not be charged to the next op
  Tape tape;
  square(leaf(Tensor::full({10}, 1, DType::kF32)));
  CHECK(tape.saved_bytes() == 40);
  // Kept for an op whose inputs need no gradient: dropped with it.
  square(constant(Tensor::full({10}, 1, DType::kF32)));
  CHECK(tape.saved_bytes() == 40);
  square(leaf(Tensor::full({10}, 1, DType::kF32)));
  CHECK(tape.saved_bytes() == 80);
}
