#include "vlm/encoder_decoder.h"

#include <nlohmann/json.hpp>

#include "tests/data/support.h"
#include "vlm/bert.h"
#include "vlm/generate.h"

using namespace ocellus;
using namespace ocellus::test;
using nlohmann::json;

namespace {

json t5() {
  return {{"model_type", "t5"},
          {"vocab_size", 17},
          {"d_model", 12},
          {"d_kv", 4},
          {"d_ff", 16},
          {"num_layers", 2},
          {"num_heads", 3},
          {"relative_attention_num_buckets", 8},
          {"relative_attention_max_distance", 12}};
}

std::string config_error(const char* key, const json& value) {
  json config = t5();
  config[key] = value;
  return error_of<FormatError>([&] { read_t5_config(config, "config.json"); });
}

}  // namespace

TEST_CASE("encoder_decoder: buckets of relative positions are T5's") {
  // 32 buckets up to a distance of 128, as in the public models.
  auto both = [](int64_t d) { return relative_bucket(d, true, 32, 128); };
  auto past = [](int64_t d) { return relative_bucket(d, false, 32, 128); };
  CHECK(both(0) == 0);
  CHECK(both(-1) == 1);
  CHECK(both(1) == 17);
  CHECK(both(-7) == 7);
  CHECK(both(-8) == 8);
  CHECK(both(-12) == 9);
  CHECK(both(127) == 31);
  CHECK(both(100000) == 31);
  CHECK(past(3) == 0);
  CHECK(past(-15) == 15);
  CHECK(past(-16) == 16);
  CHECK(past(-128) == 31);
  for (int64_t d = -200; d < 200; ++d) {
    CHECK(both(d) >= 0);
    CHECK(both(d) < 32);
    if (d > 0) CHECK(both(d) >= both(d - 1));
    if (d < 0) CHECK(past(d) >= past(d + 1));
  }
}

TEST_CASE("encoder_decoder: decoder inputs are the labels moved to the right") {
  json config = t5();
  config["decoder_start_token_id"] = 3;
  config["pad_token_id"] = 1;
  EncoderDecoder model(read_t5_config(config, "config.json"));
  const Tensor labels = Tensor::from<int64_t>({5, -100, 7, -100, 8, 9}, {2, 3});
  CHECK(model.shifted_right(labels).to_vector<int64_t>() == Tokens{3, 5, 1, 3, 1, 8});
  CHECK(
      contains(error_of<ShapeError>([&] { model.shifted_right(Tensor::zeros({3}, DType::kI64)); }),
               "labels must be [B, T]"));
}

TEST_CASE("encoder_decoder: step by step with both caches gives the states of the whole") {
  ParameterDType scope(DType::kF64);
  EncoderDecoder model(read_t5_config(t5(), "config.json"));
  init_parameters(model, 4);
  const Tensor source = Tensor::from<int64_t>({3, 1, 4, 1, 5, 9, 2, 6}, {2, 4});
  const Tensor target = Tensor::from<int64_t>({0, 5, 3, 5, 0, 8, 9, 7}, {2, 4});
  const Tensor segments = Tensor::from<int32_t>({0, 0, 0, -1, 0, 0, 0, 0}, {2, 4});
  T5Pass pass;
  pass.encoded = model.encode(model.embed(source), segments);
  pass.encoded_segments = segments;
  const auto whole = model.decode(target, pass).value();
  KvCache cache = model.make_cache(2, 4), cross = model.make_cache(2, 4);
  pass.cache = &cache;
  pass.cross_cache = &cross;
  for (int64_t t = 0; t < 4; ++t) {
    const auto step =
        model.decode(target.sliced(1, t, t + 1).contiguous(), pass).value().to_vector<double>();
    const auto expected = whole.sliced(1, t, t + 1).contiguous().to_vector<double>();
    for (size_t i = 0; i < step.size(); ++i)
      CHECK(step[i] == doctest::Approx(expected[i]).epsilon(1e-10));
  }
}

TEST_CASE("encoder_decoder: configs say how the head is scaled and tied") {
  auto read = [](const char* key, const json& value) {
    json config = t5();
    config[key] = value;
    return read_t5_config(config, "config.json");
  };
  CHECK(read("tie_word_embeddings", true).tied_head);
  CHECK(read("tie_word_embeddings", true).scale_head);
  CHECK_FALSE(read("tie_word_embeddings", false).tied_head);
  CHECK_FALSE(read("scale_decoder_outputs", false).scale_head);
  CHECK_FALSE(read("model_type", "mt5").tied_head);
  CHECK(read("feed_forward_proj", "gated-gelu").act == "gelu_new");
  CHECK(read("feed_forward_proj", "gated-silu").act == "silu");
  CHECK(read("feed_forward_proj", "gated-silu").gated);
  CHECK_FALSE(read("feed_forward_proj", "relu").gated);
  CHECK(config_error("d_kv", 0) ==
        "config.json: d_kv must be a whole number from 1 to 2^31, got 0");
  CHECK(contains(config_error("relative_attention_num_buckets", 6),
                 "relative_attention_num_buckets must be a multiple of 4"));
}

TEST_CASE("bert: configs of other forms are refused") {
  auto error = [](const json& config) {
    return error_of<FormatError>([&] { read_bert_config(config, "config.json"); });
  };
  CHECK(error({{"position_embedding_type", "relative_key"}}) ==
        "config.json: position_embedding_type must be absolute, got \"relative_key\"");
  CHECK(error({{"is_decoder", true}}) ==
        "config.json: is_decoder and add_cross_attention are not supported");
}
