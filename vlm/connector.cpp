#include "vlm/connector.h"

namespace ocellus {

Connector::Connector(const ConnectorConfig& c) : config_(c) {
  check<UsageError>(c.kind == "linear" || c.kind == "mlp" || c.kind == "pixel_shuffle",
                    "connector: kind \"{}\" is not one of linear, mlp, pixel_shuffle", c.kind);
  if (c.kind != "pixel_shuffle") config_.factor = 1;
  if (c.kind == "mlp") {
    linear_1_ = &child_<Linear>("linear_1", c.vision_dim, c.text_dim, true);
    linear_2_ = &child_<Linear>("linear_2", c.text_dim, c.text_dim, true);
  } else {
    projection_ = &child_<Linear>("modality_projection.proj",
                                  c.vision_dim * config_.factor * config_.factor, c.text_dim, false);
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
