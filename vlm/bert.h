// BERT: the post-norm text encoder, with its pooler or its masked-language head; also the trunk of
// the Q-Former.  Devlin et al. 2018, arXiv:1810.04805; names of BertModel and BertForMaskedLM.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "nn/attention.h"

namespace ocellus {

/// BertConfig — config.json of `model_type` bert.
struct BertConfig {
  int64_t vocab_size = 0, hidden_size = 0, num_hidden_layers = 0, num_attention_heads = 0;
  int64_t intermediate_size = 0, max_position_embeddings = 512, type_vocab_size = 2;
  std::string hidden_act = "gelu";
  double layer_norm_eps = 1e-12, initializer_range = 0.02;
  double dropout = 0;  // ours: on the outputs of attention and feed-forward, in training only
};

BertConfig read_bert_config(const nlohmann::json& config, const std::string& who);

/// BertLayer — norm(x + attention(x)), then norm(· + mlp(·)).
class BertLayer : public Module {
 public:
  explicit BertLayer(const BertConfig& config);
  Variable operator()(const Variable& x, const AttentionMask& mask);

 private:
  double dropout_;
  Attention& attention_;
  LayerNorm& attention_norm_;
  Mlp& mlp_;
  LayerNorm& mlp_norm_;
};

/// Bert — ids [B, T], types [B, T] (undefined: zeros), segments [B, T] i32 with -1 for padding
/// (undefined: none) → states [B, T, C].
class Bert : public Module {
 public:
  Bert(const BertConfig& config, bool with_pooler);
  Variable operator()(const Tensor& ids, const Tensor& types, const Tensor& segments,
                      const Tensor& positions = {});
  /// tanh(W·first token + b);  states [B, T, C] → [B, C].
  Variable pooled(const Variable& states);
  Variable word_table() { return words_.weight().var(); }
  int64_t vocabulary() const { return words_.weight().shape()[0]; }

 private:
  Embedding &words_, &positions_, &types_;
  LayerNorm& norm_;
  std::vector<BertLayer*> layers_;
  Linear* pooler_;
};

/// BertForMaskedLm — decoder(norm(act(dense(states)))), the decoder being the word table with a
/// bias of its own → [B, T, V].
class BertForMaskedLm : public Module {
 public:
  explicit BertForMaskedLm(const BertConfig& config);
  Bert& body() const { return bert_; }
  Variable logits(const Variable& states);

 private:
  std::string act_;
  Bert& bert_;
  Linear& dense_;
  LayerNorm& norm_;
  Parameter& bias_;
};

}  // namespace ocellus
