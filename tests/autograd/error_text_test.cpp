// A wrong shape in any op is one sentence: the op, the argument, what it needs, what it got. One
// table for the whole registry; an op without a row for each of its inputs fails.
#include <doctest/doctest.h>

#include <functional>
#include <set>
#include <string>

#include "autograd/op_def.h"
#include "autograd/ops.h"

using namespace ocellus;

namespace {

struct Wrong {
  std::string op, input;    // the input of the OpDef that is wrong
  std::string named;        // how the sentence names what is wrong
  std::string needed, got;  // what it must say of both
  std::function<void()> call;
};

Variable f(const Shape& shape, DType dtype = DType::kF32) {
  return constant(Tensor::zeros(shape, dtype));
}
Tensor ids(const Shape& shape, double value = 0) { return Tensor::full(shape, value, DType::kI64); }

std::vector<Wrong> elementwise() {
  std::vector<Wrong> rows;
  // Any shape is right for one input; its type need not be.
#define UNARY(name, Functor) \
  rows.push_back({#name, "x", "dtype", "f32 bf16 f64", "i64", [] { name(f({3}, DType::kI64)); }});
#include "engine/scalar/unary_ops.def"
#undef UNARY
#define BINARY(name, Functor)                                                          \
  rows.push_back({#name, "a", "a", "[4]", "[2, 3]", [] { name(f({4}), f({2, 3})); }}); \
  rows.push_back({#name, "b", "b", "broadcast with a [2, 3]", "[4]", [] {              \
                    name(f({2, 3}), f({4}));                                           \
                  }});
#include "engine/scalar/binary_ops.def"
#undef BINARY
  return rows;
}

std::vector<Wrong> moves_and_sums() {
  return {
      {"cast", "x", "types", "floating", "i64", [] { cast(f({3}, DType::kI64), DType::kF32); }},
      {"reshape", "x", "shape", "6 elements of x [2, 3]", "[4]",
       [] {
         reshape(f({2, 3}), {4});
       }},
      {"permute", "x", "order", "2 dimensions", "1",
       [] {
         permute(f({2, 3}), {0});
       }},
      {"transpose", "x", "dimension", "[-2, 2)", "2",
       [] {
         transpose(f({2, 3}), 0, 2);
       }},
      {"slice", "x", "begin and end", "[0, 2] (dimension 0 of x [2, 3])", "1 and 3",
       [] {
         slice(f({2, 3}), 0, 1, 3);
       }},
      {"split", "x", "sizes", "add up to 3", "2",
       [] {
         split(f({2, 3}), {1, 1}, 1);
       }},
      {"concat", "x", "xs[1]", "as xs[0] but for dimension 0", "[2, 4]",
       [] {
         concat({f({2, 3}), f({2, 4})}, 0);
       }},
      {"pad", "x", "before and after", "not be negative", "-1 and 0",
       [] {
         pad(f({2, 3}), 0, -1, 0);
       }},
      {"expand", "x", "shape", "a broadcast of x [2, 3]", "[2, 4]",
       [] {
         expand(f({2, 3}), {2, 4});
       }},
      {"gather_rows", "x", "x", "[N, …]", "[]", [] { gather_rows(f({}), ids({2})); }},
      {"gather_rows", "ids", "ids", "[M]", "[1, 2]",
       [] {
         gather_rows(f({2, 3}), ids({1, 2}));
       }},
      {"scatter_rows", "base", "base", "[N, C]", "[3]",
       [] {
         scatter_rows(f({3}), ids({1}), f({1, 3}));
       }},
      {"scatter_rows", "ids", "ids", "[M]", "[1, 1]",
       [] {
         scatter_rows(f({2, 3}), ids({1, 1}), f({1, 3}));
       }},
      {"scatter_rows", "rows", "rows", "[1, 3]", "[1, 4]",
       [] {
         scatter_rows(f({2, 3}), ids({1}), f({1, 4}));
       }},
      {"sum", "x", "dimension", "[-2, 2)", "2",
       [] {
         sum(f({2, 3}), {2});
       }},
      {"mean", "x", "dimension", "[-2, 2)", "-3",
       [] {
         mean(f({2, 3}), {-3});
       }},
      {"mean_last", "x", "x", "a last dimension", "[]", [] { mean_last(f({})); }},
      {"dropout", "x", "dtype", "f32 bf16 f64", "i64",
       [] { dropout(f({3}, DType::kI64), 0.5f, default_generator().next()); }},
  };
}

std::vector<Wrong> products_and_rows() {
  return {
      {"matmul", "a", "a", "at least two dimensions", "[3]",
       [] {
         matmul(f({3}), f({3, 2}));
       }},
      {"matmul", "b", "b", "3 rows", "4",
       [] {
         matmul(f({2, 3}), f({4, 2}));
       }},
      {"linear", "x", "x", "at least one dimension", "a number",
       [] {
         linear(f({}), f({4, 3}));
       }},
      {"linear", "weight", "weight", "[O, 3]", "[4, 5]",
       [] {
         linear(f({2, 3}), f({4, 5}));
       }},
      {"linear", "bias", "bias", "[4]", "[3]",
       [] {
         linear(f({2, 3}), f({4, 3}), f({3}));
       }},
      {"softmax", "x", "x", "a last dimension of at least 1", "[]", [] { softmax(f({})); }},
      {"log_softmax", "x", "x", "a last dimension of at least 1", "[2, 0]",
       [] {
         log_softmax(f({2, 0}));
       }},
      {"layer_norm", "x", "x", "a last dimension", "[]",
       [] { layer_norm(f({}), f({1}), {}, 1e-5f); }},
      {"layer_norm", "weight", "weight", "[3]", "[4]",
       [] {
         layer_norm(f({2, 3}), f({4}), {}, 1e-5f);
       }},
      {"layer_norm", "bias", "bias", "[3]", "[1, 3]",
       [] {
         layer_norm(f({2, 3}), f({3}), f({1, 3}), 1e-5f);
       }},
      {"rms_norm", "x", "x", "a last dimension", "[]", [] { rms_norm(f({}), f({1}), 1e-5f); }},
      {"rms_norm", "weight", "weight", "[3]", "[4]",
       [] {
         rms_norm(f({2, 3}), f({4}), 1e-5f);
       }},
  };
}

Variable attention(const Shape& q, const Shape& k, const Shape& v, const AttentionMask& mask = {}) {
  return sdpa(f(q), f(k), f(v), mask);
}
AttentionMask with_bias(const Shape& shape) {
  AttentionMask mask;
  mask.bias = f(shape);
  return mask;
}
AttentionMask with_segments(const Shape& q, const Shape& k) {
  AttentionMask mask;
  mask.q_segment = Tensor::zeros(q, DType::kI32);
  mask.k_segment = Tensor::zeros(k, DType::kI32);
  return mask;
}
AttentionMask with_slopes(const Shape& shape) {
  AttentionMask mask;
  mask.slopes = f(shape).value();
  return mask;
}

std::vector<Wrong> transformer_parts() {
  const Shape q{1, 3, 4, 8}, kv{1, 5, 2, 8};
  return {
      {"embedding", "weight", "weight", "[V, C]", "[4]", [] { embedding(f({4}), ids({2})); }},
      {"embedding", "ids", "ids[0]", "[0, 4)", "9",
       [] {
         embedding(f({4, 3}), ids({2}, 9));
       }},
      {"rope", "x", "x", "[B, T, H, D] with even D", "[1, 2, 1, 3]",
       [] {
         rope(f({1, 2, 1, 3}), f({1, 2, 1}).value(), f({1, 2, 1}).value());
       }},
      {"rope", "cos", "cos", "[1 or 1, 2, 2]", "[1, 3, 2]",
       [] {
         rope(f({1, 2, 1, 4}), f({1, 3, 2}).value(), f({1, 2, 2}).value());
       }},
      {"rope", "sin", "sin", "[1 or 1, 2, 2]", "[1, 2, 1]",
       [] {
         rope(f({1, 2, 1, 4}), f({1, 2, 2}).value(), f({1, 2, 1}).value());
       }},
      {"sdpa", "q", "q", "[B, Tq, H, D]", "[1, 3, 8]",
       [=] {
         attention({1, 3, 8}, kv, kv);
       }},
      {"sdpa", "k", "k", "[1, Tk, K, 8]", "[1, 5, 2, 7]",
       [=] {
         attention({1, 3, 4, 8}, {1, 5, 2, 7}, kv);
       }},
      {"sdpa", "v", "v", "[1, 5, 2, 8]", "[1, 4, 2, 8]",
       [=] {
         attention({1, 3, 4, 8}, kv, {1, 4, 2, 8});
       }},
      {"sdpa", "bias", "bias", "[1, 4, 3, 5]", "[2, 3]",
       [=] {
         attention(q, kv, kv, with_bias({2, 3}));
       }},
      {"sdpa", "q_segment", "q_segment", "[1, 3]", "[1, 4]",
       [=] {
         attention(q, kv, kv, with_segments({1, 4}, {1, 5}));
       }},
      {"sdpa", "k_segment", "k_segment", "[1, 5]", "[5]",
       [=] {
         attention(q, kv, kv, with_segments({1, 3}, {5}));
       }},
      {"sdpa", "slopes", "slopes", "[4]", "[2]", [=] { attention(q, kv, kv, with_slopes({2})); }},
      {"patch_embed", "pixels", "pixels", "[B, 3, H, W]", "[3, 8, 8]",
       [] {
         patch_embed(f({3, 8, 8}), f({5, 3, 4, 4}), {});
       }},
      {"patch_embed", "weight", "weight", "[C, 3, P, P]", "[5, 3, 4, 2]",
       [] {
         patch_embed(f({1, 3, 8, 8}), f({5, 3, 4, 2}), {});
       }},
      {"patch_embed", "bias", "bias", "[5]", "[4]",
       [] {
         patch_embed(f({1, 3, 8, 8}), f({5, 3, 4, 4}), f({4}));
       }},
      {"pixel_shuffle", "x", "x", "[B, 4·4, C]", "[1, 15, 3]",
       [] {
         pixel_shuffle(f({1, 15, 3}), 4, 4, 2);
       }},
      {"resize_positions", "table", "table", "[2·3, C]", "[7, 4]",
       [] {
         resize_positions(f({7, 4}), 2, 3, 4, 4);
       }},
  };
}

std::vector<Wrong> losses() {
  return {
      {"cross_entropy", "logits", "logits", "[N, V]", "[4]",
       [] { cross_entropy(f({4}), ids({4})); }},
      {"cross_entropy", "labels", "labels", "[4]", "[3]",
       [] {
         cross_entropy(f({4, 7}), ids({3}));
       }},
      {"linear_cross_entropy", "x", "x", "[N, C]", "[4]",
       [] {
         linear_cross_entropy(f({4}), f({7, 4}), ids({4}));
       }},
      {"linear_cross_entropy", "weight", "weight", "[V, 3]", "[7, 4]",
       [] {
         linear_cross_entropy(f({2, 3}), f({7, 4}), ids({2}));
       }},
      {"linear_cross_entropy", "labels", "labels", "[2]", "[3]",
       [] {
         linear_cross_entropy(f({2, 3}), f({7, 3}), ids({3}));
       }},
      {"sigmoid_contrastive", "image", "image", "[N, D]", "[4]",
       [] { sigmoid_contrastive(f({4}), f({4}), f({}), f({})); }},
      {"sigmoid_contrastive", "text", "text", "[4, 3]", "[4, 2]",
       [] {
         sigmoid_contrastive(f({4, 3}), f({4, 2}), f({}), f({}));
       }},
      {"sigmoid_contrastive", "log_scale", "log_scale", "one number", "[2]",
       [] {
         sigmoid_contrastive(f({4, 3}), f({4, 3}), f({2}), f({}));
       }},
      {"sigmoid_contrastive", "bias", "bias", "one number", "[3]",
       [] {
         sigmoid_contrastive(f({4, 3}), f({4, 3}), f({}), f({3}));
       }},
      {"softmax_contrastive", "image", "image", "[N, D]", "[2, 2, 2]",
       [] {
         softmax_contrastive(f({2, 2, 2}), f({2, 2, 2}), f({}));
       }},
      {"softmax_contrastive", "text", "text", "[4, 3]", "[3, 3]",
       [] {
         softmax_contrastive(f({4, 3}), f({3, 3}), f({}));
       }},
      {"softmax_contrastive", "log_scale", "log_scale", "one number", "[2]",
       [] {
         softmax_contrastive(f({4, 3}), f({4, 3}), f({2}));
       }},
  };
}

std::vector<Wrong> convolutions() {
  const Tensor one = Tensor::full({3}, 1, DType::kF32);
  return {
      {"conv2d", "x", "x", "[B, C, H, W]", "[3, 8, 8]",
       [] {
         conv2d(f({3, 8, 8}), f({5, 3, 3, 3}), {}, {});
       }},
      {"conv2d", "weight", "weight", "[multiple of 1, 3, KH, KW]", "[5, 2, 3, 3]",
       [] {
         conv2d(f({1, 3, 8, 8}), f({5, 2, 3, 3}), {}, {});
       }},
      {"conv2d", "bias", "bias", "[5]", "[4]",
       [] {
         conv2d(f({1, 3, 8, 8}), f({5, 3, 3, 3}), f({4}), {});
       }},
      {"max_pool2d", "x", "x", "[B, C, H, W]", "[3, 8, 8]",
       [] {
         max_pool2d(f({3, 8, 8}), {});
       }},
      {"batch_norm", "x", "x", "[B, C, H, W]", "[2, 3]",
       [one] {
         batch_norm(f({2, 3}), f({3}), f({3}), one, one, 1e-5f);
       }},
      {"batch_norm", "weight", "weight", "[3]", "[4]",
       [one] {
         batch_norm(f({1, 3, 2, 2}), f({4}), f({3}), one, one, 1e-5f);
       }},
      {"batch_norm", "bias", "bias", "[3]", "[1, 3]",
       [one] {
         batch_norm(f({1, 3, 2, 2}), f({3}), f({1, 3}), one, one, 1e-5f);
       }},
      {"batch_norm_train", "x", "x", "[B, C, H, W]", "[0, 3, 2, 2]",
       [] {
         batch_norm_train(f({0, 3, 2, 2}), f({3}), f({3}), 1e-5f);
       }},
      {"batch_norm_train", "weight", "weight", "[3]", "[4]",
       [] {
         batch_norm_train(f({1, 3, 2, 2}), f({4}), f({3}), 1e-5f);
       }},
      {"batch_norm_train", "bias", "bias", "[3]", "[1, 3]",
       [] {
         batch_norm_train(f({1, 3, 2, 2}), f({3}), f({1, 3}), 1e-5f);
       }},
      {"global_response_norm", "x", "x", "[B, H, W, C]", "[2, 3]",
       [] {
         global_response_norm(f({2, 3}), f({3}), f({3}));
       }},
      {"global_response_norm", "weight", "weight", "3 channels of x", "[4]",
       [] {
         global_response_norm(f({1, 2, 2, 3}), f({4}), f({3}));
       }},
      {"global_response_norm", "bias", "bias", "3 channels of x", "[3, 1]",
       [] {
         global_response_norm(f({1, 2, 2, 3}), f({3}), f({3, 1}));
       }},
      {"resize_positions_antialias", "table", "table", "[2·2, C]", "[3, 4]",
       [] {
         resize_positions_antialias(f({3, 4}), 2, 2, 3, 3);
       }},
  };
}

std::vector<Wrong> all_rows() {
  std::vector<Wrong> rows;
  for (auto* part : {&elementwise, &moves_and_sums, &products_and_rows, &transformer_parts,
                     &convolutions, &losses})
    for (Wrong& row : part()) rows.push_back(std::move(row));
  return rows;
}

// Takes any shapes; what its function refuses is said by the ops in it.
const std::set<std::string> kTakesAnything = {"checkpoint"};

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("error text: a wrong shape names op, argument, what is needed and what came") {
  for (const Wrong& row : all_rows()) {
    const std::string text = error_of(row.call);
    CAPTURE(row.input);
    CAPTURE(text);
    CHECK(text.starts_with(row.op + ": "));
    const size_t got = text.find("got ");
    REQUIRE(got != std::string::npos);
    const std::string before = text.substr(0, got), after = text.substr(got);
    CHECK(before.find(row.named) != std::string::npos);
    CHECK(before.find(row.needed) != std::string::npos);
    CHECK(after.find(row.got) != std::string::npos);
    CHECK(text.find('\n') == std::string::npos);
  }
}

TEST_CASE("error text: the table has a row for every input of every op") {
  std::set<std::string> rows;
  for (const Wrong& row : all_rows()) rows.insert(row.op + "/" + row.input);
  for_each_op([&](const OpDef& op) {
    if (kTakesAnything.count(op.name)) return;
    if (std::string(op.where.file_name()).find("tests/") != std::string::npos) return;
    for (const InputDef& input : op.inputs) {
      std::string name = input.name;
      if (const size_t dots = name.find("…"); dots != std::string::npos) name.resize(dots);
      CHECK_MESSAGE(rows.count(op.name + ("/" + name)) == 1,
                    "add a row to tests/autograd/error_text_test.cpp: ", op.name, " with a wrong ",
                    name);
    }
  });
}
