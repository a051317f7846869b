// Model folders as commands treat them: opened, changed by adapters, written, opened again.
#include "vlm/open_model.h"

#include <nlohmann/json.hpp>

#include "tests/data/support.h"
#include "vlm/hf_model.h"

using namespace ocellus;
using namespace ocellus::test;
namespace fs = std::filesystem;

#define CHECK_CONTAINS(text, part)           \
  do {                                       \
    const std::string got = text;            \
    CHECK_MESSAGE(contains(got, part), got); \
  } while (false)

namespace {
std::string golden(const char* name) { return (source_root() / "tests/golden" / name).string(); }
}  // namespace

TEST_CASE("open_model: a folder written from another computes the same bits") {
  TemporaryFolder folder;
  auto model = open_model(golden("llama_left_pad"));
  const ModelOutputs before = model->sample_outputs(DType::kF32);
  CHECK(before.at("logits").dim(1) == 12);
  OutputFolder out((folder.path / "out").string());
  out.copy_settings(golden("llama_left_pad"));
  save_model_tensors(out.path(), model->file_tensors(), 10'000);  // several shards
  out.commit();
  CHECK(fs::exists(folder.path / "out/model.safetensors.index.json"));
  CHECK(fs::exists(folder.path / "out/config.json"));
  CHECK(!fs::exists(folder.path / "out/golden.safetensors"));
  const OutputDifference same =
      compare_outputs(open_model(folder.path / "out")->sample_outputs(DType::kF32), before);
  CHECK(same.largest == 0);
  CHECK(compare_outputs(model->sample_outputs(DType::kBF16), before).largest > 0);
}

TEST_CASE("open_model: adapters change the outputs, and merging keeps the change") {
  TemporaryFolder folder;
  auto model = open_model(golden("llama_left_pad"));
  const ModelOutputs base = model->sample_outputs(DType::kF32);
  LoraConfig config;
  config.targets.regex = "all-linear";
  config.init = "random";
  Adapters adapters = add_lora(model->module(), config, 1, model->module_name());
  const ModelOutputs changed = model->sample_outputs(DType::kF32);
  CHECK(compare_outputs(changed, base).relative > 1e-2);
  adapters.save(folder.path);
  adapters.merge();
  CHECK(compare_outputs(model->sample_outputs(DType::kF32), changed).relative < 1e-5);
  auto again = open_model(golden("llama_left_pad"));
  again->load_adapters(folder.path);
  CHECK(compare_outputs(again->sample_outputs(DType::kF32), changed).largest == 0);
}

TEST_CASE("open_model: an output folder appears whole or not at all, and replaces nothing") {
  TemporaryFolder folder;
  const std::string path = folder.path / "out";
  {
    OutputFolder out(path + "/");
    spill(out.path() + "/a", "x");
  }
  CHECK(fs::is_empty(folder.path));
  {
    OutputFolder out(path);
    spill(out.path() + "/a", "x");
    out.commit();
  }
  CHECK(slurp(path + "/a") == "x");
  CHECK_CONTAINS(error_of<UsageError>([&] { OutputFolder again(path); }), "exists already");
}

TEST_CASE("open_model: folders that are no model are refused by file") {
  TemporaryFolder folder;
  auto refused = [&](const std::string& config) {
    spill(folder.path / "config.json", config);
    return error_of<FormatError>([&] { open_model(folder.path); });
  };
  CHECK_CONTAINS(refused("[]"), "config.json: must be an object");
  CHECK_CONTAINS(refused("{}"), "config.json: architectures must name a class");
  CHECK_CONTAINS(refused(R"({"architectures": [3]})"), "config.json");
  CHECK_CONTAINS(refused(R"({"architectures": ["NoSuchModel"]})"), "NoSuchModel");
  CHECK_CONTAINS(refused(R"({"architectures": "LlamaForCausalLM"})"), "config.json");
}

TEST_CASE("open_model: a config with absurd sizes is refused before memory is asked for") {
  TemporaryFolder folder;
  fs::copy(golden("llama_left_pad"), folder.path / "m", fs::copy_options::recursive);
  auto refused = [&](const char* key, int64_t value) {
    nlohmann::json config = nlohmann::json::parse(slurp(golden("llama_left_pad") + "/config.json"));
    config[key] = value;
    spill(folder.path / "m/config.json", config.dump());
    return error_of<FormatError>([&] { open_model(folder.path / "m"); });
  };
  for (const char* key : {"vocab_size", "intermediate_size", "num_hidden_layers"})
    CHECK_CONTAINS(refused(key, int64_t{1} << 31),
                   "config.json: asks for a model far larger than its file; the parameter ");
  CHECK_CONTAINS(refused("num_hidden_layers", 3), "missing in the file: model.layers.2");
}

TEST_CASE("open_model: a convolutional net keeps its running statistics") {
  TemporaryFolder folder;
  const nlohmann::json config = {{"model_type", "resnet"}, {"architectures", {"ResNetModel"}},
                                 {"embedding_size", 8},    {"hidden_sizes", {8, 16}},
                                 {"depths", {1, 1}},       {"layer_type", "basic"}};
  const std::string first = folder.path / "first", second = folder.path / "second";
  fs::create_directories(first);
  fs::create_directories(second);
  spill(first + "/config.json", config.dump());
  spill(second + "/config.json", config.dump());
  {
    auto net = make_hf_model("ResNetModel", config, "config.json");
    init_parameters(*net, 3);
    net->for_each_buffer([](const std::string& name, Tensor& value) {
      if (name.ends_with("running_var")) value = Tensor::full(value.shape(), 2, DType::kF32);
      if (name.ends_with("num_batches_tracked")) value = Tensor::full({}, 9, DType::kI64);
    });
    save_model_tensors(first, stored_tensors(*net));
  }
  auto model = open_model(first);
  const ModelOutputs before = model->sample_outputs(DType::kF32);
  save_model_tensors(second, stored_like(model->file_tensors(), first));
  CHECK(compare_outputs(open_model(second)->sample_outputs(DType::kF32), before).largest == 0);
  const CheckpointReader reader(second);
  CHECK(reader.read("embedder.embedder.normalization.num_batches_tracked").item() == 9);
  CHECK(reader.info("embedder.embedder.normalization.running_var").stored == "F32");
}

TEST_CASE("open_model: weights keep the types of the folder they came from") {
  TemporaryFolder folder;
  const Tensor x = Tensor::from(std::vector<float>{1, 2}, {2});
  save_safetensors(folder.path / "model.safetensors", {{"a", x.to(DType::kBF16)}, {"b", x}});
  const auto like = stored_like({{"a", x}, {"b", x}, {"c", x}}, folder.path);
  CHECK(like[0].second.dtype() == DType::kBF16);
  CHECK(like[1].second.dtype() == DType::kF32);
  CHECK(like[2].second.dtype() == DType::kF32);
}

TEST_CASE(
    "open_model: adapters go by the module tree of transformers 5, or by the names in files") {
  TemporaryFolder folder;
  for (const bool by_files : {false, true}) {
    auto model = open_model(golden("vit_interpolate"));
    const ModelOutputs base = model->sample_outputs(DType::kF32);
    LoraConfig config;
    config.targets.list = {by_files ? "query" : "q_proj"};
    config.init = "random";
    Adapters adapters =
        add_lora(model->module(), config, 1, by_files ? model->file_name() : model->module_name());
    CHECK(adapters.modules()[0] ==
          (by_files ? "encoder.layer.0.attention.attention.query" : "layers.0.attention.q_proj"));
    const ModelOutputs changed = model->sample_outputs(DType::kF32);
    CHECK(compare_outputs(changed, base).relative > 1e-3);
    adapters.save(folder.path);
    auto again = open_model(golden("vit_interpolate"));
    again->load_adapters(folder.path);
    CHECK(compare_outputs(again->sample_outputs(DType::kF32), changed).largest == 0);
  }
}
