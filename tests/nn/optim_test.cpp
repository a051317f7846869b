#include <cmath>

#include "nn/layers.h"
#include "nn/optim/optimizer.h"
#include "nn/optim/schedule.h"
#include "tests/data/support.h"

using namespace ocellus;
using namespace ocellus::test;

namespace {

struct One : Module {
  explicit One(double value = 1) { weight.set_value(Tensor::from<double>({value, 2}, {1, 2})); }
  ParameterDType scope{DType::kF64};
  Parameter& weight = parameter_("weight", {1, 2}, Init::zeros());
};

Optimizer optimizer_of(One& model, const OptimizerConfig& config, double decay = 0) {
  return Optimizer(config, {{model.parameters(), 1, decay}});
}
void set_gradient(One& model, double a, double b) {
  model.weight.clear_grad();
  model.weight.add_gradient(Tensor::from<double>({a, b}, {1, 2}));
}
double first(const One& model) { return model.weight.value().to_vector<double>()[0]; }

}  // namespace

TEST_CASE("optim: warm-up starts at 0 and reaches the base rate") {
  for (const char* kind : {"constant", "linear", "cosine", "wsd"}) {
    const Schedule s{.kind = kind, .warmup_steps = 4, .total_steps = 20, .decay_steps = 5};
    CHECK(s.factor(0) == 0);
    CHECK(s.factor(1) == 0.25);
    CHECK(s.factor(3) == 0.75);
    CHECK(s.factor(4) == 1);
  }
}

TEST_CASE("optim: schedules between warm-up and end") {
  const Schedule linear{.kind = "linear", .warmup_steps = 10, .total_steps = 110};
  CHECK(linear.factor(60) == doctest::Approx(0.5));
  CHECK(linear.factor(109) == doctest::Approx(0.01));
  CHECK(linear.factor(500) == 0);
  const Schedule cosine{.kind = "cosine", .warmup_steps = 10, .total_steps = 110, .min_ratio = 0.1};
  CHECK(cosine.factor(60) == doctest::Approx(0.55));
  CHECK(cosine.factor(35) == doctest::Approx(0.1 + 0.9 * 0.5 * (1 + std::cos(M_PI / 4))));
  CHECK(cosine.factor(110) == doctest::Approx(0.1));
  const Schedule wsd{.kind = "wsd", .warmup_steps = 2, .total_steps = 20, .decay_steps = 5, .min_ratio = 0.2};
  CHECK(wsd.factor(10) == 1);
  CHECK(wsd.factor(15) == 1);
  CHECK(wsd.factor(16) == doctest::Approx(0.2 + 0.8 * 0.8));
  CHECK(wsd.factor(19) == doctest::Approx(0.2 + 0.8 * 0.2));
  CHECK(wsd.factor(20) == doctest::Approx(0.2));
  CHECK(wsd.factor(25) == doctest::Approx(0.2));  // beyond the end it stays
}

TEST_CASE("optim: an unknown schedule is refused at every step") {
  const Schedule s{.kind = "triangle", .warmup_steps = 3, .total_steps = 9};
  for (int64_t step : {0, 5})
    CHECK(contains(error_of<UsageError>([&] { s.factor(step); }),
                   "\"triangle\" is not one of constant, linear, cosine, wsd"));
}

TEST_CASE("optim: AdamW, two steps by hand") {
  One model;
  Optimizer optimizer = optimizer_of(model, {.betas = {0.9, 0.99}, .eps = 1e-8}, 0.1);
  set_gradient(model, 0.5, 0);
  optimizer.step(0.01);
  // Bias-corrected moments of one gradient are the gradient and its square: a step of lr·sign.
  const double after_one = 1 * (1 - 0.01 * 0.1) - 0.01 * 0.5 / (0.5 + 1e-8);
  CHECK(first(model) == doctest::Approx(after_one).epsilon(1e-12));
  set_gradient(model, -1, 0);
  optimizer.step(0.01);
  const double m = (0.9 * 0.1 * 0.5 + 0.1 * -1) / (1 - 0.81);
  const double v = (0.99 * 0.01 * 0.25 + 0.01) / (1 - 0.99 * 0.99);
  CHECK(first(model) ==
        doctest::Approx(after_one * (1 - 0.001) - 0.01 * m / (std::sqrt(v) + 1e-8)).epsilon(1e-12));
  CHECK(optimizer.steps_done() == 2);
}

TEST_CASE("optim: SGD with momentum and a scaled gradient, by hand") {
  One model;
  Optimizer optimizer = optimizer_of(model, {.kind = "sgd", .momentum = 0.5});
  set_gradient(model, 4, 0);
  optimizer.step(0.1, 0.5);  // buffer 2
  CHECK(first(model) == doctest::Approx(0.8));
  set_gradient(model, 1, 0);
  optimizer.step(0.1);  // buffer 0.5·2 + 1
  CHECK(first(model) == doctest::Approx(0.6));
}

TEST_CASE("optim: groups scale the rate; parameters without gradient stay") {
  One a, b;
  Optimizer optimizer({.kind = "sgd", .momentum = 0},
                      {{{{"a", &a.weight}}, 3, 0}, {{{"b", &b.weight}}, 1, 0.5}});
  set_gradient(a, 1, 0);
  optimizer.step(0.1);
  CHECK(first(a) == doctest::Approx(0.7));
  CHECK(first(b) == 1);
}

TEST_CASE("optim: gradient norm and clip factor") {
  One model;
  Optimizer optimizer = optimizer_of(model, {});
  CHECK(optimizer.gradient_norm() == 0);
  set_gradient(model, 3, 4);
  CHECK(optimizer.gradient_norm() == doctest::Approx(5));
  CHECK(clip_factor(5, 1) == doctest::Approx(1 / 5.000001));
  CHECK(clip_factor(0.5, 1) == 1);
  CHECK(clip_factor(5, 0) == 1);
}

TEST_CASE("optim: state goes into a checkpoint and back, bit for bit") {
  for (const char* kind : {"adamw", "sgd"}) {
    One a, b;
    Optimizer first_run = optimizer_of(a, {.kind = kind});
    set_gradient(a, 0.3, -0.7);
    first_run.step(0.01);
    Optimizer second_run = optimizer_of(b, {.kind = kind});
    std::map<std::string, Tensor> state;
    for (auto& [name, tensor] : first_run.state()) state[name] = tensor.clone();
    CHECK(state.contains(kind == std::string("adamw") ? "exp_avg_sq.weight" : "momentum.weight"));
    second_run.load_state(state, 1);
    b.weight.set_value(a.weight.value().clone());
    for (auto* pair : {&a, &b}) set_gradient(*pair, 0.1, 0.2);
    first_run.step(0.02);
    second_run.step(0.02);
    CHECK(a.weight.value().to_vector<double>() == b.weight.value().to_vector<double>());
    const std::string name = state.begin()->first;
    state.begin()->second = Tensor::zeros({3}, DType::kF64);
    CHECK(contains(error_of<FormatError>([&] { second_run.load_state(state, 1); }),
                   name + " is [3] in the checkpoint, [1, 2] here"));
    state.erase(name);
    CHECK(contains(error_of<FormatError>([&] { second_run.load_state(state, 1); }), "has no state " + name));
  }
}

TEST_CASE("optim: unknown optimizers are refused") {
  One model;
  CHECK(contains(error_of<UsageError>([&] { optimizer_of(model, {.kind = "lion"}); }), "\"lion\" is not one of adamw, sgd"));
}

TEST_CASE("optim: groups by the last matching pattern, decay on matrices only") {
  struct Model : Module {
    Linear& vision = child_<Linear>("vision", 2, 2, true);
    Linear& language = child_<Linear>("language", 2, 2, true);
  } model;
  const auto groups = group_parameters(model, {{"*", 1}, {"vision", 0.1}}, 0.05);
  REQUIRE(groups.size() == 4);
  std::map<std::string, std::pair<double, double>> found;
  for (const auto& group : groups)
    for (const auto& [name, parameter] : group.parameters) found[name] = {group.lr_scale, group.weight_decay};
  CHECK(found["vision.weight"] == std::pair(0.1, 0.05));
  CHECK(found["vision.bias"] == std::pair(0.1, 0.0));
  CHECK(found["language.weight"] == std::pair(1.0, 0.05));
  CHECK(found["language.bias"] == std::pair(1.0, 0.0));
  CHECK(contains(error_of<UsageError>([&] { group_parameters(model, {{"vision", 1}}, 0); }),
                 "no pattern gives a rate for the trained parameter language.weight"));
  CHECK(contains(error_of<UsageError>([&] { group_parameters(model, {{"*", 1}, {"audio", 1}}, 0); }),
                 "pattern \"audio\" matches no trained parameter"));
  set_trainable(model, {"language"});
  CHECK(group_parameters(model, {{"language", 1}}, 0.05).size() == 2);
  CHECK(contains(error_of<UsageError>([&] { group_parameters(model, {{"*", 1}, {"vision", 1}}, 0); }), "\"vision\""));
}

TEST_CASE("optim: moving average, exchanged and back") {
  One model;
  Ema ema(model, 0.75);
  model.weight.set_value(Tensor::from<double>({5, 2}, {1, 2}));
  ema.update();
  ema.swap();
  CHECK(first(model) == doctest::Approx(0.75 * 1 + 0.25 * 5));
  ema.swap();
  CHECK(first(model) == 5);
  std::map<std::string, Tensor> state;
  for (auto& [name, tensor] : ema.state()) state[name] = tensor.clone();
  Ema other(model, 0.75);
  other.load_state(state);
  other.swap();
  CHECK(first(model) == doctest::Approx(2));
  other.swap();
  CHECK_THROWS_AS(other.load_state({}), FormatError);
  for (double decay : {0.0, 1.0})
    CHECK(contains(error_of<UsageError>([&] { Ema bad(model, decay); }), "decay must lie in (0, 1)"));
}
