#include "nn/lora_config.h"

#include <nlohmann/json.hpp>

#include "tests/data/support.h"

using namespace ocellus;
using namespace ocellus::test;

#define CHECK_CONTAINS(text, part)           \
  do {                                       \
    const std::string got = text;            \
    CHECK_MESSAGE(contains(got, part), got); \
  } while (false)

namespace {
LoraConfig parse(const std::string& extra) {
  return parse_lora_config(R"({"peft_type": "LORA", "target_modules": ["q_proj"])" + extra + "}",
                           "file");
}
std::string refused(const std::string& extra) {
  return error_of<FormatError>([&] { parse(extra); });
}
bool targets(const std::string& config, const std::string& name) {
  const LoraConfig parsed = parse_lora_config(R"({"peft_type": "LORA", )" + config + "}", "file");
  return LoraMatcher(parsed).targets(name);
}
}  // namespace

TEST_CASE("lora config: keys of PEFT, its defaults, and back") {
  const LoraConfig d = parse("");
  CHECK(
      (d.rank == 8 && d.alpha == 8 && d.dropout == 0 && !d.rslora && !d.dora && d.bias == "none"));
  const LoraConfig c = parse(
      R"(, "r": 4, "lora_alpha": 6.5, "lora_dropout": 0.1, "use_rslora": true, "use_dora": true,
         "bias": "all", "init_lora_weights": "gaussian", "modules_to_save": ["lm_head"],
         "layers_to_transform": 3, "layers_pattern": "layers", "rank_pattern": {"z": 3, "a": 2},
         "alpha_pattern": {"q_proj": 10}, "exclude_modules": "x.*", "task_type": "CAUSAL_LM",
         "peft_version": "0.21.2", "some_new_key": null, "megatron_core": "megatron.core")");
  CHECK(
      (c.rank == 4 && c.alpha == 6.5 && c.dropout == 0.1 && c.rslora && c.dora && c.bias == "all"));
  CHECK(c.rank_pattern[0].first == "z");  // the order of the file, since the first match counts
  CHECK(c.layers_to_transform == std::vector<int64_t>{3});
  CHECK(c.exclude.regex == "x.*");
  const std::string text = lora_config_json(c);
  CHECK(lora_config_json(parse_lora_config(text, "file")) == text);
  CHECK(nlohmann::json::parse(lora_config_json(d))["lora_alpha"].is_number_integer());
}

TEST_CASE("lora config: what is no LoRA, out of range or not understood is refused by key") {
  CHECK_CONTAINS(
      error_of<FormatError>([] { parse_lora_config(R"({"peft_type": "IA3"})", "file"); }),
      "file: peft_type must be \"LORA\", got \"IA3\"");
  CHECK_CONTAINS(
      error_of<FormatError>([] { parse_lora_config(R"({"peft_type": "LORA"})", "file"); }),
      "file: target_modules is missing or empty");
  CHECK_CONTAINS(error_of<FormatError>([] { parse_lora_config("[]", "file"); }),
                 "must be an object");
  CHECK_CONTAINS(refused(R"(, "r": 0)"), "file: r must be a whole number from 1");
  CHECK_CONTAINS(refused(R"(, "r": 1e30)"), "r must be a whole number");
  CHECK_CONTAINS(refused(R"(, "lora_dropout": 2)"),
                 "lora_dropout must be a number from 0 to 1, got 2");
  CHECK_CONTAINS(refused(R"(, "bias": "some")"), "bias must be none, all or lora_only");
  CHECK_CONTAINS(refused(R"(, "use_dora": 1)"), "use_dora must be true or false, got 1");
  CHECK_CONTAINS(refused(R"(, "modules_to_save": [3])"),
                 "modules_to_save must be a list of strings");
  CHECK_CONTAINS(refused(R"(, "rank_pattern": {"a": 0})"), "rank_pattern must be a whole number");
  CHECK_CONTAINS(refused(R"(, "init_lora_weights": "pissa")"),
                 "init_lora_weights \"pissa\" changes the base");
  CHECK_CONTAINS(refused(R"(, "alora_invocation_tokens": [1])"),
                 "alora_invocation_tokens = [1] is not supported");
  CHECK_CONTAINS(refused(R"(, "r": 4, "r": 5)"), "file");
  CHECK_CONTAINS(refused(R"(, "use_dora": true, "lora_bias": true)"), "exclude each other");
}

TEST_CASE("lora config: modules are chosen by ending, by whole name, by expression") {
  const char* list = R"("target_modules": ["q_proj", "layers.1.v_proj"])";
  CHECK(targets(list, "model.layers.0.self_attn.q_proj"));
  CHECK(targets(list, "q_proj"));
  CHECK(targets(list, "model.layers.1.v_proj"));
  CHECK(!targets(list, "model.layers.11.v_proj"));
  CHECK(!targets(list, "model.layers.0.self_attn.xq_proj"));
  const char* regex = R"("target_modules": ".*layers\\.(0|2)\\..*\\.(q|v)_proj")";
  CHECK(targets(regex, "model.layers.2.self_attn.v_proj"));
  CHECK(!targets(regex, "model.layers.1.self_attn.v_proj"));
  CHECK(!targets(regex, "model.layers.2.self_attn.v_proj.more"));  // the whole name
  const char* excluded = R"("target_modules": ["q_proj"], "exclude_modules": ["layers.0.q_proj"])";
  CHECK(!targets(excluded, "model.layers.0.q_proj"));
  CHECK(targets(excluded, "model.layers.1.q_proj"));
  const char* saved = R"("target_modules": ["q_proj"], "modules_to_save": ["head"])";
  CHECK(!targets(saved, "model.head.q_proj"));
}

TEST_CASE("lora config: layers_to_transform counts the first number of a name, for endings only") {
  const char* one =
      R"("target_modules": ["q_proj", "model.layers.0.v_proj"], "layers_to_transform": [1])";
  CHECK(targets(one, "model.layers.1.self_attn.q_proj"));
  CHECK(!targets(one, "model.layers.0.self_attn.q_proj"));
  CHECK(targets(one, "model.layers.1.experts.0.q_proj"));
  CHECK(!targets(one, "model.layers.0.experts.1.q_proj"));
  CHECK(targets(one, "model.layers.0.v_proj"));
  CHECK(targets(one, "q_proj"));  // a whole name
  CHECK(!targets(one, "self_attn.q_proj"));
  const char* named =
      R"("target_modules": ["fc"], "layers_to_transform": [1], "layers_pattern": ["h", "blocks"])";
  CHECK(targets(named, "a.h.1.fc"));
  CHECK(targets(named, "blocks.1.fc"));
  CHECK(!targets(named, "a.layers.1.fc"));
}

TEST_CASE("lora config: ranks and scales by ending or expression, the first match") {
  LoraConfig c;
  c.targets.list = {"q"};
  c.rank_pattern = {{"layers.0.q", 2}, {"q", 4}, {".*v", 5}};
  c.alpha_pattern = {{"^a.q", 3}};
  const LoraMatcher m(c);
  CHECK(m.rank_of("x.layers.0.q") == 2);
  CHECK(m.rank_of("x.layers.1.q") == 4);
  CHECK(m.rank_of("deep.v") == 5);
  CHECK(m.rank_of("xq") == 8);
  CHECK(m.alpha_of("a.q") == 3);
  CHECK(m.alpha_of("b.q") == 8);
}

TEST_CASE("lora config: expressions that are wrong or never end are errors") {
  LoraConfig c;
  c.targets.regex = "(q";
  CHECK_CONTAINS(error_of<FormatError>([&] { LoraMatcher m(c); }),
                 "lora: target_modules: the regular expression \"(q\" is not valid");
  c.targets.regex = "(x+x+)+[yz]";
  const LoraMatcher m(c);
  CHECK_CONTAINS(error_of<FormatError>([&] { m.targets(std::string(64, 'x')); }),
                 "takes too many steps");
}
