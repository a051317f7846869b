#include "autograd/tape.h"

#include "autograd/finite_watch.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>

#include "engine/kernels/elementwise.h"

namespace ocellus {
namespace {

thread_local Tape* active_tape = nullptr;
thread_local bool recompute_on = false;
thread_local bool parameter_was_read = false;
thread_local const char* running_backward = nullptr;
std::atomic<uint64_t> next_tape_id{1};
std::atomic<int64_t> live_node_count{0};

// What save() has kept since the last record(): it belongs to the node recorded next.
struct PendingSaves {
  int64_t bytes = 0;
  std::vector<std::weak_ptr<Storage>> storages;
};
thread_local PendingSaves pending;

// FiniteWatch: on or off, and the sentence about the first bad output.
thread_local bool watch_on = false;
thread_local std::string watch_first;

void watch_outputs(const OpDef& op, const Tensors& outputs) {
  if (!watch_first.empty()) return;
  for (const Tensor& y : outputs) {
    if (!y.defined() || !is_floating(y.dtype())) continue;
    for (double v : y.to_vector<double>())
      if (!std::isfinite(v)) {
        watch_first = fmt::format("the output {} of {} holds {}", to_string(y.shape()), op.name, v);
        return;
      }
  }
}

}  // namespace

Tensor SavedTensor::operator()() const {
  if (recipe_) {
    if (!recipe_->cached.defined()) recipe_->cached = recipe_->rebuild();
    return recipe_->cached;
  }
  if (tensor_.defined())
    check<AutogradError>(tensor_.version() == version_,
                         "{}: a saved tensor was overwritten by {} (version {}, saved at {})",
                         running_backward ? running_backward : "saved tensor",
                         tensor_.storage()->last_writer, tensor_.version(), version_);
  return tensor_;
}

SavedTensor save(const Tensor& x) {
  if (active_tape && x.defined()) {
    pending.bytes += x.bytes();
    pending.storages.push_back(x.storage());
  }
  return SavedTensor(x);
}

SavedTensor save(const Variable& x) {
  if (recompute_on && x.requires_grad())
    if (const auto& recipe = active_tape->slot_of(x).recipe) return SavedTensor(recipe);
  return save(x.value());
}

bool Variable::requires_grad() const {
  return slot_ >= 0 && active_tape && tape_ == active_tape->id();
}

Variable leaf(Tensor value) {
  if (!active_tape) return Variable(std::move(value));
  Variable v = active_tape->new_slot(std::move(value));
  active_tape->slot_of(v).is_leaf = true;
  return v;
}

Variable parameter_leaf(GradSink& sink, const Tensor& value) {
  parameter_was_read = true;
  return active_tape ? active_tape->leaf_of(sink, value) : Variable(value);
}

Variable Tape::leaf_of(GradSink& sink, const Tensor& value) {
  auto found = std::lower_bound(parameters_.begin(), parameters_.end(), &sink,
                                [](const auto& entry, GradSink* s) { return entry.first < s; });
  if (found != parameters_.end() && found->first == &sink) return Variable(value, id_, found->second);
  Variable v = new_slot(value);
  slot_of(v).sink = &sink;
  parameters_.insert(found, {&sink, v.slot_});
  return v;
}

bool take_parameter_was_read() { return std::exchange(parameter_was_read, false); }

Tape::Tape() : id_(next_tape_id++), previous_(active_tape) { active_tape = this; }

Tape::~Tape() {
  live_node_count -= node_count();
  active_tape = previous_;
}

Tape* Tape::active() { return active_tape; }
int64_t Tape::live_nodes() { return live_node_count; }

Variable Tape::new_slot(Tensor value) {
  slots_.push_back({value.shape(), value.dtype(), nullptr, false, {}, nullptr});
  return Variable(std::move(value), id_, static_cast<int32_t>(slots_.size() - 1));
}

Variables record_node(const OpDef& op, const Variables& inputs, Tensors outputs, BackwardN backward,
                      std::function<Tensor()> recompute, bool always) {
  if (watch_on) watch_outputs(op, outputs);
  if (active_tape)
    return active_tape->append(op, inputs, std::move(outputs), std::move(backward),
                               std::move(recompute), always);
  return Variables(std::make_move_iterator(outputs.begin()), std::make_move_iterator(outputs.end()));
}

Variables Tape::append(const OpDef& op, const Variables& inputs, Tensors outputs, BackwardN backward,
                       std::function<Tensor()> recompute, bool always) {
  PendingSaves saves = std::exchange(pending, {});
  bool needed = always;
  std::vector<int32_t> input_slots;
  for (const Variable& input : inputs) {
    check<AutogradError>(input.slot_ < 0 || input.tape_ == id_,
                         "{}: an input was recorded on another tape; pass constant(x.value()) or "
                         "leaf(x.value()) to cut it off",
                         op.name);
    input_slots.push_back(input.slot_);
    needed = needed || input.slot_ >= 0;
  }
  Variables results;
  if (!needed) {
    for (Tensor& y : outputs) results.emplace_back(std::move(y));
    return results;
  }
  check<AutogradError>(!done_, "{}: this tape has already run backward", op.name);
  nodes_.push_back({&op, std::move(input_slots), static_cast<int32_t>(slots_.size()),
                    static_cast<int32_t>(outputs.size()), std::move(backward), saves.bytes,
                    std::move(saves.storages)});
  ++live_node_count;
  for (Tensor& y : outputs) results.push_back(new_slot(std::move(y)));
  if (recompute && recompute_on)
    slot_of(results[0]).recipe = std::make_shared<Rebuild>(Rebuild{std::move(recompute), {}});
  return results;
}

Variable record(const OpDef& op, const Variables& inputs, Tensor y, Backward1 backward,
                std::function<Tensor()> recompute) {
  return record_node(op, inputs, {std::move(y)},
                     [backward = std::move(backward)](const Tensors& dys, Needs needs) {
                       return backward(dys[0], needs);
                     },
                     std::move(recompute), false)[0];
}

Variables record(const OpDef& op, const Variables& inputs, Tensors ys, BackwardN backward) {
  return record_node(op, inputs, std::move(ys), std::move(backward), nullptr, false);
}

// The first gradient is taken over; later ones are added in place only where nobody else holds the
// block (`add` hands one dy to both inputs), else into a fresh one.
void Tape::accumulate(int32_t index, Tensor gradient) {
  Slot& slot = slots_[index];
  if (gradient.shape() != slot.shape) gradient = sum_to(gradient, slot.shape);
  check<AutogradError>(gradient.dtype() == slot.dtype, "{}: gradient is {}, its input {}",
                       running_backward, dtype_name(gradient.dtype()), dtype_name(slot.dtype));
  if (slot.sink) return slot.sink->add_gradient(gradient);
  if (!slot.gradient.defined()) {
    slot.gradient = std::move(gradient);
  } else if (slot.gradient.storage().use_count() == 1 && slot.gradient.is_contiguous()) {
    add_in_place(slot.gradient, gradient);
  } else {
    slot.gradient = binary_forward(BinaryOp::k_add, slot.gradient, gradient);
  }
}

void Tape::run_node(Node& node) {
  Tensors dys;
  bool reached = false;
  for (int32_t k = 0; k < node.output_count; ++k) {
    Slot& slot = slots_[node.first_output + k];
    dys.push_back(std::move(slot.gradient));
    slot.gradient = Tensor();
    reached = reached || dys.back().defined();
  }
  if (reached) {
    running_backward = node.op->name;
    Tensors gradients = node.backward(dys, Needs(node.inputs));
    check<AutogradError>(gradients.size() == node.inputs.size(),
                         "{}: backward must return {} gradients, got {}", node.op->name,
                         node.inputs.size(), gradients.size());
    dys.clear();
    for (size_t i = 0; i < node.inputs.size(); ++i)
      if (node.inputs[i] >= 0 && gradients[i].defined())
        accumulate(node.inputs[i], std::move(gradients[i]));
    running_backward = nullptr;
  }
  node.backward = nullptr;  // frees what it saved
  for (int32_t k = 0; k < node.output_count; ++k) slots_[node.first_output + k].recipe.reset();
}

void Tape::backward(const Variables& roots, const Tensors& cotangents) {
  check<AutogradError>(!done_,
                       "backward: this tape has already run backward; its saved tensors are freed. "
                       "Record the computation again, or pass all roots in one call");
  check<AutogradError>(roots.size() == cotangents.size(),
                       "backward: needs one cotangent per root ({}), got {}", roots.size(),
                       cotangents.size());
  for (size_t i = 0; i < roots.size(); ++i) {
    check<AutogradError>(roots[i].tape_ == id_ && roots[i].slot_ >= 0,
                         "backward: root {} was not recorded on this tape", i);
    check<ShapeError>(cotangents[i].shape() == roots[i].shape(),
                      "backward: cotangent {} must be {}, got {}", i, to_string(roots[i].shape()),
                      to_string(cotangents[i].shape()));
  }
  done_ = true;
  StopRecording stop;
  running_backward = "backward";
  for (size_t i = 0; i < roots.size(); ++i)
    accumulate(roots[i].slot_, cotangents[i].to(roots[i].dtype()));
  for (auto node = nodes_.rbegin(); node != nodes_.rend(); ++node) run_node(*node);
}

void Tape::backward(const Variable& loss, double seed) {
  check<ShapeError>(loss.value().numel() == 1, "backward: the loss must have one element, got {}",
                    to_string(loss.shape()));
  backward(Variables{loss}, {Tensor::full(loss.shape(), seed, loss.dtype(), loss.value().device())});
}

Tensor Tape::gradient(const Variable& v) const {
  check<AutogradError>(v.tape_ == id_ && v.slot_ >= 0 && slots_[v.slot_].is_leaf,
                       "gradient: the variable is no leaf of this tape");
  check<AutogradError>(done_, "gradient: backward has not run on this tape");
  return slots_[v.slot_].gradient;
}

std::string Tape::report() const {
  std::map<std::string, std::pair<int64_t, int64_t>> by_op;
  for (const Node& node : nodes_) {
    auto& entry = by_op[node.op->name];
    ++entry.first;
    entry.second += node.saved_bytes;
  }
  std::vector<std::pair<std::string, std::pair<int64_t, int64_t>>> rows(by_op.begin(), by_op.end());
  std::sort(rows.begin(), rows.end(),
            [](const auto& a, const auto& b) { return a.second.second > b.second.second; });
  std::string text = fmt::format("{:<24}{:>8}{:>16}\n", "op", "nodes", "saved bytes");
  for (const auto& [name, counts] : rows)
    text += fmt::format("{:<24}{:>8}{:>16}\n", name, counts.first, counts.second);
  return text;
}

int64_t Tape::saved_bytes() const {
  int64_t bytes = 0;
  for (const Node& node : nodes_) bytes += node.saved_bytes;
  return bytes;
}

bool Tape::has_node_of(const OpDef& op) const {
  return std::any_of(nodes_.begin(), nodes_.end(), [&](const Node& n) { return n.op == &op; });
}

std::vector<std::shared_ptr<Storage>> Tape::saved_storages() const {
  std::vector<std::shared_ptr<Storage>> list;
  for (const Node& node : nodes_)
    for (const auto& weak : node.saved)
      if (auto storage = weak.lock()) list.push_back(std::move(storage));
  return list;
}

FiniteWatch::FiniteWatch() : before_(std::exchange(watch_first, {})), active_before_(watch_on) {
  watch_on = true;
}
FiniteWatch::~FiniteWatch() {
  watch_on = active_before_;
  watch_first = before_;
}
const std::string& FiniteWatch::first() const { return watch_first; }

StopRecording::StopRecording() : stopped_(std::exchange(active_tape, nullptr)) {}
StopRecording::~StopRecording() { active_tape = stopped_; }

RecomputeScope::RecomputeScope(bool on) : before_(std::exchange(recompute_on, on)) {}
RecomputeScope::~RecomputeScope() { recompute_on = before_; }

}  // namespace ocellus
