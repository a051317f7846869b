// Rotary position embedding: frequencies from a Hugging Face config, tables of cosines and sines.
#pragma once
#include <string>
#include <vector>

#include "engine/tensor.h"

namespace ocellus {

/// RopeConfig — `rope_parameters` (or rope_theta with rope_scaling) of config.json.
struct RopeConfig {
  std::string type = "default";  // default | linear | dynamic | llama3 | yarn
  double theta = 10000;
  double factor = 1;
  double partial_rotary_factor = 1;                  // share of a head that is turned
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3
  double original_max_position_embeddings = 8192;    // llama3, yarn
  double max_position_embeddings = 2048;             // dynamic
  double beta_fast = 32, beta_slow = 1;              // yarn: rotations that bound the ramp
  double attention_factor = 0;                       // yarn; 0: from factor and mscale
  double mscale = 0, mscale_all_dim = 0;             // yarn
  bool truncate = true;                              // yarn: bounds of the ramp are whole numbers
  bool operator==(const RopeConfig&) const = default;
};

/// RopeTables — cos and sin [rows, T, D/2] for positions [rows, T].
struct RopeTables {
  Tensor cos, sin;
};

/// rope_frequencies — angle per position for each of D/2 pairs: theta^(-2i/D), rescaled by type; D
/// is the share of head_dim that is turned, `length` that of the sequence. linear: divided by
/// factor. dynamic: theta·((factor·L/max) - (factor - 1))^(D/(D-2)) instead of theta, L =
/// max(length, max) of max_position_embeddings. llama3: wavelengths below original/high_freq_factor
/// stay, above original/low_freq_factor are divided by factor, between them a linear blend. yarn:
/// the same over pairs instead of wavelengths, from the pair that turns beta_fast times within the
/// original length to the one that turns beta_slow times.
/// Su et al. 2021, arXiv:2104.09864; Llama 3 herd 2024, arXiv:2407.21783; Peng et al. 2023,
/// arXiv:2309.00071.
std::vector<double> rope_frequencies(const RopeConfig& config, int64_t head_dim,
                                     int64_t length = 0);

/// rope_attention_factor — what cosines and sines are multiplied by: yarn's temperature, else 1.
double rope_attention_factor(const RopeConfig& config);

/// rope_tables — positions [rows, T] i64 (rows is 1 or the batch) → tables in `dtype`, f32 or f64,
/// times `factor`.
RopeTables rope_tables(const std::vector<double>& frequencies, const Tensor& positions, DType dtype,
                       double factor = 1);

/// Positions 0 … T-1 as [1, T].
Tensor positions_from(int64_t begin, int64_t count);

}  // namespace ocellus
