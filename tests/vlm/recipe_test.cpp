#include "vlm/recipe.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "engine/check.h"
#include "engine/file.h"

using namespace ocellus;

namespace {

const std::string kSmall = R"(seed = 3
[[data]]
name = "d"
path = "x-*.tar"
[[stage]]
name = "first"
steps = 10
[[stage]]
name = "second"
steps = 20
lr = { "connector.*" = 1e-3, "*" = 1e-4, "language.lm_head.*" = 5e-4 }
)";

std::string with(const std::string& extra) { return kSmall + extra; }

template <class E = UsageError>
std::string refusal(const std::string& text, const std::vector<std::string>& settings = {}) {
  try {
    parse_recipe(text, "r.toml", settings);
  } catch (const E& error) {
    return error.what();
  }
  return "accepted";
}

std::string set_refusal(const std::string& setting) { return refusal(kSmall, {setting}); }
Recipe set(const std::vector<std::string>& settings) {
  return parse_recipe(kSmall, "r.toml", settings);
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("recipe: reads what is given and keeps defaults for the rest") {
  const Recipe r = parse_recipe(kSmall, "r.toml");
  CHECK(r.seed == 3);
  REQUIRE(r.stage.size() == 2);
  CHECK(r.stage[0].steps == 10);
  CHECK(r.stage[0].batch == 32);
  CHECK(r.stage[0].lr == std::vector<PatternRate>{{"*", 1e-3}});
  // Sorted by length: the last match is the most specific, whatever the order in the file.
  CHECK(r.stage[1].lr ==
        std::vector<PatternRate>{{"*", 1e-4}, {"connector.*", 1e-3}, {"language.lm_head.*", 5e-4}});
  CHECK(r.model.vision.hidden_size == 96);
  CHECK(r.checkpoint.keep == 3);
}

TEST_CASE("recipe: every kind of value is read") {
  const Recipe r = parse_recipe(with(R"(skip = true
train = ["connector.*", "language.*"]
betas = [0.8, 1e-1]
weight_decay = 1
optimizer = "adamw"
schedule = "wsd"
warmup = 3
checkpoint_activations = true
[model]
vision = { kind = "siglip", preset = "siglip_b16_224", num_hidden_layers = 3 }
connector.kind = "mlp"
connector.hidden_act = "relu"
[model.language]
preset = "smollm2_135m"
[ema]
decay = 0.99
)"),
                                "r.toml");
  CHECK(r.stage[1].skip);
  CHECK(r.stage[1].train == std::vector<std::string>{"connector.*", "language.*"});
  CHECK(r.stage[1].betas == std::array<double, 2>{0.8, 0.1});
  CHECK(r.stage[1].weight_decay == 1);
  CHECK(r.stage[1].warmup == 3);
  CHECK(r.model.vision.hidden_size == 768);
  CHECK(r.model.vision.num_hidden_layers == 3);
  CHECK(r.model.connector.hidden_act == "relu");
  CHECK(r.model.language.num_key_value_heads == 3);
  CHECK(r.model.language.rope_theta == 100000);
  CHECK(r.ema.decay == 0.99);
}

TEST_CASE("recipe: an unknown key is named with its line and the nearest name") {
  CHECK(refusal(with("stpes = 5\n")) ==
        "r.toml line 12: unknown key stage.1.stpes; did you mean stage.1.steps?");
  CHECK(refusal("sed = 1\n" + kSmall) == "r.toml line 1: unknown key sed; did you mean seed?");
  CHECK(refusal("checkpiont.every = 5\n" + kSmall) ==
        "r.toml line 1: unknown key checkpiont; did you mean checkpoint?");
  CHECK(refusal("keep = 5\n" + kSmall) ==
        "r.toml line 1: unknown key keep; did you mean checkpoint.keep?");
  CHECK(refusal("[model.vision]\nquux_zzz = 1\n" + kSmall) ==
        "r.toml line 2: unknown key model.vision.quux_zzz");
  CHECK(refusal("[data.0]\n") != "accepted");
  CHECK(set_refusal("stage.0.stpes=1") ==
        "--set stage.0.stpes=1: unknown key stage.0.stpes; did you mean stage.0.steps?");
  CHECK(set_refusal("chekpoint.every=1") ==
        "--set chekpoint.every=1: unknown key chekpoint; did you mean checkpoint?");
}

TEST_CASE("recipe: a key that nothing would read is refused") {
  CHECK(refusal("[model.connector]\nkind = \"linear\"\nfactor = 2\n" + kSmall) ==
        "r.toml line 3: model.connector.factor is not used here; it belongs to kind = "
        "\"pixel_shuffle\"");
  CHECK(refusal("[model]\nfrom = \"m\"\nvision.kind = \"vit\"\n" + kSmall) ==
        "r.toml line 3: model.vision is not used here; it belongs to model.from left empty");
  CHECK(contains(refusal(with("decay = 0.1\n")),
                 "stage.1.decay is not used here; it belongs to schedule = \"wsd\""));
  CHECK(contains(refusal(with("momentum = 0.1\n")), "belongs to optimizer = \"sgd\""));
  CHECK(
      contains(refusal(with("optimizer = \"sgd\"\neps = 0.1\n")), "stage.1.eps is not used here"));
  CHECK(contains(refusal("tokenizer = { from = \"t.json\", vocab = 300 }\n" + kSmall),
                 "tokenizer.vocab is not used here"));
}

TEST_CASE("recipe: wrong types and values name key, line, need and what was there") {
  CHECK(refusal("threads = \"two\"\n" + kSmall) ==
        "r.toml line 1: threads must be an integer, got the string \"two\"");
  CHECK(refusal("threads = 1.5\n" + kSmall) ==
        "r.toml line 1: threads must be an integer, got the number 1.5");
  CHECK(refusal("threads = -1\n" + kSmall) ==
        "r.toml line 1: threads must be from 0 to 4096, got -1");
  CHECK(refusal("name = 2\n" + kSmall) ==
        "r.toml line 1: name must be a string, got the integer 2");
  CHECK(refusal("log.tensorboard = 1\n" + kSmall) ==
        "r.toml line 1: log.tensorboard must be true or false, got the integer 1");
  CHECK(refusal("ema.decay = nan\n" + kSmall) ==
        "r.toml line 1: ema.decay must be from 0 to 0.9999999, got nan");
  CHECK(refusal("ema = 1\n" + kSmall) == "r.toml line 1: ema must be a table, got the integer 1");
  CHECK(refusal("precision = \"bf61\"\n" + kSmall) ==
        "r.toml line 1: precision must be one of \"f32\", \"bf16\", got \"bf61\"; did you mean "
        "\"bf16\"?");
  CHECK(
      contains(refusal(with("train = \"*\"\n")),
               "stage.1.train must be an array of strings such as [\"a\", \"b\"], got the string"));
  CHECK(contains(refusal(with("train = [1]\n")), "stage.1.train must be an array of strings"));
  CHECK(contains(refusal(with("betas = [1]\n")),
                 "stage.1.betas must be an array of two numbers, got an array"));
  CHECK(contains(refusal(with("betas = [0.9, 1]\n")),
                 "stage.1.betas.1 must be from 0 to 0.9999999, got 1"));
  CHECK(contains(refusal("seed = 1\n[[stage]]\nname = \"s\"\nlr = { a = \"x\" }\n"),
                 "line 4: stage.0.lr.a must be a number, got the string \"x\""));
  CHECK(contains(refusal("stage = { steps = 1 }\n"),
                 "stage must be an array of tables, written as [[stage]], got a table"));
  CHECK(contains(refusal("seed = 2020-01-01\n"), "got a date or time"));
}

TEST_CASE("recipe: missing keys and rules between keys") {
  CHECK(refusal("[[stage]]\nname = \"s\"\n") == "r.toml line 1: stage.0.steps is missing");
  CHECK(contains(refusal("[[data]]\nname = \"s\"\n"), "data.0.path is missing"));
  CHECK(contains(refusal("seed = 1\n"), "r.toml: there is nothing to train on"));
  CHECK(contains(refusal("[[data]]\nname = \"d\"\npath = \"p\"\n"),
                 "r.toml: there is no stage to train"));
  CHECK(contains(refusal(kSmall, {"stage.0.skip=true", "stage.1.skip=true"}),
                 "there is no stage to train"));
  CHECK(contains(refusal(kSmall, {"stage.1.name=first"}),
                 "two entries of stage have the name \"first\""));
  CHECK(contains(refusal(kSmall, {"data.0.name="}), "an entry of data has an empty name"));
  CHECK(contains(refusal(kSmall, {"data.0.path="}), "data.d.path is empty"));
  CHECK(contains(refusal(kSmall, {"model.vision.patch_size=7"}),
                 "r.toml: model.vision.patch_size (7) must divide model.vision.image_size (64)"));
  CHECK(contains(refusal(kSmall, {"model.connector.factor=3"}),
                 "model.connector.factor (3) must divide the 8 patches"));
  CHECK(
      contains(refusal(kSmall, {"stage.1.image_size=60"}), "must divide stage.1.image_size (60)"));
  CHECK(contains(refusal(kSmall, {"model.language.num_key_value_heads=2"}),
                 "must divide model.language.num_attention_heads (3)"));
  CHECK(contains(refusal(kSmall, {"model.language.num_attention_heads=32",
                                  "model.language.num_key_value_heads=1"}),
                 "must be even"));
  CHECK(contains(refusal(kSmall, {"stage.0.train=[]"}), "stage.0.train is empty"));
  CHECK(contains(refusal(kSmall, {"stage.0.train_on=[\"bot\"]"}), "has \"bot\"; roles are"));
  CHECK(contains(refusal(kSmall, {"stage.0.train_on=[]"}), "stage.0.train_on is empty"));
  CHECK(contains(refusal(kSmall, {"stage.0.lr={}"}), "stage.0.lr is an empty table"));
  CHECK(contains(refusal(kSmall, {"stage.0.warmup=11"}),
                 "stage.0.warmup and decay take 11 steps together, the stage has 10"));
  CHECK(contains(refusal(kSmall, {"stage.0.dropout=-0.5"}), "stage.0.dropout must be -1"));
  CHECK(contains(refusal(kSmall, {"name=a/b"}), "name must be usable as a folder name"));
}

TEST_CASE(
    "recipe: --set reaches tables, arrays by number and by name, and strings without quotes") {
  CHECK(set({"stage.0.steps=120"}).stage[0].steps == 120);
  CHECK(set({"stage.second.steps=120"}).stage[1].steps == 120);
  CHECK(set({"stage.0.skip=true"}).stage[0].skip);
  CHECK(set({"stage.0.lr=0.5"}).stage[0].lr == std::vector<PatternRate>{{"*", 0.5}});
  CHECK(set({"stage.1.lr.\"connector.*\"=0.5"}).stage[1].lr[1] == PatternRate{"connector.*", 0.5});
  CHECK(set({"stage.0.train=[\"a\", \"b\"]"}).stage[0].train == std::vector<std::string>{"a", "b"});
  CHECK(set({"model.vision={preset=\"small\"}"}).model.vision.hidden_size == 128);
  CHECK(set({"checkpoint.every=7"}).checkpoint.every == 7);
  CHECK(set({"name=run 2", "data.0.path=a/b.tar"}).data[0].path == "a/b.tar");
  CHECK(set({"name=2024"}).name == "2024");
  CHECK(set({"name=true"}).name == "true");
  CHECK(set({"name=\"quoted\""}).name == "quoted");
  CHECK(set({"name=a = b"}).name == "a = b");
  CHECK(set({"name=a\nseed = 7"}).seed == 3);  // a value is one value
  CHECK(set({"seed=1", "seed=2"}).seed == 2);
  CHECK(set({"data=[{name=\"q\", path=\"z\"}]"}).data[0].path == "z");
}

TEST_CASE("recipe: --set refuses what it cannot mean") {
  CHECK(set_refusal("stage.2.steps=5") ==
        "--set stage.2.steps=5: stage has 2 entries, numbered from 0; --set changes entries but "
        "adds none");
  CHECK(set_refusal("stage.third.steps=5") ==
        "--set stage.third.steps=5: stage has no entry named \"third\"; give a number from 0 or "
        "the entry's name");
  CHECK(set_refusal("stage.99999999999999999999.steps=5") != "accepted");
  CHECK(contains(set_refusal("seed"), "there is no '='"));
  CHECK(contains(set_refusal("=5"), "the key has an empty part"));
  CHECK(contains(set_refusal("stage..steps=5"), "the key has an empty part"));
  CHECK(contains(set_refusal("a.\"b=5"), "a quote in the key is not closed"));
  CHECK(contains(set_refusal("seed.x=5"), "seed is not a table or array, it has no parts"));
  CHECK(set_refusal("seed=abc") ==
        "--set seed=abc: seed must be an integer, got the string \"abc\"");
  CHECK(contains(set_refusal("name=\xff"), "the value is not UTF-8 text"));
  CHECK(contains(set_refusal("stage.0.train=x"),
                 "--set stage.0.train=x: stage.0.train must be an array of strings"));
  CHECK(contains(set_refusal("model.vision={kind=\"vti\"}"),
                 "--set model.vision={kind=\"vti\"}: model.vision.kind must be one of"));
}

TEST_CASE(
    "recipe: what is not TOML is a FormatError with the line, also where toml++ would abort") {
  CHECK(contains(refusal<FormatError>("seed = \n"), "r.toml line 1, column "));
  CHECK(contains(refusal<FormatError>("seed = 1\nseed = 2\n"), "r.toml line 2, column "));
  CHECK(contains(refusal<FormatError>("[@[@"), "r.toml"));
  CHECK(contains(refusal<FormatError>("é = 1\n"), "r.toml line 1, column 1"));
  CHECK(contains(refusal<FormatError>("\xef\xbb\x9f = 1\n"), "r.toml line 1, column 1"));
  CHECK(contains(refusal<FormatError>("\xff\xfe"), "r.toml"));
  CHECK(contains(refusal<FormatError>("a = " + std::string(100000, '[')), "r.toml"));
  std::string deep = "a";
  for (int i = 0; i < 100000; ++i) deep += ".a";
  CHECK(refusal<FormatError>(deep + " = 1") ==
        "r.toml line 1: more than 120 dots in one line; keys are not that deep");
  CHECK(contains(refusal<FormatError>(std::string(2000000, ' ')), "the recipe has 2000000 bytes"));
}

TEST_CASE("recipe: the resolved recipe reads back to itself") {
  for (const std::vector<std::string>& settings : std::vector<std::vector<std::string>>{
           {},
           {"name=a \"quoted\" \\ é \t name", "stage.0.lr=1e-7", "ema.decay=0.1",
            "stage.1.schedule=wsd"},
           {"model={from=\"m\"}", "tokenizer={from=\"t\"}"},
           {"data.0={name=\"d\", path=\"p\", kind=\"image_folder\", fields={image=\"file\"}}"}}) {
    const Recipe r = set(settings);
    const std::string text = to_toml(r);
    const Recipe again = parse_recipe(text, "again.toml");
    CHECK(again == r);
    CHECK(to_toml(again) == text);
    CHECK(recipe_hash(again) == recipe_hash(r));
  }
}

TEST_CASE("recipe: the hash and the differences ignore what does not change the result") {
  const Recipe r = set({});
  CHECK(recipe_hash(r) ==
        recipe_hash(set({"threads=2", "name=x", "loader.threads=3", "checkpoint.every=1"})));
  CHECK(recipe_hash(r) != recipe_hash(set({"seed=4"})));
  CHECK(recipe_differences(r, set({"threads=2"})).empty());
  CHECK(recipe_differences(r, set({"stage.0.steps=11", "model.connector={kind=\"linear\"}"})) ==
        std::vector<std::string>{
            "model.connector.factor is 2 in the checkpoint, not used now",
            "model.connector.kind is \"pixel_shuffle\" in the checkpoint, \"linear\" now",
            "stage.0.steps is 10 in the checkpoint, 11 now"});
}

TEST_CASE("recipe: the help has every key with type, default and description") {
  const std::string help = recipe_help();
  CHECK(contains(help, "stage.N.schedule"));
  CHECK(contains(help, "course of the learning rate: constant | linear | cosine | wsd"));
  CHECK(contains(help, "model.connector.factor"));
  CHECK(contains(help, "(with kind = \"pixel_shuffle\")"));
  CHECK(contains(help, "data.N.path"));
  CHECK(contains(help, "(required)"));
  for (const RecipeEntry& entry : recipe_entries(Recipe{}))
    CHECK(contains(help, "\n" + entry.key + " "));
}

TEST_CASE("recipe: the nearest name counts a swap as one edit and does not guess wildly") {
  const std::vector<std::string> names = {"steps", "skip", "schedule", "lr"};
  CHECK(nearest_name("stpes", names) == "steps");
  CHECK(nearest_name("schedul", names) == "schedule");
  CHECK(nearest_name("xyzzy", names) == "");
  CHECK(nearest_name("rl", names) == "lr");
}

TEST_CASE("recipe: load_recipe names the run after the file, and the bundled recipes are valid") {
  namespace fs = std::filesystem;
  const std::string path =
      (fs::temp_directory_path() / ("my_run_" + std::to_string(::getpid()) + ".toml")).string();
  write_file_atomic(path, kSmall);
  CHECK(load_recipe(path).name == fs::path(path).stem().string());
  fs::remove(path);
  CHECK_THROWS_AS(load_recipe(path), FormatError);
  // The sources' folder is where the tests were compiled.
  const fs::path recipes = fs::path(__FILE__).parent_path() / "../../vlm/recipes";
  if (!fs::exists(recipes)) {
    MESSAGE("skipped: vlm/recipes is not here");
    return;
  }
  for (const auto& entry : fs::directory_iterator(recipes))
    if (entry.path().extension() == ".toml") CHECK_NOTHROW(load_recipe(entry.path().string()));
}
