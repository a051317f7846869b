#include "nn/rope.h"

#include <cmath>

namespace ocellus {

std::vector<double> rope_frequencies(const RopeConfig& config, int64_t head_dim) {
  check<FormatError>(head_dim > 0 && head_dim % 2 == 0, "rope: head_dim must be even, got {}",
                     head_dim);
  check<FormatError>(config.type == "default" || config.type == "linear" || config.type == "llama3",
                     "rope: rope_type must be one of default, linear, llama3, got \"{}\"",
                     config.type);
  constexpr double kTwoPi = 6.283185307179586;
  std::vector<double> frequencies;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    double f = std::pow(config.theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
    if (config.type == "linear") f /= config.factor;
    if (config.type == "llama3") {
      const double wavelength = kTwoPi / f, original = config.original_max_position_embeddings;
      const double blend = (original / wavelength - config.low_freq_factor) /
                           (config.high_freq_factor - config.low_freq_factor);
      if (wavelength > original / config.low_freq_factor)
        f /= config.factor;
      else if (wavelength >= original / config.high_freq_factor)
        f = (1 - blend) * f / config.factor + blend * f;
    }
    frequencies.push_back(f);
  }
  return frequencies;
}

RopeTables rope_tables(const std::vector<double>& frequencies, const Tensor& positions, DType dtype) {
  check<ShapeError>(positions.rank() == 2, "rope_tables: positions must be [rows, T], got {}",
                    to_string(positions.shape()));
  const int64_t n = positions.numel(), half = static_cast<int64_t>(frequencies.size());
  const Shape shape{positions.dim(0), positions.dim(1), half};
  Tensor cosines = Tensor::empty(shape, DType::kF64, kCpu, "rope_tables");
  Tensor sines = Tensor::empty(shape, DType::kF64, kCpu, "rope_tables");
  const Tensor dense = positions.contiguous();
  const int64_t* p = dense.data<int64_t>();
  double* c = cosines.mutable_data<double>("rope_tables");
  double* s = sines.mutable_data<double>("rope_tables");
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < half; ++j) {
      const double angle = static_cast<double>(p[i]) * frequencies[j];
      c[i * half + j] = std::cos(angle);
      s[i * half + j] = std::sin(angle);
    }
  return {cosines.to(dtype), sines.to(dtype)};
}

Tensor positions_from(int64_t begin, int64_t count) {
  Tensor out = Tensor::empty({1, count}, DType::kI64);
  int64_t* data = out.mutable_data<int64_t>("positions");
  for (int64_t i = 0; i < count; ++i) data[i] = begin + i;
  return out;
}

}  // namespace ocellus
