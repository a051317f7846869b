#include "tools/ocellus/bench_models.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "vlm/hf_model.h"
#include "vlm/language_loss.h"
#include "vlm/vlm.h"

namespace ocellus {
namespace {

using nlohmann::json;

struct Shapes {
  const char* name;
  BenchModel (*make)(const BenchOptions&);
  int64_t batch, text;
};

VisionConfig vision(int64_t image, int64_t patch, int64_t dim, int64_t layers, int64_t heads,
                    int64_t mlp) {
  VisionConfig v;
  v.image_size = image;
  v.patch_size = patch;
  v.hidden_size = dim;
  v.num_hidden_layers = layers;
  v.num_attention_heads = heads;
  v.intermediate_size = mlp;
  v.use_head = false;
  return v;
}

DecoderConfig language(int64_t vocab, int64_t dim, int64_t layers, int64_t heads, int64_t kv,
                       int64_t mlp) {
  DecoderConfig l;
  l.vocab_size = vocab;
  l.hidden_size = dim;
  l.num_hidden_layers = layers;
  l.num_attention_heads = heads;
  l.num_key_value_heads = kv;
  l.head_dim = dim / heads;
  l.intermediate_size = mlp;
  l.tie_word_embeddings = true;
  return l;
}

Tensor random_ids(uint64_t seed, const Shape& shape, int64_t vocab) {
  const RngKey key{seed, 1};
  std::vector<int64_t> ids(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < ids.size(); ++i)
    ids[i] = key.word(static_cast<uint64_t>(i)) % static_cast<uint64_t>(vocab);
  return Tensor::from(ids, shape);
}

Tensor random_pixels(uint64_t seed, int64_t batch, int64_t side) {
  const RngKey key{seed, 2};
  Tensor pixels = Tensor::empty({batch, 3, side, side}, DType::kF32);
  float* to = pixels.mutable_data<float>("bench");
  for (int64_t i = 0; i < pixels.numel(); ++i)
    to[i] = 2 * uniform01(key.word(static_cast<uint64_t>(i))) - 1;
  return pixels.to(ParameterDevice::current());
}

double megabytes(int64_t rows, int64_t columns) {
  return static_cast<double>(rows * columns) * 4 / (1 << 20);
}

// Image tokens, then text of random ids; every text token is a target.
VlmBatch synthetic_batch(const VlmConfig& c, int64_t batch, int64_t text, int64_t image_tokens,
                         uint64_t seed) {
  const int64_t width = image_tokens + text;
  VlmBatch b;
  b.ids = random_ids(seed, {batch, width}, c.language.vocab_size);
  std::vector<int64_t> labels = b.ids.to_vector<int64_t>(), rows;
  for (int64_t i = 0; i < batch * width; ++i)
    if (i % width < image_tokens) {
      labels[static_cast<size_t>(i)] = -100;
      rows.push_back(i);
    }
  b.labels = Tensor::from(labels, {batch, width});
  b.image_rows = Tensor::from(rows, {static_cast<int64_t>(rows.size())});
  b.pixels = random_pixels(seed, batch, c.vision.image_size);
  return b;
}

LearningParts learning_parts(const BenchOptions& o) {
  LearningParts parts;
  parts.lora = o.lora;
  std::stringstream list(o.freeze);
  for (std::string part; std::getline(list, part, ',');) {
    check<UsageError>(part == "vision" || part == "connector" || part == "language",
                      "bench step: --freeze takes vision, connector, language, got \"{}\"", part);
    (part == "vision"      ? parts.vision
     : part == "connector" ? parts.connector
                           : parts.language) = false;
  }
  return parts;
}

BenchModel vlm_model(VisionConfig v, DecoderConfig l, int64_t factor, const BenchOptions& o) {
  VlmConfig config;
  config.connector = {"pixel_shuffle", factor, "gelu", v.hidden_size, l.hidden_size};
  config.vision = std::move(v);
  config.language = std::move(l);
  const LearningParts parts = learning_parts(o);
  auto model = std::make_unique<Vlm>(config);
  const uint64_t seed = static_cast<uint64_t>(o.seed);
  init_parameters(*model, seed);
  BenchModel out;
  if (o.lora > 0) {  // freezes the language model
    LoraConfig lora;
    lora.rank = o.lora;
    lora.alpha = 2 * static_cast<double>(o.lora);
    lora.targets.list = {"q_proj", "v_proj"};
    out.adapters = std::make_unique<Adapters>(add_lora(model->language(), lora, seed));
  }
  for (const auto& [name, parameter] : model->parameters())
    if ((!parts.vision && name_matches("vision", name)) ||
        (!parts.connector && name_matches("connector", name)) ||
        (!parts.language && o.lora == 0 && name_matches("language", name)))
      parameter->set_trainable(false);
  out.batch = out.images = o.batch;
  out.text = o.text;
  out.image_tokens = model->tokens_per_image(config.vision.image_size);
  out.logits_mb = megabytes(o.batch * (o.text + out.image_tokens), config.language.vocab_size);
  out.flops = step_flops(config, o.batch, o.text, parts);
  const VlmBatch data = synthetic_batch(config, o.batch, o.text, out.image_tokens, seed);
  out.config = vlm_config_json(config);
  out.inputs = {{"batch.ids", data.ids}, {"batch.labels", data.labels}, {"batch.pixels", data.pixels}};
  out.loss = [model = model.get(), data] {
    return model->language().loss(model->hidden(data), data.labels);
  };
  out.module = std::move(model);
  return out;
}

DecoderConfig smollm2_135m() { return language(49152, 576, 30, 9, 3, 1536); }

BenchModel quickstart(const BenchOptions& o) {
  return vlm_model(vision(64, 8, 128, 4, 4, 512), language(512, 128, 4, 4, 2, 384), 2, o);
}
BenchModel nanovlm222(const BenchOptions& o) {
  return vlm_model(vision(224, 16, 768, 12, 12, 3072), smollm2_135m(), 2, o);
}
BenchModel smolvlm256(const BenchOptions& o) {
  return vlm_model(vision(512, 16, 768, 12, 12, 3072), smollm2_135m(), 4, o);
}

void refuse_parts(const BenchOptions& o) {
  check<UsageError>(o.freeze.empty() && o.lora == 0,
                    "bench step: --freeze and --lora are for vision-language models, got them "
                    "with {}",
                    o.model);
}

BenchModel clip_tiny(const BenchOptions& o) {
  refuse_parts(o);
  const json config = {{"projection_dim", 384},
                       {"vision_config",
                        {{"image_size", 224},
                         {"patch_size", 16},
                         {"hidden_size", 384},
                         {"num_hidden_layers", 12},
                         {"num_attention_heads", 6},
                         {"intermediate_size", 1536}}},
                       {"text_config",
                        {{"vocab_size", 49408},
                         {"hidden_size", 384},
                         {"num_hidden_layers", 6},
                         {"num_attention_heads", 6},
                         {"intermediate_size", 1536},
                         {"max_position_embeddings", std::max<int64_t>(77, o.text)}}}};
  std::unique_ptr<HfModel> model = make_hf_model("CLIPModel", config, "clip_tiny");
  const uint64_t seed = static_cast<uint64_t>(o.seed);
  init_parameters(*model, seed);
  BenchModel out;
  out.batch = out.images = o.batch;
  out.text = o.text;
  const double b = static_cast<double>(o.batch), t = static_cast<double>(o.text);
  const double patches = 196;
  out.image_tokens = 197;
  VisionConfig tower = vision(224, 16, 384, 12, 6, 1536);
  out.flops.encoder(tower, b, patches, patches + 1, true);
  out.flops.product(b * t, 384, 4 * 384 + 2 * 1536, true, true, 6);
  out.flops.attention(b * t * (t + 1) / 2, 384, true, 6);
  out.flops.product(b, 384, 384, true, true, 2);
  std::vector<int64_t> ids = random_ids(seed, {o.batch * o.text}, 49000).to_vector<int64_t>();
  for (int64_t row = 1; row <= o.batch; ++row)
    ids[static_cast<size_t>(row * o.text - 1)] = 49407;  // end of text, where the tower pools
  HfInputs in;
  in.tensors["input_ids"] = Tensor::from(ids, {o.batch, o.text});
  in.tensors["pixel_values"] = random_pixels(seed, o.batch, 224);
  in.flags["return_loss"] = true;
  out.loss = [model = model.get(), in] { return LossSum{model->forward(in).at("loss"), 1}; };
  out.module = std::move(model);
  return out;
}

BenchModel gpt2_124m(const BenchOptions& o) {
  refuse_parts(o);
  const json shape = {{"model_type", "gpt2"}, {"vocab_size", 50257}, {"n_embd", 768},
                      {"n_layer", 12},       {"n_head", 12},         {"n_positions", std::max<int64_t>(1024, o.text)}};
  DecoderConfig config = read_decoder_config(shape, o.model);
  config.dropout = 0;
  auto model = std::make_unique<Decoder>(config);
  const uint64_t seed = static_cast<uint64_t>(o.seed);
  init_parameters(*model, seed);
  BenchModel out;
  out.batch = o.batch;
  out.text = o.text;
  out.logits_mb = megabytes(o.batch * o.text, config.vocab_size);
  out.flops.decoder(config, static_cast<double>(o.batch), static_cast<double>(o.text), true, true);
  const Tensor ids = random_ids(seed, {o.batch, o.text}, config.vocab_size);
  out.loss = [model = model.get(), ids] {
    return model->loss(model->hidden(model->embed(ids), {}), ids);
  };
  out.module = std::move(model);
  return out;
}

constexpr Shapes kShapes[] = {{"quickstart", quickstart, 32, 24},
                              {"nanovlm222", nanovlm222, 4, 79},
                              {"smolvlm256", smolvlm256, 1, 192},
                              {"clip_tiny", clip_tiny, 32, 77},
                              {"gpt2_124m", gpt2_124m, 4, 64}};

}  // namespace

std::string bench_model_names() {
  std::string names;
  for (const Shapes& shapes : kShapes)
    names += (names.empty() ? "" : ", ") + std::string(shapes.name);
  return names;
}

BenchModel make_bench_model(const BenchOptions& options) {
  const auto* found = std::find_if(std::begin(kShapes), std::end(kShapes),
                                   [&](const Shapes& s) { return options.model == s.name; });
  check<UsageError>(found != std::end(kShapes), "bench step: --model must be one of {}, got \"{}\"",
                    bench_model_names(), options.model);
  check<UsageError>(options.batch >= 0 && options.text >= 0 && options.lora >= 0,
                    "bench step: --batch, --text and --lora must not be negative, got {}, {}, {}",
                    options.batch, options.text, options.lora);
  BenchOptions filled = options;
  if (filled.batch == 0) filled.batch = found->batch;
  if (filled.text == 0) filled.text = found->text;
  return found->make(filled);
}

}  // namespace ocellus
