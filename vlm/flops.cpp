#include "vlm/flops.h"

namespace ocellus {

void StepFlops::product(double m, double k, double n, bool trained, bool upstream, double count) {
  const double one = 2 * m * k * n * count;
  forward += one;
  backward += one * (static_cast<int>(trained) + static_cast<int>(upstream));
}

void StepFlops::attention(double pairs, double dim, bool gradient, double layers) {
  forward += 4 * dim * pairs * layers;
  if (gradient) backward += 8 * dim * pairs * layers;
}

void StepFlops::encoder(const VisionConfig& v, double images, double patches, double tokens,
                        bool trained) {
  const double d = static_cast<double>(v.hidden_size), rows = images * tokens;
  const double layers = static_cast<double>(v.num_hidden_layers);
  product(images * patches, static_cast<double>(3 * v.patch_size * v.patch_size), d, trained,
          false);
  product(rows, d, 4 * d + 2 * static_cast<double>(v.intermediate_size), trained, trained, layers);
  attention(rows * tokens, d, trained, layers);
}

void StepFlops::decoder(const DecoderConfig& l, double batch, double tokens, bool trained,
                        bool upstream) {
  const double d = static_cast<double>(l.hidden_size), rows = batch * tokens;
  const double layers = static_cast<double>(l.num_hidden_layers);
  const double kv = static_cast<double>(l.head_dim * l.num_key_value_heads);
  const double q = static_cast<double>(l.head_dim * l.num_attention_heads);
  const double mlp = (decoder_family(l.model_type, "flops").names.gate ? 3.0 : 2.0) *
                     static_cast<double>(l.intermediate_size);
  product(rows, d, 2 * q + 2 * kv + mlp, trained, upstream, layers);
  attention(batch * tokens * (tokens + 1) / 2, q, upstream, layers);
  product(rows, d, static_cast<double>(l.vocab_size), trained, true);
}

StepFlops step_flops(const VlmConfig& c, int64_t batch, int64_t text,
                     const LearningParts& learning) {
  StepFlops f;
  const double b = static_cast<double>(batch);
  const double side = static_cast<double>(c.vision.image_size / c.vision.patch_size);
  const double patches = side * side;
  f.encoder(c.vision, b, patches, patches, learning.vision);
  const double factor = static_cast<double>(c.connector.joined() * c.connector.joined());
  const double image_tokens = patches / factor, tokens = image_tokens + static_cast<double>(text);
  f.product(b * image_tokens, static_cast<double>(c.vision.hidden_size) * factor,
            static_cast<double>(c.language.hidden_size), learning.connector, learning.vision);
  const double rank = static_cast<double>(learning.lora);
  const bool own = learning.language && rank == 0;
  const bool upstream = learning.vision || learning.connector || own;
  f.decoder(c.language, b, tokens, own, upstream || rank > 0);
  if (rank > 0) {
    const DecoderConfig& l = c.language;
    const double d = static_cast<double>(l.hidden_size), rows = b * tokens;
    const double out =
        static_cast<double>(l.head_dim * (l.num_attention_heads + l.num_key_value_heads));
    f.product(rows, 2 * d, rank, true, upstream, static_cast<double>(l.num_hidden_layers));
    f.product(rows, rank, out, true, true, static_cast<double>(l.num_hidden_layers));
  }
  return f;
}

}  // namespace ocellus
