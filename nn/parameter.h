// A parameter: name, value, lazily allocated gradient, and whether it is trained.
#pragma once
#include <cstdint>
#include <string>

#include "autograd/tape.h"

namespace ocellus {

/// Init — how a parameter starts. Drawn from Philox keyed by (seed, full name), so it depends on
/// neither the order of construction nor the device.
struct Init {
  enum class Kind : uint8_t { kZeros, kOnes, kConstant, kNormal, kUniform };
  Kind kind = Kind::kZeros;
  double scale = 0;  // standard deviation, half width of the interval, or the constant
  static Init zeros() { return {Kind::kZeros, 0}; }
  static Init ones() { return {Kind::kOnes, 1}; }
  static Init constant(double value) { return {Kind::kConstant, value}; }
  static Init normal(double deviation) { return {Kind::kNormal, deviation}; }
  static Init uniform(double bound) { return {Kind::kUniform, bound}; }
};

class Parameter : public GradSink {
 public:
  Parameter(const Shape& shape, Init init);

  const Shape& shape() const { return value_.shape(); }
  const Tensor& value() const { return value_; }
  Tensor& mutable_value() { return value_; }
  /// Replaces the value; shape must agree. The dtype may change while nothing is trained.
  void set_value(Tensor value);
  /// The accumulated gradient, in the value's dtype; undefined until one arrived.
  const Tensor& grad() const { return grad_; }
  Tensor& mutable_grad() { return grad_; }
  /// Forgets the gradient; its block goes back to the allocator.
  void clear_grad() { grad_ = Tensor(); }
  void add_gradient(const Tensor& gradient) override;

  /// Keeps a copy of the value as it is now, for exchange_kept(); forget_kept() drops it.
  void keep_value() { kept_ = value_.clone(); }
  void forget_kept() { kept_ = Tensor(); }
  /// Exchanges value and kept copy, if there is one: a model as it was before training.
  void exchange_kept() {
    if (kept_.defined()) std::swap(value_, kept_);
  }

  bool trainable() const { return trainable_; }
  void set_trainable(bool on);

  /// The parameter as an input of ops: a leaf if trainable, else a constant that records nothing.
  Variable var() { return trainable_ ? parameter_leaf(*this, value_) : Variable(value_); }

  const Init& init() const { return init_; }

 private:
  Tensor value_, grad_, kept_;
  Init init_;
  bool trainable_ = true;
};

/// ParameterDType — the element type of parameters made while it lives (f32 by default; f64 for checks).
class ParameterDType {
 public:
  explicit ParameterDType(DType dtype);
  ~ParameterDType();
  static DType current();

 private:
  DType before_;
};

/// ParameterDevice — the device of parameters made by this thread while it lives (the CPU by default).
/// Ops run where their parameters lie; ids, labels and masks may stay on the host.
class ParameterDevice {
 public:
  explicit ParameterDevice(Device device);
  ~ParameterDevice();
  ParameterDevice(const ParameterDevice&) = delete;
  ParameterDevice& operator=(const ParameterDevice&) = delete;
  static Device current();

 private:
  Device before_;
};

}  // namespace ocellus
