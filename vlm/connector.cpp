#include "vlm/connector.h"

#include <cmath>

namespace ocellus {
namespace {
double deviation(int64_t in) { return 1 / std::sqrt(3.0 * static_cast<double>(in)); }
}  // namespace

Connector::Connector(const ConnectorConfig& c) : config_(c) {
  check<UsageError>(c.kind == "linear" || c.kind == "mlp" || c.kind == "pixel_shuffle",
                    "connector: kind \"{}\" is not one of linear, mlp, pixel_shuffle", c.kind);
  config_.factor = c.joined();
  if (c.kind == "mlp") {
    linear_1_ = &child_<Linear>("linear_1", c.vision_dim, c.text_dim, true, deviation(c.vision_dim));
    linear_2_ = &child_<Linear>("linear_2", c.text_dim, c.text_dim, true, deviation(c.text_dim));
  } else {
    const int64_t in = c.vision_dim * config_.factor * config_.factor;
    projection_ = &child_<Linear>("modality_projection.proj", in, c.text_dim, false, deviation(in));
  }
}

int64_t Connector::tokens(int64_t height, int64_t width) const {
  const int64_t f = config_.factor;
  check<ShapeError>(f > 0 && height % f == 0 && width % f == 0,
                    "connector: factor must divide the {}×{} patches of an image, got {}", height, width, f);
  return height / f * (width / f);
}

Variable Connector::operator()(const Variable& features, int64_t height, int64_t width) {
  if (linear_1_) return (*linear_2_)(activation(config_.hidden_act, (*linear_1_)(features)));
  if (config_.factor == 1) return (*projection_)(features);
  return (*projection_)(pixel_shuffle(features, height, width, config_.factor));
}

}  // namespace ocellus
