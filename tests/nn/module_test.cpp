#include "nn/module.h"

#include <cmath>

#include "nn/layers.h"
#include "tests/data/support.h"

using namespace ocellus;
using namespace ocellus::test;

namespace {

struct Block : Module {
  Linear& fc = child_<Linear>("mlp.fc", 3, 2, true);
  Parameter& scale = parameter_("scale", {2}, Init::ones());
  LayerNorm& norm = child_<LayerNorm>("norm", 3, 1e-5);
};
struct Reversed : Module {
  LayerNorm& norm = child_<LayerNorm>("norm", 3, 1e-5);
  Parameter& scale = parameter_("scale", {2}, Init::ones());
  Linear& fc = child_<Linear>("mlp.fc", 3, 2, true);
};
struct Transparent : Module {
  Block& inner = child_<Block>("");
};

std::vector<std::string> names(Module& module) {
  std::vector<std::string> list;
  for (auto& [name, parameter] : module.parameters()) list.push_back(name);
  return list;
}

}  // namespace

TEST_CASE("module: names are paths, dots allowed in a child's name, an empty name adds nothing") {
  Block block;
  const std::vector<std::string> expected = {"scale", "mlp.fc.weight", "mlp.fc.bias", "norm.weight",
                                             "norm.bias"};
  CHECK(names(block) == expected);
  Transparent transparent;
  CHECK(names(transparent) == expected);
  CHECK(block.parameter_count() == 2 + 6 + 2 + 3 + 3);
  set_trainable(block, {"norm"});
  CHECK(block.parameter_count(true) == 6);
}

TEST_CASE("module: patterns match a name or a whole prefix of its path") {
  const std::string name = "language.model.layers.12.self_attn.q_proj.weight";
  for (const char* yes : {"language", "language.*", "*", "*.q_proj", "*.q_proj.weight", "language.*.{q,v}_proj",
                          "{vision,language}.model", "language.model.layers.1?", "{a,language.model}.{x,layers}",
                          "language.model.layers.12.self_attn.q_proj.weight"})
    CHECK_MESSAGE(name_matches(yes, name), yes);
  for (const char* no : {"lang", "model", "language.model.layers.1", "*.k_proj", "*.{k,v}_proj", "", "weight",
                         "language.*.q_proj.bias", "{vision,connector}.*", "language.model.layers.12.self_attn.q_proj.weights"})
    CHECK_MESSAGE(!name_matches(no, name), no);
  CHECK(name_matches("connector", "connector.proj.weight"));
  CHECK(name_matches("connector.*", "connector.proj.weight"));
}

TEST_CASE("module: set_trainable freezes all others and refuses a pattern without a match") {
  Block block;
  set_trainable(block, {"mlp.*"});
  CHECK(block.fc.weight().trainable());
  CHECK(!block.scale.trainable());
  const std::string message = error_of<UsageError>([&] { set_trainable(block, {"norm.wieght"}); });
  CHECK(contains(message, "\"norm.wieght\" matches no parameter"));
  CHECK(contains(message, "norm.weight"));
  CHECK(block.fc.weight().trainable());  // nothing changed
  set_trainable(block, {});
  CHECK(block.parameter_count(true) == 0);
}

TEST_CASE("module: freezing drops the gradient, and a frozen parameter is a constant") {
  Block block;
  block.scale.add_gradient(Tensor::full({2}, 1, DType::kF32));
  block.scale.set_trainable(false);
  CHECK(!block.scale.grad().defined());
  Tape tape;
  CHECK(!block.scale.var().requires_grad());
  CHECK(block.fc.weight().var().requires_grad());
}

TEST_CASE("module: init depends on seed and full name, not on the order of construction") {
  Block a, c;
  Reversed b;
  init_parameters(a, 5);
  init_parameters(b, 5);
  init_parameters(c, 6);
  CHECK(a.fc.weight().value().to_vector<float>() == b.fc.weight().value().to_vector<float>());
  CHECK(a.fc.weight().value().to_vector<float>() != c.fc.weight().value().to_vector<float>());
  init_parameters(b, 5, "other.");
  CHECK(a.fc.weight().value().to_vector<float>() != b.fc.weight().value().to_vector<float>());
  CHECK(a.scale.value().to_vector<float>() == std::vector<float>{1, 1});
  for (auto& [name, parameter] : a.parameters())
    if (name == "norm.bias") CHECK(parameter->value().to_vector<float>() == std::vector<float>{0, 0, 0});
}

TEST_CASE("module: normal and uniform starts have the stated spread") {
  struct Wide : Module {
    Parameter& normal = parameter_("normal", {200, 200}, Init::normal(0.5));
    Parameter& uniform = parameter_("uniform", {200, 200}, Init::uniform(0.25));
    Parameter& constant = parameter_("constant", {3}, Init::constant(-1.5));
  } wide;
  init_parameters(wide, 1);
  double sum = 0, square = 0;
  for (double x : wide.normal.value().to_vector<double>()) sum += x, square += x * x;
  CHECK(sum / 40000 == doctest::Approx(0).epsilon(0.01));
  CHECK(square / 40000 == doctest::Approx(0.25).epsilon(0.03));
  square = 0;
  for (double x : wide.uniform.value().to_vector<double>()) {
    REQUIRE(std::abs(x) <= 0.25);
    square += x * x;
  }
  CHECK(square / 40000 == doctest::Approx(0.0625 / 3).epsilon(0.03));
  CHECK(wide.constant.value().to_vector<float>() == std::vector<float>{-1.5, -1.5, -1.5});
}

TEST_CASE("module: gradients of several passes add up, in the value's type") {
  Block block;
  init_parameters(block, 3);
  const Variable x = constant(Tensor::from<float>({1, 2, 3}, {1, 3}));
  std::vector<double> first;
  for (int pass = 0; pass < 2; ++pass) {
    Tape tape;
    tape.backward(sum(block.fc(x)));
    if (pass == 0) first = block.fc.weight().grad().to_vector<double>();
  }
  CHECK(first == std::vector<double>{1, 2, 3, 1, 2, 3});
  CHECK(block.fc.weight().grad().to_vector<double>() == std::vector<double>{2, 4, 6, 2, 4, 6});
  CHECK(!block.scale.grad().defined());
  block.clear_gradients();
  CHECK(!block.fc.weight().grad().defined());
}

TEST_CASE("module: a gradient that somebody else holds is copied before it is added to") {
  Parameter parameter({2}, Init::zeros());
  const Tensor shared = Tensor::from<float>({1, 2}, {2});
  parameter.add_gradient(shared);
  parameter.add_gradient(shared);
  CHECK(shared.to_vector<float>() == std::vector<float>{1, 2});
  CHECK(parameter.grad().to_vector<float>() == std::vector<float>{2, 4});
}

TEST_CASE("module: set_value needs the same shape; ParameterDType holds in its scope") {
  Parameter parameter({2}, Init::zeros());
  CHECK(contains(error_of<ShapeError>([&] { parameter.set_value(Tensor::zeros({3}, DType::kF32)); }),
                 "value must be [2], got [3]"));
  {
    ParameterDType scope(DType::kF64);
    CHECK(Parameter({2}, Init::zeros()).value().dtype() == DType::kF64);
  }
  CHECK(Parameter({2}, Init::zeros()).value().dtype() == DType::kF32);
}

TEST_CASE("module: training mode is a scope, off by default") {
  CHECK(!TrainingMode::on());
  {
    TrainingMode on(true);
    CHECK(TrainingMode::on());
    TrainingMode off(false);
    CHECK(!TrainingMode::on());
  }
  CHECK(!TrainingMode::on());
}
