// What distinguishes the families of causal language models: names in checkpoints and the form of a
// block, one row of a table each.
#pragma once
#include <string>

#include "nn/attention.h"

namespace ocellus {

/// DecoderNames — where a family keeps its parts. Names of a block's parts are relative to the
/// block;
/// "" adds nothing to a path, nullptr marks a part that the family does not have.
struct DecoderNames {
  const char *embed, *positions, *layers, *final_norm, *head;
  const char *norm1, *attention, *q, *k, *v, *out;  // a fused projection goes by q
  const char *norm2, *mlp, *gate, *up, *down;       // without a gate: down(act(up(x)))
  const char* attention_norm = nullptr;             // norms of what a branch returns (Gemma 2, 3)
  const char* mlp_norm = nullptr;
};

enum class PositionKind : uint8_t { kRotary, kLearned, kAlibi };

struct DecoderFamily {
  const char* model_type;
  const char* architecture;  // the class in transformers
  DecoderNames names;
  NormKind norm = NormKind::kRms;
  PositionKind positions = PositionKind::kRotary;
  FusedQkv fused = FusedQkv::kNone;
  bool transposed = false;      // weights [in, out]
  bool qk_norm = false;         // norms over each head of q and k
  bool mask_positions = false;  // positions count real tokens of the mask, also in a plain pass
  int64_t position_offset = 0;  // first row of the table that is used
};

/// decoder_family("gpt2", who) — FormatError "WHO: …" for another, naming those that exist.
const DecoderFamily& decoder_family(const std::string& model_type, const std::string& who);

/// All families, for tables of classes.
struct DecoderFamilies {
  const DecoderFamily* begin() const;
  const DecoderFamily* end() const;
};

}  // namespace ocellus
