// Low-rank adapters on the layers of a model, and their files in PEFT's layout.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "nn/checkpoint_file.h"
#include "nn/layers.h"
#include "nn/lora_config.h"

namespace ocellus {

/// LoraAdapter — y = layer(x) + s·B·A·drop(x), s = alpha/rank or alpha/√rank; A [r, in], B [out,
/// r].
///
/// With a magnitude m [out] (DoRA): y = bias + (m/n)·(W + s·B·A)·x, where n, the length of every
/// row of W + s·B·A, counts as a constant in backward. Transposed weights [in, out] and embeddings
/// [count, dim] get the transpose of B·A; an embedding's factors are named lora_embedding_A/B.
class LoraAdapter : public WeightAdapter {
 public:
  LoraAdapter(WeightLayer& layer, const LoraConfig& config, int64_t rank, double alpha);

  Variable apply(const Variable& x, const Variable& plain) override;
  Variable apply(const Tensor& ids, const Variable& plain) override;
  Variable adapted(const Variable& weight) override;
  /// Sets the magnitude to the lengths of the rows of W + s·B·A, so that nothing changes at first.
  void reset_magnitude();
  /// Folds the change into the layer's weight (and bias): sums in f32 (f64), then the weight's
  /// type.
  void merge();
  double scale() const { return scale_; }

 private:
  Variable change();                                  // s·B·A in the weight's orientation
  Variable direction_scale(const Variable& changed);  // m/n

  WeightLayer& layer_;
  double scale_, dropout_;
  Parameter &a_, &b_;
  Parameter *b_bias_ = nullptr, *magnitude_ = nullptr;
};

/// Adapters — what add_lora put on a model. The model must outlive it.
class Adapters {
 public:
  const LoraConfig& config() const { return config_; }
  /// What adapter_config.json names as the model that the adapters belong on.
  void set_base_model(const std::string& name) { config_.base_model = name; }
  /// Names of the adapted modules, as in files.
  std::vector<std::string> modules() const;
  /// What trains, by its name in adapter_model.safetensors: factors, magnitudes, modules trained in
  /// full, biases.
  const std::vector<std::pair<std::string, Parameter*>>& parameters() const { return parameters_; }
  /// Reads adapter_model.safetensors; a tensor that is missing, left over or of another shape is
  /// one FormatError that lists both sides.
  void load(const std::string& folder);
  /// Writes adapter_config.json and, last, adapter_model.safetensors.
  void save(const std::string& folder) const;
  /// Folds every change into the model's weights and takes the adapters away.
  void merge();
  /// Gives up what AdaptersOff and remove() would return to for modules trained in full.
  void forget_originals();
  /// Takes the adapters away; modules trained in full return to what they were.
  void remove();

 private:
  friend Adapters add_lora(Module& model, const LoraConfig& config, uint64_t seed,
                           const NameMap& file_name, bool strict);
  void detach();

  LoraConfig config_;
  std::vector<std::pair<std::string, WeightLayer*>> layers_;
  std::vector<std::pair<std::string, Parameter*>> parameters_;
  std::vector<std::pair<std::string, Parameter*>> base_embeddings_;  // stored along, as PEFT does
  std::vector<Parameter*> kept_;                                     // modules in full, biases
};

/// add_lora — freezes `model` and puts adapters on the modules that `config` chooses; the output
/// stays the same. `file_name` maps names of parameters to those of the files, by which modules are
/// chosen. Factors are drawn from (seed, name). UsageError for targets that match nothing, naming
/// the nearest, or that are no linear layers or embeddings; if `strict`, for each entry of a list.
Adapters add_lora(Module& model, const LoraConfig& config, uint64_t seed = 0,
                  const NameMap& file_name = {}, bool strict = true);

/// matching_layers — paths of the layers that patterns mean: by name_matches, or every linear layer
/// for "all-linear". A pattern that ends in `*` leaves embeddings and output layers out. UsageError
/// for a pattern that matches nothing, naming the nearest path.
std::vector<std::string> matching_layers(Module& model, const std::vector<std::string>& patterns);

/// add_lora(model, "language.*.{q,v}_proj", {.rank = 8, .alpha = 16}) — on the layers whose path in
/// the model matches a glob pattern (name_matches). The rest of the config is as given.
Adapters add_lora(Module& model, const std::vector<std::string>& patterns, LoraConfig config,
                  uint64_t seed = 0, const NameMap& file_name = {});

/// load_lora — an adapter folder onto a model. FormatError for what does not fit. `trees` are the
/// names that modules may go by, the usual first: the first that has all modules of the file
/// counts.
Adapters load_lora(Module& model, const std::string& folder,
                   const std::vector<NameMap>& trees = {});

/// AdaptersOff — while it lives, the model computes as it did before the adapters: the reference of
/// DPO.
class AdaptersOff {
 public:
  explicit AdaptersOff(Module& model);
  ~AdaptersOff();
  AdaptersOff(const AdaptersOff&) = delete;

 private:
  Module& model_;
  std::vector<WeightAdapter*> off_;
};

}  // namespace ocellus
