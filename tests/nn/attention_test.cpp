#include "nn/attention.h"

#include <cmath>

#include "tests/data/support.h"
#include "vlm/decoder.h"

using namespace ocellus;
using namespace ocellus::test;

namespace {

DecoderConfig small_config() {
  DecoderConfig c;
  c.vocab_size = 17;
  c.hidden_size = 16;
  c.num_hidden_layers = 2;
  c.num_attention_heads = 4;
  c.num_key_value_heads = 2;
  c.head_dim = 4;
  c.intermediate_size = 24;
  c.initializer_range = 0.3;
  return c;
}

double largest_difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const auto x = a.to_vector<double>(), y = b.to_vector<double>();
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) worst = std::max(worst, std::abs(x[i] - y[i]));
  return worst;
}

}  // namespace

TEST_CASE("attention: token by token with the cache gives the logits of the whole sequence") {
  for (const DType dtype : {DType::kF64, DType::kF32}) {
    ParameterDType scope(dtype);
    Decoder decoder(small_config());
    init_parameters(decoder, 11);
    const Tensor ids = Tensor::from<int64_t>({3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8}, {2, 6});
    const Tensor whole = decoder.logits(decoder.hidden(decoder.embed(ids), {})).value();
    const double bound = dtype == DType::kF64 ? 1e-12 : 2e-5;
    for (const int64_t prefill : {1, 4}) {
      KvCache cache = decoder.make_cache(2, 6);
      for (int64_t begin = 0; begin < 6;) {
        const int64_t end = begin == 0 ? prefill : begin + 1;
        const Tensor part = ids.sliced(1, begin, end).contiguous();
        DecoderPass pass;
        pass.cache = &cache;
        const Tensor step = decoder.logits(decoder.hidden(decoder.embed(part), pass)).value();
        CHECK(largest_difference(step, whole.sliced(1, begin, end)) < bound);
        begin = end;
        CHECK(cache.length() == end);
      }
    }
  }
}

TEST_CASE("attention: padding on the left does not change what real tokens see") {
  ParameterDType scope(DType::kF64);
  Decoder decoder(small_config());
  init_parameters(decoder, 11);
  const Tensor real = decoder.hidden(decoder.embed(Tensor::from<int64_t>({3, 1, 4}, {1, 3})), {}).value();
  DecoderPass pass;
  pass.segments = Tensor::from<int32_t>({-1, -1, 0, 0, 0}, {1, 5});
  pass.positions = Tensor::from<int64_t>({0, 0, 0, 1, 2}, {1, 5});
  const Tensor padded =
      decoder.hidden(decoder.embed(Tensor::from<int64_t>({0, 0, 3, 1, 4}, {1, 5})), pass).value();
  CHECK(largest_difference(padded.sliced(1, 2, 5), real) < 1e-12);
}

TEST_CASE("attention: a later token does not change earlier ones") {
  ParameterDType scope(DType::kF64);
  Decoder decoder(small_config());
  init_parameters(decoder, 11);
  auto hidden = [&](int64_t last) {
    return decoder.hidden(decoder.embed(Tensor::from<int64_t>({3, 1, last}, {1, 3})), {}).value();
  };
  CHECK(largest_difference(hidden(4).sliced(1, 0, 2), hidden(5).sliced(1, 0, 2)) == 0);
  CHECK(largest_difference(hidden(4).sliced(1, 2, 3), hidden(5).sliced(1, 2, 3)) > 1e-3);
}

TEST_CASE("attention: the cache holds what was appended, and says when it is full") {
  KvCache cache(1, 1, 1, 3, 2, DType::kF32);
  const Tensor k = Tensor::from<float>({1, 2, 3, 4}, {1, 2, 1, 2});
  const Tensor v = Tensor::from<float>({5, 6, 7, 8}, {1, 2, 1, 2});
  cache.append(0, k, v);
  CHECK(cache.length() == 2);
  CHECK(cache.keys(0).shape() == Shape{1, 2, 1, 2});
  CHECK(cache.keys(0).to_vector<float>() == std::vector<float>{1, 2, 3, 4});
  CHECK(cache.values(0).to_vector<float>() == std::vector<float>{5, 6, 7, 8});
  CHECK(contains(error_of<ShapeError>([&] { cache.append(0, k, v); }), "4 tokens do not fit a capacity of 3"));
  CHECK(cache.length() == 2);
}

TEST_CASE("attention: the cache refuses to be written while a tape records") {
  KvCache cache(1, 1, 1, 3, 2, DType::kF32);
  const Tensor k = Tensor::zeros({1, 1, 1, 2}, DType::kF32);
  Tape tape;
  CHECK(contains(error_of<AutogradError>([&] { cache.append(0, k, k); }), "cannot run while a tape records"));
  StopRecording stop;
  cache.append(0, k, k);
  CHECK(cache.length() == 1);
}

TEST_CASE("attention: heads must be a multiple of key/value heads") {
  CHECK(contains(error_of<FormatError>([] { Attention a({.dim = 8, .heads = 3, .kv_heads = 2, .head_dim = 4}); }),
                 "num_attention_heads (3) must be a multiple of num_key_value_heads (2)"));
}

TEST_CASE("attention: gated feed-forward with silu equals the general form") {
  GatedMlp swiglu_form(4, 6, "silu"), general(4, 6, "swish");
  init_parameters(swiglu_form, 2);
  init_parameters(general, 2);
  const Variable x = constant(Tensor::from<float>({1, -2, 3, 0.5}, {1, 4}));
  CHECK(largest_difference(swiglu_form(x).value(), general(x).value()) < 1e-6);
}
