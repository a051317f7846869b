// The definition of an op: its name, inputs, precision policy and samples. Samples cannot be left out,
// and defining an op registers it, so an op that no check visits cannot exist.
#pragma once
#include <functional>
#include <source_location>
#include <string>
#include <vector>

#include "autograd/variable.h"
#include "engine/random.h"

namespace ocellus {

struct OpDef;

/// What autocast does with the inputs of an op.
enum class Precision {
  kLow,     // cast to bf16: products and attention
  kFollow,  // as they come; of different types the wider one
  kFull,    // cast to f32: losses, softmax, long sums
};

/// Why an input has no gradient.
struct NotDifferentiable { const char* reason; };

struct InputDef {
  const char* name;
  const char* not_differentiable = nullptr;
  InputDef(const char* input) : name(input) {}
  InputDef(const char* input, NotDifferentiable why) : name(input), not_differentiable(why.reason) {}
};

/// Rng — the source of sample inputs. Floating values are f64; checks convert them to the type they
/// test.
class Rng {
 public:
  explicit Rng(uint64_t seed) : generator_(seed) {}
  Tensor normal(const Shape& shape, double deviation = 1.0);
  Tensor uniform(const Shape& shape, double low, double high);
  /// Values in [low, high) at least 0.05 away from every kink.
  Tensor from_domain(const Shape& shape, const struct Domain& domain);
  Tensor integers(const Shape& shape, int64_t low, int64_t high, DType dtype = DType::kI32);
  RngKey key() { return generator_.next(); }

 private:
  Generator generator_;
};

/// Sample — inputs, the call with its attributes, and for a fused op its definition in plain ops.
struct Sample {
  Tensors inputs;
  std::function<Variables(const Variables&)> run;
  std::function<Variables(const Variables&)> reference = nullptr;
};

struct NamedSample {
  const char* name;
  std::function<Sample(Rng&)> make;
};

/// Samples — at least one, and at least one whose name begins with "odd" (sizes no kernel likes).
class Samples {
 public:
  Samples(std::initializer_list<NamedSample> list) : list_(list) {}
  Samples(std::vector<NamedSample> list) : list_(std::move(list)) {}
  auto begin() const { return list_.begin(); }
  auto end() const { return list_.end(); }
  size_t size() const { return list_.size(); }

 private:
  std::vector<NamedSample> list_;
};

/// Registration — enters the OpDef that contains it into the registry; not copyable, so OpDef is not.
class Registration {
 public:
  explicit Registration(const OpDef& op);
  Registration(const Registration&) = delete;
};

struct OpDef {
  const char* name;
  std::vector<InputDef> inputs;  // a variadic op names its last input once, with a trailing "…"
  Precision precision;
  Samples samples;
  bool composite = false;        // made of other ops: records no node of its own
  std::source_location where = std::source_location::current();
  Registration registration{*this};
};

/// for_each_op(f) — every registered op in order of name.
void for_each_op(const std::function<void(const OpDef&)>& visit);
/// The op of that name, or nullptr.
const OpDef* find_op(const std::string& name);

}  // namespace ocellus
