// Rotary position embedding: frequencies from a Hugging Face config, tables of cosines and sines.
#pragma once
#include <string>
#include <vector>

#include "engine/tensor.h"

namespace ocellus {

/// RopeConfig — `rope_parameters` (or rope_theta with rope_scaling) of config.json.
struct RopeConfig {
  std::string type = "default";  // default | linear | llama3
  double theta = 10000;
  double factor = 1;
  double low_freq_factor = 1, high_freq_factor = 4;
  double original_max_position_embeddings = 8192;
};

/// RopeTables — cos and sin [rows, T, D/2] for positions [rows, T].
struct RopeTables {
  Tensor cos, sin;
};

/// rope_frequencies — angle per position for each of D/2 pairs: theta^(-2i/D), rescaled by type.
/// llama3: wavelengths below original/high_freq_factor stay, above original/low_freq_factor are
/// divided by factor, between them a linear blend.  Su et al. 2021, arXiv:2104.09864; Llama 3 herd 2024,
/// arXiv:2407.21783.
std::vector<double> rope_frequencies(const RopeConfig& config, int64_t head_dim);

/// rope_tables — positions [rows, T] i64 (rows is 1 or the batch) → tables in `dtype`, f32 or f64.
RopeTables rope_tables(const std::vector<double>& frequencies, const Tensor& positions, DType dtype);

/// Positions 0 … T-1 as [1, T].
Tensor positions_from(int64_t begin, int64_t count);

}  // namespace ocellus
