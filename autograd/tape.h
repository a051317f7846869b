// A flat tape: ops append nodes, backward walks them in reverse. No sort, no recursion; a million nodes
// are a vector of a million elements.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "autograd/op_def.h"
#include "autograd/saved_tensor.h"
#include "autograd/variable.h"

namespace ocellus {

/// Needs — which inputs of a node want a gradient.
class Needs {
 public:
  explicit Needs(std::span<const int32_t> slots) : slots_(slots) {}
  bool operator[](size_t i) const { return slots_[i] >= 0; }
  size_t size() const { return slots_.size(); }

 private:
  std::span<const int32_t> slots_;
};

/// Backward of a node with one output: gradient of the output → one gradient per input, empty where
/// not needed. With several outputs: one cotangent per output, an empty one means zero.
using Backward1 = std::function<Tensors(const Tensor& dy, Needs needs)>;
using BackwardN = std::function<Tensors(const Tensors& dys, Needs needs)>;

/// GradSink — receives the gradient of a parameter as it is computed (nn's Parameter is one).
class GradSink {
 public:
  virtual ~GradSink() = default;
  virtual void add_gradient(const Tensor& gradient) = 0;
};

class Tape {
 public:
  /// Starts recording on this thread; tapes nest, the innermost records.
  Tape();
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  /// Gradients of a one-element loss with cotangent `seed`. A tape runs backward once.
  void backward(const Variable& loss, double seed = 1.0);
  /// Gradients of Σ ⟨roots[i], cotangents[i]⟩.
  void backward(const Variables& roots, const Tensors& cotangents);
  /// The gradient that backward computed for a leaf(); undefined if none reached it.
  Tensor gradient(const Variable& leaf) const;

  /// Bytes that nodes hold for backward, by op, largest first, as a printable table.
  std::string report() const;
  int64_t node_count() const { return static_cast<int64_t>(nodes_.size()); }
  int64_t saved_bytes() const;
  /// True if some node belongs to `op`.
  bool has_node_of(const OpDef& op) const;
  /// Storages that nodes have saved and that are still alive (for tests).
  std::vector<std::shared_ptr<Storage>> saved_storages() const;

  /// The tape that records on this thread, or nullptr.
  static Tape* active();
  /// Nodes alive in the whole process: back to zero when every tape is gone.
  static int64_t live_nodes();

  uint64_t id() const { return id_; }

 private:
  friend class StopRecording;
  friend Variable leaf(Tensor);
  friend Variable parameter_leaf(GradSink& sink, const Tensor& value);
  friend Variables record_node(const OpDef& op, const Variables& inputs, Tensors outputs,
                               BackwardN backward, std::function<Tensor()> recompute, bool always);
  friend SavedTensor save(const Variable& x);

  struct Slot {
    Shape shape;
    DType dtype;
    GradSink* sink = nullptr;
    bool is_leaf = false;
    Tensor gradient;
    std::shared_ptr<Rebuild> recipe;
  };
  struct Node {
    const OpDef* op;
    std::vector<int32_t> inputs;
    int32_t first_output, output_count;
    BackwardN backward;
    int64_t saved_bytes;
    std::vector<std::weak_ptr<Storage>> saved;
  };

  Variable new_slot(Tensor value);
  Slot& slot_of(const Variable& v) { return slots_[v.slot_]; }
  Variable leaf_of(GradSink& sink, const Tensor& value);
  Variables append(const OpDef& op, const Variables& inputs, Tensors outputs, BackwardN backward,
                   std::function<Tensor()> recompute, bool always);
  void accumulate(int32_t slot, Tensor gradient);
  void run_node(Node& node);

  uint64_t id_;
  Tape* previous_;
  bool done_ = false;
  std::vector<Node> nodes_;
  std::vector<Slot> slots_;
  std::vector<std::pair<GradSink*, int32_t>> parameters_;  // sorted by pointer only for look-up
};

/// StopRecording — nothing is recorded on this thread while it lives: teachers, metrics.
class StopRecording {
 public:
  StopRecording();
  ~StopRecording();
  StopRecording(const StopRecording&) = delete;

 private:
  Tape* stopped_;
};

/// RecomputeScope — whether cheap outputs (norms, activations) are kept as recipes while it lives.
class RecomputeScope {
 public:
  explicit RecomputeScope(bool on);
  ~RecomputeScope();

 private:
  bool before_;
};

/// The leaf of a trainable parameter on the active tape: one slot however often it is read. A constant
/// without a tape.
Variable parameter_leaf(GradSink& sink, const Tensor& value);

/// record — the only producer of a Variable with parents. Gradients are summed back to the inputs'
/// shapes here, so an op that broadcasts returns them at the broadcast shape. If no input requires a
/// gradient, y is returned as a constant and the closure dropped.
/// `recompute` rebuilds y from what the node saves anyway; given, later ops may keep that recipe
/// instead of y.
Variable record(const OpDef& op, const Variables& inputs, Tensor y, Backward1 backward,
                std::function<Tensor()> recompute = nullptr);
/// The same for several outputs.
Variables record(const OpDef& op, const Variables& inputs, Tensors ys, BackwardN backward);

/// record_node — the general form; `always` records even if no input requires a gradient
/// (checkpointed functions that read parameters).
Variables record_node(const OpDef& op, const Variables& inputs, Tensors outputs, BackwardN backward,
                      std::function<Tensor()> recompute, bool always);

/// True since the last call if a trainable parameter was read on this thread (for checkpoint()).
bool take_parameter_was_read();

}  // namespace ocellus
