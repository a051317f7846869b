// Modules: a named tree of modules and parameters. Names are those of the Hugging Face checkpoint
// of the same block; checkpoints, freezing, optimizer groups and logs all go by them.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nn/parameter.h"

namespace ocellus {

class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  /// visit("model.layers.0.self_attn.q_proj.weight", parameter) for every parameter, in order of
  /// construction.
  void for_each_parameter(const std::function<void(const std::string&, Parameter&)>& visit,
                          const std::string& prefix = "");
  /// visit("model.layers.0.self_attn", module) for every module below this one, parents first.
  void for_each_module(const std::function<void(const std::string&, Module&)>& visit,
                       const std::string& prefix = "");
  /// visit("…normalization.running_mean", tensor) for every buffer: what a module keeps besides
  /// parameters and files hold with them. Not trained; saved and loaded.
  void for_each_buffer(const std::function<void(const std::string&, Tensor&)>& visit,
                       const std::string& prefix = "");
  /// Every parameter with its full name.
  std::vector<std::pair<std::string, Parameter*>> parameters();
  int64_t parameter_count(bool trainable_only = false);
  void clear_gradients();

 protected:
  /// Registers a parameter under a local name.
  Parameter& parameter_(const std::string& name, const Shape& shape, Init init);
  /// Registers a buffer under a local name.
  Tensor& buffer_(const std::string& name, Tensor value);
  /// Makes and registers a child; the name may contain dots ("attention.output.dense"), and an
  /// empty one adds nothing to the path.
  template <class M, class... Args>
  M& child_(const std::string& name, Args&&... args) {
    auto child = std::make_unique<M>(std::forward<Args>(args)...);
    M& reference = *child;
    children_.emplace_back(name, std::move(child));
    return reference;
  }
  /// Registers a child made elsewhere; unregisters and destroys one.
  void adopt_(const std::string& name, std::unique_ptr<Module> child);
  void drop_(const Module& child);

 private:
  std::vector<std::pair<std::string, std::unique_ptr<Parameter>>> parameters_;
  std::vector<std::pair<std::string, std::unique_ptr<Tensor>>> buffers_;
  std::vector<std::pair<std::string, std::unique_ptr<Module>>> children_;
};

/// init_parameters — draws every parameter of the tree anew from its Init and (seed, name).
void init_parameters(Module& module, uint64_t seed, const std::string& prefix = "");

/// matches("language.*.{q,v}_proj", name) — glob over a full name or a whole prefix of its path:
/// `*` is any run of characters, {a,b} alternatives. "connector.*" and "connector" both match
/// "connector.proj.weight".
bool name_matches(const std::string& pattern, const std::string& name);

/// edit_distance — insertions, deletions and replacements that turn `a` into `b`.
size_t edit_distance(const std::string& a, const std::string& b);

/// set_trainable — parameters that match one of the patterns are trained, all others frozen. Throws
/// UsageError for a pattern that matches nothing, naming the nearest name.
void set_trainable(Module& module, const std::vector<std::string>& patterns);

/// Training mode of this thread (dropout on): on inside a TrainingMode(true) scope, off by default.
class TrainingMode {
 public:
  explicit TrainingMode(bool on);
  ~TrainingMode();
  static bool on();

 private:
  bool before_;
};

}  // namespace ocellus
