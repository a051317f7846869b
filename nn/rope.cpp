#include "nn/rope.h"

#include <algorithm>
#include <cmath>

namespace ocellus {

namespace {

constexpr double kTwoPi = 6.283185307179586;

// 0 below `low`, 1 above `high`, linear between them.
double ramp(double x, double low, double high) {
  return std::clamp((x - low) / (high == low ? 0.001 : high - low), 0.0, 1.0);
}

// The pair (as a real number) that turns `rotations` times within the original length.
double pair_of(const RopeConfig& c, double rotations, double dim) {
  return dim * std::log(c.original_max_position_embeddings / (rotations * kTwoPi)) /
         (2 * std::log(c.theta));
}

double yarn(const RopeConfig& c, double f, int64_t pair, double dim) {
  double low = pair_of(c, c.beta_fast, dim), high = pair_of(c, c.beta_slow, dim);
  if (c.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  const double blend = ramp(static_cast<double>(pair), std::max(low, 0.0), std::min(high, dim - 1));
  return blend * f / c.factor + (1 - blend) * f;
}

double llama3(const RopeConfig& c, double f) {
  const double turns = c.original_max_position_embeddings * f / kTwoPi;
  const double blend = ramp(turns, c.low_freq_factor, c.high_freq_factor);
  return (1 - blend) * f / c.factor + blend * f;
}

}  // namespace

std::vector<double> rope_frequencies(const RopeConfig& c, int64_t head_dim, int64_t length) {
  const auto turned = static_cast<int64_t>(static_cast<double>(head_dim) * c.partial_rotary_factor);
  check<FormatError>(turned > 0 && turned % 2 == 0 && turned <= head_dim,
                     "rope: head_dim must be even, got {} of {}", turned, head_dim);
  check<FormatError>(
      c.type == "default" || c.type == "linear" || c.type == "dynamic" || c.type == "llama3" ||
          c.type == "yarn",
      "rope: rope_type must be one of default, linear, dynamic, llama3, yarn, got \"{}\"", c.type);
  const auto dim = static_cast<double>(turned);
  double theta = c.theta;
  if (c.type == "dynamic" && turned > 2) {
    const double most = c.max_position_embeddings;
    const double reach = std::max(static_cast<double>(length), most) / most;
    theta *= std::pow(c.factor * reach - (c.factor - 1), dim / (dim - 2));
  }
  std::vector<double> frequencies;
  for (int64_t i = 0; i < turned / 2; ++i) {
    double f = std::pow(theta, -2.0 * static_cast<double>(i) / dim);
    if (c.type == "linear") f /= c.factor;
    if (c.type == "llama3") f = llama3(c, f);
    if (c.type == "yarn") f = yarn(c, f, i, dim);
    frequencies.push_back(f);
  }
  return frequencies;
}

double rope_attention_factor(const RopeConfig& c) {
  if (c.type != "yarn") return 1;
  if (c.attention_factor > 0) return c.attention_factor;
  auto scale = [&](double m) { return c.factor <= 1 ? 1.0 : 0.1 * m * std::log(c.factor) + 1.0; };
  return c.mscale > 0 && c.mscale_all_dim > 0 ? scale(c.mscale) / scale(c.mscale_all_dim)
                                              : scale(1);
}

RopeTables rope_tables(const std::vector<double>& frequencies, const Tensor& positions, DType dtype,
                       double factor) {
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
      c[i * half + j] = factor * std::cos(angle);
      s[i * half + j] = factor * std::sin(angle);
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
