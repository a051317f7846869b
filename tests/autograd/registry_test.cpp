// The list of ops and the registry are one: what ops.h declares is registered, and therefore
// checked.
#include <doctest/doctest.h>

#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "autograd/op_def.h"

using namespace ocellus;

namespace {

std::string text_of(const std::string& path) {
  std::ifstream file(std::string(OCELLUS_SOURCE_DIR) + "/" + path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::set<std::string> found(const std::string& text, const char* pattern) {
  std::set<std::string> names;
  const std::regex regex(pattern);
  for (auto i = std::sregex_iterator(text.begin(), text.end(), regex); i != std::sregex_iterator();
       ++i)
    names.insert((*i)[1]);
  return names;
}

}  // namespace

TEST_CASE("registry: every function that ops.h declares is a registered op, and the reverse") {
  std::set<std::string> declared =
      found(text_of("autograd/ops.h"), "\n(?:Variable|Variables|LossSum|BatchNormTrained) (\\w+)\\(");
  CHECK(declared.size() >= 25);
  for (const char* list : {"unary", "binary"}) {
    const auto lines = found(text_of("engine/scalar/" + std::string(list) + "_ops.def"),
                             "\n(?:UNARY|BINARY)\\((\\w+), ?\\w+\\)");
    CHECK(lines.size() >= 5);
    declared.insert(lines.begin(), lines.end());
  }
  for (const std::string& name : declared)
    CHECK_MESSAGE(find_op(name) != nullptr, "ops.h declares ", name, ", which is not registered");
  for_each_op([&](const OpDef& op) {
    const std::string file = op.where.file_name();
    if (file.find("autograd/ops/") != std::string::npos)
      CHECK_MESSAGE(declared.count(op.name) == 1, op.name,
                    " is registered, but ops.h does not declare it");
  });
}

TEST_CASE(
    "registry: names of ops are distinct, and an op without a gradient for an input says why") {
  std::set<std::string> names;
  for_each_op([&](const OpDef& op) {
    CHECK(names.insert(op.name).second);
    CHECK(!op.inputs.empty());
    for (const InputDef& input : op.inputs)
      if (input.not_differentiable) CHECK(std::string(input.not_differentiable).size() >= 3);
  });
}
