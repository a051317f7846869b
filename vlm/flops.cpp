#include "vlm/flops.h"

namespace ocellus {
namespace {

void product(StepFlops& f, double m, double k, double n, bool upstream, double count = 1) {
  const double one = 2 * m * k * n * count;
  f.forward += one;
  f.backward += one * (upstream ? 2 : 1);
}

void attention(StepFlops& f, double pairs, double dim, double layers) {
  f.forward += 4 * dim * pairs * layers;
  f.backward += 8 * dim * pairs * layers;
}

}  // namespace

StepFlops step_flops(const VlmConfig& c, int64_t batch, int64_t text) {
  StepFlops f;
  const double b = static_cast<double>(batch);
  const VisionConfig& v = c.vision;
  const DecoderConfig& l = c.language;
  const double side = static_cast<double>(v.image_size / v.patch_size), patches = side * side;
  const double vd = static_cast<double>(v.hidden_size), vl = static_cast<double>(v.num_hidden_layers);
  product(f, b * patches, static_cast<double>(3 * v.patch_size * v.patch_size), vd, false);
  product(f, b * patches, vd, 4 * vd, true, vl);
  product(f, b * patches, vd, 2 * static_cast<double>(v.intermediate_size), true, vl);
  attention(f, b * patches * patches, vd, vl);
  const double factor = static_cast<double>(c.connector.factor * c.connector.factor);
  const double image_tokens = patches / factor, d = static_cast<double>(l.hidden_size);
  product(f, b * image_tokens, vd * factor, d, true);
  const double tokens = image_tokens + static_cast<double>(text), rows = b * tokens;
  const double layers = static_cast<double>(l.num_hidden_layers);
  const double kv = static_cast<double>(l.head_dim * l.num_key_value_heads);
  const double q = static_cast<double>(l.head_dim * l.num_attention_heads);
  product(f, rows, d, 2 * q + 2 * kv, true, layers);
  product(f, rows, d, 3 * static_cast<double>(l.intermediate_size), true, layers);
  attention(f, b * tokens * (tokens + 1) / 2, q, layers);
  product(f, rows, d, static_cast<double>(l.vocab_size), true);
  return f;
}

}  // namespace ocellus
