#include "vlm/decoder.h"

#include <nlohmann/json.hpp>

#include "tests/data/support.h"

using namespace ocellus;
using namespace ocellus::test;
using nlohmann::json;

namespace {

json llama_like(const char* model_type) {
  return {{"model_type", model_type},
          {"vocab_size", 19},
          {"hidden_size", 16},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 4},
          {"intermediate_size", 20},
          {"head_dim", 4},
          {"num_key_value_heads", 4},
          {"max_position_embeddings", 32},
          {"initializer_range", 0.3}};
}

std::vector<json> one_of_each() {
  json gemma3 = llama_like("gemma3_text"), gemma2 = llama_like("gemma2"), opt = llama_like("opt");
  json qwen = llama_like("qwen2"), old_opt = llama_like("opt"), neox = llama_like("gpt_neox");
  neox["rotary_pct"] = 0.5;
  gemma3["sliding_window"] = 3;
  gemma3["sliding_window_pattern"] = 2;
  gemma2["sliding_window"] = 3;
  qwen["use_sliding_window"] = true;
  qwen["sliding_window"] = 2;
  qwen["max_window_layers"] = 1;
  opt["ffn_dim"] = 20;
  old_opt["ffn_dim"] = 20;
  old_opt["do_layer_norm_before"] = false;
  old_opt["word_embed_proj_dim"] = 12;
  return {llama_like("llama"),
          llama_like("mistral"),
          qwen,
          llama_like("qwen3"),
          llama_like("gemma"),
          gemma2,
          gemma3,
          neox,
          opt,
          old_opt,
          {{"model_type", "gpt2"},
           {"vocab_size", 19},
           {"n_embd", 16},
           {"n_layer", 2},
           {"n_head", 4},
           {"n_positions", 32}},
          {{"model_type", "mpt"},
           {"vocab_size", 19},
           {"d_model", 18},
           {"n_layers", 2},
           {"n_heads", 3},
           {"max_seq_len", 32}}};
}

double largest_difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const auto x = a.to_vector<double>(), y = b.to_vector<double>();
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) worst = std::max(worst, std::abs(x[i] - y[i]));
  return worst;
}

std::string config_error(json config, const char* key, const json& value) {
  config[key] = value;
  return error_of<FormatError>([&] { read_decoder_config(config, "config.json"); });
}

}  // namespace

TEST_CASE("decoder: in every family, token by token with the cache gives the logits of the whole") {
  ParameterDType scope(DType::kF64);
  const Tensor ids =
      Tensor::from<int64_t>({3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3}, {2, 9});
  for (const json& config : one_of_each()) {
    const std::string name = config["model_type"].get<std::string>();
    Decoder decoder(read_decoder_config(config, "config.json"));
    init_parameters(decoder, 3);
    const Tensor whole = decoder.logits(decoder.hidden(decoder.embed(ids), {})).value();
    KvCache cache = decoder.make_cache(2, 9);
    for (int64_t begin = 0; begin < 9;) {
      const int64_t end = begin == 0 ? 4 : begin + 1;
      DecoderPass pass;
      pass.cache = &cache;
      const Variable x = decoder.embed(ids.sliced(1, begin, end).contiguous());
      const Tensor step = decoder.logits(decoder.hidden(x, pass)).value();
      CHECK_MESSAGE(largest_difference(step, whole.sliced(1, begin, end)) < 1e-12, name);
      begin = end;
    }
  }
}

TEST_CASE("decoder: the loss is that of the logits, capped or not") {
  ParameterDType scope(DType::kF64);
  for (const char* type : {"llama", "gemma2"}) {
    Decoder decoder(read_decoder_config(llama_like(type), "config.json"));
    init_parameters(decoder, 3);
    const Tensor ids = Tensor::from<int64_t>({3, 1, 4, 1, 5}, {1, 5});
    const Variable hidden = decoder.hidden(decoder.embed(ids), {});
    const LossSum loss = decoder.loss(hidden, ids);
    const Variable first = reshape(slice(decoder.logits(hidden), 1, 0, 4), {4, 19});
    const LossSum plain = cross_entropy(first, Tensor::from<int64_t>({1, 4, 1, 5}, {4}));
    CHECK(loss.count == 4);
    CHECK(loss.sum.value().item() == doctest::Approx(plain.sum.value().item()));
  }
}

TEST_CASE("decoder: slopes of ALiBi, also for head counts that are no power of two") {
  const auto four = alibi_slopes(4, 8), three = alibi_slopes(3, 8);
  REQUIRE(four.size() == 4);
  CHECK(four == std::vector<double>{0.25, 0.0625, 0.015625, 0.00390625});
  CHECK(three == std::vector<double>{0.0625, 0.00390625, 0.25});
  CHECK(alibi_slopes(1, 8) == std::vector<double>{1.0 / 256});
}

TEST_CASE("decoder: a chunk-free cache of a sliding layer holds twice the window") {
  Decoder decoder(read_decoder_config(one_of_each()[6], "config.json"));
  KvCache cache = decoder.make_cache(1, 30);
  const Tensor x = Tensor::zeros({1, 1, 4, 4}, DType::kF32);
  for (int i = 0; i < 30; ++i) {
    for (int64_t layer : {0, 1}) {
      const auto past = cache.append(layer, x, x);
      const int64_t seen = past.keys.dim(1);
      CHECK(seen <= (layer == 0 ? 6 : i + 1));
      CHECK(seen >= std::min<int64_t>(i + 1, layer == 0 ? 3 : 30));
    }
    CHECK(cache.length() == i + 1);
  }
  CHECK(contains(error_of<ShapeError>([&] { cache.append(0, x, x); }),
                 "31 tokens do not fit a capacity of 30"));
}

TEST_CASE("decoder: configs that name what is not there are refused") {
  const json llama = llama_like("llama");
  CHECK(contains(config_error(llama, "model_type", "rwkv"),
                 "model_type \"rwkv\" is not one of llama, mistral"));
  CHECK(config_error(llama, "rope_scaling", {{"type", "su"}}) ==
        "config.json: rope_type \"su\" is not one of default, linear, dynamic, llama3, yarn");
  CHECK(contains(config_error(llama, "rope_scaling", {{"type", "linear"}, {"factor", -2}}),
                 "must be positive"));
  CHECK(contains(config_error(llama_like("gemma3_text"), "layer_types", {"full_attention"}),
                 "layer_types must be a list of 2 (num_hidden_layers) names"));
  CHECK(contains(config_error(llama_like("gemma2"), "layer_types", {"full_attention", "chunked"}),
                 "layer_types[1] must be full_attention or sliding_attention, got \"chunked\""));
  CHECK(contains(config_error(llama_like("gemma"), "use_bidirectional_attention", true),
                 "use_bidirectional_attention is not supported"));
  const json gpt2 = one_of_each()[10], mpt = one_of_each()[11];
  CHECK(contains(config_error(gpt2, "add_cross_attention", true),
                 "add_cross_attention is not supported"));
  CHECK(contains(config_error(mpt, "attn_config", {{"qk_ln", true}}),
                 "attn_config: qk_ln is not supported"));
  CHECK(contains(config_error(mpt, "attn_config", {{"alibi", false}}),
                 "attn_config: alibi must be true"));
  CHECK(contains(config_error(mpt, "attn_config", {{"clip_qkv", 6}}), "clip_qkv is not supported"));
  CHECK(contains(config_error(mpt, "attn_config", {{"prefix_lm", true}}),
                 "prefix_lm is not supported"));
}

TEST_CASE("decoder: every family's config is written so that the same one is read") {
  auto configs = one_of_each();
  auto variant = [&](json config, const json& changes) {
    config.update(changes);
    configs.push_back(config);
  };
  const json llama = llama_like("llama");
  variant(llama, {{"eos_token_id", {3, 4}}, {"bos_token_id", nullptr}, {"mlp_bias", true}});
  variant(llama, {{"rope_scaling", {{"type", "linear"}, {"factor", 2.5}}}});
  variant(llama,
          {{"rope_scaling", {{"type", "dynamic"}, {"factor", 4}}}, {"attention_bias", true}});
  variant(llama, {{"rope_parameters",
                   {{"rope_type", "llama3"},
                    {"rope_theta", 5e5},
                    {"factor", 8},
                    {"low_freq_factor", 1},
                    {"high_freq_factor", 3},
                    {"original_max_position_embeddings", 16}}}});
  variant(llama, {{"rope_parameters",
                   {{"rope_type", "yarn"},
                    {"rope_theta", 1e5},
                    {"factor", 4},
                    {"beta_fast", 20},
                    {"mscale", 0.7},
                    {"mscale_all_dim", 0.9},
                    {"truncate", false},
                    {"original_max_position_embeddings", 8}}}});
  variant(llama_like("mistral"), {{"sliding_window", nullptr}, {"sliding_window", 7}});
  variant(llama_like("mistral"), {{"sliding_window", nullptr}});
  variant(llama_like("qwen3"), {{"use_sliding_window", true},
                                {"sliding_window", 4},
                                {"layer_types", {"sliding_attention", "full_attention"}}});
  variant(llama_like("gemma2"), {{"attn_logit_softcapping", nullptr},
                                 {"query_pre_attn_scalar", 144},
                                 {"final_logit_softcapping", 12.5}});
  variant(llama_like("gemma3_text"), {{"rope_scaling", {{"rope_type", "linear"}, {"factor", 8}}},
                                      {"rope_local_base_freq", 7000}});
  variant(llama_like("gpt_neox"), {{"use_parallel_residual", false}, {"attention_bias", false}});
  variant(
      one_of_each()[10],
      {{"scale_attn_weights", false}, {"n_inner", 24}, {"scale_attn_by_inverse_layer_idx", true}});
  variant(one_of_each()[8], {{"enable_bias", false}});
  variant(one_of_each()[11], {{"attn_config", {{"softmax_scale", 0.3}}}});
  for (const json& config : configs) {
    const DecoderConfig c = read_decoder_config(config, "config.json");
    const json written = to_json(c);
    CHECK_MESSAGE(read_decoder_config(written, "config.json") == c, written.dump());
  }
}

TEST_CASE("decoder: keys that a config leaves out are those of its class in transformers") {
  auto read = [](const char* type) {
    return read_decoder_config({{"model_type", type}}, "text_config");
  };
  CHECK(read("llama").hidden_size == 4096);
  CHECK(read("llama").num_key_value_heads == 32);
  CHECK(read("llama").eos_token_ids == std::vector<int64_t>{2});
  CHECK(read("mistral").num_key_value_heads == 8);
  CHECK(read("mistral").windows[31] == 4096);
  CHECK(read("qwen2").vocab_size == 151936);
  CHECK(read("qwen2").eos_token_ids.empty());
  CHECK(read("qwen3").head_dim == 128);
  CHECK(read("gemma3_text").vocab_size == 262208);
  CHECK(read("gemma3_text").rope.theta == 1e6);
  CHECK(read("gpt2").intermediate_size == 3072);
  CHECK(read("gpt_neox").head_dim == 96);
  CHECK(read("opt").pad_token_id == 1);
  CHECK(read("mpt").intermediate_size == 8192);
  CHECK(read_decoder_config({{"model_type", "llama"}, {"num_attention_heads", 8}}, "x")
            .num_key_value_heads == 8);
  CHECK(read_decoder_config({{"model_type", "llama"}, {"eos_token_id", nullptr}}, "x")
            .eos_token_ids.empty());
}
