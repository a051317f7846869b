#include "nn/module.h"

#include <algorithm>
#include <cmath>

#include "engine/kernels/copy.h"
#include "engine/kernels/elementwise.h"
#include "engine/parallel.h"
#include "nn/parameter_budget.h"

namespace ocellus {
namespace {
thread_local DType parameter_dtype = DType::kF32;
thread_local Device parameter_device = kCpu;
thread_local bool training_mode = false;

uint64_t hash_name(const std::string& name) {
  uint64_t h = 1469598103934665603ull;
  for (unsigned char c : name) h = (h ^ c) * 1099511628211ull;
  return h;
}
}  // namespace

ParameterDType::ParameterDType(DType dtype) : before_(parameter_dtype) { parameter_dtype = dtype; }
ParameterDType::~ParameterDType() { parameter_dtype = before_; }
DType ParameterDType::current() { return parameter_dtype; }

ParameterDevice::ParameterDevice(Device device) : before_(parameter_device) {
  parameter_device = device;
}
ParameterDevice::~ParameterDevice() { parameter_device = before_; }
Device ParameterDevice::current() { return parameter_device; }

TrainingMode::TrainingMode(bool on) : before_(training_mode) { training_mode = on; }
TrainingMode::~TrainingMode() { training_mode = before_; }
bool TrainingMode::on() { return training_mode; }

Parameter::Parameter(const Shape& shape, Init init)
    : value_(Tensor::empty(shape, parameter_dtype, parameter_device, "parameter")), init_(init) {}

void Parameter::set_value(Tensor value) {
  check<ShapeError>(value.shape() == value_.shape(), "Parameter: value must be {}, got {}",
                    to_string(value_.shape()), to_string(value.shape()));
  value_ = value.to(value_.device());
}

void Parameter::set_trainable(bool on) {
  trainable_ = on;
  if (!on) clear_grad();
}

void Parameter::add_gradient(const Tensor& gradient) {
  if (!grad_.defined()) {
    // Copied, since later additions are in place and the caller may still hold the block.
    grad_ = gradient.to(value_.dtype()).clone();
  } else {
    add_in_place(grad_, gradient);
  }
}

Parameter& Module::parameter_(const std::string& name, const Shape& shape, Init init) {
  ParameterBudget::take(name, shape);
  parameters_.emplace_back(name, std::make_unique<Parameter>(shape, init));
  return *parameters_.back().second;
}

void Module::for_each_parameter(const std::function<void(const std::string&, Parameter&)>& visit,
                                const std::string& prefix) {
  for (auto& [name, parameter] : parameters_) visit(prefix + name, *parameter);
  for (auto& [name, child] : children_)
    child->for_each_parameter(visit, name.empty() ? prefix : prefix + name + ".");
}

void Module::for_each_module(const std::function<void(const std::string&, Module&)>& visit,
                             const std::string& prefix) {
  for (auto& [name, child] : children_) {
    const std::string path = name.empty() || prefix.empty() ? prefix + name : prefix + "." + name;
    visit(path, *child);
    child->for_each_module(visit, path);
  }
}

void Module::adopt_(const std::string& name, std::unique_ptr<Module> child) {
  children_.emplace_back(name, std::move(child));
}

void Module::drop_(const Module& child) {
  std::erase_if(children_, [&](const auto& entry) { return entry.second.get() == &child; });
}

Tensor& Module::buffer_(const std::string& name, Tensor value) {
  buffers_.emplace_back(name, std::make_unique<Tensor>(std::move(value)));
  return *buffers_.back().second;
}

void Module::for_each_buffer(const std::function<void(const std::string&, Tensor&)>& visit,
                             const std::string& prefix) {
  for (auto& [name, buffer] : buffers_) visit(prefix + name, *buffer);
  for (auto& [name, child] : children_)
    child->for_each_buffer(visit, name.empty() ? prefix : prefix + name + ".");
}

std::vector<std::pair<std::string, Parameter*>> Module::parameters() {
  std::vector<std::pair<std::string, Parameter*>> list;
  for_each_parameter([&](const std::string& name, Parameter& p) { list.emplace_back(name, &p); });
  return list;
}

int64_t Module::parameter_count(bool trainable_only) {
  int64_t count = 0;
  for_each_parameter([&](const std::string&, Parameter& p) {
    if (!trainable_only || p.trainable()) count += p.value().numel();
  });
  return count;
}

void Module::clear_gradients() {
  for_each_parameter([](const std::string&, Parameter& p) { p.clear_grad(); });
}

constexpr int64_t kInitGrain = 4096;  // elements, a multiple of 4

static void draw_normals(RngKey key, int64_t begin, int64_t end, double scale, double* data) {
  for (int64_t i = begin; i < end; i += 4) {
    const Normal4 four = normals_of(key, static_cast<uint64_t>(i) / 4);
    for (int64_t j = i; j < std::min(i + 4, end); ++j) data[j] = scale * four.value[j - i];
  }
}

void init_parameters(Module& module, uint64_t seed, const std::string& prefix) {
  module.for_each_parameter(
      [&](const std::string& name, Parameter& parameter) {
        const Init init = parameter.init();
        Tensor& value = parameter.mutable_value();
        if (init.kind == Init::Kind::kZeros) return fill(value, 0);
        if (init.kind == Init::Kind::kOnes) return fill(value, 1);
        if (init.kind == Init::Kind::kConstant) return fill(value, init.scale);
        const RngKey key{seed, hash_name(name)};
        Tensor drawn = Tensor::empty(value.shape(), DType::kF64, kCpu, "init");
        double* data = drawn.mutable_data<double>("init");
        parallel_for(drawn.numel(), kInitGrain, [&](int64_t begin, int64_t end) {
          if (init.kind == Init::Kind::kNormal)
            draw_normals(key, begin, end, init.scale, data);
          else
            for (int64_t i = begin; i < end; ++i)
              data[i] = init.scale * (2.0 * double(uniform01(key.word(i))) - 1.0);
        });
        copy(drawn, value);
      },
      prefix);
}

namespace {
bool glob(const char* pattern, const char* text) {
  for (; *pattern; ++pattern, ++text) {
    if (*pattern == '*') {
      for (const char* rest = text;; ++rest) {
        if (glob(pattern + 1, rest)) return true;
        if (!*rest) return false;
      }
    }
    if (!*text || (*pattern != '?' && *pattern != *text)) return false;
  }
  return !*text;
}

// Expands {a,b} into one pattern each.
void expand_braces(const std::string& pattern, std::vector<std::string>& out) {
  const size_t open = pattern.find('{'), close = pattern.find('}', open);
  if (open == std::string::npos || close == std::string::npos) {
    out.push_back(pattern);
    return;
  }
  std::string choice;
  for (size_t i = open + 1; i <= close; ++i) {
    if (i == close || pattern[i] == ',') {
      expand_braces(pattern.substr(0, open) + choice + pattern.substr(close + 1), out);
      choice.clear();
    } else {
      choice += pattern[i];
    }
  }
}
}  // namespace

size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

bool name_matches(const std::string& pattern, const std::string& name) {
  std::vector<std::string> plain;
  expand_braces(pattern, plain);
  for (const std::string& p : plain)
    if (glob(p.c_str(), name.c_str()) || glob((p + ".*").c_str(), name.c_str())) return true;
  return false;
}

void set_trainable(Module& module, const std::vector<std::string>& patterns) {
  const auto parameters = module.parameters();
  for (const std::string& pattern : patterns) {
    const bool used = std::any_of(parameters.begin(), parameters.end(), [&](const auto& entry) {
      return name_matches(pattern, entry.first);
    });
    if (used) continue;
    auto nearest = std::min_element(parameters.begin(), parameters.end(), [&](auto& a, auto& b) {
      return edit_distance(pattern, a.first) < edit_distance(pattern, b.first);
    });
    fail<UsageError>("set_trainable: pattern \"{}\" matches no parameter; the nearest name is {}",
                     pattern, nearest == parameters.end() ? "none" : nearest->first);
  }
  for (const auto& [name, parameter] : parameters)
    parameter->set_trainable(std::any_of(patterns.begin(), patterns.end(),
                                         [&](const auto& p) { return name_matches(p, name); }));
}

}  // namespace ocellus
